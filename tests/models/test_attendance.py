"""What counts of the time that somebody was there, and what time does with an occurrence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.attendance import rules
from models.attendance.rules import Span

SPANS = st.tuples(st.integers(0, 10_000), st.integers(1, 600)).map(
    lambda pair: Span(pair[0] + 2_000, pair[0] + 2_000 + pair[1])
)
MINUTES = st.integers(0, 20_000)
# 08:00 to 10:00 of some day.
TWO_HOURS = Span(480, 600)


@pytest.mark.parametrize(
    ("came", "left", "minutes"),
    [
        (480, 600, 120),
        (420, 600, 135),  # an hour early: 15 minutes of it
        (465, 615, 135),  # 15 more than planned, not 30
        (500, 580, 80),
        (540, 2_000, 75),  # an hour late, and checked out the day after
        (540, None, 60),  # never checked out: to the planned end
        (420, None, 135),
        (420, 430, 0),  # went before it began to count
        (599, 599, 0),
    ],
)
def test_what_counts_are_the_planned_minutes_and_15_more_at_most(
    came: int, left: int | None, minutes: int
) -> None:
    assert rules.counted(TWO_HOURS, came, left) == minutes


@given(SPANS, MINUTES, st.none() | MINUTES)
def test_no_more_counts_than_was_planned_or_than_somebody_was_there(
    span: Span, came: int, left: int | None
) -> None:
    minutes = rules.counted(span, came, left)
    assert 0 <= minutes <= span.ends - span.starts + rules.TOLERANCE
    assert minutes <= max((span.ends if left is None else left) - came, 0)


@given(SPANS, MINUTES, MINUTES, MINUTES)
def test_who_stays_longer_has_no_less(span: Span, came: int, left: int, more: int) -> None:
    assert rules.counted(span, came, left) <= rules.counted(span, came, left + more)
    assert rules.counted(span, came + more, left) <= rules.counted(span, came, left)


def test_check_in_is_open_from_an_hour_before_the_start_until_the_end() -> None:
    is_open = {minute for minute in range(1_000) if rules.may_come(TWO_HOURS, minute)}
    assert is_open == set(range(420, 600))
    assert rules.may_go(TWO_HOURS, 600 + 1_440)
    assert not rules.may_go(TWO_HOURS, 601 + 1_440)


@given(SPANS, MINUTES, st.booleans(), st.sampled_from(rules.STATUSES))
def test_time_closes_what_is_over_and_only_once(
    span: Span, minute: int, here: bool, status: rules.OccurrenceStatus
) -> None:
    is_due = rules.is_due(status, span, here, minute)
    if status in ("served", "missed", "cancelled") or minute < span.ends:
        assert not is_due
    elif status == "planned" or not here:
        assert is_due
    else:
        assert is_due == (minute >= span.ends + 1_440)


KINDS = st.lists(
    st.tuples(st.sampled_from(["person_hours", "service", "space_hours", "goods"]), st.booleans())
)


@given(KINDS)
def test_who_came_has_kept_it_and_a_room_is_there_if_anybody_came(
    asked: list[tuple[str, bool]],
) -> None:
    outcomes = rules.settled([kind for kind, _ in asked], [came for _, came in asked])
    anybody = any(came for _, came in asked)
    for (kind, came), outcome in zip(asked, outcomes, strict=True):
        thing = kind in ("space_hours", "goods")
        assert (outcome == "kept") == (came or (thing and anybody))
