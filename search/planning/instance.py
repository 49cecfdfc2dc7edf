"""A problem laid out for solving: flat lists by candidate, and the rows that no plan may break."""

from __future__ import annotations

from array import array
from collections import defaultdict
from functools import cached_property

from search.planning.problem import Problem
from search.windows import Interval

# A candidate of the whole problem: its position in all flat lists.
Flat = int


class Floor:
    """So many needs of a group should be served; below, each missing one costs the penalty."""

    def __init__(self, rule: str, group: str, needs: list[int], wanted: int):
        self.rule, self.group, self.needs, self.wanted = rule, group, needs, wanted


class Instance:
    """The flat lists of one problem. `protected` False leaves out the weights and floors of the
    classes, `communities` False those of the communities."""

    def __init__(self, problem: Problem, *, protected: bool = True, communities: bool = True):
        self.problem = problem
        self.need = array("q")
        self.slot = array("q")
        self.offering = array("q")
        self.score = array("q")
        self.reward = array("q")
        self.minutes = array("q")
        self.price = array("q")
        self.times = array("q")
        self.kept: list[bool] = []
        self.goes_with: list[tuple[int, ...] | None] = []
        self.quantity: list[int] = []
        self.slots_of: list[list[int]] = []
        self.bids_of_slot: list[list[Flat]] = []
        self.seats: list[int] = []
        self.bonus: list[int] = []
        self.weight: list[int] = []
        for index, need in enumerate(problem.needs):
            is_protected = protected and need.priority != "normal"
            self.weight.append(problem.rules.protected_weight if is_protected else 1)
            self.bonus.append(self.weight[index] * problem.rules.served)
            self._take(index)
        self.bids_at: list[list[Flat]] = [[] for _ in problem.offerings]
        for bid, offering in enumerate(self.offering):
            self.bids_at[offering].append(bid)
        self.budgets_of: list[list[int]] = [[] for _ in problem.needs]
        position = {need.id: at for at, need in enumerate(problem.needs)}
        for at, budget in enumerate(problem.budgets):
            for need_id in budget.needs:
                self.budgets_of[position[need_id]].append(at)
        self.floors = self._floors(protected, communities)
        self.floors_of: list[list[int]] = [[] for _ in problem.needs]
        for at, floor in enumerate(self.floors):
            for index in floor.needs:
                self.floors_of[index].append(at)

    def __len__(self) -> int:
        return len(self.need)

    def _take(self, index: int) -> None:
        need, rules = self.problem.needs[index], self.problem.rules
        self.slots_of.append([])
        self.seats.append(sum(slot.quantity for slot in need.slots))
        for slot in need.slots:
            flat_slot = len(self.quantity)
            self.slots_of[index].append(flat_slot)
            self.quantity.append(slot.quantity)
            self.bids_of_slot.append(list(range(len(self.need), len(self.need) + len(slot.bids))))
            for bid in slot.bids:
                idle = self.problem.offerings[bid.offering].idle
                self.need.append(index)
                self.slot.append(flat_slot)
                self.offering.append(bid.offering)
                self.score.append(bid.score)
                self.reward.append(
                    self.weight[index] * bid.score + rules.keep * bid.kept + rules.idle * idle
                )
                self.minutes.append(bid.minutes)
                self.price.append(bid.price)
                self.times.append(bid.times)
                self.kept.append(bid.kept)
                self.goes_with.append(bid.goes_with)

    def _floors(self, protected: bool, communities: bool) -> list[Floor]:
        """One for each protected class and each community, of the needs that can be served."""
        rules = self.problem.rules
        classes: defaultdict[str, list[int]] = defaultdict(list)
        places: defaultdict[str, list[int]] = defaultdict(list)
        for index, need in enumerate(self.problem.needs):
            if all(
                len(self.bids_of_slot[slot]) >= self.quantity[slot] for slot in self.slots_of[index]
            ):
                places[need.community].append(index)
                if need.priority != "normal":
                    classes[need.priority].append(index)
        found = []
        if protected:
            for name, members in sorted(classes.items()):
                wanted = -(-len(members) * rules.protected_floor // 10_000)
                found.append(Floor("protected_first", name, members, wanted))
        if communities and len(places) > 1:
            for name, members in sorted(places.items()):
                wanted = -(-len(members) * rules.community_floor // 10_000)
                found.append(Floor("community_floor", name, members, wanted))
        return found

    @cached_property
    def masks(self) -> list[int]:
        """Each of the problem's times as one integer: a bit for every stretch between two moments
        at which anything begins or ends. Two times clash if their bits do."""
        edges = sorted({edge for times in self.problem.times for time in times for edge in time})
        place = {edge: at for at, edge in enumerate(edges)}
        return [_mask(times, place) for times in self.problem.times]

    @cached_property
    def pins(self) -> frozenset[Flat]:
        """The candidates that are pinned."""
        wanted = {(pin.need, pin.role, pin.offering) for pin in self.problem.pins}
        if not wanted:
            return frozenset()
        problem = self.problem
        found = set()
        for index, need in enumerate(problem.needs):
            for slot, flat_slot in zip(need.slots, self.slots_of[index], strict=True):
                for bid in self.bids_of_slot[flat_slot]:
                    name = (need.id, slot.role, problem.offerings[self.offering[bid]].id)
                    if name in wanted:
                        found.add(bid)
        return frozenset(found)

    def clashes(self, offering: int) -> list[list[Flat]]:
        """The maximal sets of the offering's candidates of which it can do only one: those that
        some moment has in common, and those of one need."""
        bids = self.bids_at[offering]
        if len(bids) < 2:
            return []
        by_times: defaultdict[int, int] = defaultdict(int)
        by_need: defaultdict[int, int] = defaultdict(int)
        for at, bid in enumerate(bids):
            by_times[self.times[bid]] |= 1 << at
            by_need[self.need[bid]] |= 1 << at
        sets = {members for members in by_need.values() if members.bit_count() > 1}
        sets |= _together([(self.masks[times], group) for times, group in by_times.items()])
        return [
            [bid for at, bid in enumerate(bids) if members >> at & 1] for members in _maximal(sets)
        ]

    @cached_property
    def clash_rows(self) -> list[list[list[Flat]]]:
        """`clashes` of every offering."""
        return [self.clashes(offering) for offering in range(len(self.bids_at))]


def positions(instance: Instance) -> dict[tuple[str, str, str], Flat]:
    """Each candidate by need, role and offering."""
    problem, found = instance.problem, {}
    for index, need in enumerate(problem.needs):
        for slot, flat in zip(need.slots, instance.slots_of[index], strict=True):
            for bid in instance.bids_of_slot[flat]:
                found[need.id, slot.role, problem.offerings[instance.offering[bid]].id] = bid
    return found


def _mask(times: tuple[Interval, ...], place: dict[int, int]) -> int:
    mask = 0
    for start, end in times:
        mask |= (1 << place[end]) - (1 << place[start])
    return mask


def _together(groups: list[tuple[int, int]]) -> set[int]:
    """Which groups any stretch of time has in common, as sets of two members or more."""
    regions: dict[int, int] = {}
    for mask, members in groups:
        if not mask:
            continue
        split: dict[int, int] = {}
        left = mask
        for there, region in regions.items():
            inside = region & mask
            if inside:
                split[there | members] = inside
                left &= ~inside
            if outside := region & ~mask:
                split[there] = split.get(there, 0) | outside
        if left:
            split[members] = split.get(members, 0) | left
        regions = split
    return {members for members in regions if members.bit_count() > 1}


def _maximal(sets: set[int]) -> list[int]:
    """Those that no other contains; largest first."""
    kept: list[int] = []
    for members in sorted(sets, key=lambda members: (-members.bit_count(), members)):
        if all(members & ~other for other in kept):
            kept.append(members)
    return kept
