"""Every bundle there is, one by one: slow and plain, to check the search for the best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from msgspec import structs

from models.values import Slot
from search import gates, scoring, windows
from search.gates import NeedFacts, OfferingFacts
from search.scoring import Weights
from tests.search.matching_facts import free_minutes

Filled = tuple[tuple[OfferingFacts, ...], ...]  # who fills each slot, in the order of the slots


class Town:
    """A need, its slots with who was offered for each, and how bundles compare."""

    def __init__(
        self,
        need: NeedFacts,
        offered: Sequence[tuple[Slot, Sequence[OfferingFacts]]],
        weights: Weights,
        persons: frozenset[str] = frozenset(),
    ) -> None:
        self.need, self.offered, self.weights, self.persons = need, offered, weights, persons
        self.slots = [slot for slot, _ in offered]
        self.demand = windows.demand(need.windows, need.as_of)
        self.asked = minutes_of(self.demand.together.occurrences)
        self._free: dict[str, set[int]] = {}

    def top(self, limit: int) -> list[Filled]:
        """The best bundle, then the best that shares no more than half with any before, …"""
        chosen: list[Filled] = []
        for bundle in sorted(self.every(), key=self.order):
            names = ids(bundle)
            if len(chosen) < limit and all(
                2 * len(names & ids(before)) <= len(names) for before in chosen
            ):
                chosen.append(bundle)
        return chosen

    def every(self) -> Iterator[Filled]:
        """All that no gate and no joint rule forbids."""
        return (bundle for bundle in self.teams() if not self.broken(bundle))

    def teams(self) -> Iterator[Filled]:
        """All that no gate forbids."""
        teams = [
            itertools.combinations(
                [o for o in offerings if isinstance(self.alone(slot, o), scoring.Match)],
                slot.quantity,
            )
            for slot, offerings in self.offered
        ]
        return itertools.product(*teams)

    def order(self, bundle: Filled) -> tuple[Fraction, int, list[tuple[str, str]]]:
        """The mean of the roles' means, the metres, and the ids from the last to the first."""
        metres, total = 0, Fraction(0)
        for slot, member in self.members(bundle):
            match = self.match(slot, member, bundle)
            metres += scoring.sort_key(match)[1]
            total += Fraction(match.score, slot.quantity)
        names = [(o.id, slot.role) for slot, o in self.members(bundle)]
        return -total, metres, sorted(names, reverse=True)

    def score(self, bundle: Filled) -> int:
        return math.floor(-self.order(bundle)[0] / len(self.slots))

    def members(self, bundle: Filled) -> list[tuple[Slot, OfferingFacts]]:
        return [(slot, o) for slot, team in zip(self.slots, bundle, strict=True) for o in team]

    def alone(self, slot: Slot, offering: OfferingFacts) -> scoring.Match | scoring.Exclusion:
        """Before the gates of the slot; where there is a space, without that of reach."""
        if any(other.kind == "space" for other in self.slots):
            offering = structs.replace(offering, reach_m=None)
        return scoring.evaluate(self.need, slot, offering, self.weights)

    def match(self, slot: Slot, offering: OfferingFacts, bundle: Filled) -> scoring.Match:
        """With the distance to the furthest space, put where the need is so far away."""
        spots = [place for place in self.spaces(bundle) if place.lat_e6 is not None]
        need = self.need
        if slot.kind != "space" and spots and offering.lat_e6 is not None:
            far = max(spots, key=lambda space: metres_between(offering, space))
            need = structs.replace(need, lat_e6=far.lat_e6, lon_e6=far.lon_e6)
            # The radius is a gate of the need, and was one already.
            result = scoring.evaluate(
                need, slot, structs.replace(offering, reach_m=None), self.weights
            )
            if isinstance(result, scoring.Exclusion):
                assert result.gates == ("radius",)
                return scoring.Match(
                    offering.id, result.would_score, metres_between(offering, far), ()
                )
            return result
        result = self.alone(slot, offering)
        assert isinstance(result, scoring.Match)
        return result

    def spaces(self, bundle: Filled) -> list[OfferingFacts]:
        return [o for slot, o in self.members(bundle) if slot.kind == "space"]

    # The joint rules

    def broken(self, bundle: Filled) -> set[str]:
        """The joint rules that a bundle breaks."""
        members = self.members(bundle)
        found = set()
        if self.spaces(bundle):
            others = [o for slot, o in members if slot.kind != "space"]
            if not all(self._at_home(o, self.spaces(bundle)) for o in others):
                found.add("features")
            if not all(self._gets_there(o, self.spaces(bundle)) for o in others):
                found.add("reach")
        if self.costs(bundle) > self._budget():
            found.add("budget")
        if self._twice(bundle):
            found.add("one_role")
        if self.share(bundle) < Fraction(self.need.min_coverage, 10_000):
            found.add("time")
        return found

    def _at_home(self, offering: OfferingFacts, spaces: Iterable[OfferingFacts]) -> bool:
        return any(set(offering.requires_features) <= set(space.features) for space in spaces)

    def _gets_there(self, offering: OfferingFacts, spaces: Iterable[OfferingFacts]) -> bool:
        if offering.reach_m is None or offering.lat_e6 is None:
            return True
        known = [space for space in spaces if space.lat_e6 is not None]
        # Where the space is not known, the need is as near as we know.
        known = known or [
            structs.replace(offering, lat_e6=self.need.lat_e6, lon_e6=self.need.lon_e6)
        ]
        return all(metres_between(offering, space) <= offering.reach_m for space in known)

    def costs(self, bundle: Filled) -> int:
        return sum(self.yearly(o.price_amount, o.per) for _, o in self.members(bundle))

    def _budget(self) -> int:
        if self.need.budget_amount is None:
            return 10**18
        return self.yearly(self.need.budget_amount, self.need.per)

    def yearly(self, amount: int, per: str) -> int:
        sessions = max(self.demand.sessions_week, 1)
        return amount * {"session": 52 * sessions, "week": 52, "month": 12}[per]

    def _twice(self, bundle: Filled) -> bool:
        taken: dict[str, int] = {}
        for at, team in enumerate(bundle):
            partners = [o.partner for o in team]
            if any(partners.count(name) > 1 for name in partners if name in self.persons):
                return True
            for name in partners:
                if taken.setdefault(name, at) != at:
                    return True
        return False

    def share(self, bundle: Filled) -> Fraction:
        """The least share of a window in which the bundle is complete."""
        if not self.need.windows:
            return Fraction(1)
        common, shares = self.complete(bundle), []
        for part in self.demand.each:
            asked = minutes_of(part.occurrences)
            if asked:
                shares.append(Fraction(len(asked & common), len(asked)))
        return min(shares, default=Fraction(1))

    def complete(self, bundle: Filled) -> set[int]:
        """The asked minutes in which everybody is there, of a rota somebody."""
        common = set(self.asked)
        for slot, team in zip(self.slots, bundle, strict=True):
            free = [self._minutes(o) for o in team]
            common &= set.union(*free) if slot.mode == "rota" else set.intersection(*free)
        return common

    def _minutes(self, offering: OfferingFacts) -> set[int]:
        if offering.id not in self._free:
            free = free_minutes(offering.availability, offering.busy, self.demand)
            self._free[offering.id] = self.asked & free
        return self._free[offering.id]


def minutes_of(times: Iterable[windows.Interval]) -> set[int]:
    """Every minute of these times."""
    return {minute for start, end in times for minute in range(start, end)}


def ids(bundle: Filled) -> set[str]:
    """The offerings of a bundle."""
    return {offering.id for team in bundle for offering in team}


def metres_between(one: OfferingFacts, other: OfferingFacts) -> int:
    if one.lat_e6 is None or other.lat_e6 is None:
        return 0
    assert one.lon_e6 is not None
    assert other.lon_e6 is not None
    return gates.distance_m(one.lat_e6, one.lon_e6, other.lat_e6, other.lon_e6)
