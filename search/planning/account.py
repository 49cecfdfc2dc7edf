"""Solving a problem and giving account of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

from search.planning.instance import Instance
from search.planning.problem import Need, Problem
from search.planning.report import Assignment, Report, Rule, Share, Without
from search.planning.solve import Say, Solved, solve
from search.planning.state import State


def plan(problem: Problem, seconds: float, say: Say = lambda _phase, _share: None) -> Report:
    """Solve a problem (in its one order) and give account of it."""
    began = time.monotonic()
    instance = Instance(problem)
    solved = solve(instance, seconds, say)
    took = time.monotonic() - began
    say("accounting", 0.9)
    return of(instance, solved, _rules(problem, solved.state, seconds - took, took))


def of(instance: Instance, solved: Solved, rules: tuple[Rule, ...]) -> Report:
    """The account of a solved plan."""
    problem, state = instance.problem, solved.state
    used = sorted({instance.offering[bid] for bid in state.chosen})
    idle = {at for at in used if problem.offerings[at].idle}
    return Report(
        value=state.value(),
        bound=solved.bound,
        optimal=solved.optimal,
        score=_score(state),
        needs=len(problem.needs),
        served=_served(state),
        seats=sum(instance.seats),
        filled=len(state.chosen),
        greedy_value=solved.greedy.value(),
        greedy_served=_served(solved.greedy),
        former=sum(instance.kept),
        kept=sum(instance.kept[bid] for bid in state.chosen),
        minutes_used=sum(instance.minutes[bid] for bid in state.chosen),
        minutes_open=sum(offering.open_minutes for offering in problem.offerings),
        idle_used=len(idle),
        idle_minutes_used=sum(
            instance.minutes[bid] for bid in state.chosen if instance.offering[bid] in idle
        ),
        pins_left_out=len(problem.pins) - len(instance.pins & state.chosen),
        by_priority=_shares(state, lambda need: need.priority),
        by_community=_shares(state, lambda need: need.community),
        by_place=_shares(state, lambda need: need.place),
        by_service=_shares(state, lambda need: f"{need.service} {need.place}"),
        rules=rules,
        assignments=tuple(_assignments(state)),
        without=tuple(_without(state)),
    )


def _rules(problem: Problem, state: State, left: float, took: float) -> tuple[Rule, ...]:
    """Each fairness rule that has something to say, and what the plan would be without it."""
    found = []
    classes = {need.priority for need in problem.needs}
    if problem.objective == "stable":
        return ()
    for name, speaks, without in (
        ("protected_first", len(classes) > 1, {"protected": False}),
        ("community_floor", len({n.community for n in problem.needs}) > 1, {"communities": False}),
    ):
        if not speaks:
            continue
        if left < took * 1.5:
            found.append(Rule(name, None, None, None))
            continue
        began = time.monotonic()
        other = solve(Instance(problem, **without), left).state
        left -= time.monotonic() - began
        score, needs = _score(other) - _score(state), _served(other) - _served(state)
        binding = _who_is_served(other) != _who_is_served(state)
        found.append(Rule(name, binding, score, needs))
    return tuple(found)


def _who_is_served(state: State) -> set[int]:
    return {need for need in range(len(state.of)) if state.is_served(need)}


def _score(state: State) -> int:
    return sum(state.instance.score[bid] for bid in state.chosen)


def _served(state: State) -> int:
    return len(_who_is_served(state))


def _shares(state: State, group_of: Callable[[Need], str]) -> tuple[Share, ...]:
    instance = state.instance
    counted: dict[str, Counter[str]] = {}
    for at, need in enumerate(instance.problem.needs):
        counts = counted.setdefault(group_of(need), Counter())
        counts["needs"] += 1
        counts["possible"] += _possible(instance, at)
        counts["served"] += state.is_served(at)
        counts["seats"] += instance.seats[at]
        counts["filled"] += len(state.of[at])
        counts["minutes"] += sum(instance.minutes[bid] for bid in state.of[at])
        counts["price"] += sum(instance.price[bid] for bid in state.of[at])
    names = [name for name in Share.__struct_fields__ if name != "group"]
    return tuple(
        Share(group, *(counts[name] for name in names)) for group, counts in sorted(counted.items())
    )


def _possible(instance: Instance, need: int) -> bool:
    return all(
        len(instance.bids_of_slot[slot]) >= instance.quantity[slot]
        for slot in instance.slots_of[need]
    )


def _assignments(state: State) -> Iterable[Assignment]:
    instance, problem = state.instance, state.instance.problem
    seats: Counter[int] = Counter()
    for bid in sorted(state.chosen):
        need = problem.needs[instance.need[bid]]
        offering = problem.offerings[instance.offering[bid]]
        slot = instance.slot[bid]
        role = need.slots[instance.slots_of[instance.need[bid]].index(slot)].role
        yield Assignment(
            need.id,
            need.version,
            role,
            seats[slot],
            offering.id,
            offering.version,
            offering.partner,
            instance.score[bid],
            instance.minutes[bid],
            instance.kept[bid],
        )
        seats[slot] += 1


def _without(state: State) -> Iterable[Without]:
    instance = state.instance
    for at, need in enumerate(instance.problem.needs):
        if not state.is_served(at):
            because = "outbid" if _possible(instance, at) else "no_candidates"
            yield Without(need.id, instance.seats[at], len(state.of[at]), because)
