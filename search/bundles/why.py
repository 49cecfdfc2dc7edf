"""Why nobody goes together although every role could be filled: the joint rule in the way, the
values compared, and the smallest change that would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from search import gates
from search.bundles.choosing import Chosen, Search
from search.bundles.levels import RULES, Aim, Rule, Spaces, host, lacking, travel_m
from search.bundles.problem import Candidate, Problem, Role
from search.gates import Mend


class Cure(Struct, frozen=True):
    """A change that would do: to the need, or to this offering."""

    mend: Mend
    offering: str | None = None


class Obstacle(Struct, frozen=True):
    """A joint rule that is in the way, and in which roles.

    If it is `alone`, its cures are enough; else those of all obstacles together are.
    """

    rule: Rule
    roles: tuple[str, ...]
    needed: Any
    has: Any
    cures: tuple[Cure, ...]
    alone: bool


def obstacles(problem: Problem) -> tuple[Obstacle, ...]:
    """What is in the way of a problem without a bundle: each rule without which there would be
    one; if no single rule is enough, a smallest set of them."""
    single: list[frozenset[Rule]] = [frozenset({rule}) for rule in RULES]
    enough = [rules for rules in single if _without(problem, rules)]
    if not enough:
        needed = frozenset(RULES)
        for rule in RULES:
            if _without(problem, needed - {rule}):
                needed -= {rule}
        enough = [needed]
    return tuple(
        _TELLS[rule](problem, rules, len(rules) == 1)
        for rules in enough
        for rule in RULES
        if rule in rules
    )


def _without(problem: Problem, rules: frozenset[Rule]) -> bool:
    return Search(problem, rules).best(first=True) is not None


def _nearest(problem: Problem, rules: frozenset[Rule], aim: Aim | None = None) -> Chosen:
    """The bundle that breaks the rules least; any, if it would take too long to find."""
    found = Search(problem, rules, aim).best() or Search(problem, rules).best(first=True)
    assert found is not None
    return found


def _members(problem: Problem, chosen: Chosen) -> list[tuple[Role, Candidate]]:
    pairs = zip(problem.roles, chosen.members, strict=True)
    return [(role, candidate) for role, several in pairs for candidate in several]


def _spaces(problem: Problem, chosen: Chosen) -> Spaces:
    return tuple(c for role, c in _members(problem, chosen) if role.slot.kind == "space")


def _budget(problem: Problem, rules: frozenset[Rule], alone: bool) -> Obstacle:
    chosen = _nearest(problem, rules, lambda role, c, spaces, metres: -c.yearly)
    need = problem.need
    yearly = sum(candidate.yearly for _, candidate in _members(problem, chosen))
    case = gates.case_of(need, problem.roles[0].slot, problem.roles[0].candidates[0].offering)
    amount = -(-yearly // gates.per_year(case, 1, need.per))
    price = {"amount": amount, "currency": need.currency, "per": need.per}
    has = {"amount": need.budget_amount, "currency": need.currency, "per": need.per}
    cure = Cure(Mend("raise_budget", "need", "budget", price))
    return Obstacle("budget", (), price, has, (cure,), alone)


def _time(problem: Problem, rules: frozenset[Rule], alone: bool) -> Obstacle:
    """By halving: the largest share of every window in which some bundle is complete."""
    low, high, others = 0, problem.need.min_coverage, rules - {"time"}
    while high - low > 1:
        share = (low + high) // 2
        reached = Search(problem, others, share=share).best(first=True) is not None
        low, high = (share, high) if reached else (low, share)
    roles = tuple(role.slot.role for role in problem.roles if _is_partly_free(role))
    cure = Cure(Mend("lower_coverage", "need", "min_coverage", low))
    return Obstacle("time", roles, problem.need.min_coverage, low, (cure,), alone)


def _is_partly_free(role: Role) -> bool:
    return any(candidate.free is not None for candidate in role.candidates)


def _features(problem: Problem, rules: frozenset[Rule], alone: bool) -> Obstacle:
    chosen = _nearest(
        problem, rules, lambda role, c, spaces, metres: -len(lacking(c.offering, spaces))
    )
    spaces = _spaces(problem, chosen)
    roles: list[str] = []
    added: dict[Candidate, set[str]] = {}
    for role, candidate in _members(problem, chosen):
        if lacking(candidate.offering, spaces):
            roles.append(role.slot.role)
            space, missing = host(candidate.offering, spaces)
            added.setdefault(space, set()).update(missing)
    cures = []
    for space, features in sorted(added.items(), key=lambda item: item[0].offering.id):
        value = [*space.offering.features, *sorted(features)]
        mend = Mend("add_feature", "offering", "features", value, {"add": sorted(features)})
        cures.append(Cure(mend, space.offering.id))
    wanted = sorted({feature for features in added.values() for feature in features})
    return Obstacle("features", tuple(dict.fromkeys(roles)), wanted, [], tuple(cures), alone)


def _excess(candidate: Candidate, metres: int | None) -> int:
    reach = candidate.offering.reach_m
    if reach is None or metres is None or gates.reaches(candidate.offering, metres):
        return 0
    return metres - reach


def _reach(problem: Problem, rules: frozenset[Rule], alone: bool) -> Obstacle:
    chosen = _nearest(problem, rules, lambda role, c, spaces, metres: -_excess(c, metres))
    spaces = _spaces(problem, chosen)
    roles, needed, has, cures = [], 0, 0, []
    for role, candidate in _members(problem, chosen):
        metres = travel_m(candidate, spaces)
        if role.slot.kind != "space" and _excess(candidate, metres):
            assert metres is not None
            assert candidate.offering.reach_m is not None
            roles.append(role.slot.role)
            needed, has = max((needed, has), (metres, candidate.offering.reach_m))
            mend = Mend("extend_reach", "offering", "reach_m", metres)
            cures.append(Cure(mend, candidate.offering.id))
    return Obstacle("reach", tuple(dict.fromkeys(roles)), needed, has, tuple(cures), alone)


def _one_role(problem: Problem, rules: frozenset[Rule], alone: bool) -> Obstacle:
    """Nothing mends it but somebody else for one of the roles."""
    members = _members(problem, _nearest(problem, rules))
    times = Counter(candidate.offering.partner for _, candidate in members)
    several = [role.slot.role for role, c in members if times[c.offering.partner] > 1]
    return Obstacle("one_role", tuple(dict.fromkeys(several)), max(times.values()), 1, (), alone)


_TELLS: Mapping[Rule, Callable[[Problem, frozenset[Rule], bool], Obstacle]] = MappingProxyType(
    {
        "budget": _budget,
        "time": _time,
        "features": _features,
        "reach": _reach,
        "one_role": _one_role,
    }
)
