"""Bookings: times of an offering that are given away, so that nobody is given them twice.

A space or a person is booked whole: no two live bookings of it overlap, and the database itself
refuses those that would (an exclusion constraint on PostgreSQL, triggers on SQLite). Of a
merchant's service or of goods, places are booked: at no minute more than its capacity. A space
that is part of another is booked together with it: see `models/kin.py`.
"""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from piccolo.columns import UUID, BigInt, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, kin, needs, offerings, outbox
from models.partners import Partner

BookingStatus = Literal["held", "confirmed", "cancelled", "expired"]
# Booked whole; of the other kinds, places are.
WHOLE = frozenset({"space", "volunteer", "vanguard"})
LIVE = "b.status IN ('held', 'confirmed')"
# So far ahead may be booked, and so long may one booking be.
AHEAD, LONGEST = dt.timedelta(days=366), dt.timedelta(days=31)
# So many times that are in the way are named.
_NAMED = 5
_MINUTE = dt.timedelta(minutes=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# What a record has of a booking `b` and its offering `o`.
COLUMNS = (
    "b.*, b.offering AS offering_id, b.need AS need_id, b.place AS place_id,"
    " b.commitment AS commitment_id, b.booked_for AS group_id, b.series AS series_id,"
    " o.partner AS partner_id"
)
_SELECT = f"SELECT {COLUMNS} FROM booking b JOIN offering o ON o.id = b.offering"


class Booking(Table):
    """A time of an offering, in UTC minutes since 1970, half-open. `unit` is its bookable's number
    where it is booked whole."""

    id = UUID(primary_key=True)
    offering = ForeignKey(offerings.Offering, null=False)
    # The offering's, for whoever may see it.
    place = UUID(null=False)
    need = ForeignKey(needs.Need, null=True, default=None)
    # What of an agreement it fulfils, if it does.
    commitment = UUID(null=True, default=None)
    booked_by = UUID(null=False)
    # The resident group that meets then, and what was booked together with it.
    booked_for = ForeignKey(Partner, null=True, default=None)
    series = UUID(null=True, default=None)
    unit = BigInt(null=True, default=None)
    starts = BigInt(null=False)
    ends = BigInt(null=False)
    quantity = Integer(null=False)
    status = Varchar(length=16, null=False)
    held_until = Timestamptz(null=True, default=None)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class BookingDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """A time to book, on whole minutes: `quantity` places of it, or the whole of a space or person.

    With `hold_s` it is only held for so many seconds, and free again unless it is confirmed.
    """

    starts_at: dt.datetime
    ends_at: dt.datetime
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    need_id: uuid.UUID | None = None
    hold_s: Annotated[int, Meta(ge=1, le=604_800)] | None = None


class BookingRecord(Struct, kw_only=True):
    """A booking as its own people read it."""

    id: uuid.UUID
    offering_id: uuid.UUID
    place_id: uuid.UUID
    partner_id: uuid.UUID
    need_id: uuid.UUID | None
    commitment_id: uuid.UUID | None
    booked_by: uuid.UUID
    group_id: uuid.UUID | None
    series_id: uuid.UUID | None
    starts_at: dt.datetime
    ends_at: dt.datetime
    quantity: int
    status: BookingStatus
    held_until: dt.datetime | None
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


class Time(Struct, frozen=True):
    """A time that is booked: UTC minutes, half-open, and how many places of it. One that is `busy`,
    by an outside calendar, has none and leaves none."""

    starts: int
    ends: int
    quantity: int
    busy: bool = False


async def book(
    offering: offerings.OfferingRecord, draft: BookingDraft, booked_by: uuid.UUID
) -> BookingRecord:
    """Book a time of an offering, which the caller has found to be open then, and for a need which
    the caller may see.

    Refuses a time that is taken, past or more than a year ahead, an offering that is not on offer,
    and more places than are left.
    """
    time = Time(*times(draft), draft.quantity)
    if offering.kind in WHOLE and draft.quantity != 1:
        raise errors.refuse_field("quantity", "out_of_range", needed="1")
    async with engine.unit_of_work() as work:
        (made,) = await take(
            offering, [time], hold_s=draft.hold_s, need=draft.need_id, booked_by=booked_by
        )
        await _announce(work, made, offering.place_id, "booking.made")
        return await read(made)


async def take(
    offering: offerings.OfferingRecord,
    asked: Sequence[Time],
    *,
    hold_s: int | None = None,
    **columns: Any,
) -> list[uuid.UUID]:
    """Give away times of an offering, sorted by their start, all or none; answers the ids of the
    bookings in that order. The caller tells the outbox."""
    try:
        async with engine.unit_of_work():
            unit = await kin.lock(offering)
            # One moment for all: a hold is over and its row says so, or it still counts.
            moment = base.now()
            until = moment + dt.timedelta(seconds=hold_s) if hold_s else None
            relatives = await kin.of(offering.id) if offering.kind == "space" else []
            await free([offering.id, *relatives], moment)
            offering = await _on_offer(offering.id)
            span = asked[0].starts, max(time.ends for time in asked)
            there = await taken_of([offering.id], *span, moment)
            _refuse_taken(offering, asked, there.get(str(offering.id), []))
            made = [base.new_id() for _ in asked]
            shared = {
                "offering": offering.id,
                "place": offering.place_id,
                "need": None,
                "commitment": None,
                "booked_for": None,
                "series": None,
                "unit": unit if offering.kind in WHOLE else None,
                "status": "held" if until else "confirmed",
                "held_until": until,
                "version": 1,
                "created_at": moment,
                "updated_at": moment,
                **columns,
            }
            rows = [
                {
                    "id": identity,
                    "starts": time.starts,
                    "ends": time.ends,
                    "quantity": time.quantity,
                    **shared,
                }
                for identity, time in zip(made, asked, strict=True)
            ]
            await base.insert_all(Booking, rows)
            return made
    except engine.CONFLICTS:
        # The lock makes this unheard of; the constraint is there for whoever goes round it.
        raise errors.Refusal("conflict") from None


async def book_times(
    offering_id: uuid.UUID,
    times: Sequence[tuple[int, int]],
    quantity: int,
    *,
    need: uuid.UUID,
    commitment: uuid.UUID,
    booked_by: uuid.UUID,
) -> None:
    """Book an offering for a commitment at each of the times (UTC minutes), all or none.

    Refuses as `book` does; what is in the way is named.
    """
    offering = await offerings.read(offering_id)
    asked = [Time(*time, quantity) for time in sorted(times)]
    async with engine.unit_of_work() as work:
        made = await take(offering, asked, need=need, commitment=commitment, booked_by=booked_by)
        await outbox.append(
            work,
            "booking.changed",
            offering.id,
            place=offering.place_id,
            action="booking.series_made",
            commitment=str(commitment),
            bookings=len(made),
        )


async def give_back_times(commitment: uuid.UUID, since: int) -> int:
    """Cancel what is booked for a commitment from a minute on; answers how many."""
    async with engine.unit_of_work() as work:
        free = await engine.fetch(
            "UPDATE booking SET status = 'cancelled', held_until = NULL, version = version + 1,"
            " updated_at = $1 WHERE commitment = $2 AND starts >= $3"
            " AND status IN ('held', 'confirmed') RETURNING offering, place",
            base.now(),
            commitment,
            since,
        )
        if free:
            await outbox.append(
                work,
                "booking.changed",
                base.as_id(free[0]["offering"]),
                place=base.as_id(free[0]["place"]),
                action="booking.series_cancelled",
                commitment=str(commitment),
                bookings=len(free),
            )
    return len(free)


async def confirm(booking: BookingRecord) -> BookingRecord:
    """Keep a held booking for good. Refuses one whose hold is over."""
    return await _move(booking, ("held",), "confirmed")


async def cancel(booking: BookingRecord) -> BookingRecord:
    """Give a time back; it is free for others from now on. Refuses one that an agreement needs:
    that is ended, or its member swapped."""
    if booking.commitment_id:
        raise errors.Refusal("in_use", what=f"commitment {booking.commitment_id}")
    return await _move(booking, ("held", "confirmed"), "cancelled")


async def expire() -> int:
    """Free every time whose hold is over; answers how many."""
    moment = base.now()
    # Asked often and nearly always in vain: not as a writer.
    due = "SELECT 1 FROM booking WHERE status = 'held' AND held_until <= $1 LIMIT 1"
    return await _expire(base.Where(), moment) if await engine.rows(due, moment) else 0


async def free(offering_ids: Sequence[uuid.UUID], moment: dt.datetime) -> None:
    """Free the times of these offerings whose hold is over at a moment."""
    where = base.Where()
    where.add(f"offering IN ({where.values(offering_ids)})")
    await _expire(where, moment)


async def give_back(column: Literal["offering", "need"], subject: uuid.UUID) -> None:
    """Cancel whatever is still booked of an offering, or for a need, that is gone for good."""
    where = base.Where()
    where.add(f"{column} = {{}} AND status IN ('held', 'confirmed')", subject)
    await _give_back(where)


async def give_back_ahead(partner: uuid.UUID, statuses: Sequence[BookingStatus]) -> None:
    """Cancel times in these states of all that a partner offers, but those that have begun: what
    has been, and what is going on, stays as it was."""
    where = base.Where()
    where.add("offering IN (SELECT id FROM offering WHERE partner = {})", partner)
    where.add("starts > {}", minute(base.now()))
    where.add(f"status IN ({where.values(statuses)})")
    await _give_back(where)


async def hold_still(partner: uuid.UUID) -> None:
    """Have nobody book anything of a partner until the end of the transaction."""
    rows = await engine.rows("SELECT id FROM offering WHERE partner = $1 ORDER BY id", partner)
    offered = await offerings.read_many([base.as_id(offering) for (offering,) in rows])
    await kin.lock_tops([offering.id for offering in offered if offering.kind == "space"])
    for offering in offered:
        await kin.lock(offering)


async def read(
    booking_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> BookingRecord:
    """One booking, or the not-found refusal: for a missing one and somebody else's alike."""
    where = base.Where()
    where.add("b.id = {}", booking_id)
    sees.restrict(where, _of_groups(where, sees), "b.place", "o.partner")
    rows = await engine.fetch(f"{_SELECT} WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return shape(rows[0])


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    offering: uuid.UUID | None = None,
    need: uuid.UUID | None = None,
    status: str | None = None,
) -> list[BookingRecord]:
    """Up to `limit` bookings of the caller's own places and partners, newest first."""
    where = base.Where()
    sees.restrict(where, _of_groups(where, sees), "b.place", "o.partner")
    if offering:
        where.add("b.offering = {}", offering)
    if need:
        where.add("b.need = {}", need)
    if status:
        where.add("b.status = {}", status)
    where.page("b.id", after)
    rows = await engine.fetch(
        f"{_SELECT} WHERE {where} ORDER BY b.id DESC LIMIT {int(limit)}", *where.args
    )
    return [shape(row) for row in rows]


async def taken_of(
    offering_ids: Iterable[uuid.UUID | str], starts: int, ends: int, at: dt.datetime
) -> dict[str, list[Time]]:
    """What is given away of each offering between two minutes, by its id as text: with quantity 0
    of the kin of a space, and `busy` where an outside calendar has it. What is held no longer at
    the moment `at` is not."""
    where = base.Where()
    asked = where.values(base.as_id(identity) for identity in offering_ids)
    where.add("b.ends > {} AND b.starts < {}", starts, ends)
    busy = str(where)
    where.add(f"{LIVE} AND (b.held_until IS NULL OR b.held_until > {{}})", at)
    kin_of = f"space_kin k JOIN {{}} b ON b.offering = k.relative WHERE k.offering IN ({asked})"
    found: dict[str, list[Time]] = {}
    for offering, begin, end, quantity, elsewhere in await engine.rows(
        f"SELECT CAST(b.offering AS text), b.starts, b.ends, b.quantity, 0 FROM booking b"
        f" WHERE b.offering IN ({asked}) AND {where}"
        f" UNION ALL SELECT CAST(b.offering AS text), b.starts, b.ends, 0, 1 FROM busy_time b"
        f" WHERE b.offering IN ({asked}) AND {busy}"
        " UNION ALL SELECT CAST(k.offering AS text), b.starts, b.ends, 0, 0"
        f" FROM {kin_of.format('booking')} AND {where}"
        " UNION ALL SELECT CAST(k.offering AS text), b.starts, b.ends, 0, 1"
        f" FROM {kin_of.format('busy_time')} AND {busy} ORDER BY 2, 3, 4",
        *where.args,
    ):
        found.setdefault(offering, []).append(Time(begin, end, quantity, bool(elsewhere)))
    return found


def peak(times: Iterable[Time], starts: int) -> int:
    """The most places that are taken at once from a minute on."""
    steps = [(max(time.starts, starts), time.quantity) for time in times]
    steps += [(time.ends, -time.quantity) for time in times]
    # What ends at a minute goes before what begins there.
    return max(itertools.accumulate((change for _, change in sorted(steps)), initial=0))


async def _on_offer(offering_id: uuid.UUID) -> offerings.OfferingRecord:
    public = accounts.Visibility()
    (offering,) = await offerings.read_many([offering_id], public) or (None,)
    if offering is None:
        has = (await offerings.read(offering_id)).status
        raise errors.Refusal("wrong_state", has=has, needed="active, its partner admitted")
    return offering


def _refuse_taken(
    offering: offerings.OfferingRecord, asked: Sequence[Time], there: list[Time]
) -> None:
    whole = [t for t in there if offering.kind in WHOLE or t.busy]
    if taken := [t for t in whole if any(_overlap(t, time) for time in asked)]:
        raise errors.Refusal("already_booked", times=named(taken, len(asked)))
    if offering.kind not in WHOLE and offering.capacity is not None:
        for time in asked:
            meanwhile = [t for t in there if _overlap(t, time)]
            left = offering.capacity - peak(meanwhile, time.starts)
            if time.quantity > left:
                raise errors.Refusal("full", left=max(left, 0))


def _overlap(one: Time, other: Time) -> bool:
    return one.starts < other.ends and other.starts < one.ends


def named(taken: Sequence[Time], asked: int = 1) -> str:
    """Times as a refusal names them: the first few, or of a series that was asked for all."""
    several = taken if asked > 1 else taken[:_NAMED]
    return ", ".join(f"{moment_of(t.starts):%F %H:%M}–{moment_of(t.ends):%H:%M}" for t in several)


def _of_groups(where: base.Where, sees: accounts.Visibility) -> str:
    """The condition for what a resident group has booked, for its own people."""
    if sees.everything or not sees.partners:
        return "1 = 0"
    return f"b.booked_for IN ({where.values(sorted(sees.partners))})"


async def _expire(where: base.Where, moment: dt.datetime) -> int:
    where.add("status = 'held' AND held_until <= {}", moment)
    async with engine.unit_of_work() as work:
        over = await engine.fetch(
            "UPDATE booking SET status = 'expired', version = version + 1, updated_at ="
            f" {where.value(moment)} WHERE {where} RETURNING id, place",
            *where.args,
        )
        for row in over:
            await _announce(
                work, base.as_id(row["id"]), base.as_id(row["place"]), "booking.expired"
            )
    return len(over)


async def _give_back(where: base.Where) -> None:
    moment = where.value(base.now())
    async with engine.unit_of_work() as work:
        free = await engine.fetch(
            "UPDATE booking SET status = 'cancelled', held_until = NULL, version = version + 1,"
            f" updated_at = {moment} WHERE {where} RETURNING id, place",
            *where.args,
        )
        for row in free:
            await _announce(
                work, base.as_id(row["id"]), base.as_id(row["place"]), "booking.cancelled"
            )


async def _move(
    booking: BookingRecord, before: tuple[BookingStatus, ...], status: BookingStatus
) -> BookingRecord:
    needed = " | ".join(before)
    over = booking.held_until is not None and booking.held_until <= base.now()
    if booking.status not in before or (booking.status == "held" and over):
        has = "expired" if booking.status == "held" else booking.status
        raise errors.Refusal("wrong_state", has=has, needed=needed)
    async with engine.unit_of_work() as work:
        await base.update(Booking, booking, {"status": status, "held_until": None})
        await _announce(work, booking.id, booking.place_id, f"booking.{status}")
        return await read(booking.id)


async def _announce(work: engine.Work, booking: uuid.UUID, place: uuid.UUID, action: str) -> None:
    await outbox.append(work, "booking.changed", booking, place=place, action=action)


def times(draft: BookingDraft) -> tuple[int, int]:
    """When a draft begins and ends, in minutes. Refuses what is no time to book, by its field."""
    now = base.now()
    for field in ("starts_at", "ends_at"):
        value: dt.datetime = getattr(draft, field)
        if value.tzinfo is None:
            raise errors.refuse_field(field, "wrong_format", needed="a time with its offset")
        if value.second or value.microsecond:
            raise errors.refuse_field(field, "wrong_format", needed="a whole minute")
    if not now - _MINUTE < draft.starts_at <= now + AHEAD:
        needed = f"from now on, at most {AHEAD.days} days ahead"
        raise errors.refuse_field("starts_at", "out_of_range", needed=needed)
    if not dt.timedelta() < draft.ends_at - draft.starts_at <= LONGEST:
        needed = f"after starts_at, at most {LONGEST.days} days"
        raise errors.refuse_field("ends_at", "out_of_range", needed=needed)
    return minute(draft.starts_at), minute(draft.ends_at)


def minute(moment: dt.datetime) -> int:
    """UTC minutes since 1970 of a time, rounded down."""
    return (moment - _EPOCH) // _MINUTE


def moment_of(minutes: int) -> dt.datetime:
    """The time of so many UTC minutes since 1970."""
    return _EPOCH + minutes * _MINUTE


def shape(row: dict[str, Any]) -> BookingRecord:
    """A row of `COLUMNS` as a record."""
    times = {"starts_at": moment_of(row["starts"]), "ends_at": moment_of(row["ends"])}
    return base.record({**row, **times}, BookingRecord)
