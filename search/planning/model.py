"""Some of a problem's needs as a linear model for HiGHS, all others staying as they are.

Only the planner process imports this module: HiGHS fixes its number of threads with the first run
of a process, and a solve holds whatever thread it runs in.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable

import highspy
import numpy as np
from msgspec import Struct

from search.planning.instance import Flat, Instance
from search.planning.state import State

_INFINITY = highspy.kHighsInf
_LEAST = 1e-6


class Unsolved(Exception):
    """HiGHS answered with a status that leaves nothing to use."""


class Answer(Struct):
    """What HiGHS made of a model. `share` is each candidate's value in 0..1, `bound` holds for
    every plan of the model, `optimal` says that nothing better exists."""

    share: dict[Flat, float]
    bound: float
    optimal: bool


class Model:
    """The model: a column for each candidate that may still be taken, and for each need of several
    seats one that says it is served."""

    def __init__(self, instance: Instance, free: Iterable[int], others: State):
        """`others` is the plan without any assignment of the `free` needs."""
        self.instance, self.others, self.free = instance, others, sorted(free)
        self.bids: list[Flat] = []
        # Flat arrays: as lists of lists, a large model takes a gigabyte.
        self._cost, self._lower, self._upper = array("d"), array("d"), array("d")
        self._fluid: list[tuple[int, list[tuple[int, float]]]] = []
        self._starts, self._columns, self._values = array("i", [0]), array("i"), array("d")
        self._most = array("d")
        self.column: dict[Flat, int] = {}
        self._served: dict[int, list[tuple[int, float]]] = {}
        for need in self.free:
            self._add_bids(need)
        for need in self.free:
            self._add_need(need)
        for offering in sorted({instance.offering[bid] for bid in self.bids}):
            self._add_offering(offering)
        self._add_floors()
        self._add_budgets()

    def _add_column(self, reward: float, upper: float = 1) -> int:
        self._cost.append(-reward)
        self._lower.append(0)
        self._upper.append(upper)
        return len(self._cost) - 1

    def _add_row(self, terms: Iterable[tuple[int, float]], upper: float) -> None:
        """Sum of terms <= upper; left out where it cannot bind."""
        begins, most = len(self._columns), 0.0
        for column, value in terms:
            self._columns.append(column)
            self._values.append(value)
            most += max(value * self._upper[column], 0)
        if most > upper:
            self._starts.append(len(self._columns))
            self._most.append(upper)
        else:
            del self._columns[begins:], self._values[begins:]

    def _add_bids(self, need: int) -> None:
        instance = self.instance
        for slot in instance.slots_of[need]:
            for bid in instance.bids_of_slot[slot]:
                if self._still_possible(bid):
                    column = self._add_column(instance.reward[bid])
                    if bid in instance.pins:
                        self._lower[column] = 1
                    self.column[bid] = column
                    self.bids.append(bid)

    def _still_possible(self, bid: Flat) -> bool:
        instance = self.instance
        there = self.others.at[instance.offering[bid]]
        if not there:
            room = instance.problem.offerings[instance.offering[bid]]
            return (room.minutes is None or instance.minutes[bid] <= room.minutes) and (
                room.jobs is None or room.jobs > 0
            )
        return self.others.has_time(bid)

    def _add_need(self, need: int) -> None:
        instance, problem = self.instance, self.instance.problem
        slots = [
            (instance.quantity[slot], [b for b in instance.bids_of_slot[slot] if b in self.column])
            for slot in instance.slots_of[need]
        ]
        for quantity, bids in slots:
            self._add_row(((self.column[bid], 1) for bid in bids), quantity)
        if instance.seats[need] == 1:
            for bid in slots[0][1]:
                self._cost[self.column[bid]] -= instance.bonus[need]
            self._served[need] = [(self.column[bid], 1.0) for bid in slots[0][1]]
        elif all(len(bids) >= quantity for quantity, bids in slots):
            served = self._add_column(instance.bonus[need])
            self._served[need] = [(served, 1.0)]
            for quantity, bids in slots:
                self._add_row([(served, quantity), *((self.column[bid], -1.0) for bid in bids)], 0)
        budget = problem.needs[need].budget
        mine = [bid for _, bids in slots for bid in bids]
        if budget is not None:
            self._add_money(mine, budget)
        for bid in mine:
            suits = instance.goes_with[bid]
            if suits is not None:
                spaces = [s for s in mine if instance.offering[s] in suits and s != bid]
                self._add_row(
                    [(self.column[bid], 1), *((self.column[space], -1.0) for space in spaces)], 0
                )

    def _add_money(self, bids: Iterable[Flat], budget: int) -> None:
        priced = [(self.column[bid], self.instance.price[bid]) for bid in bids]
        priced = [(column, price) for column, price in priced if price]
        # Amounts run to billions: HiGHS sees them as parts of the budget.
        unit = max(budget, 1) / 1000
        self._add_row([(column, price / unit) for column, price in priced], budget / unit)

    def _add_offering(self, offering: int) -> None:
        instance, room = self.instance, self.instance.problem.offerings[offering]
        mine = [bid for bid in instance.bids_at[offering] if bid in self.column]
        if len(mine) < 2:
            return
        seen = set()
        for row in instance.clash_rows[offering]:
            terms = tuple(self.column[bid] for bid in row if bid in self.column)
            if len(terms) > 1 and terms not in seen:
                seen.add(terms)
                self._add_row(((column, 1) for column in terms), 1)
        there = self.others.at[offering]
        if room.minutes is not None:
            left = room.minutes - sum(instance.minutes[bid] for bid in there)
            self._add_row(((self.column[b], instance.minutes[b]) for b in mine), left)
        if room.jobs is not None:
            self._add_row(((self.column[bid], 1) for bid in mine), room.jobs - len(there))

    def _add_floors(self) -> None:
        instance = self.instance
        touched = sorted({at for need in self.free for at in instance.floors_of[need]})
        inside = set(self.free)
        for at in touched:
            floor = instance.floors[at]
            served = sum(self.others.is_served(n) for n in floor.needs if n not in inside)
            left = floor.wanted - served
            if left <= 0:
                continue
            terms = [t for need in floor.needs for t in self._served.get(need, ())]
            reached = self._add_column(instance.problem.rules.floor_penalty, left)
            self._fluid.append((reached, terms))
            self._add_row([(reached, 1), *((column, -value) for column, value in terms)], 0)

    def _add_budgets(self) -> None:
        instance = self.instance
        mine: defaultdict[int, list[Flat]] = defaultdict(list)
        for bid in self.bids:
            for budget in instance.budgets_of[instance.need[bid]]:
                mine[budget].append(bid)
        for budget, bids in sorted(mine.items()):
            amount = instance.problem.budgets[budget].amount - self.others.spent[budget]
            self._add_money(bids, amount)

    def solve(
        self,
        *,
        whole: bool,
        seconds: float,
        gap: float = 0.0,
        nodes: int = 2**31 - 1,
        start: Iterable[Flat] = (),
    ) -> Answer:
        """Solve it: in `whole` assignments, or as the linear relaxation that bounds them all."""
        if not self.bids:
            return Answer({}, 0.0, True)
        highs = _highs(seconds, gap, nodes)
        _check(highs.passModel(self._lp(whole)))
        if whole and (start := list(start)):
            solution = highspy.HighsSolution()
            solution.col_value = self._start(start)
            _check(highs.setSolution(solution))
        _check(highs.run())
        status = highs.getModelStatus()
        optimal = status == highspy.HighsModelStatus.kOptimal
        info = highs.getInfo()
        solved = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        values = np.asarray(highs.getSolution().col_value) if solved else np.zeros(0)
        if whole:
            bound = -info.mip_dual_bound
        else:
            bound = self._dual_bound(np.asarray(highs.getSolution().row_dual))
        share = {
            bid: float(values[at])
            for at, bid in enumerate(self.bids_in_columns())
            if bid >= 0 and solved and values[at] > _LEAST
        }
        return Answer(share, bound, optimal and solved)

    def bids_in_columns(self) -> list[Flat]:
        """The candidate of each column; -1 for the others."""
        found = [-1] * len(self._cost)
        for bid, column in self.column.items():
            found[column] = bid
        return found

    def _start(self, chosen: list[Flat]) -> list[float]:
        values = [0.0] * len(self._cost)
        for bid in chosen:
            values[self.column[bid]] = 1.0
        full = State(self.instance, chosen)
        for need, terms in self._served.items():
            if self.instance.seats[need] > 1 and full.is_served(need):
                values[terms[0][0]] = 1.0
        for reached, served in self._fluid:
            at_most = sum(values[column] * value for column, value in served)
            values[reached] = min(at_most, self._upper[reached])
        return values

    def _lp(self, whole: bool) -> highspy.HighsLp:
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self._cost), len(self._most)
        lp.col_cost_ = np.frombuffer(self._cost)
        lp.col_lower_, lp.col_upper_ = np.frombuffer(self._lower), np.frombuffer(self._upper)
        lp.row_lower_ = np.full(len(self._most), -_INFINITY)
        lp.row_upper_ = np.array(self._most)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = len(self._cost), len(self._most)
        lp.a_matrix_.start_ = np.array(self._starts, np.int32)
        lp.a_matrix_.index_ = np.array(self._columns, np.int32)
        lp.a_matrix_.value_ = np.array(self._values)
        if whole:
            kinds = [highspy.HighsVarType.kInteger] * len(self._cost)
            for reached, _ in self._fluid:
                kinds[reached] = highspy.HighsVarType.kContinuous
            lp.integrality_ = kinds
        return lp

    def _dual_bound(self, duals: np.ndarray) -> float:
        """What no plan can exceed, from any prices of the rows: right whatever HiGHS tolerates."""
        prices = np.zeros(len(self._most))
        if len(duals) == len(prices):
            prices = np.maximum(-duals, 0.0)
        paid = np.bincount(
            np.array(self._columns, np.int32),
            weights=np.array(self._values) * np.repeat(prices, np.diff(np.array(self._starts))),
            minlength=len(self._cost),
        )
        gain = -np.array(self._cost) - paid
        best = np.where(gain > 0, gain * np.array(self._upper), gain * np.array(self._lower))
        return float(best.sum() + (prices * np.array(self._most)).sum())


def _highs(seconds: float, gap: float, nodes: int) -> highspy.Highs:
    highs = highspy.Highs()  # type: ignore[no-untyped-call]  # its own
    for name, value in (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 1),
        ("time_limit", max(seconds, 0.1)),
        ("mip_rel_gap", gap),
        ("mip_abs_gap", 0.5),
        ("mip_max_nodes", nodes),
    ):
        _check(highs.setOptionValue(name, value))
    return highs


def _check(status: highspy.HighsStatus) -> None:
    # A warning is what a time limit answers.
    if status == highspy.HighsStatus.kError:
        raise Unsolved("HiGHS refused the model or an option")
