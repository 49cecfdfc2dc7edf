"""Bundles: the best that go together, equal to trying every one, and no rule ever broken."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json, structs

from models.values import Slot
from search import bundle_wording, bundles, gates, scoring, wording
from search.bundles import choosing
from tests.search import bundle_oracle
from tests.search.matching_facts import (
    DEFAULTS,
    LAT,
    LON,
    a_licence,
    a_need,
    an_offering,
    at,
    metres_north,
    weekly,
)

Offered = list[tuple[Slot, list[gates.OfferingFacts]]]

# Two occurrences of an hour, so that counting minutes one by one is quick.
_ONCE = {"from_": dt.date(2027, 3, 1), "until": dt.date(2027, 3, 7)}
_HOURS = (
    ("08:00", "12:00"),
    ("08:00", "12:00"),
    ("08:00", "12:00"),
    ("08:00", "12:00"),
    ("08:00", "12:00"),
    ("09:00", "09:40"),
    ("09:20", "10:00"),
    ("09:00", "09:59"),
)


def _case(
    chance: random.Random, most: int = 5, hard: bool = False
) -> tuple[gates.NeedFacts, Offered, frozenset[str]]:
    """A small need with 1 to 4 slots, and offerings that nearly fit; hardly, if `hard`."""
    need = a_need(
        windows=(weekly("24", "09:00", "10:00", **_ONCE),)
        + ((weekly("2", "09:30", "10:30", **_ONCE),) if chance.random() < 0.2 else ()),
        min_coverage=chance.choice([10_000, 10_000, 6_600, 3_000, 0]),
        budget_amount=chance.choice([None, 1_500, 1_500 if hard else 4_000]),
        per=chance.choice(["session", "week"]),
        radius_m=chance.choice([None, 1_000]),
    )
    slots = [
        Slot("room", "space", features=("power",) if chance.random() < 0.3 else ()),
        Slot("cook", "merchant", credentials=("food",) if chance.random() < 0.3 else ()),
        Slot(
            "helpers",
            "volunteer",
            quantity=chance.choice([1, 2, 2, 3]),
            mode=chance.choice(["each", "rota"]),
        ),
        Slot("supervisor", chance.choice(["merchant", "vanguard", "space"])),
    ]
    slots = chance.sample(slots, chance.choice([1, 2, 3, 3, 4]))
    made = [
        [_someone(chance, slot, n) for n in range(chance.randint(2, 2 if hard else most))]
        for slot in slots
    ]
    everybody = [offering for several in made for offering in several]
    offered = [(slot, [o for o in everybody if o.kind == slot.kind]) for slot in slots]
    return need, offered, frozenset(chance.sample(["a", "b", "c", "d"], 2))


def _someone(chance: random.Random, slot: Slot, number: int) -> gates.OfferingFacts:
    start, end = chance.choice(_HOURS)
    busy = at("2027-03-02 09:10") + chance.randint(-60, 60)
    return an_offering(
        id=f"{slot.role}-{number}",
        kind=slot.kind,
        partner=chance.choice(
            ["a", "b", "c", "d", "e", "f", "g", "h", f"own-{slot.role}-{number}"]
        ),
        lat_e6=chance.choice([None, *[LAT + chance.randint(-7, 7) * 1_000] * 9]),
        lon_e6=LON + chance.choice([-3_000, 0, 2_000]),
        reach_m=chance.choice([None, None, 300, 900]),
        price_amount=chance.choice([0, 0, 300, 700, 1_200]),
        per=chance.choice(["session", "week"]),
        availability=(weekly("1234567", start, end),),
        busy=((busy, busy + 7),) if chance.random() < 0.1 else (),
        licences=(a_licence(verified=chance.random() < 0.8),),
        features=tuple(chance.sample(["power", "water", "kitchen"], chance.randint(0, 3))),
        requires_features=tuple(chance.choice([(), (), (), ("power",), ("water", "kitchen")])),
        ratings=1,
        rating_sum=chance.choice([300, 300, 500]),
    )


def _found(
    need: gates.NeedFacts, offered: Offered, persons: frozenset[str], limit: int
) -> tuple[bundles.Bundle, ...]:
    return bundles.top(bundles.prepare(need, offered, DEFAULTS, persons), limit)


@pytest.mark.parametrize("seed", range(9))
def test_the_best_bundles_are_those_that_trying_every_one_finds(seed: int) -> None:
    """60 random small needs each, and up to 4 bundles that differ in half of their members."""
    chance = random.Random(seed)
    counts = []
    for _ in range(60):
        need, offered, persons = _case(chance)
        town = bundle_oracle.Town(need, offered, DEFAULTS, persons)
        wanted = town.top(4)
        found = _found(need, offered, persons, 4)
        shown = [[m.offering.id for m in bundle.members] for bundle in found]
        assert [sorted(names) for names in shown] == [
            sorted(o.id for team in bundle for o in team) for bundle in wanted
        ]
        assert [bundle.score for bundle in found] == [town.score(bundle) for bundle in wanted]
        counts.append(len(found))
    assert counts.count(0) < 40
    assert counts.count(4) > 5


def _filled(bundle: bundles.Bundle, offered: Offered) -> bundle_oracle.Filled:
    return tuple(
        tuple(m.offering for m in bundle.members if m.slot.role == slot.role) for slot, _ in offered
    )


@given(st.integers(0, 1 << 32))
@settings(max_examples=50)
def test_every_member_passes_every_gate_and_every_joint_rule(seed: int) -> None:
    """X1: of many offerings, up to five bundles, by the oracle's rules."""
    chance = random.Random(seed)
    need, offered, persons = _case(chance, most=25)
    town = bundle_oracle.Town(need, offered, DEFAULTS, persons)
    found = _found(need, offered, persons, 5)
    teams = [_filled(bundle, offered) for bundle in found]
    for bundle, team in zip(found, teams, strict=True):
        assert town.broken(team) == set()
        for member in bundle.members:
            assert isinstance(town.alone(member.slot, member.offering), scoring.Match)
            assert member.match.score == town.match(member.slot, member.offering, team).score
        for slot, several in zip(town.slots, team, strict=True):
            assert len({o.id for o in several}) == len(several) == slot.quantity
        assert bundle.score == town.score(team)
        assert not isinstance(bundle.score, float)
        shares = town.complete(team)
        assert (bundle.shared.minutes, bundle.shared.asked) == (len(shares), len(town.asked))
        if bundle.shared.times:
            assert {m for start, end in bundle.shared.times for m in range(start, end)} == shares
    for one in teams:
        for other in teams:
            names = bundle_oracle.ids(one)
            shared = len(names & bundle_oracle.ids(other))
            assert one is other or 2 * shared <= len(names)
    assert [bundle.score for bundle in found] == sorted((b.score for b in found), reverse=True)


