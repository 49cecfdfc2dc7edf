"""Bundle: who can fill all the roles of a need together; and if nobody can, what is missing."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from models import accounts, base, engine, services, values
from search import bundles, candidates, matching
from search.gates import NeedFacts, OfferingFacts
from search.scoring import Weights

Offered = list[tuple[values.Slot, list[OfferingFacts]]]

# A search is a fraction of a second of pure Python: in a thread, so that others are served
# meanwhile, and one at a time, or they would wait for several.
_searching = asyncio.Semaphore(1)
# Partners of these kinds are one person.
_PERSONS = ("resident", "sole_trader")


class Short(Struct, frozen=True):
    """A role that takes `wanted` members and that only `found` can take; and who was left out."""

    wanted: int
    found: int
    ranking: matching.SlotRanking


class Bundling(Struct, frozen=True):
    """The best bundles for a need; if there are none, the roles that too few can take, or what
    keeps those who could take them from going together."""

    found: tuple[bundles.Bundle, ...]
    short: tuple[Short, ...]
    obstacles: tuple[bundles.Obstacle, ...]
    content: matching.Content


async def bundle(
    need: NeedFacts,
    place: uuid.UUID,
    slots: tuple[values.Slot, ...],
    sees: accounts.Visibility,
    *,
    limit: int,
) -> Bundling:
    """The best `limit` bundles; no two of them share more than half of their members."""
    (service,) = await services.refer("service_type", (need.service_type,))
    weights = candidates.weights_of(service)
    offered = await _offered(need, place, slots, sees)
    persons = await _persons(offered)
    async with _searching:
        problem, found, obstacles = await asyncio.to_thread(
            _search, need, offered, weights, persons, limit
        )
    short = []
    for role in problem.short():
        ranking = await matching.rank(need, place, (role.slot,), sees, limit=1, excluded=True)
        short.append(Short(role.slot.quantity, len(role.candidates), ranking.slots[0]))
    return Bundling(found, tuple(short), obstacles, matching.Content(need, weights, (), found))


def _search(
    need: NeedFacts,
    offered: Offered,
    weights: Weights,
    persons: frozenset[str],
    limit: int,
) -> tuple[bundles.Problem, tuple[bundles.Bundle, ...], tuple[bundles.Obstacle, ...]]:
    problem = bundles.prepare(need, offered, weights, persons)
    found = bundles.top(problem, limit)
    if found or problem.short():
        return problem, found, ()
    return problem, (), bundles.obstacles(problem)


async def _offered(
    need: NeedFacts, place: uuid.UUID, slots: Sequence[values.Slot], sees: accounts.Visibility
) -> Offered:
    """Who may pass the gates of each slot; who serves at a space need not reach the need itself."""
    reach = all(slot.kind != "space" for slot in slots)
    return [
        (slot, await candidates.fitting(need, place, slot, sees, reach=reach)) for slot in slots
    ]


async def _persons(offered: Offered) -> frozenset[str]:
    """Those partners that are one person, of those who offer several things for one team."""
    asked = sorted(
        {
            partner
            for slot, several in offered
            if slot.quantity > 1
            for partner, times in Counter(offering.partner for offering in several).items()
            if times > 1
        }
    )
    found: set[str] = set()
    for start in range(0, len(asked), 500):
        where = base.Where()
        where.add(f"id IN ({where.values(asked[start : start + 500])})")
        where.add(f"kind IN ({where.values(_PERSONS)})")
        rows = await engine.rows(f"SELECT CAST(id AS text) FROM partner WHERE {where}", *where.args)
        found |= {partner for (partner,) in rows}
    return frozenset(found)
