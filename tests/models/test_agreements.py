"""Whatever happens to agreements, in any order: what is taken is what stands.

A state machine walks through proposals, answers, pauses, swaps, ends, enrolments, holds and time;
after every step `tests/balance.py` counts anew what the program has counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from models import agreements, base, bookings, engine, errors, needs, offerings, values
from models.agreements import enrolments
from models.agreements.records import AgreementRecord, Money, PledgeDraft
from tests import balance, crowds, fixtures, postgres
from tests.clocks import Clock
from tests.crowds import Scene

T = TypeVar("T")
Step = agreements.StepDraft
_SOME = st.integers(0, 1_000)
SLOTS = (
    values.Slot(role="room", kind="space"),
    values.Slot(role="cook", kind="merchant", quantity=2),
)


def pick(several: Sequence[T], number: int) -> T:
    return several[number % len(several)]


class Walk(RuleBasedStateMachine):
    """Two needs, two spaces and three merchants of four partners; everything may be refused, and
    nothing may be out of balance."""

    settle: Callable[[], Coroutine[Any, Any, Scene]]
    run: Callable[[Coroutine[Any, Any, Any]], Any]
    clock: Clock
    scene: Scene
    # How often something was done, and not refused.
    done: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.agreements: list[uuid.UUID] = []
        self.enrolments: list[uuid.UUID] = []
        self.holds: list[uuid.UUID] = []

    @initialize()
    def begin(self) -> None:
        type(self).scene = self.run(type(self).settle())

    @rule(
        need=_SOME,
        cooks=st.lists(_SOME, max_size=2),
        room=st.none() | _SOME,
        day=st.integers(0, 4),
        days=st.integers(1, 4),
        places=st.integers(0, 4),
        pledge=st.booleans(),
        by_partner=st.booleans(),
        at_once=st.booleans(),
    )
    def propose(
        self,
        need: int,
        cooks: list[int],
        room: int | None,
        day: int,
        days: int,
        places: int,
        pledge: bool,
        by_partner: bool,
        at_once: bool,
    ) -> None:
        scene = self.scene
        times = [scene.time(day + number) for number in range(days)]
        members = [] if room is None else [scene.member(pick(self._spaces, room), "room", times)]
        asked = {pick(self._merchants, cook).id: pick(self._merchants, cook) for cook in cooks}
        members += [scene.member(one, "cook", times, max(places, 1)) for one in asked.values()]
        pledges: tuple[PledgeDraft, ...] = ()
        if pledge or not members:
            money = Money(amount=100)
            pledges = (PledgeDraft(partner_id=scene.partners[3], kind="cash", value=money),)
        by = members[0].partner if by_partner and members else None

        async def act() -> None:
            asked_for = await needs.read(pick(scene.asked, need).id)
            served = places if asked_for.beneficiaries else 0
            made = await scene.propose(asked_for, members, places=served, pledges=pledges, by=by)
            self.agreements.append(made.id)
            if at_once:
                await self._all_accept(made)

        self._try("propose", act())

    @precondition(lambda self: self.agreements)
    @rule(which=_SOME, party=_SOME, fewer=st.none() | st.integers(1, 3))
    def accept(self, which: int, party: int, fewer: int | None) -> None:
        self._answer("accept", which, party, Step(places=fewer))

    @precondition(lambda self: self.agreements)
    @rule(which=_SOME)
    def everybody_accepts(self, which: int) -> None:
        async def act() -> None:
            await self._all_accept(await agreements.read(pick(self.agreements, which)))

        self._try("everybody accepts", act())

    @precondition(lambda self: self.agreements)
    @rule(which=_SOME, party=_SOME)
    def decline(self, which: int, party: int) -> None:
        self._answer("decline", which, party, Step(reason="time"))

    @precondition(lambda self: self.agreements)
    @rule(which=_SOME, step=st.sampled_from(["withdraw", "suspend", "resume", "end"]))
    def change(self, which: int, step: str) -> None:
        async def act() -> None:
            made = await agreements.read(pick(self.agreements, which))
            body = Step() if step in ("withdraw", "resume") else Step(reason="other")
            await getattr(agreements, step)(made, body, self.scene.decider)

        self._try(step, act())

    @precondition(lambda self: self.agreements)
    @rule(which=_SOME, who=_SOME, by=_SOME)
    def swap(self, which: int, who: int, by: int) -> None:
        async def act() -> None:
            made = await agreements.read(pick(self.agreements, which))
            members = [one for one in made.commitments if one.offering_id]
            if not members:
                return
            before = pick(members, who)
            several = self._spaces if before.role == "room" else self._merchants
            rows = await engine.rows("SELECT times FROM commitment WHERE id = $1", before.id)
            times = agreements.reading.times_of(rows[0][0])
            newcomer = self.scene.member(pick(several, by), before.role, times, before.quantity)
            body = Step(commitment_id=before.id)
            await agreements.swap(made, body, self.scene.decider, newcomer)

        self._try("swap", act())

    @rule(hours=st.sampled_from([1, 12, 26, 26, 60, 100, 3000]), ticks=st.booleans())
    def time_passes(self, hours: int, ticks: bool) -> None:
        async def act() -> None:
            self.clock.advance(hours=hours)
            await bookings.expire()
            if ticks:
                # Twice: what is completed may be due again at once.
                await agreements.tick()
                await agreements.tick()

        self._try("time", act())

    @rule(need=_SOME, label=st.integers(0, 12))
    def enrol(self, need: int, label: int) -> None:
        async def act() -> None:
            draft = agreements.EnrolmentDraft(label=str(label))
            asked_for = pick(self.scene.asked, need).id
            made = await agreements.enrol(asked_for, draft, self.scene.account)
            self.enrolments.append(made.id)

        self._try("enrol", act())

    @precondition(lambda self: self.enrolments)
    @rule(which=_SOME)
    def give_a_place_back(self, which: int) -> None:
        async def act() -> None:
            await enrolments.cancel(await enrolments.read(pick(self.enrolments, which)))

        self._try("cancel enrolment", act())

    @rule(which=_SOME, day=st.integers(0, 4), seconds=st.none() | st.integers(1, 9000))
    def book(self, which: int, day: int, seconds: int | None) -> None:
        async def act() -> None:
            offering = pick(self.scene.offered, which)
            starts, ends = map(bookings.moment_of, self.scene.time(day))
            draft = bookings.BookingDraft(starts_at=starts, ends_at=ends, hold_s=seconds)
            made = await bookings.book(offering, draft, self.scene.account)
            self.holds.append(made.id)

        self._try("book", act())

    @precondition(lambda self: self.holds)
    @rule(which=_SOME, keep=st.booleans())
    def move_a_booking(self, which: int, keep: bool) -> None:
        async def act() -> None:
            booking = await bookings.read(pick(self.holds, which))
            await (bookings.confirm(booking) if keep else bookings.cancel(booking))

        self._try("confirm" if keep else "cancel booking", act())

    @precondition(lambda self: len(self.agreements) > 2)
    @rule(which=_SOME, partner=st.booleans())
    def somebody_vanishes(self, which: int, partner: bool) -> None:
        async def act() -> None:
            if partner:
                await agreements.gone("partner", pick(self.scene.partners, which), "member_left")
            else:
                offering = pick(self.scene.offered, which).id
                await agreements.gone("offering", offering, "member_left")

        self._try("vanish", act())

    @invariant()
    def nothing_is_out_of_balance(self) -> None:
        assert self.run(balance.flaws()) == []

    @property
    def _spaces(self) -> list[offerings.OfferingRecord]:
        return [one for one in self.scene.offered if one.kind == "space"]

    @property
    def _merchants(self) -> list[offerings.OfferingRecord]:
        return [one for one in self.scene.offered if one.kind == "merchant"]

    async def _all_accept(self, made: AgreementRecord) -> None:
        for party in made.parties:
            if party.answer == "pending":
                actor = self.scene.people_of(party.partner_id)
                made = await agreements.accept(made, Step(party_id=party.id), actor)

    def _answer(self, step: str, which: int, party: int, body: Step) -> None:
        async def act() -> None:
            made = await agreements.read(pick(self.agreements, which))
            asked = pick(made.parties, party)
            actor = self.scene.people_of(asked.partner_id)
            answered = structs.replace(body, party_id=asked.id)
            await getattr(agreements, step)(made, answered, actor)

        self._try(step, act())

    def _try(self, what: str, act: Coroutine[Any, Any, None]) -> None:
        """What is refused has happened, too: nothing of it may be left."""
        try:
            self.run(act)
        except errors.Refusal:
            what += ", refused"
        self.done[what] = self.done.get(what, 0) + 1


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_whatever_happens_what_is_taken_is_what_stands(
    kind: str,
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A9, A10, B2: never negative, never more than there is, after any walk."""
    done = await asyncio.to_thread(_walk, kind, templates, postgres_server, monkeypatch)
    # Something must have been done, or this test is worth nothing.
    assert sum(count for what, count in done.items() if "refused" not in what) > 20


