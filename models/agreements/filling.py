"""How much of a need is taken: seats of its roles, and places of its beneficiaries.

Taken by one conditional UPDATE, never read and then written, so that nobody is given what
somebody else was given at the same moment.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from msgspec import Struct

from models import base, engine, errors, needs

# The role that stands for the places of the beneficiaries.
PLACES = ""


class Fill(Struct, frozen=True):
    """How many seats of a role, or places, are wanted and taken."""

    role: str
    wanted: int
    taken: int


async def take(need: needs.NeedRecord, shares: Mapping[str, int]) -> None:
    """Take so many seats of each role, and places. Refuses more than is missing (`filled`).

    Of a role that the need no longer has nothing is missing. Whoever takes holds the rows until
    the end of the transaction, always in the same order.
    """
    for role in sorted(shares):
        await _know(need, role)
        taken = await engine.rows(
            "UPDATE need_fill SET taken = taken + $1"
            " WHERE need = $2 AND role = $3 AND taken + $1 <= wanted RETURNING taken",
            shares[role],
            need.id,
            role,
        )
        if not taken:
            there = (await of(need)).get(role, Fill(role, 0, 0))
            left = max(there.wanted - there.taken, 0)
            raise errors.Refusal("filled", what=role or "places", left=left)


async def give_back(need_id: uuid.UUID, shares: Mapping[str, int]) -> None:
    """Free seats and places again; the need asks for them anew."""
    for role in sorted(shares):
        await engine.execute(
            "UPDATE need_fill SET taken = taken - $1 WHERE need = $2 AND role = $3",
            shares[role],
            need_id,
            role,
        )
    if shares:
        await needs.reopen(need_id)


async def of(need: needs.NeedRecord) -> dict[str, Fill]:
    """How much is wanted and taken of each role, and of the places where the need names any."""
    taken = dict(await engine.rows("SELECT role, taken FROM need_fill WHERE need = $1", need.id))
    wanted = {slot.role: slot.quantity for slot in need.slots}
    if need.beneficiaries:
        wanted[PLACES] = need.beneficiaries
    return {role: Fill(role, count, taken.get(role, 0)) for role, count in wanted.items()}


async def is_full(need: needs.NeedRecord) -> bool:
    """Whether every seat and every place is taken."""
    return all(one.taken >= one.wanted for one in (await of(need)).values())


async def change_need(need: needs.NeedRecord, change: needs.NeedChange) -> needs.NeedRecord:
    """Change a need as `needs.change` does; one that asks for no more than is taken is closed."""
    async with engine.unit_of_work():
        changed = await needs.change(need, change)
        if not await is_full(changed):
            return changed
        await needs.close(need.id)
        return await needs.read(need.id)


async def hold(need: needs.NeedRecord) -> None:
    """Nobody else takes or gives back places of this need until the end of the transaction."""
    await _know(need, PLACES)


async def _know(need: needs.NeedRecord, role: str) -> None:
    """Have a row that says how many are wanted now, and hold it."""
    await engine.execute(
        "INSERT INTO need_fill (id, need, role, wanted, taken) VALUES ($1, $2, $3, $4, 0)"
        # Of a need that asks for less than it has nothing is missing; it may be given back.
        " ON CONFLICT (need, role) DO UPDATE SET wanted = CASE"
        " WHEN excluded.wanted > need_fill.taken THEN excluded.wanted ELSE need_fill.taken END",
        base.new_id(),
        need.id,
        role,
        _wanted(need, role),
    )


def _wanted(need: needs.NeedRecord, role: str) -> int:
    if role == PLACES:
        return need.beneficiaries
    return sum(slot.quantity for slot in need.slots if slot.role == role)
