"""Which spaces are parts of which: site > floor > room, and who holds them while booking.

A space and what it is part of are never in use at the same time, so each has its **kin**: all that
it lies in and all that lies in it. Whoever books in a tree, or changes it, first holds its top.
`models/spaces.py` changes trees.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Literal

from piccolo.columns import UUID, BigSerial, ForeignKey, Integer, Varchar
from piccolo.table import Table

from models import base, engine, errors, offerings

Level = Literal["room", "floor", "site"]
# From the smallest up; each is part of a larger one only, so a tree has three levels and no cycle.
RANK: dict[Level, int] = {"room": 0, "floor": 1, "site": 2}


class Space(Table):
    """Where a space offering stands in its tree, and its area."""

    id = UUID(primary_key=True)
    offering = ForeignKey(offerings.Offering, null=False)
    level = Varchar(length=8, null=False)
    parent = ForeignKey(offerings.Offering, null=True, default=None)
    area_m2 = Integer(null=True, default=None)


class SpaceKin(Table):
    """One row for each space and each that lies in it or that it lies in; so each pair twice."""

    id = UUID(primary_key=True)
    offering = ForeignKey(offerings.Offering, null=False)
    relative = ForeignKey(offerings.Offering, null=False)


class Bookable(Table):
    """One row per offering that was ever booked: whoever books it holds this row's lock. Its number
    and a minute make the one integer range that must not overlap."""

    number = BigSerial(primary_key=True)
    offering = ForeignKey(offerings.Offering, null=False)


async def root_of(offering: uuid.UUID) -> uuid.UUID:
    """What a space lies in at the very top; of what is part of nothing, itself."""
    rows = await engine.rows(
        "SELECT COALESCE(above.parent, s.parent, s.offering) FROM space s"
        " LEFT JOIN space above ON above.offering = s.parent WHERE s.offering = $1",
        offering,
    )
    return base.as_id(rows[0][0]) if rows else offering


async def _tops(offering_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """The tops of the trees of several spaces; of any other offering, itself."""
    return {await root_of(offering) for offering in offering_ids}


async def of(space: uuid.UUID) -> list[uuid.UUID]:
    """What a space lies in and what lies in it, in no particular order."""
    rows = await engine.rows("SELECT relative FROM space_kin WHERE offering = $1", space)
    return [base.as_id(relative) for (relative,) in rows]


async def join(inside: list[uuid.UUID], above: list[uuid.UUID]) -> None:
    """Make kin of the spaces of a subtree and what it lies in from now on, and of nothing else
    outside of it."""
    where = base.Where()
    part = where.values(inside)
    await engine.execute(
        f"DELETE FROM space_kin WHERE offering IN ({part}) AND relative NOT IN ({part})"
        f" OR relative IN ({part}) AND offering NOT IN ({part})",
        *where.args,
    )
    pairs = [pair for low in inside for high in above for pair in ((low, high), (high, low))]
    if pairs:
        await SpaceKin.insert(
            *(SpaceKin(id=base.new_id(), offering=one, relative=other) for one, other in pairs)
        )


async def lock(offering: offerings.OfferingRecord) -> int:
    """Have nobody else book this offering, or any space of its tree, until the end of the
    transaction; answers its number."""
    if offering.kind == "space":
        await lock_tops([offering.id])
    return await _lock(offering.id)


async def lock_tops(offering_ids: Sequence[uuid.UUID]) -> None:
    """Hold the tops of the trees of these offerings, always in the same order: whoever books in a
    tree or changes it holds that first. Refuses when one is changed at the same moment."""
    tops = await _tops(offering_ids)
    for top in sorted(tops):
        await _lock(top)
    if tops != await _tops(offering_ids):
        raise errors.Refusal("conflict")


async def _lock(offering: uuid.UUID) -> int:
    """Hold the row of one offering until the end of the transaction; answers its number."""
    ((number,),) = await engine.rows(
        "INSERT INTO bookable (offering) VALUES ($1) ON CONFLICT (offering)"
        " DO UPDATE SET offering = excluded.offering RETURNING number",
        offering,
    )
    return int(number)