def _walk(
    kind: str,
    templates: dict[tuple[str, str], fixtures.Template],
    server: postgres.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, int]:
    """Hypothesis cannot await: its steps run in a thread, on a loop and a database of their own."""
    setting = templates[kind, "settled"].setting
    assert setting
    done: dict[str, int] = {}

    stack = contextlib.AsyncExitStack()

    async def settle() -> Scene:
        """Every walk begins in a fresh copy."""
        await stack.aclose()
        template = templates[kind, "settled"]
        await stack.enter_async_context(fixtures.a_database(kind, template, server))
        clock = Clock()
        monkeypatch.setattr(base, "clock", clock.read)
        Walk.clock = clock
        scene = await crowds.settle(setting, 4)
        for number in range(2):
            await scene.offer("space", number)
        for number in range(3):
            await scene.offer("merchant", number + 1, capacity=5)
        await scene.ask(*SLOTS, beneficiaries=6)
        await scene.ask(*SLOTS)
        return scene

    with asyncio.Runner() as runner:
        try:
            walk = type(
                "Walk",
                (Walk,),
                {"settle": staticmethod(settle), "run": staticmethod(runner.run), "done": done},
            )
            run_state_machine_as_test(walk, settings=OPTIONS)
        finally:
            runner.run(stack.aclose())
    return done


OPTIONS = settings(
    max_examples=6,
    stateful_step_count=25,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
