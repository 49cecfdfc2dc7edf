"""Choosing who serves together: the best bundles, by branch and bound.

The spaces are chosen first, because everybody's distance depends on them, then the role with the
fewest candidates. What is left to fill is never worth more than the best of each role, so most of
the tree is never looked at. The order is total: the sum of the scores, then the metres, then the
ids; no bundle ties with another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from search import gates, scoring
from search.bundles.levels import EVERY_MINUTE, Aim, Entry, Level, Rule, Spaces, Tables, spots
from search.bundles.problem import Candidate, Problem

# Beyond so many members it is not worth working out how many of them may be shared.
_MOST_SEATS = 32
# So many steps are taken for one bundle at the most; then the best so far is the answer.
STEPS = 40_000
# To work out what so many candidates are worth at a space takes as long as a step.
_LOOKS = 16
_NOBODY: frozenset[str] = frozenset()


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


class _State(Struct, eq=False):
    """What has been chosen so far. `covered` is what the members of a rota begun share so far,
    -1 is everything; `shared` counts members in common with each bundle found before; `earlier`
    are the partners of the roles filled, `here` those of the role begun."""

    value: int
    cost: int
    common: int
    covered: int
    shared: tuple[int, ...]
    earlier: frozenset[str]
    here: frozenset[str]
    members: tuple[tuple[int, Candidate], ...]


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
        self._share = problem.need.min_coverage if share is None else share
        self._tables = Tables(problem, without, aim)
        self._best: tuple[_State, Spaces] | None = None
        self._floor = self._tables.never
        self._before: Sequence[frozenset[str]] = ()
        self._first = False
        self._steps = 0
        self._seats = problem.seats

    def best(self, before: Sequence[frozenset[str]] = (), *, first: bool = False) -> Chosen | None:
        """The best bundle that shares no more than half of its members with any found before, or
        the `first` that comes along."""
        if self.problem.short():
            return None
        self._begin(before, first)
        start = _State(
            0, self._tables.rest, EVERY_MINUTE, 0, (0,) * len(before), _NOBODY, _NOBODY, ()
        )
        self._fill(self._tables.spaces, start, self._tables.roof, self._at)
        found = self._best
        if found is None:
            return None
        state, spaces = found
        members = tuple(
            tuple(c for where, c in state.members if where == at)
            for at in range(len(self.problem.roles))
        )
        whole = all(part & ~state.common == 0 for part in self.problem.parts)
        return Chosen(
            state.value,
            members,
            spots(space.offering for space in spaces),
            None if whole else state.common,
        )

    def _begin(self, before: Sequence[frozenset[str]], first: bool) -> None:
        self._best, self._floor, self._steps = None, self._tables.never, 0
        self._before, self._first = before, first

    # The tree

    def _at(self, state: _State) -> None:
        """The spaces are chosen: fill the other roles."""
        spaces = tuple(candidate for _, candidate in state.members)
        before = self._tables.looked
        levels = self._tables.at(spaces)
        self._steps += (self._tables.looked - before) // _LOOKS
        if levels is not None:
            state = structs.replace(state, cost=state.cost - self._tables.rest)
            self._fill(levels, state, 0, lambda end: self._keep(end, spaces))

    def _keep(self, state: _State, spaces: Spaces) -> None:
        self._best = state, spaces
        # No other beats the first if the first is all that was asked for.
        self._floor = -self._tables.never if self._first else state.value

    def _fill(
        self, levels: list[Level], start: _State, roof: int, done: Callable[[_State], None]
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
        self, state: _State, level: Level, position: int, left: int, least: int
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
        earlier, here = state.earlier, state.here
        if left == level.seats:
            earlier, here = earlier | here, _NOBODY
        if "one_role" not in self._without and (
            entry.partner in earlier
            or (entry.partner in here and entry.partner in self.problem.persons)
        ):
            return None
        time, shared = self._time(state, level, position, left), self._shared_by(state, entry)
        if time is None or shared is None:
            return None
        return _State(
            state.value + entry.value,
            cost,
            *time,
            shared,
            earlier,
            here | {entry.partner},
            (*state.members, (level.at, entry.candidate)),
        )

    def _time(
        self, state: _State, level: Level, position: int, left: int
    ) -> tuple[int, int] | None:
        """The common time with one more member, and what its rota covers so far; None if too
        little is left of it, or could be however the rota goes on."""
        free = level.entries[position].free
        common, covered = state.common, state.covered
        if not level.rota:
            if free is None:
                return common, covered
            common &= free
            return (common, covered) if self._enough(common) else None
        covered = (0 if left == level.seats else covered) | (EVERY_MINUTE if free is None else free)
        rest = level.together[position + 1] if left > 1 else 0
        if not self._enough(common & (covered | rest)):
            return None
        return (common & covered if left == 1 else common), covered

    def _shared_by(self, state: _State, entry: Entry) -> tuple[int, ...] | None:
        """How many members are in each bundle before, with one more; None if too many are."""
        if not state.shared:
            return ()
        name = entry.candidate.offering.id
        counts = zip(state.shared, self._before, strict=True)
        shared = tuple(count + (name in before) for count, before in counts)
        return None if max(shared) * 2 > self._seats else shared

    def _enough(self, common: int) -> bool:
        """Whether the common time reaches the share of each window."""
        if common == EVERY_MINUTE or "time" in self._without:
            return True
        return all(
            (part & common).bit_count() * scoring.FULL >= self._share * part.bit_count()
            for part in self.problem.parts
        )

    # What is still to come

    def _later(self, levels: list[Level], roof: int) -> Callable[[int, tuple[int, ...]], int]:
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
        self, levels: list[Level], roof: int, before: frozenset[str], most: int
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
                        default=4 * self._tables.never,
                    )
                    for room in range(most + 1)
                ]
            )
        return tables[::-1]
