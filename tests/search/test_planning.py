"""The planner: never worse than brute force says, never a row broken, always the same answer."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from search import planning
from search.planning import account, greedy, solve
from search.planning.instance import Instance
from search.planning.state import State

DAY = 24 * 60
SECONDS = 20.0


def a_problem(chance: random.Random, *, needs: int = 3, offerings: int = 4) -> planning.Problem:
    """A small problem in which everything is scarce and every row can bind."""
    times = [((), 0)]
    for _ in range(4):
        first = chance.randrange(8)
        spans = tuple((day * DAY + first, day * DAY + first + 4) for day in range(2))
        times.append((spans, 8))
    there = tuple(
        planning.Offering(
            id=f"offering-{at}",
            version=1,
            partner=f"partner-{at // 2}",
            minutes=chance.choice([None, 8, 20]),
            jobs=chance.choice([None, None, 1, 2]),
            open_minutes=600,
            idle=chance.random() < 0.3,
        )
        for at in range(offerings)
    )
    asked = tuple(_a_need(chance, at, there, times) for at in range(needs))
    budgets = (
        planning.Budget("place", chance.choice([0, 7, 100]), tuple(need.id for need in asked[:2])),
    )
    return planning.ordered(
        planning.Problem(
            needs=asked,
            offerings=there,
            times=tuple(spans for spans, _ in times),
            budgets=budgets if chance.random() < 0.5 else (),
            rules=planning.Rules(community_floor=chance.choice([0, 10_000])),
        )
    )


def _a_need(
    chance: random.Random, at: int, there: tuple[planning.Offering, ...], times: list[Any]
) -> planning.Need:
    slots: list[planning.Slot] = []
    when = chance.randrange(len(times))
    for number in range(chance.choice([1, 1, 2])):
        fitting = [
            i for i, o in enumerate(there) if o.minutes is None or times[when][1] <= o.minutes
        ]
        chosen = chance.sample(fitting, min(len(fitting), chance.randint(1, 3)))
        spaces = tuple(sorted(bid.offering for slot in slots for bid in slot.bids[:2]))
        bids = tuple(
            planning.Bid(
                offering=offering,
                score=chance.randrange(2_000, 10_000),
                minutes=times[when][1],
                price=chance.choice([0, 3, 5]),
                times=when,
                goes_with=spaces if spaces and chance.random() < 0.5 else None,
                kept=chance.random() < 0.2,
            )
            for offering in chosen
        )
        slots.append(planning.Slot(f"role-{number}", chance.choice([1, 1, 2]), bids))
    return planning.Need(
        id=f"need-{at}",
        version=1,
        service="tutoring",
        place="grid",
        community=f"community-{at % 2}",
        priority=chance.choice(["normal", "normal", "elders", "children"]),
        slots=tuple(slots),
        budget=chance.choice([None, None, 5, 8]),
    )


def best_of_all(problem: planning.Problem) -> int:
    """The value of the best plan, by trying every subset of the candidates."""
    instance = Instance(problem)
    best = 0
    for count in range(len(instance) + 1):
        for chosen in itertools.combinations(range(len(instance)), count):
            state = State(instance, chosen)
            value = state.value()
            if value > best and not state.broken():
                best = value
    return best


@pytest.mark.parametrize("seed", range(60))
def test_a_small_plan_is_the_best_of_all_plans_that_break_no_row(seed: int) -> None:
    """B7, X4: equal to brute force, bound and value alike."""
    problem = a_problem(random.Random(seed))
    instance = Instance(problem)
    solved = solve.solve(instance, SECONDS)
    assert solved.state.broken() == []
    assert solved.optimal
    assert solved.bound == solved.state.value() == best_of_all(problem)


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.integers(1, 12), st.sampled_from(["utility", "stable"]))
def test_no_plan_breaks_a_row_or_is_worth_more_than_its_bound(
    seed: int, needs: int, objective: Any
) -> None:
    problem = structs.replace(a_problem(random.Random(seed), needs=needs), objective=objective)
    solved = solve.solve(Instance(problem), SECONDS)
    assert solved.state.broken() == []
    assert solved.greedy.broken() == []
    assert solved.state.value() <= solved.bound
    if objective == "utility":
        assert solved.state.value() >= solved.greedy.value()


@settings(max_examples=20)
@given(st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(seed: int, chance: random.Random) -> None:
    """X4: deterministic."""
    problem = a_problem(random.Random(seed), needs=8, offerings=6)
    shuffled = _shuffled(problem, chance)
    assert planning.ordered(shuffled) == problem
    assert planning.encode(planning.ordered(shuffled)) == planning.encode(problem)
    assert account.plan(planning.ordered(shuffled), SECONDS) == account.plan(problem, SECONDS)


def _shuffled(problem: planning.Problem, chance: random.Random) -> planning.Problem:
    """The same problem with everything in another order."""
    order = list(range(len(problem.offerings)))
    chance.shuffle(order)
    place = {old: new for new, old in enumerate(order)}

    def moved(bid: planning.Bid) -> planning.Bid:
        spaces = bid.goes_with and tuple(place[space] for space in bid.goes_with)
        return structs.replace(bid, offering=place[bid.offering], goes_with=spaces)

    needs = []
    for need in problem.needs:
        slots = [
            structs.replace(
                slot, bids=tuple(chance.sample([*map(moved, slot.bids)], len(slot.bids)))
            )
            for slot in need.slots
        ]
        needs.append(structs.replace(need, slots=tuple(slots)))
    chance.shuffle(needs)
    return structs.replace(
        problem, needs=tuple(needs), offerings=tuple(problem.offerings[at] for at in order)
    )


def test_the_neighbourhoods_of_a_large_plan_come_close_to_the_exact_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = a_problem(random.Random(3), needs=120, offerings=60)
    exact = solve.solve(Instance(problem), SECONDS)
    monkeypatch.setattr(solve, "FULL", 0)
    large = solve.solve(Instance(problem), SECONDS)
    assert large.state.broken() == []
    assert large.state.value() >= large.greedy.value()
    assert exact.state.value() <= large.bound
    assert large.state.value() * 1000 >= exact.state.value() * 995


def test_with_one_cook_the_elders_are_served_first_and_the_plan_names_the_rule() -> None:
    """B3: though the cook suits somebody else far better."""
    report = account.plan(_one_cook("elders"), SECONDS)
    assert [(a.need, a.offering) for a in report.assignments] == [("protected", "cook")]
    (rule,) = [rule for rule in report.rules if rule.rule == "protected_first"]
    assert (rule.binding, rule.price_score, rule.price_needs) == (True, 5_000, 0)
    assert [(w.need, w.because) for w in report.without] == [("usual", "outbid")]
    for other in (_one_cook("normal"), structs.replace(_one_cook("elders"), objective="stable")):
        assert [a.need for a in account.plan(other, SECONDS).assignments] == ["usual"]


def _one_cook(priority: Any) -> planning.Problem:
    times = ((), ((0, 60),))

    def need(name: str, priority: Any, score: int) -> planning.Need:
        slot = planning.Slot("cook", 1, (planning.Bid(0, score, 60, times=1),))
        return planning.Need(name, 1, "meals", "grid", "community", priority, (slot,))

    return planning.ordered(
        planning.Problem(
            (need("usual", "normal", 9_000), need("protected", priority, 4_000)),
            (planning.Offering("cook", 1, "zhou"),),
            times,
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_serves_at_least_as_many_needs_as_whoever_takes_the_best_first(seed: int) -> None:
    """B7, with the hours of idle supply that it uses."""
    report = account.plan(a_problem(random.Random(seed), needs=60, offerings=30), SECONDS)
    assert report.served >= report.greedy_served
    assert report.value >= report.greedy_value
    assert 0 < report.minutes_used <= report.minutes_open
    assert 0 < report.idle_minutes_used <= report.minutes_used


def test_touching_times_do_not_clash_and_times_that_share_a_minute_do() -> None:
    bids = [(0, 60), (60, 120), (59, 61)]
    needs = tuple(
        planning.Need(
            str(at),
            1,
            "meals",
            "grid",
            "community",
            "normal",
            (planning.Slot("cook", 1, (planning.Bid(0, 5_000, 60, times=at + 1),)),),
        )
        for at in range(3)
    )
    problem = planning.Problem(
        needs, (planning.Offering("cook", 1, "zhou"),), ((), *((span,) for span in bids))
    )
    report = account.plan(problem, SECONDS)
    assert [a.need for a in report.assignments] == ["0", "1"]
    assert sorted(map(sorted, Instance(problem).clashes(0))) == [[0, 2], [1, 2]]


def test_the_stable_plan_leaves_no_pair_that_would_rather_have_each_other() -> None:
    chance = random.Random(5)
    for _ in range(20):
        problem = structs.replace(
            a_problem(chance, needs=6, offerings=5), objective="stable", budgets=()
        )
        instance = Instance(problem)
        state = greedy.stable(instance)
        for bid in set(range(len(instance))) - state.chosen:
            if instance.goes_with[bid] is None and not instance.price[bid]:
                assert not _would_rather(instance, state, bid), bid


def _would_rather(instance: Instance, state: State, bid: int) -> bool:
    """Whether it would fit if both sides gave up everybody whom they like less."""
    better = State(instance)
    for other in sorted(state.chosen, key=lambda bid: (-instance.score[bid], bid)):
        if (-instance.score[other], other) < (-instance.score[bid], bid):
            better.take(other)
    return better.fits(bid)


def test_the_server_never_loads_the_solver() -> None:
    code = "import sys, api.app; sys.exit('highspy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
