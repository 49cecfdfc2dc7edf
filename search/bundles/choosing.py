"""Choosing who serves together: the best bundles, by branch and bound.

The spaces are chosen first, because everybody's distance depends on them, then the role with the
fewest candidates. What is left to fill is never worth more than the best of each role, so most of
the tree is never looked at. The order is total: the sum of the scores, then the metres, then the
ids; no bundle ties with another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Literal

from msgspec import Struct, structs

from search import gates, scoring
from search.bundles.problem import FAR, Candidate, Problem, Role
from search.gates import OfferingFacts

Rule = Literal["budget", "time", "features", "reach", "one_role"]
RULES: tuple[Rule, ...] = ("budget", "time", "features", "reach", "one_role")

# Sums of metres, FAR among them, stay below; a value of one more outweighs them all.
_METRES = 72
# Up to so many candidates each has a bit of its own, so that ids settle every tie.
_MOST_BITS = 512
# Beyond so many members it is not worth working out how many of them may be shared.
_MOST_SEATS = 32
# Tables of so many choices of spaces are kept for the next search.
_KEPT = 64
# So many steps are taken for one bundle at the most; then the best so far is the answer.
STEPS = 40_000

Spaces = tuple[Candidate, ...]
# What a candidate of a role is worth at these spaces, so many metres away.
Aim = Callable[[Role, Candidate, Spaces, int | None], int]


class Chosen(Struct, frozen=True, eq=False):
    """A bundle: per role, in the order of the slots, who fills it. `common` has the bits of the
    asked minutes in which it is complete, None if that is all of them."""

    value: int
    members: tuple[tuple[Candidate, ...], ...]
    spots: tuple[gates.Spot, ...]
    common: int | None

    @property
    def ids(self) -> frozenset[str]:
        """The offerings in it."""
        return frozenset(c.offering.id for members in self.members for c in members)


class _Entry(Struct, eq=False):
    """A candidate of a role at certain spaces."""

    value: int
    candidate: Candidate
    partner: str
    yearly: int
    free: int | None


class _Level(Struct, eq=False):
    """A role to be filled, its entries by value.

    `prefix` sums their values; `cheapest` is the least that the role can cost, `lowest` one member
    of it; `together` is what the entries from a position on cover of a rota.
    """

    at: int
    seats: int
    rota: bool
    entries: list[_Entry]
    prefix: list[int]
    cheapest: int
    lowest: int
    together: list[int]


class _State(Struct, eq=False):
    """What has been chosen so far. `covered` is what the members of a rota begun share so far,
    -1 is everything; `shared` counts members in common with each bundle found before."""

    value: int
    cost: int
    common: int
    covered: int
    shared: tuple[int, ...]
    members: tuple[tuple[int, Candidate], ...]


_ALL = -1  # as a mask: every minute


class Search:
    """Bundles of one problem. Rules in `without` are not looked at; `share` is the coverage that
    the common time must reach, the need's own unless said otherwise."""

    def __init__(
        self,
        problem: Problem,
        without: frozenset[Rule] = frozenset(),
        aim: Aim | None = None,
        share: int | None = None,
    ) -> None:
        self.problem = problem
        self._without = without
        self._aim = aim
        self._share = problem.need.min_coverage if share is None else share
        self._bits, self._low = _ties(problem)
        self._never = -1 << self._low + _METRES + 128
        self._tables: dict[tuple[str, ...], list[_Level] | None] = {}
        self._best: tuple[_State, Spaces] | None = None
        self._floor = self._never
        self._before: Sequence[frozenset[str]] = ()
        self._first = False
        self._steps = 0
        self._seats = problem.seats
        roles = range(len(problem.roles))
        self._others = [at for at in roles if problem.roles[at].slot.kind != "space"]
        self._spaces = [self._level(at, ()) for at in roles if at not in self._others]
        # What the other roles are worth at the most and cost at the least, at whatever space.
        self._roof = sum(self._most_ever(at) for at in self._others)
        self._rest = sum(self._least_ever(at) for at in self._others)

    def best(self, before: Sequence[frozenset[str]] = (), *, first: bool = False) -> Chosen | None:
        """The best bundle that shares no more than half of its members with any found before, or
        the `first` that comes along."""
        if self.problem.short():
            return None
        self._begin(before, first)
        start = _State(0, self._rest, _ALL, 0, (0,) * len(before), ())
        self._fill(self._spaces, start, self._roof, self._at)
        found = self._best
        if found is None:
            return None
        state, spaces = found
        members = tuple(
            tuple(c for where, c in state.members if where == at)
            for at in range(len(self.problem.roles))
        )
        whole = all(part & ~state.common == 0 for part in self.problem.parts)
        return Chosen(state.value, members, _spots(spaces), None if whole else state.common)

    def _begin(self, before: Sequence[frozenset[str]], first: bool) -> None:
        self._best, self._floor, self._steps = None, self._never, 0
        self._before, self._first = before, first

    @property
    def gave_up(self) -> bool:
        """Whether the last search ended because it took too long."""
        return self._steps > STEPS

    # The tree

    def _at(self, state: _State) -> None:
        """The spaces are chosen: fill the other roles."""
        spaces = tuple(candidate for _, candidate in state.members)
        key = tuple(space.offering.id for space in spaces)
        levels = self._tables[key] if key in self._tables else self._levels(spaces)
        if len(self._tables) < _KEPT:
            self._tables[key] = levels
        if levels is not None:
            state = structs.replace(state, cost=state.cost - self._rest)
            self._fill(levels, state, 0, lambda end: self._keep(end, spaces))

    def _keep(self, state: _State, spaces: Spaces) -> None:
        self._best = state, spaces
        # No other beats the first if the first is all that was asked for.
        self._floor = -self._never if self._first else state.value

    def _fill(
        self, levels: list[_Level], start: _State, roof: int, done: Callable[[_State], None]
    ) -> None:
        """Fill the levels in turn, best first, and call `done` for each way to do so that may
        still beat the best so far; `roof` is what comes after can add at the most."""
        plan = [(n, left) for n, level in enumerate(levels) for left in range(level.seats, 0, -1)]
        if not plan:
            done(start)
            return
        later = self._later(levels, roof)
        least = [0]
        for level in reversed(levels):
            least.append(least[-1] + level.cheapest)
        least.reverse()
        states, positions = [start] * len(plan), [0] * len(plan)
        depth = 0
        while depth >= 0 and self._steps <= STEPS:
            n, left = plan[depth]
            level, state, position = levels[n], states[depth], positions[depth]
            if position + left > len(level.entries):
                depth -= 1
                continue
            reach = level.prefix[position + left] - level.prefix[position]
            if state.value + reach + later(n + 1, state.shared) <= self._floor:
                depth -= 1
                continue
            positions[depth] = position + 1
            self._steps += 1
            taken = self._take(state, level, position, left, least[n + 1])
            if taken is None:
                continue
            if depth + 1 == len(plan):
                done(taken)
                continue
            depth += 1
            states[depth] = taken
            positions[depth] = position + 1 if plan[depth][0] == n else 0

    def _take(
        self, state: _State, level: _Level, position: int, left: int, least: int
    ) -> _State | None:
        """One more member, or None if a joint rule forbids it."""
        entry = level.entries[position]
        budget = self.problem.budget
        cost = state.cost + entry.yearly
        if (
            budget is not None
            and cost + (left - 1) * level.lowest + least > budget
            and "budget" not in self._without
        ):
            return None
        if "one_role" not in self._without:
            alone = entry.partner in self.problem.persons
            for at, other in state.members:
                if other.offering.partner == entry.partner and (at != level.at or alone):
                    return None
        common, covered = state.common, state.covered
        if level.rota:
            free = _ALL if entry.free is None else entry.free
            covered = (0 if left == level.seats else covered) | free
            rest = level.together[position + 1] if left > 1 else 0
            if not self._enough(common & (covered | rest)):
                return None
            if left == 1:
                common &= covered
        elif entry.free is not None:
            common &= entry.free
            if not self._enough(common):
                return None
        shared = state.shared
        if shared:
            name = entry.candidate.offering.id
            shared = tuple(
                count + (name in before) for count, before in zip(shared, self._before, strict=True)
            )
            if max(shared) * 2 > self._seats:
                return None
        member = (level.at, entry.candidate)
        return _State(
            state.value + entry.value, cost, common, covered, shared, (*state.members, member)
        )

    def _enough(self, common: int) -> bool:
        """Whether the common time reaches the share of each window."""
        if common == _ALL or "time" in self._without:
            return True
        return all(
            (part & common).bit_count() * scoring.FULL >= self._share * part.bit_count()
            for part in self.problem.parts
        )

    # What the levels are made of

    def _levels(self, spaces: Spaces) -> list[_Level] | None:
        """The other roles at these spaces, the scarcest first; None if one cannot be filled."""
        levels = []
        for at in self._others:
            level = self._level(at, spaces)
            if len(level.entries) < level.seats:
                return None
            levels.append(level)
        return sorted(levels, key=lambda level: (len(level.entries), level.at))

    def _level(self, at: int, spaces: Spaces) -> _Level:
        role = self.problem.roles[at]
        entries = self._entries(at, spaces)
        rota, seats = role.slot.mode == "rota", role.slot.quantity
        together = [0]
        if rota:
            for entry in reversed(entries):
                together.append(together[-1] | (_ALL if entry.free is None else entry.free))
        costs = sorted(entry.yearly for entry in entries)
        return _Level(
            at,
            seats,
            rota,
            entries,
            [0, *accumulate(entry.value for entry in entries)],
            sum(costs[:seats]),
            costs[0] if costs else 0,
            together[::-1],
        )

    def _entries(self, at: int, spaces: Spaces) -> list[_Entry]:
        """Who may take the role at these spaces, by value; each value is different."""
        entries = []
        for candidate in self.problem.roles[at].candidates:
            offering, metres = candidate.offering, travel_m(candidate, spaces)
            if "features" not in self._without and lacking(offering, spaces):
                continue
            if "reach" not in self._without and not gates.reaches(offering, metres):
                continue
            value = self._value(at, candidate, spaces, metres)
            entries.append(
                _Entry(value, candidate, offering.partner, candidate.yearly, candidate.free)
            )
        entries.sort(key=lambda entry: (-entry.value, entry.candidate.offering.id))
        return entries

    def _value(self, at: int, candidate: Candidate, spaces: Spaces, metres: int | None) -> int:
        """Score, then metres, then id, as one number that may be summed."""
        role = self.problem.roles[at]
        if self._aim is None:
            problem = self.problem
            score = scoring.at_distance(candidate.rest, metres, problem.need, problem.weights)
            value = score * role.weight
        else:
            value = self._aim(role, candidate, spaces, metres)
        far = FAR if metres is None else metres
        return ((value << _METRES) - far << self._low) - self._bits[at, candidate.offering.id]

    def _most_ever(self, at: int) -> int:
        """What the members of a role can be worth at the most, if they live next to the space."""
        if self._aim is not None:
            return 0
        problem, role = self.problem, self.problem.roles[at]
        best = sorted(
            (
                scoring.at_distance(c.rest, 0, problem.need, problem.weights)
                for c in role.candidates
            ),
            reverse=True,
        )
        return sum(best[: role.slot.quantity]) * role.weight << _METRES + self._low

    def _least_ever(self, at: int) -> int:
        """What the members of a role cost at the least."""
        role = self.problem.roles[at]
        return sum(sorted(c.yearly for c in role.candidates)[: role.slot.quantity])

    def _later(self, levels: list[_Level], roof: int) -> Callable[[int, tuple[int, ...]], int]:
        """What the levels from n on can add at the most, given how many members are shared with
        each bundle found before."""
        plain = [roof]
        for level in reversed(levels):
            plain.append(plain[-1] + level.prefix[min(level.seats, len(level.entries))])
        plain.reverse()
        if not self._before or self._seats > _MOST_SEATS:
            return lambda n, _: plain[n]
        most = self._seats // 2
        tables = [self._shared(levels, roof, before, most) for before in self._before]
        return lambda n, shared: min(
            table[n][most - count] for table, count in zip(tables, shared, strict=True)
        )

    def _shared(
        self, levels: list[_Level], roof: int, before: frozenset[str], most: int
    ) -> list[list[int]]:
        """For the levels from n on, what they add at the most if r members are in `before`."""
        tables = [[roof] * (most + 1)]
        for level in reversed(levels):
            old, new = [0], [0]
            for entry in level.entries:
                sums = old if entry.candidate.offering.id in before else new
                if len(sums) <= level.seats:
                    sums.append(sums[-1] + entry.value)
            after = tables[-1]
            tables.append(
                [
                    max(
                        (
                            old[r] + new[level.seats - r] + after[room - r]
                            for r in range(min(room, level.seats, len(old) - 1) + 1)
                            if level.seats - r < len(new)
                        ),
                        default=4 * self._never,
                    )
                    for room in range(most + 1)
                ]
            )
        return tables[::-1]


