"""From facts to a problem: what serving a slot takes of an offering's time, week and money."""

from __future__ import annotations

import datetime as dt
import uuid

from models.values import Window
from search import gates, windows
from search.planning import gather, problem
from tests.search.matching_facts import MORNINGS, a_need, a_slot, an_offering, at, weekly

NOON = weekly("12345", "11:00", "13:00")


def _bids(
    need: gates.NeedFacts, *offerings: gates.OfferingFacts, **slot: object
) -> problem.Problem:
    builder = gather.Builder({})
    found = [gather.Candidate(5_000, offering) for offering in offerings]
    builder.add(gather.Asked(need, uuid.UUID(int=1), [(a_slot(**slot), found)]), "qiaobei")
    return builder.problem()


def _times(made: problem.Problem) -> list[tuple[windows.Interval, ...]]:
    (need,) = made.needs
    return [made.times[bid.times] for bid in need.slots[0].bids]


def _week(window: Window) -> tuple[windows.Interval, ...]:
    first = dt.date(2027, 3, 1)
    return windows.occurrences([window], first, first + dt.timedelta(days=83))


def test_whoever_is_always_there_gives_every_minute_asked_for() -> None:
    made = _bids(a_need(), an_offering())
    assert _times(made) == [_week(MORNINGS)]
    (bid,) = made.needs[0].slots[0].bids
    assert bid.minutes == 5 * 150


def test_whoever_comes_for_half_of_it_is_free_for_others_in_the_other_half() -> None:
    late = an_offering(availability=(weekly("12345", "08:00", "18:00"),))
    made = _bids(a_need(min_coverage=4_000), late)
    assert _times(made) == [_week(weekly("12345", "08:00", "09:00"))]


def test_a_booking_is_no_time_to_give() -> None:
    busy = an_offering(busy=((at("2027-03-01 06:30"), at("2027-03-01 07:00")),))
    (times,) = _times(_bids(a_need(min_coverage=5_000), busy))
    assert times[0] == (at("2027-03-01 07:00"), at("2027-03-01 09:00"))
    assert times[1:] == _week(MORNINGS)[1:]


def test_what_is_left_of_a_week_is_what_nobody_has_been_promised() -> None:
    helper = an_offering(
        max_minutes_week=1_200, committed_minutes_week=300, max_contacts_week=3, contacts_week=1
    )
    (offering,) = _bids(a_need(), helper).offerings
    assert (offering.minutes, offering.jobs) == (900, 2)


def test_the_members_of_a_rota_share_the_hours_and_each_keeps_all_of_them_free() -> None:
    made = _bids(a_need(), an_offering(), mode="rota", quantity=3)
    (bid,) = made.needs[0].slots[0].bids
    assert (bid.minutes, _times(made)) == (250, [_week(MORNINGS)])


def test_a_year_of_a_need_has_its_price_and_its_budget() -> None:
    made = _bids(a_need(budget_amount=50_000, per="week"), an_offering(price_amount=500))
    (need,) = made.needs
    assert (need.budget, need.slots[0].bids[0].price) == (50_000 * 52, 500 * 5 * 52)


def test_of_many_candidates_the_best_twenty_stay_and_whoever_was_there_before() -> None:
    offerings = [an_offering(id=f"offering-{at:02}") for at in range(30)]
    builder = gather.Builder({("need", "operator"): {"offering-27"}})
    found = [gather.Candidate(9_000 - at, offering) for at, offering in enumerate(offerings)]
    builder.add(gather.Asked(a_need(), uuid.UUID(int=1), [(a_slot(), found)]), "qiaobei")
    made = builder.problem()
    bids = made.needs[0].slots[0].bids
    names = [made.offerings[bid.offering].id for bid in bids]
    assert names == [*(f"offering-{at:02}" for at in range(20)), "offering-27"]
    assert [bid.kept for bid in bids] == [False] * 20 + [True]
