"""The planner: a bound, a plan, and a better plan, until the time is over or there is none.

Up to FULL needs go into one exact model. Larger plans begin with the rounded relaxation; then
the neighbourhoods of the needs that do worse than in the relaxation are solved exactly, one after
the other. One thread, fixed seeds, limits by count: who has time enough gets the same plan twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from msgspec import Struct

from search.planning import greedy, model
from search.planning.instance import Instance
from search.planning.state import State, neighbourhood

Say = Callable[[str, float], None]

FULL = 2_000
# Needs of one neighbourhood, how many are tried, and what one model may search.
_AROUND, _TRIES, _NODES = 60, 200, 200
# A share of the bound below which another neighbourhood is not worth a person's waiting.
_CLOSE = 1e-4
_ALL_NODES = 100_000
# Above, and with the neighbourhoods done, the exact model has no chance in the time of a person.
_MARGIN_S = 0.5


class Solved(Struct):
    """A plan, what no plan can exceed, and whether it is proven that there is no better one."""

    state: State
    bound: int
    optimal: bool
    greedy: State


def solve(instance: Instance, seconds: float, say: Say = lambda _phase, _share: None) -> Solved:
    """The best plan found within the time."""
    ends = time.monotonic() + seconds
    say("bounding", 0.05)
    everything = range(len(instance.problem.needs))
    base = greedy.pinned(instance)
    plain = greedy.best_first(instance)
    start = State(instance)
    fixed = base.chosen < instance.pins
    if fixed:
        # Pins that contradict each other would leave no plan at all.
        instance.pins = frozenset(base.chosen)
    relaxed = model.Model(instance, everything, start)
    answer = relaxed.solve(whole=False, seconds=ends - time.monotonic())
    bound = min(answer.bound, _simple_bound(instance))
    if instance.problem.objective == "stable":
        return _done(greedy.stable(instance), bound, False, plain)
    say("choosing", 0.3)
    best = max(plain, greedy.rounded(instance, answer.share), key=lambda s: s.value())
    if len(everything) <= FULL:
        best, bound, optimal = _exactly(relaxed, best, bound, ends, say)
        return _done(best, bound, optimal, plain)
    best = _improve(best, answer.share, bound, ends, say)
    return _done(best, bound, False, plain)


def _simple_bound(instance: Instance) -> float:
    """Everybody gets the best, as if nobody else were asked: for when there is no time for more."""
    total = sum(instance.bonus) + sum(
        floor.wanted * instance.problem.rules.floor_penalty for floor in instance.floors
    )
    for slot, bids in enumerate(instance.bids_of_slot):
        best = sorted((instance.reward[bid] for bid in bids), reverse=True)
        total += sum(best[: instance.quantity[slot]])
    return total


def _done(state: State, bound: float, optimal: bool, plain: State) -> Solved:
    value = state.value()
    whole = max(math.floor(bound + 1e-6), value)
    return Solved(state, whole, optimal or whole == value, plain)


def _exactly(
    whole: model.Model, best: State, bound: float, ends: float, say: Say
) -> tuple[State, float, bool]:
    say("proving", 0.5)
    left = ends - time.monotonic()
    if left < _MARGIN_S:
        return best, bound, False
    answer = whole.solve(whole=True, seconds=left, nodes=_ALL_NODES, start=best.chosen)
    found = _state(whole.instance, answer)
    if found.value() > best.value():
        best = found
    return best, min(bound, answer.bound), answer.optimal


def _state(instance: Instance, answer: model.Answer) -> State:
    """The plan of a whole answer: exactly checked, since a solver has tolerances."""
    chosen = sorted(bid for bid, share in answer.share.items() if share > 0.5)
    return greedy.fill(State(instance), chosen)


def _improve(best: State, share: dict[int, float], bound: float, ends: float, say: Say) -> State:
    """Solve the neighbourhoods of the needs that fall short of the relaxation, worst first."""
    instance, tried = best.instance, 0
    while tried < _TRIES:
        before = best.value()
        for need in _falling_short(best, share)[: _TRIES - tried]:
            if time.monotonic() > ends - _MARGIN_S:
                return best
            if tried % 20 == 0:
                say("improving", 0.5 + 0.4 * tried / _TRIES)
                if bound - best.value() < _CLOSE * bound:
                    return best
            best = _better(best, need, ends)
            tried += 1
        if best.value() == before:
            break
    return greedy.filled(State(instance, best.chosen))


def _falling_short(state: State, share: dict[int, float]) -> list[int]:
    """The needs worth less in the plan than in the relaxation, the worst first."""
    instance = state.instance
    missing = [0.0] * len(instance.problem.needs)
    for bid, part in share.items():
        missing[instance.need[bid]] += part * _worth(instance, bid)
    for bid in state.chosen:
        missing[instance.need[bid]] -= _worth(instance, bid)
    order = sorted(range(len(missing)), key=lambda need: (-missing[need], need))
    return [need for need in order if missing[need] > 0.5]


def _worth(instance: Instance, bid: int) -> float:
    need = instance.need[bid]
    return instance.reward[bid] + instance.bonus[need] / instance.seats[need]


def _better(state: State, need: int, ends: float) -> State:
    """The plan with one neighbourhood solved anew, if that is worth more."""
    instance = state.instance
    around = neighbourhood(state, need, _AROUND)
    before = [bid for index in around for bid in state.of[index]]
    worth = _value_of(state, around)
    for bid in before:
        state.drop(bid)
    small = model.Model(instance, around, state)
    answer = small.solve(whole=True, seconds=ends - time.monotonic(), nodes=_NODES, start=before)
    chosen = sorted(bid for bid, part in answer.share.items() if part > 0.5)
    greedy.fill(state, chosen)
    if _value_of(state, around) < worth:
        for bid in state.chosen.intersection(chosen):
            state.drop(bid)
        for bid in before:
            state.take(bid)
    return state


def _value_of(state: State, around: list[int]) -> int:
    """What changes of the value when only these needs do."""
    instance = state.instance
    total = sum(instance.reward[bid] for need in around for bid in state.of[need])
    total += sum(instance.bonus[need] for need in around if state.is_served(need))
    for at in sorted({at for need in around for at in instance.floors_of[need]}):
        floor = instance.floors[at]
        served = sum(state.is_served(need) for need in floor.needs)
        total += instance.problem.rules.floor_penalty * min(served, floor.wanted)
    return total
