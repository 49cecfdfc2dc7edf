"""Spaces as things: the tree site > floor > room, and whether a space is in use at all.

A room holds no more people than its floor, a floor no more than its site. That is said of each
space by itself: of the rooms that are booked at the same time nothing is added up. Whoever changes
a tree, or a capacity in it, holds the row of its top, as whoever books in it does.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct
from piccolo.columns import UUID, ForeignKey, Timestamptz, Varchar
from piccolo.table import Table

from models import base, bookings, engine, errors, kin, offerings, outbox, pools

Condition = Literal["idle", "converting", "active"]
# Why the condition of a space changes. For counting, so no free text.
Reason = Literal[
    "vacated",
    "abandoned",
    "handed_over",
    "works_begun",
    "works_stopped",
    "works_done",
    "damaged",
    "repurposed",
    "other",
]
# From each condition to which: nothing comes into use that was not converted.
LEADS_TO: dict[Condition, tuple[Condition, ...]] = {
    "idle": ("converting",),
    "converting": ("active", "idle"),
    "active": ("idle", "converting"),
}
# So many spaces may lie in one.
MAX_PARTS = 500


class ConditionChange(Table):
    """One row per change of a space's condition, never changed itself."""

    id = UUID(primary_key=True)
    offering = ForeignKey(offerings.Offering, null=False)
    before = Varchar(length=16, null=False)
    condition = Varchar(length=16, null=False)
    reason = Varchar(length=16, null=False)
    at = Timestamptz(null=False)
    by = UUID(null=False)


class SpaceDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """Where a space stands: its level, and the space of a higher one that it is part of."""

    level: kin.Level
    parent_id: uuid.UUID | None = None
    area_m2: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None


class SpaceRecord(Struct, kw_only=True):
    """A space in its tree. `version` is that of its offering."""

    offering_id: uuid.UUID
    level: kin.Level
    parent_id: uuid.UUID | None
    area_m2: int | None
    version: int


class ConditionDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """The condition that a space comes to, and why."""

    condition: Condition
    reason: Reason


class ConditionRecord(Struct, kw_only=True):
    """A change of condition: from what to what, why, when, and by which account."""

    id: uuid.UUID
    before: Condition
    condition: Condition
    reason: Reason
    at: dt.datetime
    by: uuid.UUID


async def place(offering: offerings.OfferingRecord, draft: SpaceDraft) -> SpaceRecord:
    """Say where a space stands, with all that is part of it.

    Refuses what is no space; a parent that is not of the same partner and place, or of no higher
    level; a capacity above the parent's; and bookings that would be at the same time as others.
    """
    _refuse_other(offering)
    async with engine.unit_of_work() as work:
        # Once before anything is held, so that only spaces are, and once more then.
        await _above(offering, draft)
        await kin.lock_tops([offering.id, *([draft.parent_id] if draft.parent_id else [])])
        above = await _above(offering, draft)
        below = await _below(offering.id)
        _refuse_level(draft.level, below)
        await engine.execute("DELETE FROM space WHERE offering = $1", offering.id)
        await kin.Space.insert(
            kin.Space(
                id=base.new_id(),
                offering=offering.id,
                level=draft.level,
                parent=draft.parent_id,
                area_m2=draft.area_m2,
            )
        )
        inside = [offering.id, *(part for part, _ in below)]
        await kin.join(inside, above)
        await _refuse_crowd(above[-1] if above else offering.id)
        await _refuse_overfull(offering.id)
        await _refuse_clash(inside, above)
        await base.update(offerings.Offering, offering, {})
        await outbox.append(
            work,
            "offering.changed",
            offering.id,
            place=offering.place_id,
            action="space.placed",
            parent=str(draft.parent_id) if draft.parent_id else None,
        )
        return await _read(offering.id)


