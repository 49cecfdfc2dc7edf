"""The gates: what keeps an offering out, what it says, and the smallest change that lets it in."""

from __future__ import annotations

import datetime as dt
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from msgspec import convert, structs, to_builtins

from models.values import Slot, Window
from search import gates, scoring, windows
from tests.search.matching_facts import (
    AS_OF,
    DEFAULTS,
    LAT,
    LON,
    ZONES,
    a_licence,
    a_need,
    a_slot,
    an_offering,
    at,
    excluded,
    failures,
    free_minutes,
    generous,
    matched,
    metres_north,
    some_need,
    some_offering,
    some_slot,
    weekly,
)

LAST_DAY = "2027-05-21"  # the Friday that ends the twelve weeks
LAST_MINUTE = at(f"{LAST_DAY} 09:00")


def mends(need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts) -> list[Any]:
    """(action, value) of every mend."""
    because = excluded(need, slot, offering).because
    return [(failure.mend.action, failure.mend.value) for failure in because if failure.mend]


# Examples, gate by gate


def test_a_merchant_who_fits_in_everything_is_a_match() -> None:
    assert matched(a_need(), a_slot(), an_offering()).distance_m == 0


def test_a_licence_that_ends_one_minute_early_is_excluded_and_says_so() -> None:
    """X1, X3: valid from the first to the last minute of the last occurrence."""
    slot = a_slot(credentials=("food",))
    in_time = an_offering(licences=(a_licence(valid_to=LAST_MINUTE),))
    early = an_offering(licences=(a_licence(valid_to=LAST_MINUTE - 1),))
    matched(a_need(), slot, in_time)
    failure = failures(a_need(), slot, early)["credentials.expires"]
    assert failure.needed == f"{LAST_DAY}T09:00+08:00"
    assert failure.has == f"{LAST_DAY}T08:59+08:00"
    assert mends(a_need(), slot, early) == [("renew_licence", LAST_DAY)]


def test_a_licence_that_begins_one_minute_late_is_excluded_and_says_so() -> None:
    """X1, X3."""
    slot = a_slot(credentials=("food",))
    begins = at("2027-03-01 06:30")
    matched(a_need(), slot, an_offering(licences=(a_licence(valid_from=begins),)))
    late = an_offering(licences=(a_licence(valid_from=begins + 1),))
    failure = failures(a_need(), slot, late)["credentials.starts"]
    assert (failure.needed, failure.has) == ("2027-03-01T06:30+08:00", "2027-03-01T06:31+08:00")


def test_a_licence_must_be_verified() -> None:
    """X1."""
    slot = a_slot(credentials=("food",))
    unverified = an_offering(licences=(a_licence(verified=False),))
    assert "credentials.unverified" in failures(a_need(), slot, unverified)
    assert mends(a_need(), slot, unverified) == [("verify_licence", True)]
    new = {"kind": "food", "valid_from": "2027-03-01", "valid_to": LAST_DAY}
    assert mends(a_need(), slot, an_offering()) == [("obtain_licence", new)]


def test_a_renewal_that_begins_when_the_licence_ends_leaves_no_gap() -> None:
    slot, half_way = a_slot(credentials=("food",)), at("2027-04-01 00:00")
    first, renewal = a_licence(valid_to=half_way), a_licence(valid_from=half_way)
    matched(a_need(), slot, an_offering(licences=(renewal, first)))
    gap = structs.replace(renewal, valid_from=half_way + 1)
    assert "credentials.expires" in failures(a_need(), slot, an_offering(licences=(gap, first)))


def test_touching_shifts_do_not_clash_but_one_minute_does() -> None:
    """X1, X3."""
    before = (at("2027-03-01 05:00"), at("2027-03-01 06:30"))
    after = (at("2027-03-01 09:00"), at("2027-03-01 11:00"))
    matched(a_need(), a_slot(), an_offering(busy=(after, before)))
    clash = an_offering(busy=(after, (before[0], before[1] + 1)))
    assert "time.busy" in failures(a_need(), a_slot(), clash)
    [(action, value)] = mends(a_need(), a_slot(), clash)
    assert (action, value) == ("free_up", [list(before), list(after)])


