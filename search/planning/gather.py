"""From the database to a problem: the open needs of a place, and the best candidates of each slot.

In small steps, one slot at a time, so that the server goes on answering meanwhile.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from models import accounts, base, engine, needs, places, plans, services, values
from search import candidates, gates, scoring, windows
from search.gates import NeedFacts, OfferingFacts
from search.planning.problem import (
    Bid,
    Budget,
    Need,
    Objective,
    Offering,
    Pin,
    Problem,
    Rules,
    Slot,
    ordered,
)
from search.scoring import Weights

# All that a slot needs: with the best 20 a plan loses 0.001 % against all.
TOP = 20
_PAGE = 100
Tell = Callable[[int, int], Awaitable[None]]


class Candidate(Struct, frozen=True):
    """An offering that passes every gate of a slot; `score` 0..10000."""

    score: int
    offering: OfferingFacts


class Asked(Struct):
    """One open need with the candidates of each slot, best first."""

    facts: NeedFacts
    place: uuid.UUID
    slots: list[tuple[values.Slot, list[Candidate]]]


def eyes_of(place: uuid.UUID) -> accounts.Visibility:
    """What the staff of the place see: a plan is theirs, and tells them nothing more."""
    return accounts.Visibility(places=frozenset({place}))


async def open_needs(place: uuid.UUID) -> AsyncIterator[tuple[needs.NeedRecord, str]]:
    """Every open need of the place and below it, with its time zone."""
    after: uuid.UUID | None = None
    while True:
        found = await needs.browse(
            eyes_of(place), after=after, limit=_PAGE, status="open", within=place
        )
        zones = await places.timezones(need.place_id for need in found)
        for need in found:
            yield need, zones[need.place_id]
        if len(found) < _PAGE:
            return
        after = found[-1].id


class Finder:
    """Looks for candidates, with what they have in common looked up once."""

    def __init__(self, eyes: accounts.Visibility):
        self._eyes = eyes
        self._weights: dict[str, Weights] = {}

    async def weights(self, service: str) -> Weights:
        """How much each part of a score counts for a service type."""
        if service not in self._weights:
            (record,) = await services.refer("service_type", (service,))
            self._weights[service] = candidates.weights_of(record)
        return self._weights[service]

    async def find(self, need: NeedFacts, place: uuid.UUID, slot: values.Slot) -> list[Candidate]:
        """Everybody who passes every gate of the slot, best first."""
        fitting = await candidates.fitting(need, place, slot, self._eyes)
        # A step of its own: others are waiting for the loop.
        await asyncio.sleep(0)
        return await self.fits(need, slot, fitting)

    async def fits(
        self, need: NeedFacts, slot: values.Slot, offerings: Sequence[OfferingFacts]
    ) -> list[Candidate]:
        """Those of the offerings that pass every gate of the slot, best first."""
        weights = await self.weights(need.service_type)
        keyed = [
            (key, offering)
            for offering in offerings
            if (key := scoring.rank_key(need, slot, offering, weights)) is not None
        ]
        keyed.sort(key=lambda pair: pair[0])
        return [Candidate(-key[0], offering) for key, offering in keyed]


class Builder:
    """Puts a problem together, need by need."""

    def __init__(self, kept: Mapping[tuple[str, str], set[str]], pins: Sequence[Pin] = ()):
        """`kept` are the offerings of a former plan by need and role."""
        self._kept = kept
        self._pins = tuple(pins)
        self._pinned = {(pin.need, pin.role, pin.offering) for pin in pins}
        self._needs: list[Need] = []
        self._offerings: dict[str, Offering] = {}
        self._index: dict[str, int] = {}
        self._times: dict[tuple[windows.Interval, ...], int] = {(): 0}
        self.bids = 0

    def add(self, asked: Asked, community: str, only_currency: str | None = None) -> None:
        """One more need. Under a budget of some currency, priced candidates of others fall away."""
        facts = asked.facts
        spaces = [
            candidate.offering
            for slot, found in asked.slots
            if slot.kind == "space"
            for candidate in self._best(facts, slot, found)
        ]
        slots = []
        for slot, found in asked.slots:
            bids = tuple(
                self._bid(facts, slot, candidate, spaces)
                for candidate in self._best(facts, slot, found)
                if only_currency in (None, candidate.offering.currency)
                or candidate.offering.price_amount == 0
            )
            self.bids += len(bids)
            slots.append(Slot(slot.role, slot.quantity, bids))
        self._needs.append(
            Need(
                id=facts.id,
                version=facts.version,
                service=facts.service_type,
                place=str(asked.place),
                community=community,
                priority=facts.priority,
                slots=tuple(slots),
                budget=_budget(facts, asked.slots[0][0]),
            )
        )

    def problem(
        self, budgets: Sequence[Budget] = (), keep: int = 500, objective: Objective = "utility"
    ) -> Problem:
        """What was added, in its one order."""
        known = {need.id for need in self._needs}
        return ordered(
            Problem(
                needs=tuple(self._needs),
                offerings=tuple(self._offerings.values()),
                times=tuple(self._times),
                budgets=tuple(
                    Budget(b.place, b.amount, tuple(n for n in b.needs if n in known))
                    for b in budgets
                ),
                pins=self._pins,
                rules=Rules(keep=keep),
                objective=objective,
            )
        )

    def _best(self, need: NeedFacts, slot: values.Slot, found: list[Candidate]) -> list[Candidate]:
        """The top of the list, and whoever is kept or pinned."""
        best = found[: max(TOP, 2 * slot.quantity)]
        kept = self._kept.get((need.id, slot.role), set())
        return best + [
            candidate
            for candidate in found[len(best) :]
            if candidate.offering.id in kept
            or (need.id, slot.role, candidate.offering.id) in self._pinned
        ]

    def _bid(
        self, need: NeedFacts, slot: values.Slot, candidate: Candidate, spaces: list[OfferingFacts]
    ) -> Bid:
        offering = candidate.offering
        case = gates.case_of(need, slot, offering)
        return Bid(
            offering=self._offering(offering),
            score=candidate.score,
            minutes=gates.weekly_minutes(case),
            price=gates.per_year(case, offering.price_amount, offering.per),
            times=self._times.setdefault(_occupied(case), len(self._times)),
            goes_with=None if slot.kind == "space" else self._goes_with(offering, spaces),
            kept=offering.id in self._kept.get((need.id, slot.role), ()),
        )

    def _goes_with(
        self, offering: OfferingFacts, spaces: list[OfferingFacts]
    ) -> tuple[int, ...] | None:
        """The spaces that have what it needs and are within its reach; None if all of them do."""
        suits = [space for space in spaces if _suits(offering, space)]
        if len(suits) == len(spaces):
            return None
        return tuple(sorted({self._offering(space) for space in suits}))

    def _offering(self, facts: OfferingFacts) -> int:
        if facts.id not in self._index:
            self._index[facts.id] = len(self._index)
            minutes, jobs = facts.max_minutes_week, facts.max_contacts_week
            self._offerings[facts.id] = Offering(
                id=facts.id,
                version=facts.version,
                partner=facts.partner,
                minutes=None if minutes is None else minutes - facts.committed_minutes_week,
                jobs=None if jobs is None else jobs - facts.contacts_week,
                open_minutes=windows.QUARTER
                * windows.blocks_of_offering(facts.availability, windows.QUARTER).bit_count(),
                idle=facts.jobs_agreed == 0,
            )
        return self._index[facts.id]


def _occupied(case: gates.Case) -> tuple[windows.Interval, ...]:
    """The minutes that serving the slot takes of the offering: those asked for while it is open.

    Of a rota nobody knows yet who takes which part, so each member keeps all of it free.
    """
    asked = case.demand.together
    parts, _ = gates.asked(case)
    if sum(gates.coverage(case)) == sum(part.minutes for part in parts):
        return asked.occurrences
    hours = windows.occurrences(case.offering.availability, case.demand.first, case.demand.last)
    free = windows.subtract(windows.union(hours), windows.union(case.offering.busy))
    return tuple(windows.intersect(asked.occurrences, free))


def _suits(offering: OfferingFacts, space: OfferingFacts) -> bool:
    if not set(offering.requires_features) <= set(space.features):
        return False
    places = (offering.lat_e6, offering.lon_e6, space.lat_e6, space.lon_e6)
    if offering.reach_m is None or None in places:
        return True
    return gates.distance_m(*places) <= offering.reach_m  # type: ignore[arg-type]  # none is None


def _budget(need: NeedFacts, slot: values.Slot) -> int | None:
    if need.budget_amount is None:
        return None
    nobody = OfferingFacts(id="", version=0, kind=slot.kind, partner="")
    return gates.per_year(gates.case_of(need, slot, nobody), need.budget_amount, need.per)


async def communities(place: uuid.UUID) -> dict[uuid.UUID, str]:
    """The community of each place below this one, itself included; its own id where there is
    none."""
    rows = await engine.rows(
        "SELECT d.descendant, (SELECT c.ancestor FROM place_closure c JOIN place p"
        " ON p.id = c.ancestor WHERE c.descendant = d.descendant AND p.kind = 'community')"
        " FROM place_closure d WHERE d.ancestor = $1",
        place,
    )
    return {base.as_id(below): str(community or below) for below, community in rows}


async def budgets(drafts: Sequence[plans.BudgetDraft]) -> tuple[list[Budget], dict[str, str]]:
    """Budgets as yearly amounts over their needs, and the currency that each need is bound to."""
    made, currency = [], {}
    for draft in drafts:
        rows = await engine.rows(
            "SELECT id FROM need WHERE status = 'open' AND place IN"
            " (SELECT descendant FROM place_closure WHERE ancestor = $1)",
            draft.place_id,
        )
        asked = tuple(sorted(str(need) for (need,) in rows))
        amount = draft.amount * (52 if draft.per == "week" else 12)
        made.append(Budget(str(draft.place_id), amount, asked))
        currency.update(dict.fromkeys(asked, draft.currency))
    return made, currency


async def problem_of(
    plan: plans.PlanRecord, kept: Mapping[tuple[str, str], set[str]], tell: Tell
) -> Problem:
    """The problem of a plan; `tell` hears of needs and candidates so far, and may give up."""
    builder = Builder(kept, [Pin(str(p.need_id), p.role, str(p.offering_id)) for p in plan.pins])
    finder = Finder(eyes_of(plan.place_id))
    at = await communities(plan.place_id)
    spending, currency = await budgets(plan.budgets)
    count = 0
    async for need, zone in open_needs(plan.place_id):
        facts = candidates.need_facts(need, zone)
        found = [(slot, await finder.find(facts, need.place_id, slot)) for slot in need.slots]
        builder.add(Asked(facts, need.place_id, found), at[need.place_id], currency.get(facts.id))
        count += 1
        await tell(count, builder.bids)
    # A second for a large plan, which nobody else should wait for.
    return await asyncio.to_thread(
        builder.problem, spending, plan.keep_points * 100, plan.objective
    )
