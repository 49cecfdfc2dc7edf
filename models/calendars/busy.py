"""Times that an outside calendar keeps an offering from being booked: its events, and nothing of
what they are about."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

from msgspec import Struct
from piccolo.columns import UUID, BigInt, ForeignKey
from piccolo.table import Table

from models import base, bookings, engine, kin, offerings, outbox
from models.calendars import reading, recurrence
from models.calendars.reading import Event, Moment, refused

# Beyond what may be booked (366 days ahead, for 31 days) nobody asks.
AHEAD = bookings.AHEAD + bookings.LONGEST
MAX_EVENTS = 5_000
MAX_TIMES = 2_000
_STEPS = 400_000
_DAY = dt.timedelta(days=1)
# So many bookings that are in the way are named.
_NAMED = 100
_AT_ONCE = 500


class BusyTime(Table):
    """A time that an outside calendar keeps an offering from being booked: UTC minutes, half-open.
    What it is kept for is nobody's business here."""

    id = UUID(primary_key=True)
    offering = ForeignKey(offerings.Offering, null=False)
    starts = BigInt(null=False)
    ends = BigInt(null=False)


class BusyPeriod(Struct, frozen=True):
    """One time, half-open, in UTC."""

    start: dt.datetime
    end: dt.datetime


class Conflict(Struct, frozen=True):
    """A booking at a time that is busy: it stands until somebody moves it."""

    booking_id: uuid.UUID
    status: str
    start: dt.datetime
    end: dt.datetime


class BusyCalendar(Struct, frozen=True):
    """When an offering is busy elsewhere, and the bookings (at most 100) that lie there."""

    items: list[BusyPeriod]
    conflicts: list[Conflict]


def times(text: bytes, zone: str, now: dt.datetime) -> list[tuple[int, int]]:
    """When the events of a calendar are, in UTC minutes, those that touch as one; from `now` until
    nothing can be booked any more. Times without a zone and whole days are of `zone`.

    What is cancelled, or marked as free, takes no time. An event lasts as long on the wall on each
    of its dates. Refuses what cannot be read, and more than 2,000 times.
    """
    events = reading.events(text, zone, MAX_EVENTS)
    first, last = now.date() - _DAY, (now + AHEAD).date()
    try:
        found = list(_spans(events, first, last))
    except (ValueError, OverflowError) as error:
        raise refused(str(error)[:200]) from None
    minute = bookings.minute(now)
    merged = [time for time in _merged(found) if time[1] > minute]
    if len(merged) > MAX_TIMES:
        raise refused(f"at most {MAX_TIMES} times")
    return merged


async def replace(offering: offerings.OfferingRecord, found: list[tuple[int, int]]) -> BusyCalendar:
    """Have an offering be busy at these times and no others. Bookings that lie there stand, and are
    named: whoever made them knows better than we whom to disappoint."""
    async with engine.unit_of_work() as work:
        # Nobody books in between.
        await kin.lock(offering)
        if found != await _stored(offering.id):
            await engine.execute("DELETE FROM busy_time WHERE offering = $1", offering.id)
            for start in range(0, len(found), _AT_ONCE):
                await BusyTime.insert(
                    *(
                        BusyTime(id=base.new_id(), offering=offering.id, starts=starts, ends=ends)
                        for starts, ends in found[start : start + _AT_ONCE]
                    )
                )
            await outbox.append(
                work,
                "busy.changed",
                offering.id,
                place=offering.place_id,
                action="offering.busy",
                times=len(found),
            )
        return await of(offering.id)


async def of(offering: uuid.UUID) -> BusyCalendar:
    """When an offering is busy from now on, and with which of its bookings that collides."""
    now = base.now()
    rows = await engine.rows(
        "SELECT CAST(b.id AS text), b.status, b.starts, b.ends FROM booking b"
        f" WHERE b.offering = $1 AND b.ends > $2 AND {bookings.LIVE}"
        " AND (b.held_until IS NULL OR b.held_until > $3) AND EXISTS (SELECT 1 FROM busy_time y"
        " WHERE y.offering = b.offering AND y.ends > b.starts AND y.starts < b.ends)"
        f" ORDER BY b.starts, b.id LIMIT {_NAMED}",
        offering,
        bookings.minute(now),
        now,
    )
    return BusyCalendar(
        [BusyPeriod(_time(starts), _time(ends)) for starts, ends in await _stored(offering)],
        [
            Conflict(uuid.UUID(booking), status, _time(starts), _time(ends))
            for booking, status, starts, ends in rows
        ],
    )


async def _stored(offering: uuid.UUID) -> list[tuple[int, int]]:
    rows = await engine.rows(
        "SELECT starts, ends FROM busy_time WHERE offering = $1 AND ends > $2 ORDER BY starts",
        offering,
        bookings.minute(base.now()),
    )
    return [(starts, ends) for starts, ends in rows]


def _spans(events: list[Event], first: dt.date, last: dt.date) -> Iterator[tuple[int, int]]:
    """The times of all events between two dates, in any order."""
    steps = recurrence.Steps(_STEPS)
    replaced: dict[str, set[dt.date | None]] = defaultdict(set)
    masters = {event.uid: event for event in events if not event.replaces}
    for event in events:
        if event.replaces:
            replaced[event.uid].add(masters.get(event.uid, event).date_of(event.replaces))
    for event in events:
        if event.is_cancelled or event.is_free:
            continue
        gone = {event.date_of(moment) for moment in event.skipped}
        if not event.replaces:
            gone |= replaced[event.uid]
        for starts, length in _occurrences(event, gone, (first, last), steps):
            if length and starts.wall.date() <= last:
                yield _minutes(starts, length)


def _occurrences(
    event: Event,
    gone: set[dt.date | None],
    span: tuple[dt.date, dt.date],
    steps: recurrence.Steps,
) -> Iterator[tuple[Moment, dt.timedelta]]:
    """When an event begins, from its first time on or from so long before the span that it still
    runs then."""
    begin = event.starts.wall.date()
    # An event whose first time is none of its rule takes place then, too.
    dates = {begin}
    if event.rule:
        since = dt.date.fromordinal(max(span[0].toordinal() - event.length.days - 1, 1))
        last = min(event.last_date(), span[1])
        found = recurrence.dates(event.rule, begin, since, steps)
        dates |= set(itertools.takewhile(lambda day: day <= last, found))
    clock = event.starts.wall.time()
    for day in dates - gone:
        yield Moment(dt.datetime.combine(day, clock), event.starts.zone), event.length
    for extra in event.extra:
        if event.date_of(extra.starts) not in gone:
            yield extra.starts, event.length if extra.length is None else extra.length


def _minutes(starts: Moment, length: dt.timedelta) -> tuple[int, int]:
    zone = ZoneInfo(starts.zone)
    begin = starts.wall.replace(tzinfo=zone).astimezone(dt.UTC)
    end = (starts.wall + length).replace(tzinfo=zone).astimezone(dt.UTC)
    # A minute that is begun is gone.
    return bookings.minute(begin), -(-int(end.timestamp()) // 60)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for starts, ends in sorted(spans):
        if starts >= ends:
            continue
        if merged and starts <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], ends)
        else:
            merged.append((starts, ends))
    return merged


def _time(minute: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(minute * 60, dt.UTC)