def spots(spaces: Iterable[OfferingFacts]) -> tuple[gates.Spot, ...]:
    """Where these spaces are, as far as that is known."""
    return tuple(
        (space.lat_e6, space.lon_e6)
        for space in spaces
        if space.lat_e6 is not None and space.lon_e6 is not None
    )


def _spots(spaces: Spaces) -> tuple[gates.Spot, ...]:
    return spots(space.offering for space in spaces)


def travel_m(candidate: Candidate, spaces: Spaces) -> int | None:
    """How far a candidate has to go: to the furthest space, or if there is none to the need."""
    where = _spots(spaces)
    if where:
        return gates.travel_m(candidate.offering, where)
    return None if candidate.metres == FAR else candidate.metres


def lacking(offering: OfferingFacts, spaces: Spaces) -> frozenset[str]:
    """What the offering requires of a space and the best of these does not have."""
    if not offering.requires_features or not spaces or offering.kind == "space":
        return frozenset()
    return host(offering, spaces)[1]


def host(offering: OfferingFacts, spaces: Spaces) -> tuple[Candidate, frozenset[str]]:
    """The space that has most of what the offering requires, and what is missing there."""
    wanted = frozenset(offering.requires_features)
    missing = [(space, wanted.difference(space.offering.features)) for space in spaces]
    return min(missing, key=lambda pair: (len(pair[1]), pair[0].offering.id))


def _ties(problem: Problem) -> tuple[dict[tuple[int, str], int], int]:
    """What settles ties, and how many bits it takes: a bit for each candidate, the higher the
    later its id comes. Where there are too many for that, its place in the order of the ids."""
    order = sorted(
        (candidate.offering.id, role.slot.role, at)
        for at, role in enumerate(problem.roles)
        for candidate in role.candidates
    )
    if len(order) <= _MOST_BITS:
        return {(at, name): 1 << rank for rank, (name, _, at) in enumerate(order)}, len(order)
    return {(at, name): rank for rank, (name, _, at) in enumerate(order)}, 64
