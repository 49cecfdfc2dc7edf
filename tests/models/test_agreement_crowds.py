"""Many who accept, swap, end and enrol at the same moment: nothing is given twice, and nobody waits
for ever."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable

import pytest

from models import agreements, base, bookings, engine, errors, needs, values
from models.agreements import enrolments
from models.agreements.records import AgreementRecord
from tests import balance, crowds
from tests.clocks import Clock
from tests.crowds import Scene
from tests.towns import Setting

Step = agreements.StepDraft
ROOM = values.Slot(role="room", kind="space", quantity=1000)
COOK = values.Slot(role="cook", kind="merchant", quantity=1000)


async def _accept(scene: Scene, made: AgreementRecord) -> AgreementRecord:
    """Everybody says yes."""
    for party in made.parties:
        if party.partner_id:
            actor = scene.people_of(party.partner_id)
            made = await agreements.accept(made, Step(party_id=party.id), actor)
    return made


async def _together(*several: Awaitable[object]) -> Counter[str]:
    """What comes of acts at the same moment: done, or refused with which code. Any other error, a
    deadlock or a lock that was waited for too long among them, fails the test."""

    # As many as a server takes on at once: more wait for a connection, and are told after 10 s.
    turn = asyncio.Semaphore(60)

    async def one(act: Awaitable[object]) -> str:
        async with turn:
            try:
                await act
            except errors.Refusal as refused:
                return refused.code
            return "done"

    return Counter(await asyncio.gather(*(one(act) for act in several)))


async def _providers(scene: Scene, places: list[int]) -> tuple[uuid.UUID, list[AgreementRecord]]:
    """A need for as many people as the providers have places for, and an agreement with each."""
    need = await scene.ask(COOK, beneficiaries=sum(places))
    made = []
    for number, count in enumerate(places):
        shop = await scene.offer("merchant", number, capacity=count)
        member = scene.member(shop, "cook", [scene.time(0)], count)
        fresh = await scene.propose(await needs.read(need.id), [member], places=count)
        made.append(await _accept(scene, fresh))
    return need.id, made


async def test_concurrent_accepts_over_the_same_offerings_in_any_order_wait_for_nobody_for_ever(
    settled: Setting,
) -> None:
    scene, chance = await crowds.settle(settled, 3), random.Random(11)
    rooms = [await scene.offer("space", number) for number in range(3)]
    shops = [await scene.offer("merchant", number, capacity=9) for number in range(3)]
    asked = [await scene.ask(ROOM, COOK) for _ in range(3)]
    made = []
    for number in range(16):
        members = [scene.member(one, "room", [scene.time(number % 4)]) for one in rooms]
        members += [scene.member(one, "cook", [scene.time(number % 4)]) for one in shops]
        chance.shuffle(members)
        made.append(await scene.propose(asked[number % 3], members[:4]))
    said = await _together(*(_accept(scene, one) for one in made))
    assert set(said) <= {"done", "already_booked"}, said
    assert said["done"] > 3
    assert await balance.flaws() == []
    over = [await agreements.read(one.id) for one in made]
    live = [one for one in over if one.state == "active"]
    acts: list[Awaitable[object]] = [
        agreements.end(one, Step(reason="other"), scene.decider) for one in live
    ]
    acts += [_accept(scene, one) for one in over if one.state == "proposed"]
    chance.shuffle(acts)
    said = await _together(*acts)
    assert set(said) <= {"done", "already_booked", "wrong_state"}, said
    assert await balance.flaws() == []


async def test_accepts_a_swap_and_an_end_that_race_leave_one_story(settled: Setting) -> None:
    scene = await crowds.settle(settled, 3)
    for number in range(6):
        need = await scene.ask(ROOM, COOK)
        room, cook = await scene.offer("space"), await scene.offer("merchant", 1, capacity=3)
        other = await scene.offer("merchant", 2, capacity=3)
        times = [scene.time(day) for day in range(3)]
        members = [scene.member(room, "room", times), scene.member(cook, "cook", times)]
        made = await scene.propose(need, members)
        if number % 2:
            made = await _accept(scene, made)
        swapped = Step(commitment_id=made.commitments[1].id)
        newcomer = scene.member(other, "cook", times)
        people = [scene.people_of(scene.partners[partner]) for partner in (0, 1, 2)]
        acts = [
            agreements.accept(made, Step(), people[0]),
            agreements.accept(made, Step(), people[1]),
            agreements.swap(made, swapped, scene.decider, newcomer),
            agreements.accept(made, Step(), people[2]),
            agreements.end(made, Step(reason="other"), scene.decider),
        ]
        random.Random(number).shuffle(acts)
        await _together(*acts)
        assert await balance.flaws() == []


async def test_240_concurrent_enrolments_on_200_places_of_7_providers_are_200(
    settled: Setting,
) -> None:
    """B2: also while people give their places back; then the line moves up in its order."""
    scene, chance = await crowds.settle(settled, 7), random.Random(12)
    need, _ = await _providers(scene, [30, 30, 30, 30, 30, 25, 25])

    async def come(cancels: bool) -> None:
        made = await agreements.enrol(need, agreements.EnrolmentDraft(), base.new_id())
        if cancels:
            await enrolments.cancel(made)

    await _together(*(come(number % 10 == 0) for number in range(240)))
    places = await agreements.places_of(need)
    assert (places.wanted, places.promised, places.remaining) == (200, 200, 0)
    assert (places.enrolled, places.waiting) == (200, 16)
    assert await balance.flaws() == []
    line = [
        base.as_id(one)
        for (one,) in await engine.rows(
            "SELECT id FROM enrolment WHERE status = 'waitlisted' ORDER BY id"
        )
    ]
    have = await engine.rows("SELECT id FROM enrolment WHERE status = 'enrolled'")
    for (one,), first in zip(chance.sample(have, 5), line, strict=False):
        await enrolments.cancel(await enrolments.read(base.as_id(one)))
        assert (await enrolments.read(first)).status == "enrolled"
    assert (await enrolments.read(line[5])).ahead == 0


async def test_enrolments_that_race_a_pause_and_an_end_are_seated_or_wait(
    settled: Setting,
) -> None:
    scene = await crowds.settle(settled, 3)
    need, made = await _providers(scene, [4, 4, 4])
    people = [base.new_id() for _ in range(18)]
    before = [
        await agreements.enrol(need, agreements.EnrolmentDraft(), account) for account in people[:9]
    ]

    async def pause(one: AgreementRecord) -> None:
        await agreements.suspend(one, Step(reason="other"), scene.decider)
        await agreements.resume(one, Step(), scene.decider)

    await _together(
        pause(made[0]),
        *(agreements.enrol(need, agreements.EnrolmentDraft(), one) for one in people[9:]),
        agreements.end(made[1], Step(reason="other"), scene.decider),
        *(enrolments.cancel(one) for one in before[:4]),
    )
    assert await balance.flaws() == []
    places = await agreements.places_of(need)
    assert (places.promised, places.enrolled, places.waiting) == (8, 8, 6)


async def test_a_place_that_was_given_back_in_a_pause_goes_to_the_first_in_line(
    settled: Setting,
) -> None:
    scene = await crowds.settle(settled)
    need, (made,) = await _providers(scene, [1])
    has, waits = [
        await agreements.enrol(need, agreements.EnrolmentDraft(label=name), scene.account)
        for name in ("Li", "Wang")
    ]
    await agreements.suspend(made, Step(reason="other"), scene.decider)
    await enrolments.cancel(has)
    assert (await enrolments.read(waits.id)).status == "waitlisted", "nothing takes place now"
    await agreements.resume(made, Step(), scene.decider)
    assert (await enrolments.read(waits.id)).status == "enrolled"
    assert await balance.flaws() == []


async def test_what_is_taken_can_be_given_back_when_less_is_asked_for_meanwhile(
    settled: Setting,
) -> None:
    scene = await crowds.settle(settled)
    need = await scene.ask(COOK, beneficiaries=10)
    made = []
    for _ in range(2):
        shop = await scene.offer("merchant", capacity=4)
        member = scene.member(shop, "cook", [scene.time(0)], 4)
        made.append(await _accept(scene, await scene.propose(need, [member], places=4)))
    await needs.change(await needs.read(need.id), needs.NeedChange(beneficiaries=2))
    await agreements.enrol(need.id, agreements.EnrolmentDraft(), scene.account)
    assert (await agreements.places_of(need.id)).remaining == 0
    for one in made:
        await agreements.end(one, Step(reason="other"), scene.decider)
        assert await balance.flaws() == []
    places = await agreements.places_of(need.id)
    assert (places.promised, places.remaining, places.waiting) == (0, 2, 1)


async def test_a_seat_is_given_over_once_and_who_is_not_asked_any_more_goes_on(
    settled: Setting,
) -> None:
    scene = await crowds.settle(settled, 3)
    need, times = await scene.ask(ROOM, COOK), [scene.time(0)]
    room, cook = await scene.offer("space"), await scene.offer("merchant", 1, capacity=3)
    made = await scene.propose(
        need, [scene.member(room, "room", times), scene.member(cook, "cook", times)]
    )
    made = await _accept(scene, made)
    before = made.commitments[1]
    swapped = Step(commitment_id=before.id)
    zhou, third = await scene.offer("merchant", 0), await scene.offer("merchant", 2)
    # The partner of the room is asked to cook as well; then a third partner is asked instead.
    for newcomer in (zhou, third):
        made = await agreements.swap(
            made, swapped, scene.decider, scene.member(newcomer, "cook", times)
        )
        assert await balance.flaws() == []
    by_partner = {party.partner_id: party.answer for party in made.parties}
    assert [by_partner[one] for one in scene.partners] == ["accepted", "accepted", "pending"]
    made = await agreements.accept(made, Step(), scene.people_of(scene.partners[2]))
    with pytest.raises(errors.Refusal) as refused:
        await agreements.swap(made, swapped, scene.decider, scene.member(cook, "cook", times))
    assert refused.value.fields[0].field == "commitment_id"
    assert await balance.flaws() == []


async def test_a_clock_that_jumps_ends_holds_and_services_and_asks_nobody_any_more(
    settled: Setting, clock: Clock
) -> None:
    scene = await crowds.settle(settled, 2)
    need, (made,) = await _providers(scene, [2])
    seats = [
        await agreements.enrol(need, agreements.EnrolmentDraft(label=str(one)), scene.account)
        for one in range(3)
    ]
    newcomer = scene.member(await scene.offer("merchant", 1), "cook", [scene.time(0)], 2)
    swapped = Step(commitment_id=made.commitments[0].id)
    await agreements.swap(made, swapped, scene.decider, newcomer)
    await agreements.suspend(made, Step(reason="other"), scene.decider)
    space = await scene.offer("space")
    starts, ends = map(bookings.moment_of, scene.time(30))
    hold = bookings.BookingDraft(starts_at=starts, ends_at=ends, hold_s=900)
    held = await bookings.book(space, hold, scene.account)
    clock.advance(days=-3)
    assert (await bookings.expire(), await agreements.tick()) == (0, 0)
    clock.advance(days=60)
    assert (await bookings.expire(), await bookings.expire()) == (1, 0)
    assert (await bookings.read(held.id)).status == "expired"
    assert [await agreements.tick() for _ in range(3)] == [1, 1, 0]
    found = await agreements.read(made.id)
    assert (found.state, found.commitments[1].status) == ("reviewed", "left")
    rows = await engine.rows("SELECT status, count(*) FROM occurrence GROUP BY status")
    assert rows == [("cancelled", 1)], "it fell into the pause"
    assert [(await enrolments.read(one.id)).status for one in seats] == [
        "enrolled",
        "enrolled",
        "waitlisted",
    ]
    assert await balance.flaws() == []


async def test_the_clocks_of_several_processes_race_and_each_thing_is_done_once(
    settled: Setting, clock: Clock
) -> None:
    scene = await crowds.settle(settled, 2)
    _, (made,) = await _providers(scene, [2])
    space = await scene.offer("space")
    starts, ends = map(bookings.moment_of, scene.time(30))
    hold = bookings.BookingDraft(starts_at=starts, ends_at=ends, hold_s=900)
    await bookings.book(space, hold, scene.account)
    clock.advance(days=60)
    assert sum(await asyncio.gather(*(bookings.expire() for _ in range(4)))) == 1
    # It is completed, and then reviewed.
    moved = [sum(await asyncio.gather(*(agreements.tick() for _ in range(4)))) for _ in range(2)]
    assert moved == [2, 0]
    assert (await agreements.read(made.id)).state == "reviewed"
    assert await balance.flaws() == []