@given(st.integers(0, 1 << 32))
@settings(max_examples=25)
def test_the_order_of_offerings_and_slots_changes_nothing(seed: int) -> None:
    chance = random.Random(seed)
    need, offered, persons = _case(chance, most=30)
    shuffled = [(slot, chance.sample(several, len(several))) for slot, several in offered]
    first, second = (_found(need, facts, persons, 5) for facts in (offered, shuffled))
    assert first == second
    turned = chance.sample(offered, len(offered))
    third = _found(need, turned, persons, 5)
    names = [
        [{(m.slot.role, m.offering.id) for m in bundle.members} for bundle in found]
        for found in (first, third)
    ]
    assert names[0] == names[1]


@given(st.integers(0, 1 << 32))
@settings(max_examples=60)
def test_bundles_replay_from_what_is_stored_of_them(seed: int) -> None:
    """X5."""
    chance = random.Random(seed)
    need, offered, persons = _case(chance, most=10)
    for bundle in _found(need, offered, persons, 2):
        kept = json.decode(json.encode(bundle), type=bundles.Bundle)
        *each, together = bundles.again(need, DEFAULTS, kept)
        assert each == [member.match.score for member in bundle.members]
        assert together == bundle.score


@pytest.mark.parametrize("seed", range(4))
def test_what_is_in_the_way_is_a_rule_without_which_there_would_be_a_bundle(seed: int) -> None:
    """X3: with the least that would have to give, found by trying every bundle."""
    chance = random.Random(seed)
    told: set[str] = set()
    for _ in range(80):
        need, offered, persons = _case(chance, hard=True)
        problem = bundles.prepare(need, offered, DEFAULTS, persons)
        if problem.short() or bundles.top(problem, 1):
            continue
        town = bundle_oracle.Town(need, offered, DEFAULTS, persons)
        broken = [(town.broken(bundle), bundle) for bundle in town.teams()]
        obstacles = bundles.obstacles(problem)
        single = {rule for rules, _ in broken if len(rules) == 1 for rule in rules}
        if single:
            assert {o.rule for o in obstacles} == single
            assert all(obstacle.alone for obstacle in obstacles)
        else:
            rules = {o.rule for o in obstacles}
            assert any(found <= rules for found, _ in broken)
            assert not any(found < rules for found, _ in broken)
        told |= single
        for obstacle in obstacles:
            if not obstacle.alone:
                continue
            near = [bundle for rules, bundle in broken if rules == {obstacle.rule}]
            _check_least(town, obstacle, near)
            for cure in obstacle.cures:
                need, offered = _cured(need, offered, cure)
            if obstacle.cures:
                assert _found(need, offered, persons, 1), obstacle
            need, offered = town.need, list(town.offered)
    assert len(told) >= 4