def test_closing_half_an_hour_early_asks_for_half_an_hour() -> None:
    """X3."""
    shut = an_offering(availability=(weekly("12345", "06:00", "08:30"),))
    failure = failures(a_need(), a_slot(), shut)["time.closes_early"]
    assert (failure.needed, failure.has) == (60 * 150, 60 * 120)
    assert failure.mend is not None
    assert (failure.mend.action, failure.mend.values["minutes"]) == ("open_later", 30)
    assert failure.mend.value == to_builtins((weekly("12345", "06:00", "09:00"),))


def test_opening_late_on_one_day_opens_on_that_day_only() -> None:
    """X3."""
    hours = (weekly("2345", "06:00", "10:00"), weekly("1", "07:00", "10:00"))
    failure = failures(a_need(), a_slot(), an_offering(availability=hours))["time.opens_late"]
    assert failure.mend is not None
    assert failure.mend.action == "open_earlier"
    assert failure.mend.value == to_builtins((hours[0], weekly("1", "06:30", "10:00")))


def test_no_hours_at_all_is_never_free() -> None:
    none = an_offering(availability=())
    assert failures(a_need(), a_slot(), none)["time.closed"].has == 0
    matched(a_need(windows=()), a_slot(), none)


def test_a_need_that_is_over_takes_nobody_and_nothing_mends_that() -> None:
    over = a_need(windows=(weekly("1", "06:30", "09:00", until=AS_OF - dt.timedelta(days=1)),))
    assert failures(over, a_slot(), an_offering())["time.over"].mend is None


def test_each_window_must_reach_its_share_by_itself() -> None:
    two = a_need(windows=(weekly("1", "08:00", "12:00"), weekly("2", "08:00", "12:00")))
    monday = an_offering(availability=(weekly("1", "08:00", "12:00"),))
    half = structs.replace(two, min_coverage=5_000)
    assert excluded(half, a_slot(), monday).gates == ("time",)


def test_a_member_of_a_rota_covers_only_their_part() -> None:
    two = a_need(windows=(weekly("1", "08:00", "12:00"), weekly("2", "08:00", "12:00")))
    monday = an_offering(
        availability=(weekly("1", "08:00", "12:00"),), max_minutes_week=4 * 60, reach_m=500
    )
    matched(two, a_slot(mode="rota", quantity=2), monday)
    assert excluded(two, a_slot(mode="each", quantity=2), monday).gates == ("load", "time")


def test_capacity_must_be_left_in_every_occurrence() -> None:
    """X1, X3: 30 seats of which 12 are taken for the middle of one morning."""
    taken = ((at("2027-03-03 07:00"), at("2027-03-03 07:30"), 12),)
    room = an_offering(capacity=30, taken=taken)
    matched(a_need(), a_slot(min_capacity=18), room)
    failure = failures(a_need(), a_slot(min_capacity=19), room)["capacity"]
    assert (failure.needed, failure.has) == (19, 18)
    assert mends(a_need(), a_slot(min_capacity=19), room) == [("raise_capacity", 31)]
    elsewhen = ((at("2027-03-03 09:00"), at("2027-03-03 10:00"), 30),)
    matched(a_need(), a_slot(min_capacity=30), an_offering(capacity=30, taken=elsewhen))


def test_nothing_left_is_no_match_even_if_no_minimum_is_asked() -> None:
    assert "capacity" in failures(a_need(), a_slot(), an_offering(capacity=0))


def test_price_and_budget_are_compared_by_the_year() -> None:
    """X3: 100 a session, five times a week, against 500 a week."""
    price = {"price_amount": 10_000, "per": "session"}
    matched(a_need(), a_slot(), an_offering(**price))
    poorer = a_need(budget_amount=49_999)
    failure = failures(poorer, a_slot(), an_offering(**price))["budget"]
    assert failure.needed == {"amount": 10_000, "currency": "CNY", "per": "session"}
    assert failure.has == {"amount": 49_999, "currency": "CNY", "per": "week"}
    monthly = a_need(budget_amount=1, per="month")
    value = {"amount": 216_667, "currency": "CNY", "per": "month"}  # 500 * 52 / 12 = 2166.67
    assert mends(monthly, a_slot(), an_offering(**price)) == [("raise_budget", value)]


