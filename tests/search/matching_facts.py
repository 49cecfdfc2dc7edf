"""Facts for the matcher's tests: a need at a spot in Qiaobei, and offerings that fit it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import strategies as st
from msgspec import structs

from models.values import Slot, Window
from search import gates, scoring, windows

AS_OF = dt.date(2027, 3, 1)  # a Monday
LAT, LON = 29_570_000, 106_550_000
DEFAULTS = scoring.Weights(version=1)
ZONES = (
    "Asia/Shanghai",
    "Asia/Urumqi",
    "Asia/Kathmandu",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
)


def at(text: str) -> int:
    """`2027-03-01 06:30` in China as a UTC minute."""
    moment = dt.datetime.fromisoformat(f"{text}:00+08:00")
    return int(moment.timestamp()) // 60


def weekly(days: str, start: str, end: str, **limits: Any) -> Window:
    """`weekly("12345", "06:30", "09:00")`."""
    return Window(days=tuple(int(day) for day in days), start=start, end=end, **limits)


MORNINGS = weekly("12345", "06:30", "09:00")
ALWAYS = weekly("1234567", "00:00", "24:00")


def a_need(**changes: Any) -> gates.NeedFacts:
    """Breakfast on weekday mornings within 1 km, up to 500 yuan a week."""
    facts: dict[str, Any] = {
        "id": "need",
        "version": 1,
        "service_type": "breakfast_point",
        "as_of": AS_OF,
        "lat_e6": LAT,
        "lon_e6": LON,
        "radius_m": 1000,
        "windows": (MORNINGS,),
        "budget_amount": 50_000,
        "per": "week",
    }
    return gates.NeedFacts(**facts | changes)


def a_slot(**changes: Any) -> Slot:
    facts: dict[str, Any] = {"role": "operator", "kind": "merchant"}
    return Slot(**facts | changes)


def an_offering(**changes: Any) -> gates.OfferingFacts:
    """A merchant next door that is always open and passes every gate of `a_need`."""
    facts: dict[str, Any] = {
        "id": "offering",
        "version": 1,
        "kind": "merchant",
        "partner": "zhou",
        "services": ("breakfast_point",),
        "lat_e6": LAT,
        "lon_e6": LON,
        "availability": (ALWAYS,),
    }
    return gates.OfferingFacts(**facts | changes)


def a_licence(**changes: Any) -> gates.Licence:
    facts: dict[str, Any] = {"kind": "food", "verified": True}
    return gates.Licence(**facts | changes)


def metres_north(metres: int) -> int:
    """A latitude so far north of the need."""
    return LAT + -(-metres * 1_000_000 // 111_195)


def excluded(need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts) -> scoring.Exclusion:
    """The explained exclusion; fails the test if the offering is admitted."""
    result = scoring.evaluate(need, slot, offering, DEFAULTS, explain=True)
    assert isinstance(result, scoring.Exclusion)
    return result


def failures(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts
) -> dict[str, gates.Failure]:
    """The explained failures by their code."""
    return {failure.code: failure for failure in excluded(need, slot, offering).because}


def matched(
    need: gates.NeedFacts,
    slot: Slot,
    offering: gates.OfferingFacts,
    weights: scoring.Weights = DEFAULTS,
) -> scoring.Match:
    """The match; fails the test if a gate is shut."""
    result = scoring.evaluate(need, slot, offering, weights)
    assert isinstance(result, scoring.Match), result
    return result


# Anything at all, for properties. Small pools, so that gates are both open and shut.

_CLOCK = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02d}:{quarter % 4 * 15:02d}")
_ODD_CLOCK = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")
_DATES = st.dates(AS_OF - dt.timedelta(days=7), AS_OF + dt.timedelta(days=100))
_SUBSETS = st.sets(st.sampled_from(["a", "b", "c"]), max_size=3).map(lambda s: tuple(sorted(s)))


@st.composite
def some_window(draw: st.DrawFn, zones: tuple[str, ...] = ("Asia/Shanghai",)) -> Window:
    days = draw(st.sets(st.integers(1, 7), min_size=1))
    clock = _CLOCK | _ODD_CLOCK
    limits = sorted(draw(st.lists(_DATES, min_size=2, max_size=2)))
    return Window(
        days=tuple(sorted(days)),
        start=draw(clock),
        end=draw(clock | st.just("24:00")),
        timezone=draw(st.sampled_from(zones)),
        from_=draw(st.sampled_from([None, None, limits[0]])),
        until=draw(st.sampled_from([None, None, limits[1]])),
        except_=tuple(draw(st.lists(_DATES, max_size=3))),
    )


@st.composite
def some_need(draw: st.DrawFn, zones: tuple[str, ...] = ("Asia/Shanghai",)) -> gates.NeedFacts:
    return gates.NeedFacts(
        id="need",
        version=1,
        service_type=draw(st.sampled_from(["a", "b"])),
        as_of=AS_OF,
        lat_e6=LAT,
        lon_e6=LON,
        radius_m=draw(st.none() | st.integers(0, 3000)),
        beneficiaries=draw(st.integers(0, 50)),
        windows=tuple(draw(st.lists(some_window(zones), max_size=2))),
        min_coverage=draw(st.sampled_from([10_000, 10_000, 7_777, 5_000, 0])),
        budget_amount=draw(st.none() | st.integers(0, 50_000)),
        currency=draw(st.sampled_from(["CNY", "CNY", "CNY", "USD"])),
        per=draw(st.sampled_from(["session", "week", "month"])),
    )


@st.composite
def some_slot(draw: st.DrawFn) -> Slot:
    return Slot(
        role="role",
        kind=draw(st.sampled_from(["merchant", "merchant", "space"])),
        quantity=draw(st.integers(1, 3)),
        features=draw(_SUBSETS),
        min_capacity=draw(st.none() | st.integers(0, 60)),
        credentials=draw(_SUBSETS),
        preferred_credentials=draw(_SUBSETS),
        languages=draw(st.sampled_from([(), ("zh",), ("zh", "en")])),
        mode=draw(st.sampled_from(["each", "each", "rota"])),
    )


@st.composite
def _some_licence(draw: st.DrawFn) -> gates.Licence:
    moment = st.none() | st.integers(at("2027-02-01 00:00"), at("2027-08-01 00:00"))
    return gates.Licence(
        kind=draw(st.sampled_from(["a", "b", "c"])),
        valid_from=draw(moment),
        valid_to=draw(moment),
        verified=draw(st.booleans()),
    )


@st.composite
def _some_busy(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(at("2027-02-28 00:00"), at("2027-04-01 00:00")))
    return start, start + draw(st.integers(1, 2000))


@st.composite
def some_offering(
    draw: st.DrawFn, zones: tuple[str, ...] = ("Asia/Shanghai",)
) -> gates.OfferingFacts:
    place = draw(st.none() | st.tuples(st.integers(-25_000, 25_000), st.integers(-25_000, 25_000)))
    hours = st.lists(st.just(ALWAYS) | some_window(zones), max_size=3)
    jobs = draw(st.integers(0, 30))
    ratings = draw(st.integers(0, 30))
    return gates.OfferingFacts(
        id=draw(st.sampled_from(["one", "two"])),
        version=1,
        kind=draw(st.sampled_from(["merchant", "merchant", "merchant", "space"])),
        partner="partner",
        services=draw(st.sampled_from([("a", "b"), ("a", "b"), ("a",), ()])),
        status=draw(st.sampled_from(["active", "active", "active", "paused"])),
        partner_status=draw(st.sampled_from(["admitted", "admitted", "admitted", "applied"])),
        lat_e6=LAT + place[0] if place else None,
        lon_e6=LON + place[1] if place else None,
        reach_m=draw(st.none() | st.integers(0, 3000)),
        capacity=draw(st.none() | st.integers(0, 100)),
        taken=tuple((*draw(_some_busy()), draw(st.integers(1, 30))) for _ in range(2)),
        price_amount=draw(st.just(0) | st.integers(0, 30_000)),
        per=draw(st.sampled_from(["session", "week", "month"])),
        availability=tuple(draw(hours)),
        busy=tuple(draw(st.lists(_some_busy(), max_size=3))),
        licences=tuple(draw(st.lists(_some_licence(), max_size=4))),
        features=draw(_SUBSETS),
        languages=draw(st.sampled_from([("zh", "en"), ("zh-Hans",), ("en",), ()])),
        max_minutes_week=draw(st.none() | st.integers(0, 100).map(lambda hours: hours * 60)),
        committed_minutes_week=draw(st.integers(0, 2000)),
        max_contacts_week=draw(st.none() | st.integers(0, 2)),
        contacts_week=draw(st.integers(0, 2)),
        ratings=ratings,
        rating_sum=draw(st.integers(100, 500)) * ratings,
        jobs_agreed=jobs,
        jobs_kept=draw(st.integers(0, jobs)),
        served_here=draw(st.integers(0, 20)),
        blocked=draw(st.sampled_from([False, False, False, True])),
        text=draw(st.none() | st.integers(0, 10_000)),
    )


def generous(offering: gates.OfferingFacts, need: gates.NeedFacts) -> gates.OfferingFacts:
    """The same offering without what random facts nearly always stumble over."""
    return structs.replace(
        offering,
        kind="merchant",
        services=(need.service_type,),
        status="active",
        partner_status="admitted",
        blocked=False,
        max_contacts_week=None,
    )


def free_minutes(
    availability: tuple[Window, ...], busy: tuple[tuple[int, int], ...], need: windows.Demand
) -> set[int]:
    """Every free minute around the need, one by one: slow and plain, to check the quick ways."""
    minutes: set[int] = set()
    for start, end in windows.occurrences(availability, need.first, need.last):
        minutes.update(range(start, end))
    for start, end in busy:
        minutes.difference_update(range(start, end))
    return minutes
