"""The score: what each part is worth, that it adds up, that it replays, and how it is said."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import json, structs, to_builtins

from models.values import Slot
from search import gates, scoring, wording
from tests.search.matching_facts import (
    ALWAYS,
    AS_OF,
    DEFAULTS,
    LAT,
    LON,
    a_licence,
    a_need,
    a_slot,
    an_offering,
    at,
    generous,
    matched,
    metres_north,
    some_need,
    some_offering,
    some_slot,
    weekly,
)


def part_of(name: str, need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts) -> int:
    [value] = [part.value for part in matched(need, slot, offering).parts if part.part == name]
    return value


def value(name: str, slot: dict[str, Any] | None = None, **offering: Any) -> int:
    """The value of a part for the usual need."""
    return part_of(name, a_need(), a_slot(**slot or {}), an_offering(**offering))


# What each part is worth


def test_distance_halves_every_400_metres_and_ends_at_the_radius() -> None:
    def at_metres(metres: int, radius: int | None) -> int:
        need, offering = a_need(radius_m=radius), an_offering(lat_e6=metres_north(metres))
        return part_of("distance", need, a_slot(), offering)

    assert [at_metres(metres, None) for metres in (0, 400, 800, 1200)] == [10000, 5000, 2500, 1250]
    assert [at_metres(metres, 800) for metres in (0, 400, 800)] == [10000, 3333, 0]
    assert at_metres(0, 0) == 10_000
    assert part_of("distance", a_need(radius_m=None), a_slot(), an_offering(lat_e6=None)) == 5_000


@given(st.integers(0, 30_000), st.integers(1, 5_000))
def test_the_halving_is_exact_to_a_tenth_of_a_point(metres: int, half_m: int) -> None:
    weights = scoring.Weights(version=1, half_m=half_m)
    need, offering = a_need(radius_m=None), an_offering(lat_e6=metres_north(metres))
    match = matched(need, a_slot(), offering, weights)
    assert match.distance_m is not None
    true = 10_000 * 2 ** (-match.distance_m / half_m)
    assert true - 1.1 <= match.parts[0].value <= true + 0.1


def test_time_is_the_share_that_is_free() -> None:
    need = a_need(min_coverage=5_000)
    hours = (weekly("12345", "06:30", "08:00"),)
    assert part_of("time", need, a_slot(), an_offering(availability=hours)) == 6_000
    assert part_of("time", a_need(windows=()), a_slot(), an_offering(availability=())) == 10_000


def test_reliability_is_shrunk_towards_four_stars_and_nine_of_ten() -> None:
    assert value("reliability") == (8_000 + 9_000) // 2
    five_stars = value("reliability", ratings=8, rating_sum=8 * 500)
    assert five_stars == (9_000 + 9_000) // 2
    assert value("reliability", ratings=3, rating_sum=3 * 500) == (8_545 + 9_000) // 2 == 8_772
    assert value("reliability", jobs_agreed=10, jobs_kept=0) == (8_000 + 4_500) // 2


def test_price_is_what_is_left_of_the_budget() -> None:
    assert value("price") == 10_000
    assert value("price", price_amount=2_500, per="session") == 7_500
    assert value("price", price_amount=50_000, per="week") == 0
    no_budget = a_need(budget_amount=None)
    assert part_of("price", no_budget, a_slot(), an_offering(price_amount=1)) == 5_000
    assert part_of("price", no_budget, a_slot(), an_offering()) == 10_000


def test_a_hall_for_three_hundred_is_not_for_twenty() -> None:
    sizes = (20, 30, 115, 200, 300)
    assert [value("capacity", {"min_capacity": 20}, capacity=size) for size in sizes] == [
        10_000,
        10_000,
        7_500,
        5_000,
        5_000,
    ]
    assert value("capacity", {"min_capacity": 20}) == 10_000


def test_seven_providers_may_share_two_hundred_places() -> None:
    """B2: without a minimum each is measured by its share of the beneficiaries."""
    need, slot = a_need(beneficiaries=200), a_slot(quantity=7)
    assert part_of("capacity", need, slot, an_offering(capacity=29)) == 10_000
    assert part_of("capacity", need, slot, an_offering(capacity=10)) == 10 * 10_000 // 29


def test_preferred_credentials_count_by_their_share() -> None:
    slot = {"preferred_credentials": ("food", "first_aid", "music")}
    assert value("credentials") == 10_000
    assert value("credentials", slot) == 0
    early = a_licence(kind="music", valid_to=at("2027-05-21 08:59"))
    assert value("credentials", slot, licences=(a_licence(), early)) == 3_333


def test_each_time_served_here_halves_what_is_missing() -> None:
    assert [value("continuity", served_here=n) for n in (0, 1, 2, 3, 20)] == [
        0,
        5_000,
        7_500,
        8_750,
        10_000,
    ]


def test_balance_is_what_stays_free_of_the_week() -> None:
    assert value("balance") == 10_000
    assert value("balance", max_minutes_week=1500) == 5_000
    assert value("balance", max_minutes_week=1500, committed_minutes_week=750) == 0


def test_language_and_text() -> None:
    slot = {"languages": ("zh", "en")}
    assert value("language") == 10_000
    assert value("language", slot, languages=("zh",)) == 5_000
    assert (value("text"), value("text", text=8_123)) == (5_000, 8_123)


def test_the_whole_score_of_one_example() -> None:
    """One row worked out by hand: (22*5000 + 14*10000 + 14*8500 + ...) // 100."""
    offering = an_offering(lat_e6=metres_north(400), price_amount=25_000, per="week")
    match = matched(a_need(radius_m=None), a_slot(), offering)
    values = [5_000, 10_000, 8_500, 5_000, 10_000, 10_000, 0, 10_000, 10_000, 5_000]
    assert [part.value for part in match.parts] == values
    assert match.score == 7_190