async def change(
    offering: offerings.OfferingRecord, change: offerings.OfferingChange
) -> offerings.OfferingRecord:
    """Change an offering as `offerings.change` does; its capacity only as its tree, the ledger of
    its pool, or what is booked of its places allows."""
    if change.capacity is UNSET:
        return await offerings.change(offering, change)
    async with engine.unit_of_work():
        await kin.lock(offering)
        await pools.refuse_unwritten(offering.id, change.capacity)
        if change.capacity is not None and offering.kind not in bookings.WHOLE:
            await pools.refuse_booked(offering.id, change.capacity, "capacity")
        changed = await offerings.change(offering, change)
        await _refuse_overfull(offering.id)
        return changed


async def convert(
    offering: offerings.OfferingRecord, draft: ConditionDraft, by: uuid.UUID
) -> ConditionRecord:
    """Bring a space into another condition, which is that of itself and not of what is part of it.
    What is not active is neither matched nor booked; once active, it is on offer.

    Refuses what is no space, a step that is none, and bookings that are still to come.
    """
    _refuse_other(offering)
    async with engine.unit_of_work() as work:
        await kin.lock(offering)
        offering = await offerings.read(offering.id)
        before = _condition(offering)
        if draft.condition not in LEADS_TO[before]:
            starts = [name for name, leads in LEADS_TO.items() if draft.condition in leads]
            raise errors.Refusal("wrong_state", has=before, needed=" | ".join(starts))
        await _refuse_booked(offering.id)
        await base.update(offerings.Offering, offering, {"status": draft.condition})
        change_id = base.new_id()
        await ConditionChange.insert(
            ConditionChange(
                id=change_id,
                offering=offering.id,
                before=before,
                condition=draft.condition,
                reason=draft.reason,
                at=base.now(),
                by=by,
            )
        )
        await outbox.append(
            work,
            "offering.changed",
            offering.id,
            place=offering.place_id,
            action="space.converted",
            condition=draft.condition,
            reason=draft.reason,
        )
        rows = await engine.fetch("SELECT * FROM condition_change WHERE id = $1", change_id)
        return base.record(rows[0], ConditionRecord)


