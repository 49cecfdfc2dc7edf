"""Weekly windows as iCalendar (RFC 5545) and back."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
from msgspec import Struct

from models import offerings, values
from models.calendars import reading, recurrence, writing
from models.calendars.reading import Event, Moment, refused

# Where a window without a first date begins: iCalendar knows no recurrence without a start. Nothing
# counts the days before.
_ALWAYS = dt.date(1970, 1, 5)
_FIRST_KEPT = _ALWAYS + dt.timedelta(days=7)
# From here on the moment may be one of a year that no calendar has.
_FOR_EVER = dt.date(9999, 12, 30)
_DAY = dt.timedelta(days=1)
# An availability has so many windows, a window so many exceptions; and so many dates may be looked
# at, and named one by one.
MAX_WINDOWS = 64
_MAX_EVENTS = 1000
_MAX_SKIPPED = 366
_MAX_DATES = 1000
_STEPS = 200_000


class _Hours(Struct, frozen=True):
    """A time of day on the wall of a zone, as a window writes it."""

    start: str
    end: str
    zone: str


def export(offering: offerings.OfferingRecord) -> bytes:
    """The availability of an offering: one event per window, with its rule and its exceptions.

    It survives the way back, but for what nobody can tell from the outside: a first date moves to
    the first weekday of the window after it, one before 1970 is none at all, and a window that
    never takes place is left out.
    """
    calendar = writing.calendar(offering.title)
    zones = set()
    for number, window in enumerate(offering.availability):
        if event := _event(offering, window, number):
            calendar.add_component(event)
            zones.add(window.timezone)
    return writing.whole(calendar, zones)


def windows(text: bytes, zone: str) -> tuple[values.Window, ...]:
    """The windows of a calendar; times without a zone are of `zone`.

    What recurs every week becomes a window without end or with its last date; what ends and recurs
    otherwise, or happens once, the windows of its dates. An event that replaces one occurrence of
    another takes its place. Refuses what cannot be said so: other rules without an end, times that
    are no whole minutes, and more than a day at a time.
    """
    found = reading.events(text, zone, _MAX_EVENTS)
    if not found:
        raise refused("no events: to be there at no time, PATCH the availability")
    try:
        steps = recurrence.Steps(_STEPS)
        made = list(itertools.islice(_all_windows(found, steps), MAX_WINDOWS + 1))
    except (ValueError, OverflowError) as error:
        raise refused(str(error)[:200]) from None
    if not 1 <= len(made) <= MAX_WINDOWS:
        raise refused(f"1 to {MAX_WINDOWS} windows")
    return tuple(dict.fromkeys(made))


def _event(
    offering: offerings.OfferingRecord, window: values.Window, number: int
) -> icalendar.Event | None:
    first = _first(window)
    if first is None:
        return None
    zone = ZoneInfo(window.timezone)
    event = icalendar.Event()
    event.add("uid", f"{offering.id}-{number}@community-partners")
    event.add("dtstamp", offering.updated_at.astimezone(dt.UTC))
    event.add("summary", writing.both(offering.title))
    event.add("dtstart", dt.datetime.combine(first, _clock(window.start), tzinfo=zone))
    event.add("dtend", _ends(first, window, zone))
    event.add("transp", "TRANSPARENT")
    rule: dict[str, Any] = {
        "freq": "weekly",
        "byday": [recurrence.DAYS[day - 1] for day in window.days],
    }
    if window.until:
        rule["until"] = _until(window.until, window, zone)
    event.add("rrule", rule)
    for day in window.except_:
        event.add("exdate", dt.datetime.combine(day, _clock(window.start), tzinfo=zone))
    return event


def _first(window: values.Window) -> dt.date | None:
    """The first date of a window from 1970 on, exceptions aside; None if there is none."""
    begin = max(window.from_ or _ALWAYS, _ALWAYS).toordinal()
    end = min((window.until or dt.date.max).toordinal(), dt.date.max.toordinal() - 2)
    for day in range(begin, min(begin + 7, end + 1)):
        if (day - 1) % 7 + 1 in window.days:
            return dt.date.fromordinal(day)
    return None


def _until(last: dt.date, window: values.Window, zone: ZoneInfo) -> dt.datetime:
    if last >= _FOR_EVER:
        return dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    return dt.datetime.combine(last, _clock(window.start), tzinfo=zone).astimezone(dt.UTC)


def _ends(first: dt.date, window: values.Window, zone: ZoneInfo) -> dt.datetime:
    later = window.end == "24:00" or window.end <= window.start
    return dt.datetime.combine(first + _DAY if later else first, _clock(window.end), tzinfo=zone)


def _clock(text: str) -> dt.time:
    return dt.time() if text == "24:00" else dt.time.fromisoformat(text)


def _all_windows(found: Sequence[Event], steps: recurrence.Steps) -> Iterator[values.Window]:
    """An event's own windows, without the occurrences that others replace, and those others."""
    replaced: dict[str, list[Moment]] = defaultdict(list)
    for event in found:
        if event.replaces:
            replaced[event.uid].append(event.replaces)
    for event in found:
        if event.is_cancelled:
            continue
        gone = () if event.replaces else replaced[event.uid]
        yield from _windows(event, [*event.skipped, *gone], steps)