def _check_least(
    town: bundle_oracle.Town, obstacle: bundles.Obstacle, near: list[bundle_oracle.Filled]
) -> None:
    """The values are those of the bundle that breaks the rule least."""
    if obstacle.rule == "budget":
        least = min(town.costs(bundle) for bundle in near)
        unit = town.yearly(1, town.need.per)
        assert (obstacle.needed["amount"] - 1) * unit < least <= obstacle.needed["amount"] * unit
    if obstacle.rule == "time":
        assert obstacle.has == max(int(town.share(bundle) * 10_000) for bundle in near)
    if obstacle.rule == "one_role":
        assert len(obstacle.roles) > 0
    if obstacle.rule in ("features", "reach"):
        assert obstacle.cures
        assert obstacle.roles


def _cured(
    need: gates.NeedFacts, offered: Offered, cure: bundles.Cure
) -> tuple[gates.NeedFacts, Offered]:
    """The facts after the change."""
    changed: Offered = []
    for slot, several in offered:
        after = []
        for offering in several:
            if cure.offering in (None, offering.id):
                need, _, offering = gates.apply_mend(need, slot, offering, cure.mend)
            after.append(offering)
        changed.append((slot, after))
    return need, changed


def test_a_provider_is_never_its_own_supervisor() -> None:
    """Though each alone would be the best for its role."""
    slots = [Slot("cook", "merchant"), Slot("supervisor", "merchant")]
    zhou = an_offering(id="zhou-cooks", ratings=90, rating_sum=45_000)
    shop = an_offering(id="zhou-supervises", ratings=90, rating_sum=45_000)
    other = an_offering(id="chen", partner="chen")
    offered = [(slots[0], [zhou, shop, other]), (slots[1], [zhou, shop, other])]
    (bundle, *_) = _found(a_need(), offered, frozenset(), 5)
    assert {m.offering.partner for m in bundle.members} == {"zhou", "chen"}
    offered = [(slot, [zhou, shop]) for slot in slots]
    (obstacle,) = bundles.obstacles(bundles.prepare(a_need(), offered, DEFAULTS))
    assert (obstacle.rule, obstacle.roles) == ("one_role", ("cook", "supervisor"))


def test_a_team_sends_several_helpers_but_a_person_is_one() -> None:
    slot = Slot("helpers", "merchant", quantity=2)
    offered: Offered = [(slot, [an_offering(id="one"), an_offering(id="two")])]
    assert len(_found(a_need(), offered, frozenset(), 5)) == 1
    assert _found(a_need(), offered, frozenset({"zhou"}), 5) == ()


def test_the_caps_never_lose_the_only_bundle_there_is() -> None:
    """The one space that has what the cook requires is the last of forty by its score."""
    slots = [Slot("room", "space"), Slot("cook", "merchant")]
    rooms = [
        an_offering(id=f"room-{n}", kind="space", partner=f"r{n}", lat_e6=LAT + n * 100)
        for n in range(40)
    ]
    rooms.append(
        an_offering(
            id="far", kind="space", partner="far", lat_e6=LAT + 8_000, features=("kitchen",)
        )
    )
    cook = an_offering(id="cook", requires_features=("kitchen",))
    (bundle,) = _found(a_need(), [(slots[0], rooms), (slots[1], [cook])], frozenset(), 5)
    assert [member.offering.id for member in bundle.members] == ["far", "cook"]


def test_a_team_of_hundreds_is_no_deeper_than_one_of_two() -> None:
    slot = Slot("marshals", "merchant", quantity=900)
    people = [an_offering(id=f"{n:04}", partner=f"p{n}") for n in range(1_000)]
    (bundle,) = _found(a_need(), [(slot, people)], frozenset(), 1)
    assert len(bundle.members) == 900