async def history(
    offering_id: uuid.UUID, *, after: uuid.UUID | None, limit: int
) -> list[ConditionRecord]:
    """Up to `limit` changes of the condition of a space, the last ones first."""
    where = base.Where()
    where.add("offering = {}", offering_id)
    where.page("id", after)
    rows = await engine.fetch(
        f"SELECT * FROM condition_change WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [base.record(row, ConditionRecord) for row in rows]


async def _read(offering: uuid.UUID) -> SpaceRecord:
    rows = await engine.fetch(
        "SELECT s.offering AS offering_id, s.level, s.parent AS parent_id, s.area_m2, o.version"
        " FROM space s JOIN offering o ON o.id = s.offering WHERE s.offering = $1",
        offering,
    )
    return base.record(rows[0], SpaceRecord)


def _condition(offering: offerings.OfferingRecord) -> Condition:
    if offering.status == "withdrawn":
        raise errors.Refusal("wrong_state", has="withdrawn", needed=" | ".join(LEADS_TO))
    if offering.status in ("idle", "converting"):
        return offering.status
    return "active"


def _refuse_other(offering: offerings.OfferingRecord) -> None:
    if offering.kind != "space":
        raise errors.Refusal("wrong_state", has=offering.kind, needed="space")


async def _below(offering: uuid.UUID) -> list[tuple[uuid.UUID, kin.Level]]:
    """What lies in a space, directly or further down, with its level."""
    rows = await engine.rows(
        "SELECT offering, level FROM space WHERE parent = $1 OR parent IN"
        " (SELECT offering FROM space WHERE parent = $1)",
        offering,
    )
    return [(base.as_id(part), level) for part, level in rows]


async def _above(offering: offerings.OfferingRecord, draft: SpaceDraft) -> list[uuid.UUID]:
    """The parent of a draft and what that lies in; refuses one that cannot be its parent."""
    if draft.parent_id is None:
        return []
    rows = await engine.rows(
        "SELECT s.level, s.parent, o.partner, o.place FROM space s"
        " JOIN offering o ON o.id = s.offering WHERE s.offering = $1 AND o.status <> 'withdrawn'",
        draft.parent_id,
    )
    higher = [name for name, rank in kin.RANK.items() if rank > kin.RANK[draft.level]]
    level, parent, *owner = rows[0] if rows else (None, None)
    ours = [str(offering.partner_id), str(offering.place_id)]
    theirs = [str(one) for one in owner]
    if level not in higher or theirs != ours or draft.parent_id == offering.id:
        needed = f"{' | '.join(higher) or '-'}, same partner_id and place_id"
        raise errors.refuse_field("parent_id", "wrong_parent", kind=draft.level, needed=needed)
    return [draft.parent_id, *([base.as_id(parent)] if parent else [])]


def _refuse_level(level: kin.Level, below: Sequence[tuple[uuid.UUID, kin.Level]]) -> None:
    highest = max((kin.RANK[part] for _, part in below), default=-1)
    if kin.RANK[level] <= highest:
        needed = " | ".join(name for name, rank in kin.RANK.items() if rank > highest)
        raise errors.refuse_field("level", "out_of_range", needed=needed or "-")


async def _refuse_crowd(top: uuid.UUID) -> None:
    parts = len(await kin.of(top))
    if parts > MAX_PARTS:
        raise errors.Refusal("too_many", count=parts, what="spaces", limit=MAX_PARTS)


async def _refuse_overfull(offering: uuid.UUID) -> None:
    """No space holds more than what it is part of; one without a capacity holds any number."""
    rows = await engine.rows(
        "SELECT up.capacity, down.capacity FROM space s"
        " JOIN offering down ON down.id = s.offering JOIN offering up ON up.id = s.parent"
        " WHERE (s.offering = $1 OR s.parent = $1) AND up.capacity IS NOT NULL"
        " AND (down.capacity IS NULL OR down.capacity > up.capacity)"
        " ORDER BY COALESCE(down.capacity, 1000001) DESC LIMIT 1",
        offering,
    )
    if rows:
        most, has = rows[0]
        raise errors.refuse_field(
            "capacity", "over_capacity", most=most, has="-" if has is None else has
        )


async def _refuse_clash(inside: Sequence[uuid.UUID], above: Sequence[uuid.UUID]) -> None:
    """Refuse bookings of a subtree at the same time as those of what it comes to lie in."""
    if not above:
        return
    moment = base.now()
    await bookings.free([*inside, *above], moment)
    where = base.Where()
    where.add(f"b.offering IN ({where.values(inside)}) AND {bookings.LIVE}")
    where.add("b.ends > {}", bookings.minute(moment))
    taken = await engine.rows(
        "SELECT b.starts, b.ends, b.quantity FROM booking b JOIN booking other"
        f" ON other.offering IN ({where.values(above)}) AND other.status IN ('held', 'confirmed')"
        f" AND other.ends > b.starts AND other.starts < b.ends WHERE {where} ORDER BY b.starts",
        *where.args,
    )
    if taken:
        times = [bookings.Time(*time) for time in taken]
        raise errors.Refusal("already_booked", times=bookings.named(times))


async def _refuse_booked(offering: uuid.UUID) -> None:
    moment = base.now()
    await bookings.free([offering], moment)
    rows = await engine.rows(
        "SELECT b.starts, b.ends, b.quantity FROM booking b WHERE b.offering = $1"
        f" AND b.ends > $2 AND {bookings.LIVE} ORDER BY b.starts",
        offering,
        bookings.minute(moment),
    )
    if rows:
        times = [bookings.Time(*time) for time in rows]
        raise errors.Refusal("booked_ahead", times=bookings.named(times))