def test_another_currency_is_named_not_guessed() -> None:
    dollars = an_offering(price_amount=100, currency="USD")
    failure = failures(a_need(), a_slot(), dollars)["budget.currency"]
    assert (failure.needed["currency"], failure.has["currency"]) == ("USD", "CNY")
    matched(a_need(), a_slot(), an_offering(price_amount=0, currency="USD"))


def test_radius_and_reach_end_at_their_metre() -> None:
    """X3."""
    away = {"lat_e6": metres_north(700)}
    metres = matched(a_need(), a_slot(), an_offering(**away)).distance_m
    assert metres == 700
    matched(a_need(radius_m=700), a_slot(), an_offering(reach_m=700, **away))
    near = failures(a_need(radius_m=699), a_slot(), an_offering(reach_m=698, **away))
    assert (near["radius"].needed, near["radius"].has) == (699, 700)
    assert (near["reach"].needed, near["reach"].has) == (700, 698)


def test_a_space_does_not_travel() -> None:
    hall = an_offering(kind="space", reach_m=0, lat_e6=metres_north(700))
    matched(a_need(), a_slot(kind="space"), hall)


def test_help_by_phone_needs_no_position() -> None:
    caller = an_offering(lat_e6=None, lon_e6=None, reach_m=10)
    matched(a_need(radius_m=None), a_slot(), caller)
    assert mends(a_need(), a_slot(), caller) == [("drop_radius", None)]


def test_a_language_is_spoken_by_who_speaks_a_kind_of_it() -> None:
    slot = a_slot(languages=("zh", "en"))
    matched(a_need(), slot, an_offering(languages=("zh-Hans-CN",)))
    assert "language" in failures(a_need(), slot, an_offering(languages=("yue",)))
    assert mends(a_need(), slot, an_offering()) == [("add_language", ["zh"])]


def test_the_weekly_load_counts_what_is_committed() -> None:
    full = an_offering(max_minutes_week=20 * 60, committed_minutes_week=20 * 60 - 750)
    matched(a_need(), a_slot(), full)
    over = structs.replace(full, committed_minutes_week=20 * 60 - 749)
    failure = failures(a_need(), a_slot(), over)["load"]
    assert (failure.needed, failure.has) == (20 * 60 + 1, 20 * 60)
    assert mends(a_need(), a_slot(), over) == [("raise_load", 21)]


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"services": ()}, "offer_service"),
        ({"status": "paused"}, "activate"),
        ({"partner_status": "suspended"}, "admit_partner"),
        ({"blocked": True}, "lift_block"),
        ({"max_contacts_week": 2, "contacts_week": 2}, "allow_contact"),
        ({"features": ("kitchen",)}, "add_feature"),
    ],
)
def test_each_of_these_alone_keeps_an_offering_out(changes: dict[str, Any], action: str) -> None:
    slot = a_slot(features=("kitchen", "power"))
    matched(a_need(), slot, an_offering(features=("kitchen", "power")))
    features = {"features": ("kitchen", "power")} | changes
    assert [mend for mend, _ in mends(a_need(), slot, an_offering(**features))] == [action]


def test_another_kind_is_out_for_good() -> None:
    assert failures(a_need(), a_slot(), an_offering(kind="space"))["kind"].mend is None


def test_every_failed_gate_is_named_at_once() -> None:
    """X3."""
    away = an_offering(lat_e6=metres_north(5000), services=(), capacity=1, availability=())
    out = excluded(a_need(), a_slot(min_capacity=9), away)
    assert out.gates == ("service", "radius", "capacity", "time")
    assert tuple(failure.gate for failure in out.because) == out.gates


# Properties


