"""Who may take each role at certain spaces, what they are worth and what they cost: the tables
in which the search for the best bundles looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Literal

from msgspec import Struct

from search import gates, scoring
from search.bundles.problem import FAR, Candidate, Problem, Role
from search.gates import OfferingFacts

Rule = Literal["budget", "time", "features", "reach", "one_role"]
RULES: tuple[Rule, ...] = ("budget", "time", "features", "reach", "one_role")

# Sums of metres, FAR among them, stay below; a value of one more outweighs them all.
_METRES = 72
# Up to so many candidates each has a bit of its own, so that ids settle every tie.
_MOST_BITS = 512
# So many choices of spaces are kept for the next search.
_KEPT = 64
Spaces = tuple[Candidate, ...]
# What a candidate of a role is worth at these spaces, so many metres away.
Aim = Callable[[Role, Candidate, Spaces, int | None], int]

EVERY_MINUTE = -1  # as a mask


class Entry(Struct, eq=False):
    """A candidate of a role at certain spaces."""

    value: int
    candidate: Candidate
    partner: str
    yearly: int
    free: int | None


class Level(Struct, eq=False):
    """A role to be filled, its entries by value.

    `prefix` sums their values; `cheapest` is the least that the role can cost, `lowest` one member
    of it; `together` is what the entries from a position on cover of a rota.
    """

    at: int
    seats: int
    rota: bool
    entries: list[Entry]
    prefix: list[int]
    cheapest: int
    lowest: int
    together: list[int]


class Tables:
    """The levels of one problem. Rules in `without` are not looked at; members are worth what
    `aim` says, their score if there is none."""

    def __init__(self, problem: Problem, without: frozenset[Rule], aim: Aim | None) -> None:
        self._problem, self._without, self._aim = problem, without, aim
        self._bits, self._low = _ties(problem)
        # How many candidates have been looked at: what the tables have cost so far.
        self.looked = 0
        # Less than any sum of values.
        self.never = -1 << self._low + _METRES + 128
        roles = range(len(problem.roles))
        self._others = [at for at in roles if problem.roles[at].slot.kind != "space"]
        self.spaces = [self._level(at, ()) for at in roles if at not in self._others]
        # What the other roles are worth at the most and cost at the least, at whatever space.
        self.roof = sum(self._most_ever(at) for at in self._others)
        self.rest = sum(self._least_ever(at) for at in self._others)
        self._known: dict[tuple[str, ...], list[Level] | None] = {}

    def at(self, spaces: Spaces) -> list[Level] | None:
        """The other roles at these spaces, the scarcest first; None if one cannot be filled."""
        key = tuple(space.offering.id for space in spaces)
        levels = self._known[key] if key in self._known else self._levels(spaces)
        if len(self._known) < _KEPT:
            self._known[key] = levels
        return levels

    def _levels(self, spaces: Spaces) -> list[Level] | None:
        levels = []
        for at in self._others:
            level = self._level(at, spaces)
            if len(level.entries) < level.seats:
                return None
            levels.append(level)
        return sorted(levels, key=lambda level: (len(level.entries), level.at))

    def _level(self, at: int, spaces: Spaces) -> Level:
        role = self._problem.roles[at]
        entries = self._entries(at, spaces)
        rota, seats = role.slot.mode == "rota", role.slot.quantity
        together = [0]
        if rota:
            for entry in reversed(entries):
                together.append(together[-1] | (EVERY_MINUTE if entry.free is None else entry.free))
        costs = sorted(entry.yearly for entry in entries)
        return Level(
            at,
            seats,
            rota,
            entries,
            [0, *accumulate(entry.value for entry in entries)],
            sum(costs[:seats]),
            costs[0] if costs else 0,
            together[::-1],
        )

    def _entries(self, at: int, spaces: Spaces) -> list[Entry]:
        """Who may take the role at these spaces, by value; each value is different."""
        entries = []
        self.looked += len(self._problem.roles[at].candidates)
        for candidate in self._problem.roles[at].candidates:
            offering, metres = candidate.offering, travel_m(candidate, spaces)
            if "features" not in self._without and lacking(offering, spaces):
                continue
            if "reach" not in self._without and not gates.reaches(offering, metres):
                continue
            value = self._value(at, candidate, spaces, metres)
            entries.append(
                Entry(value, candidate, offering.partner, candidate.yearly, candidate.free)
            )
        entries.sort(key=lambda entry: (-entry.value, entry.candidate.offering.id))
        return entries

    def _value(self, at: int, candidate: Candidate, spaces: Spaces, metres: int | None) -> int:
        """Score, then metres, then id, as one number that may be summed."""
        role = self._problem.roles[at]
        if self._aim is None:
            problem = self._problem
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
        problem, role = self._problem, self._problem.roles[at]
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
        role = self._problem.roles[at]
        return sum(sorted(c.yearly for c in role.candidates)[: role.slot.quantity])


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