def test_weights_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        scoring.Weights(1, 400, *[0] * 10)


def test_ties_go_to_the_nearer_and_then_to_the_id() -> None:
    def match(offering_id: str, score: int, metres: int | None) -> scoring.Match:
        return scoring.Match(offering_id, score, metres, ())

    ranked = [
        match("z", 9, 500),
        match("b", 8, 100),
        match("c", 8, 100),
        match("a", 8, 200),
        match("a", 8, None),
    ]
    for shuffled in itertools.permutations(ranked):
        assert sorted(shuffled, key=scoring.sort_key) == ranked


# Properties

FACTS = (some_need(), some_slot(), some_offering())


def likely(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts
) -> tuple[gates.NeedFacts, Slot, gates.OfferingFacts]:
    """The same facts, but more often a match."""
    slot = structs.replace(slot, kind="merchant", credentials=(), features=())
    need = structs.replace(need, currency="CNY")
    offering = structs.replace(generous(offering, need), availability=(ALWAYS,), busy=())
    return need, slot, offering


def numbers(thing: Any) -> list[Any]:
    if isinstance(thing, dict):
        return [number for item in thing.values() for number in numbers(item)]
    if isinstance(thing, list | tuple):
        return [number for item in thing for number in numbers(item)]
    return [thing]


@given(*FACTS)
@settings(max_examples=80)
def test_the_explanation_adds_up_and_the_quick_way_agrees(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts
) -> None:
    need, slot, offering = likely(need, slot, offering)
    result = scoring.evaluate(need, slot, offering, DEFAULTS, explain=True)
    assert not any(isinstance(number, float) for number in numbers(to_builtins(result)))
    quick = scoring.rank_key(need, slot, offering, DEFAULTS)
    if isinstance(result, scoring.Exclusion):
        assert quick is None
        assert 0 <= result.would_score <= 10_000
        return
    weighed = sum(part.value * part.weight for part in result.parts)
    assert result.score == weighed // sum(part.weight for part in result.parts)
    assert all(0 <= part.value <= 10_000 for part in result.parts)
    assert quick == scoring.sort_key(result)