def test_a_rota_must_cover_the_window_together() -> None:
    need = a_need(windows=(weekly("1", "08:00", "10:00"),))
    slot = Slot("helpers", "merchant", quantity=2, mode="rota")

    def people(until: str) -> list[gates.OfferingFacts]:
        early = an_offering(id="early", partner="e", availability=(weekly("1", "08:00", until),))
        late = an_offering(id="late", partner="l", availability=(weekly("1", "09:00", "10:00"),))
        return [early, late]

    assert len(_found(need, [(slot, people("09:00"))], frozenset(), 1)) == 1
    offered = [(slot, [*people("09:00")[:1], people("09:00")[0]])]
    assert _found(need, offered, frozenset(), 1) == ()
    twins = [structs.replace(o, id=o.id + "2", partner=o.partner + "2") for o in people("09:00")]
    (obstacle,) = bundles.obstacles(
        bundles.prepare(need, [(slot, [people("09:00")[0], twins[0]])], DEFAULTS)
    )
    assert (obstacle.rule, obstacle.needed, obstacle.has) == ("time", 10_000, 5_000)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_shifts_meet_on_the_night_the_clock_changes(zone: str) -> None:
    """X1: two who share the night cover it before, on and after the change, without a gap."""
    night = weekly("67", "22:00", "06:00", timezone=zone)
    need = a_need(windows=(night,), per="session", budget_amount=None)
    slot = Slot("watch", "merchant", quantity=2, mode="rota")
    shifts = (
        weekly("67", "22:00", "01:45", timezone=zone),
        weekly("17", "01:45", "06:00", timezone=zone),
    )
    people = [
        an_offering(id=f"w{n}", partner=f"w{n}", availability=(shift,))
        for n, shift in enumerate(shifts)
    ]
    need = structs.replace(need, min_coverage=10_000)
    changes = {
        start for start, _ in bundles.prepare(need, [(slot, [])], DEFAULTS).timeline.occurrences
    }
    assert len({(start % 1440) for start in changes}) == 2  # the clock did change in between
    # A rota of two: each must cover half of the time, which the shorter shift does not.
    loose = structs.replace(need, min_coverage=9_000)
    (bundle,) = _found(loose, [(slot, people)], frozenset(), 1)
    assert bundle.shared.minutes == bundle.shared.asked


def test_of_bundles_with_the_same_score_the_nearer_comes_first_then_the_earlier_id() -> None:
    def of(*people: tuple[str, int]) -> list[str]:
        offered: Offered = [
            (
                Slot("cook", "merchant"),
                [an_offering(id=n, partner=n, lat_e6=metres_north(m)) for n, m in people],
            )
        ]
        found = _found(a_need(radius_m=20_000), offered, frozenset(), 5)
        assert len({bundle.score for bundle in found}) == 1
        return [bundle.members[0].offering.id for bundle in found]

    assert of(("a", 9_001), ("b", 9_000), ("d", 9_002), ("c", 9_002)) == ["b", "a", "c", "d"]


LANGUAGES: tuple[wording.Language, ...] = ("zh", "en")


@pytest.mark.parametrize("rule", bundles.RULES)
@pytest.mark.parametrize("alone", [True, False])
def test_every_obstacle_is_said_in_both_languages(rule: bundles.Rule, alone: bool) -> None:
    price = {"amount": 900, "currency": "CNY", "per": "week"}
    needed: Any = {"budget": price, "features": ["power"]}.get(rule, 10_000)
    has: Any = {"budget": {**price, "amount": 500}, "features": []}.get(rule, 8_333)
    obstacle = bundles.Obstacle(rule, ("cook", "helpers"), needed, has, (), alone)
    zh, en = (bundle_wording.say_obstacle(obstacle, language) for language in LANGUAGES)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in zh)
    assert not any("\u4e00" <= letter <= "\u9fff" for letter in en)
    assert not set("{}[]") & set(zh + en)
    assert ("with the others" in en) == (not alone)
    assert ("83.33 % of the time" in en) == (rule == "time")


def test_an_unfilled_role_is_said_with_its_gates_and_who_is_nearest() -> None:
    assert set(bundle_wording.GATES) == set(gates.GATES)

    def said(found: int, *shut: tuple[str, int]) -> list[str]:
        return [
            bundle_wording.say_unfilled("cook", 3, found, shut, None, language)
            for language in LANGUAGES
        ]

    several = (("time", 9), ("credentials", 4), ("radius", 2), ("load", 1))
    assert said(0) == [
        "角色cook空缺：附近没有这类资源",
        "unfilled role: cook, because there is nothing of the kind nearby",
    ]
    assert said(0, *several) == [
        "角色cook空缺：时间不合（9）、缺少有效资质（4）、太远（2）",
        "unfilled role: cook, because not free then (9), no valid licence (4), too far away (2)",
    ]
    assert said(2, *several[:1]) == [
        "角色cook人数不足：需要3，只有2合适；其余：时间不合（9）",
        "unfilled role: cook, because it takes 3 and only 2 fit; of the others: not free then (9)",
    ]


def test_a_search_that_takes_too_long_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the best so far, or with what is in the way as far as it was seen."""
    chance = random.Random(1)
    monkeypatch.setattr(choosing, "STEPS", 60)
    for hard in (False, True):
        for _ in range(60):
            need, offered, persons = _case(chance, most=30, hard=hard)
            problem = bundles.prepare(need, offered, DEFAULTS, persons)
            town = bundle_oracle.Town(need, offered, DEFAULTS, persons)
            found = bundles.top(problem, 3)
            assert all(not town.broken(_filled(bundle, offered)) for bundle in found)
            assert found or problem.short() or bundles.obstacles(problem)
