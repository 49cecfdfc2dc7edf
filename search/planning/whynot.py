"""Why not this offering in this plan? The pair is forced, and its neighbourhood planned anew."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from msgspec import Struct, structs

from search.planning import process
from search.planning.instance import Instance, positions
from search.planning.problem import Offering, Pin, Problem, Slot, ordered
from search.planning.report import Report
from search.planning.state import State, neighbourhood

# Needs that may move for one pair.
_AROUND = 60


class Move(Struct, frozen=True):
    """Who would serve a role instead of whom."""

    need: str
    role: str
    gone: tuple[str, ...]
    come: tuple[str, ...]


class Price(Struct, frozen=True):
    """What the forced pair costs, in hundredths of a point and in needs served, and who else would
    move. `possible` is False when no plan can have the pair."""

    possible: bool
    price: int
    needs: int
    moves: tuple[Move, ...]


def small_problem(content: str, result: str, pin: Pin) -> Problem | None:
    """The neighbourhood of a need in a finished plan, everybody else staying where they are; None
    if the pair was not among the candidates. Takes a second for a large plan: not on the loop."""
    problem = msgspec.json.decode(content, type=Problem)
    report = msgspec.json.decode(result, type=Report)
    instance = Instance(problem)
    known = positions(instance)
    bid = known.get((pin.need, pin.role, pin.offering))
    if bid is None:
        return None
    state = State(
        instance, (known[entry.need, entry.role, entry.offering] for entry in report.assignments)
    )
    around = neighbourhood(state, instance.need[bid], _AROUND)
    for need in around:
        for chosen in tuple(state.of[need]):
            state.drop(chosen)
    return _cut_out(state, around)


def _cut_out(others: State, around: list[int]) -> Problem:
    """The needs by themselves, with what the others leave of everybody's time and money.

    Floors are left out: they belong to the whole plan.
    """
    instance, problem = others.instance, others.instance.problem
    needs = []
    for at in around:
        slots = []
        for slot, flat in zip(problem.needs[at].slots, instance.slots_of[at], strict=True):
            first = instance.bids_of_slot[flat]
            bids = (b for b, f in zip(slot.bids, first, strict=True) if others.has_time(f))
            slots.append(Slot(slot.role, slot.quantity, tuple(bids)))
        needs.append(structs.replace(problem.needs[at], slots=tuple(slots)))
    names = {need.id for need in needs}
    return ordered(
        structs.replace(
            problem,
            needs=tuple(needs),
            offerings=tuple(_left(others, at) for at in range(len(problem.offerings))),
            budgets=tuple(
                structs.replace(
                    budget,
                    amount=budget.amount - others.spent[at],
                    needs=tuple(need for need in budget.needs if need in names),
                )
                for at, budget in enumerate(problem.budgets)
            ),
            pins=(),
            rules=structs.replace(problem.rules, protected_floor=0, community_floor=0),
            objective="utility",
        )
    )


def _left(others: State, at: int) -> Offering:
    offering, there = others.instance.problem.offerings[at], others.at[at]
    if not there:
        return offering
    minutes = offering.minutes
    if minutes is not None:
        minutes -= sum(others.instance.minutes[bid] for bid in there)
    jobs = None if offering.jobs is None else offering.jobs - len(there)
    return structs.replace(offering, minutes=minutes, jobs=jobs)


async def price(problem: Problem, pin: Pin, seconds: float) -> Price:
    """Plan the neighbourhood as it likes, and with the pair; the difference is the price."""
    forced = structs.replace(problem, pins=(pin,))
    free, held = await process.run([problem, forced], seconds)
    if held.pins_left_out:
        return Price(False, 0, 0, ())
    before, after = _served(free), _served(held)
    moves = []
    for need, role in sorted({*before, *after}):
        was, would = before[need, role], after[need, role]
        if was != would:
            moves.append(Move(need, role, tuple(sorted(was - would)), tuple(sorted(would - was))))
    return Price(True, free.value - held.value, free.served - held.served, tuple(moves))


def _served(report: Report) -> defaultdict[tuple[str, str], set[str]]:
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in report.assignments:
        found[entry.need, entry.role].add(entry.offering)
    return found