@given(*FACTS)
@settings(max_examples=80)
def test_stored_facts_replay_to_the_same_bytes(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts
) -> None:
    """X5: through JSON and back, matches and explained exclusions alike."""
    for facts in ((need, slot, offering), likely(need, slot, offering)):
        again = (
            json.decode(json.encode(facts[0]), type=gates.NeedFacts),
            json.decode(json.encode(facts[1]), type=Slot),
            json.decode(json.encode(facts[2]), type=gates.OfferingFacts),
        )
        weights = json.decode(json.encode(DEFAULTS), type=scoring.Weights)
        first = json.encode(scoring.evaluate(*facts, DEFAULTS, True))
        assert json.encode(scoring.evaluate(*again, weights, True)) == first
        result = json.decode(first, type=dict[str, Any])
        kind = scoring.Exclusion if "because" in result else scoring.Match
        assert json.encode(json.decode(first, type=kind)) == first


@given(*FACTS, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_in_which_things_are_listed_changes_nothing(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts, random: Any
) -> None:
    def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(random.sample(items, len(items)))

    fields = ("services", "taken", "availability", "busy", "licences", "features", "languages")
    changes = {field: shuffled(getattr(offering, field)) for field in fields}
    other = structs.replace(offering, **changes)
    turned = structs.replace(need, windows=shuffled(need.windows))
    for facts in ((need, slot, offering), likely(need, slot, offering)):
        other_facts = (need, slot, other) if facts[2] is offering else likely(turned, slot, other)
        ours, theirs = scoring.rank_key(*facts, DEFAULTS), scoring.rank_key(*other_facts, DEFAULTS)
        assert ours == theirs


def better(
    need: gates.NeedFacts,
    slot: Slot,
    one: gates.OfferingFacts,
    other: gates.OfferingFacts,
) -> None:
    """Asserts that who matches as `other` does so as `one`, with no lower score."""
    ours = scoring.rank_key(need, slot, one, DEFAULTS)
    theirs = scoring.rank_key(need, slot, other, DEFAULTS)
    assume(theirs is not None)
    assert ours is not None
    assert theirs is not None
    assert ours[0] <= theirs[0]  # keys begin with minus the score


@given(*FACTS, st.integers(0, 30_000), st.integers(0, 30_000))
@settings(max_examples=80)
def test_nearer_cheaper_and_better_rated_is_never_worse(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts, one: int, two: int
) -> None:
    need, slot, offering = likely(need, slot, offering)
    less, more = sorted((one, two))
    lat = structs.replace(offering, lat_e6=(need.lat_e6 or 0) + less, lon_e6=need.lon_e6)
    stars = max(offering.ratings, 1) * 100
    for better_change, worse_change in (
        ({}, {"lat_e6": (need.lat_e6 or 0) + more}),
        ({"price_amount": less}, {"price_amount": more}),
        (
            {"ratings": stars // 100, "rating_sum": stars * 5 - less // 100},
            {"ratings": stars // 100, "rating_sum": stars * 5 - more // 100},
        ),
    ):
        worse = structs.replace(lat, **worse_change)
        if scoring.rank_key(need, slot, worse, DEFAULTS) is not None:
            better(need, slot, structs.replace(lat, **better_change), worse)


# Words

LANGUAGES: tuple[wording.Language, ...] = ("zh", "en")
SHUT = weekly("1", "06:30", "09:00", until=AS_OF.replace(month=2))
LATE = at("2027-03-02 00:00")
CASES: list[tuple[gates.NeedFacts, Slot, gates.OfferingFacts]] = [
    (a_need(), a_slot(), an_offering(**changes))
    for changes in (
        {},
        {"kind": "space", "status": "paused", "partner_status": "applied", "blocked": True},
        {"services": (), "lat_e6": metres_north(5000), "reach_m": 100, "max_contacts_week": 0},
        {"lat_e6": None, "capacity": 0, "max_minutes_week": 60, "price_amount": 10**6},
        {"currency": "USD", "price_amount": 5, "availability": ()},
        {"availability": (weekly("12345", "06:30", "08:30"),)},
        {"availability": (weekly("12345", "07:00", "09:00"),)},
        {"availability": (weekly("12345", "07:00", "08:00"),)},
        {"busy": ((at("2027-03-01 07:00"), at("2027-03-01 07:30")),)},
        {"ratings": 2, "rating_sum": 900},
        {"jobs_agreed": 3, "jobs_kept": 2, "served_here": 2, "max_minutes_week": 2000},
        {"ratings": 2, "rating_sum": 900, "jobs_agreed": 3, "text": 5_000, "price_amount": 9},
    )
]
DEMANDING = a_slot(
    credentials=("food",),
    preferred_credentials=("food",),
    features=("kitchen",),
    languages=("zh",),
    min_capacity=20,
)
CASES += [
    (a_need(), DEMANDING, an_offering(capacity=20, licences=licences, features=("kitchen",)))
    for licences in (
        (),
        (a_licence(verified=False),),
        (a_licence(valid_to=LATE),),
        (a_licence(valid_from=LATE),),
    )
]
ABLE = an_offering(
    capacity=200, licences=(a_licence(),), features=("kitchen",), languages=("zh",), price_amount=9
)
CASES += [
    (a_need(), DEMANDING, an_offering()),
    (a_need(), DEMANDING, ABLE),
    (a_need(), DEMANDING, structs.replace(ABLE, capacity=20)),
    (a_need(windows=(SHUT,)), a_slot(), an_offering()),
    (a_need(radius_m=None, windows=()), a_slot(), an_offering()),
    (a_need(radius_m=None, budget_amount=None), a_slot(), an_offering(lat_e6=None, price_amount=9)),
    (a_need(beneficiaries=50), a_slot(), an_offering(capacity=20)),
    (
        a_need(min_coverage=5_000),
        a_slot(),
        an_offering(availability=(weekly("12345", "06:30", "08:00"),)),
    ),
]


def everything_said() -> list[tuple[str, str, str, str]]:
    """(table, code, zh, en) of all that the examples bring up."""
    said = []
    for facts in CASES:
        result = scoring.evaluate(*facts, DEFAULTS, explain=True)
        parts = result.parts if isinstance(result, scoring.Match) else ()
        because = result.because if isinstance(result, scoring.Exclusion) else ()
        if parts:
            there = scoring.evaluate(*facts, DEFAULTS, spots=((LAT, LON),))
            parts += there.parts if isinstance(there, scoring.Match) else ()
        said += [
            ("part", part.code, wording.say_part(part, "zh"), wording.say_part(part, "en"))
            for part in parts
        ]
        for failure in because:
            zh, en = wording.say_failure(failure, "zh"), wording.say_failure(failure, "en")
            said.append(("failure", failure.code, zh, en))
            if failure.mend:
                zh, en = wording.say_mend(failure.mend, "zh"), wording.say_mend(failure.mend, "en")
                said.append(("mend", failure.mend.action, zh, en))
    return said


@pytest.mark.parametrize(
    ("table", "codes"),
    [("part", wording.PARTS), ("failure", wording.FAILURES), ("mend", wording.MENDS)],
)
def test_every_code_and_action_is_said_in_both_languages(table: str, codes: Any) -> None:
    """X3: and every sentence there is can come up."""
    said = [(code, zh, en) for kind, code, zh, en in everything_said() if kind == table]
    assert {code for code, _, _ in said} == set(codes)
    for _, zh, en in said:
        assert any("\u4e00" <= letter <= "\u9fff" for letter in zh)
        assert not any("\u4e00" <= letter <= "\u9fff" for letter in en)
        assert not set("{}[]") & set(zh + en)


@given(*FACTS)
@settings(max_examples=60)
def test_whatever_comes_up_can_be_said(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts
) -> None:
    result = scoring.evaluate(need, slot, offering, DEFAULTS, explain=True)
    again = json.decode(json.encode(result), type=type(result))
    for failure in again.because if isinstance(again, scoring.Exclusion) else ():
        for language in LANGUAGES:
            assert wording.say_failure(failure, language)
            assert not failure.mend or wording.say_mend(failure.mend, language)


def sentences(language: wording.Language, **changes: Any) -> list[str]:
    result = scoring.evaluate(a_need(), a_slot(), an_offering(**changes), DEFAULTS, explain=True)
    assert isinstance(result, scoring.Exclusion)
    [failure] = result.because
    assert failure.mend
    return [wording.say_failure(failure, language), wording.say_mend(failure.mend, language)]


def test_the_sentences_name_the_values_compared() -> None:
    """X3."""
    match = matched(a_need(), a_slot(), an_offering(lat_e6=metres_north(312)))
    distance = match.parts[0]
    assert wording.say_part(distance, "en") == "312 m away; full marks at 0 m, none at 1000 m"
    assert wording.say_part(distance, "zh") == "相距312米；0米满分，1000米为零分"
    hours = (weekly("12345", "06:30", "08:30"),)
    assert sentences("en", availability=hours) == [
        "closes 08:30, needed until 09:00",
        "stay open 30 min later: Mon–Fri 08:30–09:00",
    ]
    assert sentences("zh", availability=hours) == [
        "08:30关门，需要到09:00",
        "延后30分钟关门：周一至周五08:30–09:00",
    ]
    assert sentences("en", price_amount=20_000) == [
        "costs 200.00 CNY a session, the budget is 500.00 CNY a week",
        "raise the budget to 1000.00 CNY a week",
    ]
    assert sentences("zh", busy=((at("2027-03-01 07:00"), at("2027-03-01 07:30")),)) == [
        "已有安排：2027-03-01 07:00–07:30（有空8970分钟，需要9000分钟）",
        "腾出30分钟：2027-03-01 07:00–07:30",
    ]


def test_long_lists_are_cut_short() -> None:
    busy = tuple(
        (at(f"2027-03-0{day} 07:00"), at(f"2027-03-0{day} 08:00")) for day in (1, 2, 3, 4, 5)
    )
    assert sentences("en", busy=busy)[1] == (
        "free up 300 min: 2027-03-01 07:00–08:00, 2027-03-02 07:00–08:00, "
        "2027-03-03 07:00–08:00 and 2 more"
    )


# Distance

PLACES = st.tuples(st.integers(-60_000_000, 60_000_000), st.integers(-180_000_000, 180_000_000))
STEPS = st.tuples(st.integers(-300_000, 300_000), st.integers(-300_000, 300_000))


def haversine(lat_a: int, lon_a: int, lat_b: int, lon_b: int) -> float:
    a, b, c, d = (math.radians(value / 1e6) for value in (lat_a, lon_a, lat_b, lon_b))
    chord = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(math.sqrt(chord))


@given(PLACES, STEPS)
@settings(max_examples=300)
def test_distance_is_the_great_circle_up_to_50_km(
    place: tuple[int, int], step: tuple[int, int]
) -> None:
    lat, lon = place[0] + step[0], (place[1] + step[1] + 180_000_000) % 360_000_000 - 180_000_000
    true = haversine(*place, lat, lon)
    found = gates.distance_m(*place, lat, lon)
    assert found == gates.distance_m(lat, lon, *place)
    if true <= 50_000:
        assert abs(found - true) <= true * 0.005 + 1


@given(PLACES, st.integers(0, 400_000), st.integers(0, 400_000))
def test_who_is_further_along_is_never_nearer(place: tuple[int, int], one: int, two: int) -> None:
    near, far = sorted((one, two))
    lat, lon = place
    assert gates.distance_m(lat, lon, lat, lon + near) <= gates.distance_m(lat, lon, lat, lon + far)
    assert gates.distance_m(lat, lon, lat + near, lon) <= gates.distance_m(lat, lon, lat + far, lon)


def test_the_date_line_and_the_poles_are_no_obstacle() -> None:
    assert gates.distance_m(0, 179_999_000, 0, -179_999_000) == 222
    assert gates.distance_m(90_000_000, 0, 90_000_000, 180_000_000) == 0
    assert gates.distance_m(-90_000_000, 0, 90_000_000, 0) == 20_015_100
