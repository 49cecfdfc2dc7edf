"""Pools: places that are counted and shared by the hour, with a ledger of how many there are.

An offering whose places are booked becomes a pool with the first row of its ledger. From then on
its capacity changes through the ledger alone, which the database itself sees to, and never falls
below what is booked.
"""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct
from piccolo.columns import UUID, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.table import Table

from models import base, bookings, engine, errors, kin, offerings, outbox

# Why there are more or fewer places. For counting, so no free text.
Reason = Literal["rearranged", "built", "removed", "out_of_order", "repaired", "recounted", "other"]
_MOST = 1_000_000
_EVER = 1 << 53
_SELECT = "SELECT id, delta, capacity_before AS before, capacity_after AS after, reason, at, by"


class PoolEntry(Table):
    """One change of a pool's capacity, never changed itself; `number` counts those of a pool."""

    id = UUID(primary_key=True)
    offering = ForeignKey(offerings.Offering, null=False)
    number = Integer(null=False)
    delta = Integer(null=False)
    capacity_before = Integer(null=False)
    capacity_after = Integer(null=False)
    reason = Varchar(length=16, null=False)
    at = Timestamptz(null=False)
    by = UUID(null=False)


class EntryDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """So many places more, or fewer, and why."""

    delta: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
    reason: Reason

    def __post_init__(self) -> None:
        if self.delta == 0:
            raise ValueError("delta: not 0")


class EntryRecord(Struct, kw_only=True):
    """A row of the ledger: how many places there were and are, why, since when, and by whom."""

    id: uuid.UUID
    delta: int
    before: int
    after: int
    reason: Reason
    at: dt.datetime
    by: uuid.UUID


async def adjust(
    offering: offerings.OfferingRecord, draft: EntryDraft, by: uuid.UUID
) -> EntryRecord:
    """Add places to a pool, or take some away; the first time makes it one.

    Refuses what is booked whole or has no capacity, and fewer places than none or than are booked
    at some time to come.
    """
    if offering.kind in bookings.WHOLE:
        raise errors.Refusal("wrong_state", has=offering.kind, needed="merchant | goods")
    async with engine.unit_of_work() as work:
        await kin.lock(offering)
        before = (await offerings.read(offering.id)).capacity
        if before is None:
            raise errors.Refusal("wrong_state", has="capacity: null", needed="capacity")
        after = before + draft.delta
        if not 0 <= after <= _MOST:
            needed = f"{-before} to {_MOST - before}"
            raise errors.refuse_field("delta", "out_of_range", needed=needed)
        if draft.delta < 0:
            await refuse_booked(offering.id, after, "delta")
        entry = await _write(offering.id, before, draft, by)
        if not await engine.fetch(
            "UPDATE offering SET capacity = $1, version = version + 1, updated_at = $2"
            " WHERE id = $3 AND capacity = $4 AND status <> 'withdrawn' RETURNING id",
            after,
            base.now(),
            offering.id,
            before,
        ):
            raise errors.Refusal("conflict")
        await outbox.append(
            work,
            "offering.changed",
            offering.id,
            place=offering.place_id,
            action="pool.adjusted",
            delta=draft.delta,
            reason=draft.reason,
        )
        rows = await engine.fetch(f"{_SELECT} FROM pool_entry WHERE id = $1", entry)
        return base.record(rows[0], EntryRecord)


async def ledger(
    offering_id: uuid.UUID, *, after: uuid.UUID | None, limit: int
) -> list[EntryRecord]:
    """Up to `limit` rows of the ledger of a pool, the last ones first."""
    where = base.Where()
    where.add("offering = {}", offering_id)
    where.page("id", after)
    rows = await engine.fetch(
        f"{_SELECT} FROM pool_entry WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [base.record(row, EntryRecord) for row in rows]


async def refuse_unwritten(offering_id: uuid.UUID, capacity: int | None) -> None:
    """Refuse another capacity of a pool, by whoever holds its lock and writes no ledger."""
    rows = await engine.rows(
        "SELECT capacity_after FROM pool_entry WHERE offering = $1 ORDER BY number DESC LIMIT 1",
        offering_id,
    )
    if rows and rows[0][0] != capacity:
        raise errors.refuse_field("capacity", "ledger_only", needed=str(rows[0][0]))


async def refuse_booked(offering: uuid.UUID, places: int, field: str) -> None:
    """Refuse a field that leaves fewer places than are booked at some time to come, by whoever
    holds the lock of the offering."""
    moment = base.now()
    # A hold that is over is over, whatever the clock of whoever confirms it says.
    await bookings.free([offering], moment)
    since = bookings.minute(moment)
    there = await bookings.taken_of([offering], since, _EVER, moment)
    times = crowded(there.get(str(offering), []), places, since)
    if times:
        raise errors.refuse_field(field, "booked_ahead", times=bookings.named(times))


def crowded(times: Sequence[bookings.Time], places: int, since: int) -> list[bookings.Time]:
    """The times from a minute on at which more than so many places are taken, and the most that
    are taken then."""
    steps: Counter[int] = Counter()
    for time in times:
        steps[max(time.starts, since)] += time.quantity
        steps[time.ends] -= time.quantity
    found: list[bookings.Time] = []
    taken = 0
    for starts, ends in itertools.pairwise(sorted(steps)):
        taken += steps[starts]
        if taken > places:
            last = found.pop() if found and found[-1].ends == starts else None
            found.append(
                bookings.Time(last.starts, ends, max(last.quantity, taken))
                if last
                else bookings.Time(starts, ends, taken)
            )
    return found


async def _write(offering: uuid.UUID, before: int, draft: EntryDraft, by: uuid.UUID) -> uuid.UUID:
    ((number,),) = await engine.rows(
        "SELECT count(*) FROM pool_entry WHERE offering = $1", offering
    )
    entry = base.new_id()
    await PoolEntry.insert(
        PoolEntry(
            id=entry,
            offering=offering,
            number=number + 1,
            delta=draft.delta,
            capacity_before=before,
            capacity_after=before + draft.delta,
            reason=draft.reason,
            at=base.now(),
            by=by,
        )
    )
    return entry
