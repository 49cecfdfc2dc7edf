"""Plans made in one go: what a careful person does, the stable matching, a relaxation rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from search.planning.instance import Flat, Instance
from search.planning.state import State


def pinned(instance: Instance) -> State:
    """The pins, as far as they do not contradict one another."""
    return fill(State(instance), sorted(instance.pins))


def best_first(instance: Instance) -> State:
    """Whoever is worth most first, each need by its class: what can be had without a planner."""
    return _by(instance, lambda bid: -instance.weight[instance.need[bid]] * instance.score[bid])


def stable(instance: Instance) -> State:
    """The highest score first. Both sides see the same score, so that no need and no offering
    would rather have each other: the stable matching."""
    return _by(instance, lambda bid: -instance.score[bid])


def rounded(instance: Instance, share: Mapping[Flat, float]) -> State:
    """What a relaxation takes most of first, then whatever still fits, by what it is worth."""
    by_share = sorted(share, key=lambda bid: (-share[bid], -instance.reward[bid], bid))
    return filled(fill(pinned(instance), by_share))


def filled(state: State) -> State:
    """Empty seats filled with what still fits."""
    instance = state.instance
    left = [bid for bid in range(len(instance)) if bid not in state.chosen]
    left.sort(key=lambda bid: (-instance.reward[bid], bid))
    return fill(state, left)


def _by(instance: Instance, key: Callable[[Flat], Any]) -> State:
    order = sorted(range(len(instance)), key=lambda bid: (key(bid), bid))
    return fill(pinned(instance), order)


def fill(state: State, order: Iterable[Flat]) -> State:
    """Take in this order what fits; once more for who had to wait for a space."""
    waiting = list(order)
    taken = True
    while taken:
        taken, later = False, []
        for bid in waiting:
            if bid in state.chosen:
                continue
            if state.fits(bid):
                state.take(bid)
                taken = True
            elif state.instance.goes_with[bid] is not None:
                later.append(bid)
        waiting = later
    return state
