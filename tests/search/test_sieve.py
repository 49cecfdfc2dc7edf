"""Thousands of offerings at a glance: the sieve says of each what the gates say."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from models import base
from models.values import Slot
from search import candidates, gates, turns
from tests.search import matching_facts as facts


def _promised_nothing(offering: gates.OfferingFacts, kind: str) -> gates.OfferingFacts:
    """What is at a glance: an offering of the slot's kind without bookings and contacts."""
    hours = offering.max_minutes_week
    return structs.replace(
        offering,
        kind=kind,
        taken=(),
        busy=(),
        committed_minutes_week=0,
        contacts_week=0,
        max_minutes_week=hours and hours // 60 * 60,
    )


def _glance(offering: gates.OfferingFacts, number: int) -> gates.Glance:
    hours = offering.max_minutes_week
    return gates.Glance(
        id=str(number),
        partner=offering.partner,
        status=offering.status,
        partner_status=offering.partner_status,
        blocked=int(offering.blocked),
        lat_e6=offering.lat_e6,
        lon_e6=offering.lon_e6,
        reach_m=offering.reach_m,
        capacity=offering.capacity,
        price_amount=offering.price_amount,
        currency=offering.currency,
        per=offering.per,
        max_hours_week=None if hours is None else hours // 60,
        max_contacts_week=offering.max_contacts_week,
        service_types=base.pack(offering.services),
        features=base.pack(offering.features),
        languages=base.pack(offering.languages),
        availability=base.pack(offering.availability),
        timezone="Asia/Shanghai",
        booked=0,
    )


_ZONES = ("Asia/Shanghai", "Asia/Shanghai", "Asia/Kathmandu", "Europe/Berlin")


@settings(max_examples=60)
@given(
    facts.some_need(_ZONES),
    facts.some_slot(),
    st.lists(facts.some_offering(_ZONES), min_size=1, max_size=6),
)
def test_at_a_glance_the_same_gates_are_shut_as_one_by_one(
    need: gates.NeedFacts, slot: Slot, several: list[gates.OfferingFacts]
) -> None:
    offered = [_promised_nothing(offering, slot.kind) for offering in several]
    seen = [_glance(offering, number) for number, offering in enumerate(offered)]
    licences = {str(number): offering.licences for number, offering in enumerate(offered)}
    sieve = gates.Sieve(need, slot, candidates.words, candidates.hours)
    shut = sieve.shut(seen, licences)
    for offering, bits in zip(offered, shut, strict=True):
        names = gates.failing(gates.case_of(need, slot, offering))
        assert bits == sum(gates.BITS[name] for name in names)
    # Whatever was met before.
    assert sieve.shut(seen[::-1], licences) == shut[::-1]


@given(facts.some_need(facts.ZONES), st.lists(facts.some_window(facts.ZONES), max_size=3))
def test_what_the_week_proves_of_the_hours_is_what_the_calendar_says(
    need: gates.NeedFacts, hours: list[facts.Window]
) -> None:
    offering = facts.an_offering(availability=tuple(hours))
    case = gates.case_of(need, facts.a_slot(), offering)
    asked, share = gates.asked(case)
    if not need.windows or not case.demand.together.minutes:
        return
    sure = facts.windows.surely_open(case.demand, asked, share, offering.availability)
    assert sure in (None, gates.GATES["time"](case))


def test_nobody_at_a_glance_is_nobody_left_out() -> None:
    sieve = gates.Sieve(facts.a_need(), facts.a_slot(), candidates.words, candidates.hours)
    assert sieve.shut([], {}) == []


async def test_long_work_gives_everybody_else_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_S", -1.0)
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    seen, others_by_then = [], []
    async for several in turns.pieces(range(10), 4):
        seen.append(list(several))
        others_by_then.append(others)
    task.cancel()
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert others_by_then[0] < others_by_then[1] < others_by_then[2]
