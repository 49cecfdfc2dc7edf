"""Before a plan is proposed: whether what it assigns still holds, on the data as they are now.

Runs inside the transaction that writes the proposals: every gate for the exact windows, every
clash, load and budget, also against what has been proposed before.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from models import accounts, base, engine, needs, places, plans, proposals, snapshots, values
from search import candidates, matching, scoring
from search.gates import NeedFacts, OfferingFacts
from search.planning import gather
from search.planning.gather import Asked, Builder, Candidate, Finder
from search.planning.instance import Flat, Instance, positions
from search.planning.report import Assignment
from search.planning.state import State

Place = tuple[str, str, str]


class LeftOut(Struct, frozen=True):
    """A seat that is not proposed. `because` is `need_closed`, `role_gone`, `offering_gone`,
    `gates` (with those that are shut now), `seat_taken`, `clash` (its time or its week is taken),
    `budget` or `no_space`."""

    need: str
    role: str
    seat: int
    offering: str
    because: str
    gates: tuple[str, ...] = ()


class Holding(Struct):
    """What holds, seat by seat, and what does not."""

    seats: list[proposals.Seat]
    left_out: list[LeftOut]


async def holding(plan: plans.PlanRecord, wanted: Sequence[Assignment]) -> Holding:
    """Check assignments of a plan that has not proposed them yet."""
    await _lock(wanted)
    standing = await _standing(wanted)
    asked = {entry.need for entry in wanted} | {str(p.need_id) for p in standing}
    check = _Check(plan)
    for need in await needs.read_many([uuid.UUID(need_id) for need_id in sorted(asked)]):
        there = [p for p in standing if p.need_id == need.id]
        mine = [entry for entry in wanted if entry.need == str(need.id)]
        await check.add(need, mine, there)
    return await check.outcome(wanted, standing)


async def _lock(wanted: Iterable[Assignment]) -> None:
    """Nobody else proposes the same offerings or needs meanwhile. On SQLite the transaction itself
    keeps everybody else out."""
    if engine.current().dialect != "postgres":
        return
    for table, ids in (
        ("need", {entry.need for entry in wanted}),
        ("offering", {entry.offering for entry in wanted}),
    ):
        if ids:
            await engine.rows(
                f"SELECT id FROM {table} WHERE id IN ({base.placeholders(len(ids))})"
                " ORDER BY id FOR UPDATE",
                *(uuid.UUID(identity) for identity in sorted(ids)),
            )


async def _standing(wanted: Sequence[Assignment]) -> list[proposals.ProposalRecord]:
    return await proposals.standing(
        sorted({uuid.UUID(entry.need) for entry in wanted}),
        sorted({uuid.UUID(entry.offering) for entry in wanted}),
    )


class _Check:
    """Collects what is compared, as a problem that has no choice left."""

    def __init__(self, plan: plans.PlanRecord):
        self._plan = plan
        self._eyes: accounts.Visibility = gather.eyes_of(plan.place_id)
        self._finder = Finder(self._eyes)
        self._builder = Builder({})
        self._facts: dict[str, tuple[NeedFacts, dict[str, values.Slot], uuid.UUID]] = {}
        self._fits: dict[Place, OfferingFacts] = {}
        self._shut: dict[Place, tuple[str, ...]] = {}
        self._gone: set[str] = set()

    async def add(
        self,
        need: needs.NeedRecord,
        mine: Sequence[Assignment],
        there: Sequence[proposals.ProposalRecord],
    ) -> None:
        """One need, with those who are assigned and those who are proposed already."""
        if need.status != "open":
            self._gone.add(str(need.id))
            return
        zone = (await places.timezones([need.place_id]))[need.place_id]
        facts = candidates.need_facts(need, zone)
        self._facts[facts.id] = facts, {slot.role: slot for slot in need.slots}, need.place_id
        found = []
        for slot in need.slots:
            named = {entry.offering for entry in mine if entry.role == slot.role}
            named |= {str(p.offering_id) for p in there if p.role == slot.role}
            found.append((slot, await self._fitting(facts, need.place_id, slot, sorted(named))))
        self._builder.add(Asked(facts, need.place_id, found), "")

    async def _fitting(
        self, need: NeedFacts, place: uuid.UUID, slot: values.Slot, named: list[str]
    ) -> list[Candidate]:
        weights = await self._finder.weights(need.service_type)
        fitting = []
        for offering in await candidates.known_of(named, need, place, slot, self._eyes):
            result = scoring.evaluate(need, slot, offering, weights)
            name = (need.id, slot.role, offering.id)
            if isinstance(result, scoring.Match):
                self._fits[name] = offering
                fitting.append(Candidate(result.score, offering))
            else:
                self._shut[name] = result.gates
        return fitting

    async def outcome(
        self, wanted: Sequence[Assignment], standing: Sequence[proposals.ProposalRecord]
    ) -> Holding:
        """Take what stands, then what is wanted, as far as it fits."""
        spending, _ = await gather.budgets(self._plan.budgets)
        instance = Instance(self._builder.problem(spending))
        bids = positions(instance)
        state = State(instance)
        for proposal in standing:
            name = (str(proposal.need_id), proposal.role, str(proposal.offering_id))
            if name in bids:
                state.take(bids[name])
        found = Holding([], [])
        for entry in self._spaces_first(wanted):
            name = (entry.need, entry.role, entry.offering)
            because = self._why_not(name, bids, state)
            if because is None:
                state.take(bids[name])
                found.seats.append(await self._seat(entry, instance.score[bids[name]]))
            else:
                shut = self._shut.get(name, ())
                found.left_out.append(LeftOut(*name[:2], entry.seat, name[2], because, shut))
        return found

    def _spaces_first(self, wanted: Sequence[Assignment]) -> list[Assignment]:
        """Whoever needs a space is looked at after it."""

        def is_space(entry: Assignment) -> bool:
            _, slots, _ = self._facts.get(entry.need, (None, {}, None))
            slot = slots.get(entry.role)
            return slot is not None and slot.kind == "space"

        return sorted(wanted, key=lambda entry: not is_space(entry))

    def _why_not(self, name: Place, bids: dict[Place, Flat], state: State) -> str | None:
        need, role, _ = name
        if need not in self._facts:
            return "need_closed"
        if role not in self._facts[need][1]:
            return "role_gone"
        if name in self._shut:
            return "gates"
        if name not in bids:
            return "offering_gone"
        bid, instance = bids[name], state.instance
        if bid in state.chosen or (
            state.filled[instance.slot[bid]] >= instance.quantity[instance.slot[bid]]
        ):
            return "seat_taken"
        if not state.has_time(bid):
            return "clash"
        if not state.has_money(bid):
            return "budget"
        return None if state.has_a_space(bid) else "no_space"

    async def _seat(self, entry: Assignment, score: int) -> proposals.Seat:
        """A seat with what was compared for it, kept."""
        facts, slots, place = self._facts[entry.need]
        offering = self._fits[entry.need, entry.role, entry.offering]
        weights = await self._finder.weights(facts.service_type)
        match = scoring.evaluate(facts, slots[entry.role], offering, weights)
        assert isinstance(match, scoring.Match)
        compared = (matching.Compared(slots[entry.role], offering, match),)
        content = msgspec.json.encode(matching.Content(facts, weights, compared), order="sorted")
        need = uuid.UUID(entry.need)
        return proposals.Seat(
            need=need,
            place=place,
            role=entry.role,
            seat=entry.seat,
            offering=uuid.UUID(entry.offering),
            partner=uuid.UUID(entry.partner),
            score=score,
            snapshot=await snapshots.keep(need, content),
        )