def _windows(
    event: Event, skipped: Sequence[Moment], steps: recurrence.Steps
) -> Iterator[values.Window]:
    if event.replaces and event.rule:
        raise ValueError("an occurrence that is replaced by what recurs itself")
    gone = {event.date_of(moment) for moment in skipped}
    dates, first = _ruled(event, steps), event.starts.wall.date()
    if dates is None:
        weekly = _weekly(event, gone)
        for hours, shift in _hours(event.starts, event.length):
            yield _shifted(weekly, shift, hours)
    else:
        kept = [day for day in dates if day not in gone]
        yield from _on_dates(kept, event.starts, event.length)
    for extra in event.extra:
        same = extra.starts.seen_in(event.starts.zone).time() == event.starts.wall.time()
        day = extra.starts.seen_in(event.starts.zone).date()
        if same and (day in gone or day == first):
            continue
        length = event.length if extra.length is None else extra.length
        yield from _on_dates([extra.starts.wall.date()], extra.starts, length)


def _ruled(event: Event, steps: recurrence.Steps) -> list[dt.date] | None:
    """The dates on which an event begins, exceptions not left out; None if they go on every week
    for ever or until a date."""
    first, rule = event.starts.wall.date(), event.rule
    if rule is None:
        return [first]
    synchronized = next(recurrence.dates(rule, first, first, steps), None) == first
    if not synchronized:
        raise ValueError("DTSTART is none of the times of its rule")
    if rule.is_weekly and rule.count is None:
        return None
    if rule.count is None and rule.until is None:
        raise ValueError("what recurs for ever recurs every week: give the others COUNT or UNTIL")
    found = recurrence.dates(rule, first, first, steps)
    if rule.until:
        last = event.last_date()
        found = itertools.takewhile(lambda day: day <= last, found)
    dates = list(itertools.islice(found, _MAX_DATES + 1))
    if len(dates) > _MAX_DATES:
        raise ValueError(f"at most {_MAX_DATES} times of one event")
    return dates


def _weekly(event: Event, gone: set[dt.date | None]) -> values.Window:
    """A rule that is the same every week as a window; its hours are still to be filled in."""
    first, rule = event.starts.wall.date(), event.rule
    assert rule is not None
    days = tuple(day for _, day in rule.by_day)
    if not days:
        days = (1, 2, 3, 4, 5, 6, 7) if rule.frequency == "DAILY" else (first.isoweekday(),)
    return values.Window(
        days=days,
        start="00:00",
        end="24:00",
        from_=None if _ALWAYS <= first < _FIRST_KEPT else first,
        until=event.last_date() if rule.until else None,
        except_=tuple(sorted(day for day in gone if day)),
    )


def _hours(starts: Moment, length: dt.timedelta) -> list[tuple[_Hours, int]]:
    """The hours of an event, and how many days after its first date: whole days one by one."""
    if starts.is_day:
        if length.seconds or length.days > 31:
            raise ValueError("whole days: at most 31 at a time")
        return [(_Hours("00:00", "24:00", starts.zone), day) for day in range(length.days)]
    ends = starts.wall + length
    if starts.wall.second or ends.second or ends.microsecond:
        raise ValueError("times are whole minutes")
    if not dt.timedelta() < length <= _DAY:
        raise ValueError("an event lasts at most a day, and not no time at all")
    midnight = ends.time() == dt.time()
    end = "24:00" if midnight else f"{ends:%H:%M}"
    return [(_Hours(f"{starts.wall:%H:%M}", end, starts.zone), 0)]


def _shifted(window: values.Window, days: int, hours: _Hours) -> values.Window:
    """A window so many days later, at these hours."""
    later = days * _DAY
    if len(window.except_) > _MAX_SKIPPED:
        raise ValueError(f"at most {_MAX_SKIPPED} exceptions of one event")
    return values.Window(
        days=tuple((day - 1 + days) % 7 + 1 for day in window.days),
        start=hours.start,
        end=hours.end,
        timezone=hours.zone,
        from_=window.from_ and window.from_ + later,
        until=window.until and _no_later(window.until, later),
        except_=tuple(day + later for day in window.except_),
    )


def _no_later(day: dt.date, later: dt.timedelta) -> dt.date:
    return day if day >= _FOR_EVER else day + later


def _on_dates(
    dates: list[dt.date], starts: Moment, length: dt.timedelta
) -> Iterator[values.Window]:
    """Windows for what begins on these dates alone: each from its first to its last, all others
    excepted."""
    parts = _hours(starts, length)
    hours = parts[0][0]
    chunk: list[dt.date] = []
    for day in sorted({day + shift * _DAY for day in dates for _, shift in parts}):
        if chunk and len(_missing([*chunk, day])) > _MAX_SKIPPED:
            yield _window(chunk, hours)
            chunk = []
        chunk.append(day)
    if chunk:
        yield _window(chunk, hours)


def _window(dates: list[dt.date], hours: _Hours) -> values.Window:
    return values.Window(
        days=tuple(sorted({day.isoweekday() for day in dates})),
        start=hours.start,
        end=hours.end,
        timezone=hours.zone,
        from_=dates[0],
        until=dates[-1],
        except_=tuple(_missing(dates)),
    )


def _missing(dates: list[dt.date]) -> list[dt.date]:
    """The dates between the first and the last that are none of them, of their weekdays."""
    weekdays, chosen = {day.isoweekday() for day in dates}, set(dates)
    between = range(dates[0].toordinal(), min(dates[-1].toordinal(), dates[0].toordinal() + 5000))
    every = (dt.date.fromordinal(day) for day in between)
    return [day for day in every if day.isoweekday() in weekdays and day not in chosen]
