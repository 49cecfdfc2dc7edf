"""Shortfalls: counted once, near misses before others, and said in a sentence."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import services, values
from search import advice, gates, shortfalls, whynot
from search.gates import OfferingFacts
from tests.search import matching_facts as facts

NAMES = {service.slug: service.name for service in services.shipped()}
PLACE = uuid.UUID(int=1)


def _looked(*offerings: OfferingFacts, filled: bool = False, **slot: Any) -> shortfalls.Looked:
    """A slot at which these offerings, each kept out by one gate, were looked."""
    asked = facts.a_slot(**slot)
    out = [facts.excluded(facts.a_need(), asked, offering) for offering in offerings]
    counted = Counter(exclusion.gates[0] for exclusion in out)
    funnel = tuple(whynot.Funnel(gate, count, count) for gate, count in counted.items())
    near = tuple(each for each in out if each.gates[0] not in advice.OTHER_THINGS)
    return shortfalls.Looked("breakfast_point", asked, filled, len(out), funnel, near)


def _closed(number: int, until: str = "06:00") -> OfferingFacts:
    """A kitchen that closes too early for breakfast."""
    hours = facts.weekly("12345", "05:00", until)
    return facts.an_offering(id=f"closed-{number}", availability=(hours,))


def _tally(*looked: shortfalls.Looked) -> shortfalls.Shortfalls:
    return shortfalls.tally(PLACE, len(looked), len(looked), looked, {}, NAMES)


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [
        ("06:30", "09:00", "morning"),
        ("11:00", "13:00", "midday"),
        ("13:00", "17:00", "afternoon"),
        ("17:00", "21:00", "evening"),
        ("22:00", "24:00", "night"),
        ("20:00", "02:00", "night"),
        ("23:00", "05:00", "night"),
        ("21:00", "09:00", "night"),
        ("00:00", "24:00", "midday"),
    ],
)
def test_hours_lie_in_the_part_of_the_day_of_their_middle(start: str, end: str, part: str) -> None:
    assert shortfalls.part_of_day({"start": start, "end": end}) == part
    assert part in get_args(advice.PartOfDay)


def test_what_is_kept_out_alone_comes_first_and_every_slot_counts() -> None:
    shop = facts.an_offering(id="shop", services=("repair",))
    small = facts.an_offering(id="small", capacity=0)
    found = _tally(
        _looked(_closed(1), _closed(2), shop, filled=True),
        _looked(_closed(1), small, min_capacity=9),
    )
    counted = [(step.gate, step.excluded, step.alone) for step in found.gates]
    assert counted == [("time", 3, 3), ("capacity", 1, 1), ("service", 1, 1)]
    assert [(mend.action, mend.offerings) for mend in found.mends] == [
        ("open_on", 3),
        ("raise_capacity", 1),
    ]
    assert (found.slots, found.unfilled_slots, found.excluded) == (2, 1, 5)
    assert "opening hours (3)" in found.summary.en


def test_hours_are_counted_once_an_offering_and_name_every_day_that_lacks_them() -> None:
    twice = (facts.weekly("12", "05:00", "06:00"), facts.weekly("5", "05:00", "08:00"))
    found = _tally(_looked(facts.an_offering(availability=twice), _closed(1)))
    (hours,) = found.hours
    assert (hours.part_of_day, hours.days, hours.offerings) == ("morning", (1, 2, 3, 4, 5), 2)


def test_two_licences_of_one_offering_are_one_to_obtain() -> None:
    looked = _looked(facts.an_offering(), credentials=("food", "fire"))
    assert len(looked.near[0].because) == 2
    assert [mend.offerings for mend in _tally(looked).mends] == [1]


def test_where_nobody_is_near_the_sentence_says_whom_to_recruit() -> None:
    found = _tally(_looked(facts.an_offering(services=("repair",))))
    assert found.summary == values.Bilingual(
        "1个岗位中1个匹配不足。没有差一项即可的资源：请为“早餐点”寻找商户。",
        "Too few offerings fit 1 of 1 slots. Nobody nearly fits:"
        " recruit for Breakfast point (merchant).",
    )


@pytest.mark.parametrize("gate", sorted(set(gates.GATES) - advice.OTHER_THINGS))
@pytest.mark.parametrize("short", [0, 3])
def test_every_gate_has_its_advice_in_both_languages(gate: str, short: int) -> None:
    hours = advice.Hours("senior_home", "volunteer", "afternoon", (1, 3, 5, 6), 12)
    unfilled = advice.Unfilled("senior_home", "volunteer", short) if short else None
    said = advice.say(10_000, short, {gate: 12, "service": 99}, hours, unfilled, NAMES)
    for text in (said.zh, said.en):
        assert "12" in text
        assert "{" not in text
        assert len(text) <= 200


@given(st.permutations(["time", "capacity", "budget", "service"]), st.data())
def test_the_same_counts_are_the_same_report_in_whatever_order(
    names: list[str], data: st.DataObject
) -> None:
    funnel = {name: whynot.Funnel(name, 9, data.draw(st.integers(0, 3))) for name in names}
    several = [
        shortfalls.Looked("repair", facts.a_slot(), True, 9, (step,), ())
        for step in funnel.values()
    ]
    assert _tally(*several) == _tally(*sorted(several, key=lambda item: item.funnel[0].gate))
