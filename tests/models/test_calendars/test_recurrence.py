"""On which dates an event recurs: as python-dateutil says, and never for long."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import time

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calendars import recurrence

_BY_DAY = st.lists(st.sampled_from(recurrence.DAYS), max_size=4, unique=True)
_COUNTED_DAYS = st.lists(
    st.builds("{}{}".format, st.sampled_from([1, 2, 5, -1, -2]), st.sampled_from(recurrence.DAYS)),
    max_size=3,
    unique=True,
)


@st.composite
def rules(draw: st.DrawFn) -> str:
    """An RRULE as people have them."""
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={frequency}", f"INTERVAL={draw(st.integers(1, 4))}"]
    by_month = draw(st.lists(st.integers(1, 12), max_size=3, unique=True))
    if by_month:
        parts.append("BYMONTH=" + ",".join(map(str, by_month)))
    in_month = frequency in ("MONTHLY", "YEARLY")
    # Not both at once: the other library takes `MO,1MO` for what is both.
    days = draw(_COUNTED_DAYS if in_month and draw(st.booleans()) else _BY_DAY)
    if days:
        parts.append("BYDAY=" + ",".join(days))
    elif in_month and draw(st.booleans()):
        some = st.sampled_from([1, 15, 29, 30, 31, -1, -3])
        numbers = draw(st.lists(some, min_size=1, unique=True))
        parts.append("BYMONTHDAY=" + ",".join(map(str, numbers)))
    if in_month and days and draw(st.booleans()):
        parts.append(f"BYSETPOS={draw(st.sampled_from([1, 2, -1]))}")
    if draw(st.booleans()):
        parts.append(f"COUNT={draw(st.integers(1, 40))}")
    if draw(st.booleans()):
        parts.append(f"WKST={draw(st.sampled_from(['MO', 'SU']))}")
    return ";".join(parts)


@given(rules(), st.dates(dt.date(2020, 1, 1), dt.date(2028, 12, 31)), st.integers(0, 900))
@settings(max_examples=200)
def test_a_rule_means_the_dates_that_another_library_finds(
    text: str, first: dt.date, later: int
) -> None:
    since, last = first + dt.timedelta(days=later), first + dt.timedelta(days=1500)
    found = recurrence.dates(recurrence.rule_of(text), first, since, recurrence.Steps(20_000))
    ours = []
    # One that never matches again is given up.
    with contextlib.suppress(ValueError):
        ours += itertools.takewhile(lambda day: day <= last, found)
    begin = dt.datetime.combine(first, dt.time(6, 30))
    theirs = [moment.date() for moment in _until(rrulestr(text, dtstart=begin), last)]
    assert ours == [day for day in theirs if day >= since]


def _until(rule: object, last: dt.date) -> list[dt.datetime]:
    end = dt.datetime.combine(last, dt.time(23))
    return list(itertools.takewhile(lambda moment: moment <= end, rule))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=YEARLY;COUNT=100000",
        "FREQ=DAILY;COUNT=100000",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=366",
    ],
)
def test_a_rule_that_never_matches_or_never_ends_costs_no_more_than_its_steps(text: str) -> None:
    began, first = time.process_time(), dt.date(2026, 11, 9)
    found = recurrence.dates(recurrence.rule_of(text), first, first, recurrence.Steps(50_000))
    with pytest.raises(ValueError, match="too often"):
        list(found)
    assert time.process_time() - began < 5


def test_dates_end_with_the_calendar() -> None:
    rule = recurrence.rule_of("FREQ=WEEKLY;BYDAY=MO,FR")
    first = dt.date(9999, 12, 24)
    found = list(recurrence.dates(rule, first, first, recurrence.Steps(100)))
    assert found == [dt.date(9999, 12, 24), dt.date(9999, 12, 27), dt.date(9999, 12, 31)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FREQ",
        "FREQ=SECONDLY",
        "FREQ=HOURLY;COUNT=2",
        "FREQ=DAILY;BYHOUR=6,7,8",
        "FREQ=DAILY;BYSECOND=1",
        "FREQ=YEARLY;BYWEEKNO=20",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=99999999999999999999",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;COUNT=2;UNTIL=20270101",
        "FREQ=DAILY;UNTIL=tomorrow",
        "FREQ=DAILY;UNTIL=20270230",
        "FREQ=WEEKLY;BYDAY=1MO",
        "FREQ=MONTHLY;BYDAY=0MO",
        "FREQ=WEEKLY;BYDAY=MONDAY",
        "FREQ=WEEKLY;FREQ=WEEKLY",
        "FREQ=MONTHLY;BYMONTHDAY=32",
        "FREQ=MONTHLY;BYMONTHDAY=0",
        "FREQ=DAILY;INTERVAL=²",
    ],
)
def test_a_rule_that_is_none_or_says_more_than_we_keep_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        recurrence.rule_of(text)
