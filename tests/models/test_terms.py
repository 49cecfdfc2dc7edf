"""Terms: what is divided adds up, months are those of the place, and who owes what."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import errors, values
from models.agreements import terms

PARTNER = uuid.UUID(int=7)
DAYS = st.dates(dt.date(2026, 1, 1), dt.date(2028, 12, 31))
ZONES = st.sampled_from(
    ["Asia/Shanghai", "UTC", "Pacific/Auckland", "America/Sao_Paulo", "Asia/Kathmandu"]
)


def _span(first: str, last: str) -> terms.Span:
    return terms.Span(dt.date.fromisoformat(first), dt.date.fromisoformat(last))


# Shares


@given(
    st.integers(0, 10**12),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=40).filter(any),
)
def test_shares_add_up_to_the_cent_and_are_within_a_cent_of_fair(
    total: int, weights: list[int]
) -> None:
    """A5."""
    parts = terms.shares(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * whole - total * weight) < whole
        assert weight or not part


@given(st.integers(0, 10**12), st.integers(1, 10_000))
def test_the_fund_and_the_partner_have_the_whole_of_what_was_earned(
    amount: int, share_bp: int
) -> None:
    """A5."""
    fund = terms.fund_part(amount, share_bp)
    assert 0 <= fund <= amount
    assert abs(fund * 10_000 - amount * share_bp) <= 5_000


def test_what_is_left_goes_to_the_largest_fractions() -> None:
    assert terms.shares(100, (1, 1, 1)) == (34, 33, 33)
    assert terms.shares(10, (333, 333, 334)) == (3, 3, 4)
    assert terms.shares(0, (1, 2)) == (0, 0)


@pytest.mark.parametrize(("total", "weights"), [(-1, (1,)), (1, (0, 0)), (1, (2, -1))])
def test_there_is_nothing_to_share_by(total: int, weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="nothing to share by"):
        terms.shares(total, weights)


# Months


@given(DAYS, ZONES)
def test_each_month_ends_when_the_next_begins_on_the_wall_of_the_place(
    day: dt.date, zone: str
) -> None:
    month = day.replace(day=1)
    begins, ends = terms.month_begins(month, zone), terms.month_ends(month, zone)
    assert terms.month_of(begins, zone) == month
    assert terms.month_of(ends, zone) == terms.month_after(month)
    assert terms.month_of(ends - dt.timedelta.resolution, zone) == month


def test_a_month_of_chongqing_ends_at_four_in_the_afternoon_of_greenwich() -> None:
    ends = terms.month_ends(dt.date(2026, 12, 1), "Asia/Shanghai")
    assert ends == dt.datetime(2026, 12, 31, 16, tzinfo=dt.UTC)


# Rent


@given(st.integers(0, 44_640), DAYS, st.integers(0, 400), st.lists(st.integers(0, 400)))
def test_rent_adds_up_however_the_days_are_split(
    minutes: int, first: dt.date, length: int, cuts: list[int]
) -> None:
    """X2."""
    whole = terms.Span(first, first + dt.timedelta(days=length))
    starts = sorted({0, *(cut for cut in cuts if cut <= length)})
    pieces = [
        terms.Span(first + dt.timedelta(days=a), first + dt.timedelta(days=b - 1))
        for a, b in zip(starts, [*starts[1:], length + 1], strict=True)
    ]
    month, months = first.replace(day=1), []
    while month <= whole.last:
        months.append(month)
        month = terms.month_after(month)
    for month in months:
        assert terms.owed(minutes, month, pieces) == terms.owed(minutes, month, [whole])
        assert 0 <= terms.owed(minutes, month, [whole]) <= minutes
    for month in months[1:-1]:
        assert terms.owed(minutes, month, [whole]) == minutes


def test_part_of_a_month_owes_its_part_of_the_rent() -> None:
    """X2."""
    november = dt.date(2026, 11, 1)
    assert terms.owed(600, november, [_span("2026-11-16", "2027-03-31")]) == 300
    assert terms.owed(600, november, [_span("2026-11-01", "2026-11-10")]) == 200
    assert terms.owed(600, november, [_span("2026-12-01", "2026-12-31")]) == 0
    parts = [_span("2026-11-01", "2026-11-07"), _span("2026-11-12", "2026-11-30")]
    assert terms.owed(601, november, parts) == 140 + 601 - 220


def _at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+08:00")


def _held(*changes: tuple[str, bool], now: str = "2027-01-01T00:00") -> list[tuple[str, str]]:
    found = terms.spans(
        [(_at(moment), holds) for moment, holds in changes],
        _at(now),
        "Asia/Shanghai",
        _span("2026-11-10", "2026-12-20"),
    )
    return [(f"{span.first:%m-%d}", f"{span.last:%m-%d}") for span in found]


def test_an_agreement_holds_from_its_first_day_to_its_end_but_for_its_pauses() -> None:
    assert _held() == []
    assert _held(("2026-11-01T12:00", True)) == [("11-10", "12-20")]
    assert _held(("2026-11-15T12:00", True), now="2026-11-15T13:00") == [("11-15", "11-15")]
    assert _held(
        ("2026-11-15T12:00", True),
        ("2026-11-20T00:00", False),  # at midnight: not on the day that begins
        ("2026-11-25T09:00", True),
        ("2026-11-27T09:00", False),
        ("2026-11-27T18:00", True),  # the same day counts once
        ("2026-12-01T10:00", False),
    ) == [("11-15", "11-19"), ("11-25", "11-27"), ("11-28", "12-01")]
    assert _held(("2026-12-21T00:00", True), ("2026-12-22T00:00", False)) == []


def test_an_hour_has_the_worth_that_was_agreed_on() -> None:
    assert terms.worth(90, terms.Money(3_000)) == terms.Money(4_500)
    assert terms.worth(1, terms.Money(59)) is None
    assert terms.worth(-60, terms.Money(59)) is None
    assert terms.worth(90, None) is None


# Service contracts


def _contract(**change: Any) -> terms.Contract:
    milestone = terms.MilestoneTerms(
        name="first", title=values.Bilingual("一期", "First"), amount=1_000
    )
    lot = terms.Lot(title=values.Bilingual("一标段", "Lot 1"), milestones=(milestone,))
    return terms.Contract(**{"partner_id": PARTNER, "lots": (lot,), **change})


@pytest.mark.parametrize(
    ("inspected_bp", "scores", "wanted"),
    [
        (None, (5, 5, 5), 0),
        (10_000, (5, 5), 0),
        (10_000, (5, 5, 5), 1_000),
        (10_000, (5, 2, 2), 1_000),
        (10_000, (5, 2, 1), 0),
        (7_555, (3, 3, 3), 755),
        (0, (5, 5, 5), 0),
    ],
)
def test_what_may_be_paid_follows_the_inspector_and_those_served(
    inspected_bp: int | None, scores: tuple[int, ...], wanted: int
) -> None:
    """D8."""
    contract = _contract()
    assert terms.approved(contract, contract.milestones[0], inspected_bp, scores) == wanted


def test_a_contract_may_do_without_scores() -> None:
    contract = _contract(scores_needed=0)
    assert terms.approved(contract, contract.milestones[0], 5_000, ()) == 500


# Validation


@pytest.mark.parametrize(
    ("stated", "field"),
    [
        ({"tier": "public", "price": {"amount": 1}}, "price"),
        ({"tier": "market"}, "price"),
        ({"tier": "low_fee", "price": {"amount": 0}}, "price"),
        ({"tier": "space_for_service"}, "rent"),
        ({"tier": "public", "rent": {"partner_id": str(PARTNER), "hours_per_month": 1}}, "rent"),
    ],
)
def test_terms_go_together_with_their_tier(stated: Any, field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"^{field}: "):
        msgspec.convert(stated, terms.Terms)


def test_each_milestone_has_a_name_of_its_own() -> None:
    lots = _contract().lots
    with pytest.raises(ValueError, match=r"^lots: "):
        _contract(lots=lots + lots)


def test_terms_are_for_partners_of_the_agreement() -> None:
    stated = terms.Terms(tier="public", contract=_contract())
    terms.check(stated, [PARTNER])
    terms.check(None, [])
    with pytest.raises(errors.Refusal) as refused:
        terms.check(stated, [uuid.UUID(int=8)])
    assert refused.value.fields[0].field == "terms.contract.partner_id"
