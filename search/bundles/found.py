"""The best bundles of a problem, with their scores and the time they share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from models.values import Slot
from search import gates, scoring, windows
from search.bundles import levels
from search.bundles.choosing import Chosen, Search
from search.bundles.problem import Problem
from search.gates import NeedFacts, OfferingFacts
from search.scoring import Match, Weights


class Member(Struct, frozen=True):
    """Who fills a role of a bundle; the match is with the space, if the bundle has one."""

    slot: Slot
    offering: OfferingFacts
    match: Match


class Shared(Struct, frozen=True):
    """The common time of a bundle: `minutes` of the `asked` ones, and when, in UTC minutes.

    No `times` if it is all of what was asked for.
    """

    minutes: int
    asked: int
    times: tuple[windows.Interval, ...] = ()


class Bundle(Struct, frozen=True):
    """Offerings that together fill every role of a need in one time window.

    `score` is the mean of the roles, each the mean of its members, rounded down.
    """

    score: int
    members: tuple[Member, ...]
    shared: Shared


def top(problem: Problem, limit: int) -> tuple[Bundle, ...]:
    """The best bundle, then the best of those that share no more than half of their members with
    any before, and so on. Few where many could serve are looked at closely; if they do not go
    together, all are."""
    search = Search(problem.capped())
    chosen: list[Chosen] = []
    while len(chosen) < limit:
        best = search.best([bundle.ids for bundle in chosen])
        if best is None and not chosen and search.problem is not problem:
            search = Search(problem)
            best = search.best()
        if best is None:
            break
        chosen.append(best)
    return tuple(explained(problem, bundle) for bundle in chosen)


def explained(problem: Problem, chosen: Chosen) -> Bundle:
    """A bundle with its score, and why each of its members has theirs."""
    members = tuple(
        Member(role.slot, c.offering, _match(problem, role.slot, c.offering, chosen.spots))
        for role, several in zip(problem.roles, chosen.members, strict=True)
        for c in several
    )
    asked = sum(end - start for start, end in problem.timeline.occurrences)
    shared = Shared(asked, asked)
    if chosen.common is not None:
        times = problem.timeline.times(chosen.common)
        shared = Shared(sum(end - start for start, end in times), asked, times)
    return Bundle(score([(m.slot, m.match.score) for m in members]), members, shared)


def _match(
    problem: Problem, slot: Slot, offering: OfferingFacts, spots: tuple[gates.Spot, ...]
) -> Match:
    match = at_spots(problem.need, slot, offering, problem.weights, spots)
    assert isinstance(match, Match)
    return match


def at_spots(
    need: NeedFacts,
    slot: Slot,
    offering: OfferingFacts,
    weights: Weights,
    spots: tuple[gates.Spot, ...],
) -> Match | scoring.Exclusion:
    """A member as it is in a bundle: it serves at the spaces, and a space where it is."""
    return scoring.evaluate(
        need, slot, offering, weights, spots=() if slot.kind == "space" else spots
    )


def score(members: Sequence[tuple[Slot, int]]) -> int:
    """The score of a bundle from those of its members: each role counts the same."""
    quantities = {slot.role: slot.quantity for slot, _ in members}
    common = math.lcm(*quantities.values())
    total = sum(value * (common // slot.quantity) for slot, value in members)
    return total // (common * len(quantities))


def again(need: NeedFacts, weights: Weights, bundle: Bundle) -> tuple[int, ...]:
    """The scores of a stored bundle worked out again, its members' first and its own last; -1 is
    somebody whom a gate keeps out."""
    spaces = [member.offering for member in bundle.members if member.slot.kind == "space"]
    spots = levels.spots(spaces)
    results = [at_spots(need, m.slot, m.offering, weights, spots) for m in bundle.members]
    scores = [result.score if isinstance(result, Match) else -1 for result in results]
    together = score([(m.slot, s) for m, s in zip(bundle.members, scores, strict=True)])
    return (*scores, together)
