"""What a search for bundles starts from: who may take which role, and what they bring to it.

`prepare` puts every offering before the gates of its slot once. All of them hold, whatever the
bundle; only `reach` waits until it is known to which space one would have to go.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct, structs

from models.values import Slot, Window
from search import gates, scoring, windows
from search.gates import Case, NeedFacts, OfferingFacts
from search.scoring import Weights

FAR = 1 << 53
# After ranking so many are looked at for a role; a team takes more to choose from.
_MOST = {"space": 24, "merchant": 24, "vanguard": 24, "volunteer": 32, "goods": 24}
_MOST_PER_SEAT = 4


class Candidate(Struct, frozen=True, eq=False):
    """One offering that passes the gates of a slot.

    `rest` is its score without the distance; `score` and `metres` are measured from the need.
    `yearly` is its price as `gates.per_year` counts it; `free` has one bit for each minute asked
    for, None if it is free for all of them.
    """

    offering: OfferingFacts
    rest: int
    score: int
    metres: int
    yearly: int
    free: int | None


class Role(Struct, frozen=True, eq=False):
    """One slot, who may take it, best first, and what a point of one member's score is worth."""

    slot: Slot
    weight: int
    candidates: tuple[Candidate, ...]


class Problem(Struct, frozen=True, eq=False):
    """A need, and for each of its slots who may take it.

    `persons` are the partners that are one person each: nobody is two of five helpers. `budget` is
    what a year may cost. `parts` has for each window the mask of its minutes on the `timeline`.
    """

    need: NeedFacts
    weights: Weights
    roles: tuple[Role, ...]
    persons: frozenset[str]
    budget: int | None
    timeline: Timeline
    parts: tuple[int, ...]

    @property
    def seats(self) -> int:
        """How many members a bundle has."""
        return sum(role.slot.quantity for role in self.roles)

    def short(self) -> tuple[Role, ...]:
        """The roles that have fewer candidates than they take."""
        return tuple(r for r in self.roles if len(r.candidates) < r.slot.quantity)

    def capped(self) -> Problem:
        """The same with the best candidates only."""
        roles = (
            structs.replace(role, candidates=role.candidates[: _most(role.slot)])
            for role in self.roles
        )
        return structs.replace(self, roles=tuple(roles))


def _most(slot: Slot) -> int:
    return max(_MOST[slot.kind], slot.quantity * _MOST_PER_SEAT)


class Timeline:
    """The minutes that a need asks for, one after the other, so that free times are bit masks."""

    def __init__(self, need: windows.Demand) -> None:
        self._need = need
        self.occurrences = need.together.occurrences
        lengths = (end - start for start, end in self.occurrences)
        self._offsets = (0, *accumulate(lengths))
        self._known: dict[tuple[Window, ...], int] = {}

    def mask(self, times: Sequence[windows.Interval]) -> int:
        """The bits of the asked minutes that lie in these times, which are sorted and disjoint."""
        bits = 0
        for start, end in windows.intersect(self.occurrences, times):
            at = bisect_right(self.occurrences, (start, FAR)) - 1
            offset = self._offsets[at] + start - self.occurrences[at][0]
            bits |= (1 << end - start) - 1 << offset
        return bits

    def free(self, offering: OfferingFacts) -> int:
        """The bits of the asked minutes in which the offering is free."""
        hours = offering.availability
        if hours not in self._known:
            self._known[hours] = self.mask(windows.open_hours(self._need, hours))
        return self._known[hours] & ~self.mask(windows.union(offering.busy))

    def times(self, mask: int) -> tuple[windows.Interval, ...]:
        """A mask as times again."""
        found = []
        for (start, end), offset in zip(self.occurrences, self._offsets, strict=False):
            bits, begin = mask >> offset & (1 << end - start) - 1, start
            while bits:
                skipped = (bits & -bits).bit_length() - 1
                bits >>= skipped
                run = (~bits & bits + 1).bit_length() - 1
                found.append((begin + skipped, begin + skipped + run))
                bits, begin = bits >> run, begin + skipped + run
        return tuple(windows.union(found))


def prepare(
    need: NeedFacts,
    offered: Sequence[tuple[Slot, Sequence[OfferingFacts]]],
    weights: Weights,
    persons: frozenset[str] = frozenset(),
) -> Problem:
    """Put offerings before the slots of a need. The order of the offerings changes nothing."""
    demand = windows.demand(need.windows, need.as_of)
    timeline = Timeline(demand)
    travels = any(slot.kind == "space" for slot, _ in offered)
    common = math.lcm(*(slot.quantity for slot, _ in offered))
    ranked = []
    for slot, offerings in offered:
        cases = (gates.case_of(need, slot, offering) for offering in offerings)
        but = "reach" if travels and slot.kind != "space" else ""
        found = [_candidate(case, weights, timeline) for case in cases if gates.passes(case, but)]
        found.sort(key=lambda item: (-item.score, item.metres, item.offering.id))
        ranked.append(found)
    budget = None
    if need.budget_amount is not None:
        anybody = OfferingFacts(id="", version=0, kind="space", partner="")
        case = gates.case_of(need, offered[0][0], anybody)
        budget = gates.per_year(case, need.budget_amount, need.per)
    return Problem(
        need,
        weights,
        tuple(
            Role(slot, common // slot.quantity, tuple(found))
            for (slot, _), found in zip(offered, ranked, strict=True)
        ),
        persons,
        budget,
        timeline,
        tuple(timeline.mask(part.occurrences) for part in demand.each),
    )


def _candidate(case: Case, weights: Weights, timeline: Timeline) -> Candidate:
    offering = case.offering
    rest = scoring.but_distance(case, weights)
    asked, _ = gates.asked(case)
    whole = sum(gates.coverage(case)) == sum(part.minutes for part in asked)
    return Candidate(
        offering,
        rest,
        scoring.at_distance(rest, case.travel_m, case.need, weights),
        FAR if case.travel_m is None else case.travel_m,
        gates.per_year(case, offering.price_amount, offering.per),
        None if whole else timeline.free(offering),
    )
