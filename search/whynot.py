"""Why not: who around a need was left out of a slot, by which gates, and who came nearest.

Thousands are counted by their columns alone (`gates.Sieve`); the facts of an offering are read,
and its score and reasons worked out, only for those that may be shown.
"""

from __future__ import annotations

import heapq
import uuid
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from models import accounts, values
from search import candidates, gates, scoring, turns
from search.gates import NeedFacts, OfferingFacts
from search.scoring import Exclusion, Weights

# Offerings of which the gates are asked in one go: a millisecond or two.
_AT_ONCE = 128
_SCORED_AT_ONCE = 16


class Funnel(Struct, frozen=True):
    """How many of the offerings looked at a gate keeps out, and how many it keeps out alone."""

    gate: str
    excluded: int
    alone: int


class LeftOut(Struct, frozen=True):
    """Who was left out: the nearest misses explained, how many there are, and by which gates."""

    excluded: tuple[Exclusion, ...]
    total: int
    funnel: tuple[Funnel, ...]


async def left_out(
    need: NeedFacts,
    place: uuid.UUID,
    slot: values.Slot,
    sees: accounts.Visibility,
    weights: Weights,
    fitting: Sequence[OfferingFacts],
    limit: int,
    apart_from: frozenset[str] = frozenset(),
) -> LeftOut:
    """Those around the need, and those of `fitting`, that a gate of the slot keeps out. All are
    counted; whoever one of the gates `apart_from` keeps out is not among the nearest."""
    around = await candidates.around(need, place, slot, sees)
    shut = await _shut(need, slot, around)
    # What the sieve knows too little of: the gates are asked of its facts.
    booked = [seen.id for seen in around if seen.booked]
    further = await candidates.known_of(booked, need, place, slot, sees)
    further += [offering for offering in fitting if offering.id not in shut]
    async for several in turns.pieces(further, _SCORED_AT_ONCE):
        for offering in several:
            names = gates.failing(gates.case_of(need, slot, offering))
            shut[offering.id] = sum(gates.BITS[name] for name in names)
    apart = sum(gates.BITS[name] for name in apart_from)
    near = _nearest({who: bits for who, bits in shut.items() if not bits & apart}, limit)
    facts = {offering.id: offering for offering in (*fitting, *further)}
    unread = [identity for identity in near if identity not in facts]
    read = await candidates.known_of(unread, need, place, slot, sees)
    chosen = [*(facts[identity] for identity in near if identity in facts), *read]
    shown = await _explained(need, slot, chosen, weights, limit)
    counted = Counter(shut.values())
    return LeftOut(shown, len(shut) - counted[0], _funnel(counted))


async def _shut(
    need: NeedFacts, slot: values.Slot, around: Sequence[gates.Glance]
) -> dict[str, int]:
    """The bits of the gates that are shut for each offering around; 0 for those that fit."""
    licences = await candidates.licences_at(around, slot)
    sieve = gates.Sieve(need, slot, candidates.words, candidates.hours)
    shut: dict[str, int] = {}
    async for several in turns.pieces(around, _AT_ONCE):
        found = sieve.shut(several, licences)
        shut.update(zip((seen.id for seen in several), found, strict=True))
    return shut


def _nearest(shut: dict[str, int], limit: int) -> list[str]:
    """Those with so few gates shut that they are among the first `limit`, however they score."""
    by_count: dict[int, list[str]] = {}
    for identity, bits in shut.items():
        if bits:
            by_count.setdefault(bits.bit_count(), []).append(identity)
    near: list[str] = []
    for count in sorted(by_count):
        if len(near) >= limit:
            break
        near += by_count[count]
    return near


async def _explained(
    need: NeedFacts,
    slot: values.Slot,
    chosen: Sequence[OfferingFacts],
    weights: Weights,
    limit: int,
) -> tuple[Exclusion, ...]:
    """The first `limit`: fewest gates shut, then the score they would have, then id."""
    scored: list[tuple[tuple[int, int, str], OfferingFacts]] = []
    async for several in turns.pieces(chosen, _SCORED_AT_ONCE):
        for offering in several:
            result = scoring.evaluate(need, slot, offering, weights)
            if isinstance(result, Exclusion):
                key = (len(result.gates), -result.would_score, offering.id)
                scored.append((key, offering))
    first = [of for _, of in heapq.nsmallest(limit, scored, key=lambda pair: pair[0])]
    shown: list[Exclusion] = []
    async for several in turns.pieces(first, 1):
        results = (scoring.evaluate(need, slot, of, weights, explain=True) for of in several)
        shown += (result for result in results if isinstance(result, Exclusion))
    return tuple(shown)


def _funnel(counted: Counter[int]) -> tuple[Funnel, ...]:
    """The gates that keep somebody out, those that keep out most first."""
    steps = [
        Funnel(
            gate,
            sum(count for bits, count in counted.items() if bits & bit),
            counted[bit],
        )
        for gate, bit in gates.BITS.items()
    ]
    return tuple(sorted((s for s in steps if s.excluded), key=lambda s: -s.excluded))