def plainly_admits(need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts) -> bool:
    """MATCHING 2 read aloud: every gate by itself, minute by minute, nothing shared."""
    demand = windows.demand(need.windows, need.as_of)
    each = [{m for time in part.occurrences for m in range(*time)} for part in demand.each]
    asked = set().union(*each)
    metres = None
    if offering.lat_e6 is not None and offering.lon_e6 is not None:
        metres = gates.distance_m(LAT, LON, offering.lat_e6, offering.lon_e6)

    def licensed(kind: str) -> bool:
        span = range(*demand.span)
        good: set[int] = set()
        for item in offering.licences:
            if item.kind == kind and item.verified:
                begin = span[0] if item.valid_from is None else item.valid_from
                end = span[-1] + 1 if item.valid_to is None else item.valid_to
                good.update(range(max(begin, span[0]), min(end, span[-1] + 1)))
        return len(good) == len(span)

    def affordable() -> bool:
        if need.budget_amount is None or offering.price_amount == 0:
            return True
        weeks = {
            "session": Fraction(max(demand.sessions_week, 1)),
            "week": Fraction(1),
            "month": Fraction(12, 52),
        }
        price, budget = (
            offering.price_amount * weeks[offering.per],
            need.budget_amount * weeks[need.per],
        )
        return need.currency == offering.currency and price <= budget

    def free() -> bool:
        if not need.windows:
            return True
        times = free_minutes(offering.availability, offering.busy, demand)
        share = Fraction(need.min_coverage, 10_000)
        if slot.mode == "rota":
            least = Fraction(-(-need.min_coverage // slot.quantity), 10_000)
            return bool(asked) and len(asked & times) >= least * len(asked)
        return bool(asked) and all(len(part & times) >= share * len(part) for part in each)

    def left() -> bool:
        if offering.capacity is None:
            return True
        minutes = asked or set(range(*demand.span))
        edges = {start for start, _, _ in offering.taken} | {min(minutes)}
        edges |= {start for part in demand.each for start, _ in part.occurrences}
        taken = max(
            sum(q for start, end, q in offering.taken if start <= minute < end)
            for minute in edges & minutes
        )
        return offering.capacity - taken >= (1 if slot.min_capacity is None else slot.min_capacity)

    members = slot.quantity if slot.mode == "rota" else 1
    load = offering.committed_minutes_week + math.ceil(Fraction(demand.minutes_week, members))
    return (
        offering.kind == slot.kind
        and offering.status == "active"
        and offering.partner_status == "admitted"
        and not offering.blocked
        and (
            offering.max_contacts_week is None
            or offering.contacts_week < offering.max_contacts_week
        )
        and need.service_type in offering.services
        and (need.radius_m is None or (metres is not None and metres <= need.radius_m))
        and (
            offering.kind == "space"
            or metres is None
            or offering.reach_m is None
            or metres <= offering.reach_m
        )
        and all(feature in offering.features for feature in slot.features)
        and (
            not slot.languages
            or any(tag.split("-")[0] in slot.languages for tag in offering.languages)
        )
        and (offering.max_minutes_week is None or load <= offering.max_minutes_week)
        and affordable()
        and left()
        and all(licensed(kind) for kind in slot.credentials)
        and free()
    )


def mended(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts, those: list[gates.Mend]
) -> tuple[gates.NeedFacts, Slot, gates.OfferingFacts]:
    for mend in those:
        need, slot, offering = gates.apply_mend(need, slot, offering, mend)
    return need, slot, offering


@given(some_need(ZONES), some_slot(), some_offering(ZONES))
@settings(max_examples=80)
def test_no_match_ever_violates_a_gate_and_none_is_refused_without_reason(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts
) -> None:
    """X1: against the same rules written naively; near misses are made by mending."""
    offering = generous(offering, need)
    slot = structs.replace(slot, kind="merchant")
    result = scoring.evaluate(need, slot, offering, DEFAULTS, explain=True)
    assert isinstance(result, scoring.Match) == plainly_admits(need, slot, offering)
    if isinstance(result, scoring.Exclusion):
        those = [failure.mend for failure in result.because if failure.mend]
        for missing in range(len(those)):
            facts = mended(need, slot, offering, those[:missing] + those[missing + 1 :])
            admitted = isinstance(scoring.evaluate(*facts, DEFAULTS), scoring.Match)
            assert admitted == plainly_admits(*facts)


@given(some_need(ZONES), some_slot(), some_offering(ZONES))
@settings(max_examples=80)
def test_the_changes_proposed_are_enough(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts
) -> None:
    """X3: apply them all and the offering is admitted; leave one out and it is not."""
    slot = structs.replace(slot, kind=offering.kind)
    result = scoring.evaluate(need, slot, offering, DEFAULTS, explain=True)
    assume(isinstance(result, scoring.Exclusion))
    assert isinstance(result, scoring.Exclusion)
    assume(all(failure.mend for failure in result.because))
    those = [failure.mend for failure in result.because if failure.mend]
    assert isinstance(
        scoring.evaluate(*mended(need, slot, offering, those), DEFAULTS), scoring.Match
    )
    for left_out in range(len(those)):
        facts = mended(need, slot, offering, those[:left_out] + those[left_out + 1 :])
        assert isinstance(scoring.evaluate(*facts, DEFAULTS), scoring.Exclusion)


def halved_number(old: int, new: int) -> int:
    return old + (new - old) // 2


def minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def half_open(opening: Window, side: str) -> tuple[Window, ...]:
    """The opening with half of its minutes, on the side of the hours that are open already."""
    start, end = minutes(opening.start), minutes(opening.end)
    end += 1440 if end <= start else 0
    half = (end - start) // 2
    if not half:
        return ()
    start, end = (end - half, end) if side == "earlier" else (start, start + half)
    late = dt.timedelta(days=start // 1440)
    clock = [f"{minute % 1440 // 60:02d}:{minute % 60:02d}" for minute in (start, end)]
    return (
        Window(
            days=tuple((day - 1 + late.days) % 7 + 1 for day in opening.days),
            start=clock[0],
            end=clock[1],
            timezone=opening.timezone,
            from_=opening.from_ and opening.from_ + late,
            until=opening.until and opening.until + late,
            except_=tuple(day + late for day in opening.except_),
        ),
    )


def half_of(
    need: gates.NeedFacts, offering: gates.OfferingFacts, mend: gates.Mend
) -> gates.Mend | None:
    """The mend with half of its change, rounded towards what is; None if it has no half."""
    now = {
        "widen_radius": need.radius_m,
        "extend_reach": offering.reach_m,
        "raise_capacity": offering.capacity,
        "raise_budget": need.budget_amount,
        "raise_load": (offering.max_minutes_week or 0) // 60,
    }
    if mend.action.startswith("open_"):
        added = zip(mend.values["add"], mend.values["sides"], strict=True)
        hours = [half_open(convert(window, Window), side) for window, side in added]
        value: Any = to_builtins((*offering.availability, *(w for half in hours for w in half)))
    elif mend.action == "raise_budget":
        amount = halved_number(need.budget_amount or 0, mend.value["amount"])
        value = mend.value | {"amount": amount}
    elif mend.action in now:
        value = halved_number(now[mend.action] or 0, mend.value)
    else:
        return None
    return structs.replace(mend, value=value)


@given(some_need(), some_slot(), some_offering())
@example(a_need(), a_slot(), an_offering(availability=(weekly("12345", "06:30", "08:59"),)))
@settings(max_examples=80)
def test_half_of_a_change_is_not_enough(
    need: gates.NeedFacts, slot: Slot, offering: gates.OfferingFacts
) -> None:
    """X3: whatever else is mended, half of one change leaves its gate shut."""
    slot = structs.replace(slot, kind=offering.kind)
    result = scoring.evaluate(need, slot, offering, DEFAULTS, explain=True)
    assume(isinstance(result, scoring.Exclusion))
    assert isinstance(result, scoring.Exclusion)
    for failure in result.because:
        half = failure.mend and half_of(need, offering, failure.mend)
        if half:
            others = [
                other.mend for other in result.because if other.mend not in (None, failure.mend)
            ]
            facts = mended(need, slot, offering, [half, *(mend for mend in others if mend)])
            assert failure.gate in gates.failing(gates.case_of(*facts))
