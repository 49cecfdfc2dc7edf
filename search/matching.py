"""Rank: which offerings fit each slot of a need, why, and why not the others; and the reverse."""

from __future__ import annotations

import heapq
import uuid

import msgspec
from msgspec import Struct

from models import accounts, disclosure, needs, offerings, places, services, snapshots, values
from search import bundles, candidates, scoring, turns, whynot
from search.bundles import Bundle
from search.gates import NeedFacts, OfferingFacts
from search.scoring import Exclusion, Match, Weights

# Offerings whose keys are worked out in one go: about a millisecond.
_KEYED_AT_ONCE = 32
# The same for needs, of which each slot is compared: two milliseconds.
_NEEDS_AT_ONCE = 8


class SlotRanking(Struct, frozen=True):
    """The answer for one slot: the best matches, and, when asked for, who was left out and why.

    `excluded` lists near misses first (one gate shut), each group by the score it would have;
    `excluded_total` and `funnel` count all that were looked at.
    """

    role: str
    matches: tuple[Match, ...]
    excluded: tuple[Exclusion, ...] | None
    excluded_total: int | None
    funnel: tuple[whynot.Funnel, ...] | None


class Compared(Struct, frozen=True):
    """One offering that was shown, with all that was compared."""

    slot: values.Slot
    offering: OfferingFacts
    match: Match


class Content(Struct, frozen=True, omit_defaults=True):
    """What a snapshot keeps of a ranking, or of bundles: enough to work it out again."""

    need: NeedFacts
    weights: Weights
    compared: tuple[Compared, ...]
    bundles: tuple[Bundle, ...] = ()


class Ranking(Struct, frozen=True):
    """The answer for a need, and what it was worked out from."""

    slots: tuple[SlotRanking, ...]
    content: Content


class NeedMatch(Struct, frozen=True):
    """A need that an offering fits, and in which role."""

    need_id: str
    role: str
    match: Match


class Replay(Struct, frozen=True):
    """A stored comparison worked out again: each score then and now, and each bundle's."""

    same: bool
    scores: tuple[tuple[str, int, int], ...]
    bundles: tuple[tuple[int, int], ...] = ()


async def rank(
    need: NeedFacts,
    place: uuid.UUID,
    slots: tuple[values.Slot, ...],
    sees: accounts.Visibility,
    *,
    limit: int,
    excluded: bool,
) -> Ranking:
    """The best `limit` offerings for each slot; with `excluded`, also who was left out and why."""
    (service,) = await services.refer("service_type", (need.service_type,))
    weights = candidates.weights_of(service)
    ranked, compared = [], []
    for slot in slots:
        fitting = await candidates.fitting(need, place, slot, sees)
        shown = await _best(need, slot, fitting, weights, limit)
        compared += [Compared(slot, offering, match) for offering, match in shown]
        matches = tuple(match for _, match in shown)
        if not excluded:
            ranked.append(SlotRanking(slot.role, matches, None, None, None))
            continue
        out = await whynot.left_out(need, place, slot, sees, weights, fitting, limit)
        ranked.append(SlotRanking(slot.role, matches, out.excluded, out.total, out.funnel))
    return Ranking(tuple(ranked), Content(need, weights, tuple(compared)))


async def keep(need_id: uuid.UUID, content: Content) -> str:
    """Store what was compared; the same comparison is stored once. Answers its digest."""
    return await snapshots.keep(need_id, msgspec.json.encode(content, order="sorted"))


def replay(content: bytes) -> Replay:
    """Work a stored comparison out again from what was kept of it."""
    kept = msgspec.json.decode(content, type=Content)
    scores = []
    for entry in kept.compared:
        again = scoring.evaluate(kept.need, entry.slot, entry.offering, kept.weights)
        now = again.score if isinstance(again, Match) else -1
        scores.append((entry.offering.id, entry.match.score, now))
    together = []
    for bundle in kept.bundles:
        *each, score = bundles.again(kept.need, kept.weights, bundle)
        scores += [
            (member.offering.id, member.match.score, now)
            for member, now in zip(bundle.members, each, strict=True)
        ]
        together.append((bundle.score, score))
    same = [then == now for *_, then, now in (*scores, *together)]
    return Replay(all(same), tuple(scores), tuple(together))


def homes(content: bytes) -> frozenset[str]:
    """The ids of what a stored comparison knows exactly where it lives: to be shown only to those
    who may know that, too. Whatever lies on its public point tells nobody anything."""
    kept = msgspec.json.decode(content, type=Content)
    members = [member.offering for bundle in kept.bundles for member in bundle.members]
    compared = [*(entry.offering for entry in kept.compared), *members]
    at_home = [kept.need] + [there for there in compared if there.kind in offerings.AT_HOME]
    return frozenset(
        there.id
        for there in at_home
        if there.lat_e6 is not None
        and there.lon_e6 is not None
        and disclosure.snapped(there.lat_e6, there.lon_e6) != (there.lat_e6, there.lon_e6)
    )


async def needs_for(
    offering: offerings.OfferingRecord, sees: accounts.Visibility, *, limit: int
) -> list[NeedMatch]:
    """The open needs that an offering fits, best first: the same scores as the other way round."""
    found = []
    for service in await services.refer("service_types", offering.service_types):
        weights = candidates.weights_of(service)
        near = await needs.open_for(service.slug, sees, candidates.needs_near(offering))
        asking = await disclosure.all_shown(sees, near)
        at = {need.place_id for need in asking}
        compared = await candidates.by_place(offering.id, at, sees)
        zones = await places.timezones(at)
        async for several in turns.pieces(asking, _NEEDS_AT_ONCE):
            for need in several:
                facts = candidates.need_facts(need, zones[need.place_id])
                for slot in need.slots:
                    match = scoring.evaluate(facts, slot, compared[need.place_id], weights)
                    if isinstance(match, Match):
                        found.append(NeedMatch(str(need.id), slot.role, match))
    found.sort(key=lambda entry: (*scoring.sort_key(entry.match)[:2], entry.need_id, entry.role))
    return found[:limit]


async def _best(
    need: NeedFacts,
    slot: values.Slot,
    fitting: list[OfferingFacts],
    weights: Weights,
    limit: int,
) -> list[tuple[OfferingFacts, Match]]:
    """Rank all by key alone, then explain the few that are shown."""
    keyed: list[tuple[scoring.Key, OfferingFacts]] = []
    async for several in turns.pieces(fitting, _KEYED_AT_ONCE):
        for offering in several:
            key = scoring.rank_key(need, slot, offering, weights)
            if key is not None:
                keyed.append((key, offering))
    shown = []
    for _, offering in heapq.nsmallest(limit, keyed, key=lambda pair: pair[0]):
        match = scoring.evaluate(need, slot, offering, weights)
        assert isinstance(match, Match)
        shown.append((offering, match))
    return shown
