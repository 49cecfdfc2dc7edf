"""A plan in the making: who is assigned, what that leaves of everybody's time, and what it is
worth. Takes only what breaks no row."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

from search.planning.instance import Flat, Instance


class State:
    """A feasible set of assignments."""

    def __init__(self, instance: Instance, chosen: Iterable[Flat] = ()):
        problem = instance.problem
        self.instance = instance
        self.chosen: set[Flat] = set()
        self.at: list[set[Flat]] = [set() for _ in problem.offerings]
        self.of: list[set[Flat]] = [set() for _ in problem.needs]
        self.filled = [0] * len(instance.quantity)
        self.spent = [0] * len(problem.budgets)
        for bid in chosen:
            self.take(bid)

    def take(self, bid: Flat) -> None:
        """Assign, whether it fits or not: see `fits`."""
        instance = self.instance
        self.chosen.add(bid)
        self.at[instance.offering[bid]].add(bid)
        self.of[instance.need[bid]].add(bid)
        self.filled[instance.slot[bid]] += 1
        for budget in instance.budgets_of[instance.need[bid]]:
            self.spent[budget] += instance.price[bid]

    def drop(self, bid: Flat) -> None:
        """Take an assignment back."""
        instance = self.instance
        self.chosen.remove(bid)
        self.at[instance.offering[bid]].remove(bid)
        self.of[instance.need[bid]].remove(bid)
        self.filled[instance.slot[bid]] -= 1
        for budget in instance.budgets_of[instance.need[bid]]:
            self.spent[budget] -= instance.price[bid]

    def fits(self, bid: Flat) -> bool:
        """Whether one more assignment breaks no row."""
        instance = self.instance
        if self.filled[instance.slot[bid]] >= instance.quantity[instance.slot[bid]]:
            return False
        return self.has_time(bid) and self.has_money(bid) and self.has_a_space(bid)

    def has_time(self, bid: Flat) -> bool:
        """Whether its offering is free then, and has enough left of its week."""
        instance, problem = self.instance, self.instance.problem
        others = self.at[instance.offering[bid]]
        if not others and instance.minutes[bid] == 0:
            return True
        offering = problem.offerings[instance.offering[bid]]
        mask, need = instance.masks[instance.times[bid]], instance.need[bid]
        minutes = instance.minutes[bid]
        for other in others:
            if instance.need[other] == need or instance.masks[instance.times[other]] & mask:
                return False
            minutes += instance.minutes[other]
        if offering.jobs is not None and len(others) >= offering.jobs:
            return False
        return offering.minutes is None or minutes <= offering.minutes

    def has_money(self, bid: Flat) -> bool:
        """Whether the need's budget and those of its places allow its price."""
        instance, problem = self.instance, self.instance.problem
        need, price = instance.need[bid], instance.price[bid]
        if not price:
            return True
        budget = problem.needs[need].budget
        if budget is not None:
            spent = sum(instance.price[other] for other in self.of[need])
            if spent + price > budget:
                return False
        return all(
            self.spent[at] + price <= problem.budgets[at].amount for at in instance.budgets_of[need]
        )

    def has_a_space(self, bid: Flat) -> bool:
        """Whether a space is there that suits it, if not any will do."""
        instance = self.instance
        suits = instance.goes_with[bid]
        return suits is None or any(
            instance.offering[other] in suits for other in self.of[instance.need[bid]]
        )

    def is_served(self, need: int) -> bool:
        """Whether every seat of the need is taken."""
        return len(self.of[need]) == self.instance.seats[need]

    def value(self) -> int:
        """What the plan is worth beyond no plan at all, in hundredths of a point."""
        instance = self.instance
        total = sum(instance.reward[bid] for bid in self.chosen)
        total += sum(bonus for need, bonus in enumerate(instance.bonus) if self.is_served(need))
        for floor in instance.floors:
            served = sum(self.is_served(need) for need in floor.needs)
            total += instance.problem.rules.floor_penalty * min(served, floor.wanted)
        return total

    def broken(self) -> list[str]:
        """Every row that is broken: none, or the planner has a flaw. Independent of `fits`."""
        instance, problem = self.instance, self.instance.problem
        found = []
        for slot, quantity in enumerate(instance.quantity):
            if sum(instance.slot[bid] == slot for bid in self.chosen) > quantity:
                found.append(f"slot {slot}")
        for at, offering in enumerate(problem.offerings):
            mine = [bid for bid in self.chosen if instance.offering[bid] == at]
            times = sorted(time for bid in mine for time in problem.times[instance.times[bid]])
            if any(after[0] < before[1] for before, after in itertools.pairwise(times)):
                found.append(f"clash at {offering.id}")
            if len({instance.need[bid] for bid in mine}) < len(mine):
                found.append(f"twice in one need: {offering.id}")
            minutes = sum(instance.minutes[bid] for bid in mine)
            if offering.minutes is not None and mine and minutes > offering.minutes:
                found.append(f"load of {offering.id}")
            if offering.jobs is not None and len(mine) > offering.jobs:
                found.append(f"jobs of {offering.id}")
        return found + self._broken_needs()

    def _broken_needs(self) -> list[str]:
        instance, problem = self.instance, self.instance.problem
        found = []
        for at, need in enumerate(problem.needs):
            mine = [bid for bid in self.chosen if instance.need[bid] == at]
            price = sum(instance.price[bid] for bid in mine)
            if need.budget is not None and price > need.budget and price:
                found.append(f"budget of {need.id}")
            there = {instance.offering[bid] for bid in mine}
            for bid in mine:
                suits = instance.goes_with[bid]
                if suits is not None and not (there - {instance.offering[bid]}) & set(suits):
                    found.append(f"no space for {problem.offerings[instance.offering[bid]].id}")
        for budget in problem.budgets:
            named = set(budget.needs)
            if (
                sum(
                    instance.price[bid]
                    for bid in self.chosen
                    if problem.needs[instance.need[bid]].id in named
                )
                > budget.amount
            ):
                found.append(f"budget of {budget.place}")
        return found


def neighbourhood(state: State, need: int, size: int) -> list[int]:
    """The need and up to `size` others that it may have to make way for, or may displace: whoever
    holds an offering that it could have, and so on."""
    instance = state.instance
    found, waiting = {need}, deque([need])
    while waiting:
        index = waiting.popleft()
        for slot in instance.slots_of[index]:
            for bid in instance.bids_of_slot[slot]:
                for other in sorted(state.at[instance.offering[bid]]):
                    holder = instance.need[other]
                    if holder not in found:
                        found.add(holder)
                        waiting.append(holder)
                    if len(found) >= size:
                        return sorted(found)
    return sorted(found)
