"""Time, to the minute: occurrences, interval sets, the week's masks, the smallest opening."""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo

from hypothesis import given, settings
from hypothesis import strategies as st

from models.values import Window
from search import windows
from tests.search.matching_facts import ALWAYS, AS_OF, MORNINGS, ZONES, at, some_window, weekly

SUNDAY = AS_OF + dt.timedelta(days=6)
NEW_YORK = "America/New_York"


def instant(day: dt.date, clock: str, zone: str) -> int:
    """A civil time as a UTC minute, by the standard library alone; 24:00 is the next midnight."""
    if clock == "24:00":
        day, clock = day + dt.timedelta(days=1), "00:00"
    wall = dt.datetime.combine(day, dt.time.fromisoformat(clock), zoneinfo.ZoneInfo(zone))
    return int(wall.timestamp()) // 60


def plain_occurrences(window: Window, first: dt.date, last: dt.date) -> list[tuple[int, int]]:
    found = []
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        day = dt.date.fromordinal(ordinal)
        runs = (window.from_ is None or day >= window.from_) and (
            window.until is None or day <= window.until
        )
        if day.isoweekday() in window.days and day not in window.except_ and runs:
            overnight = window.end <= window.start
            start = instant(day, window.start, window.timezone)
            end = instant(day + dt.timedelta(days=overnight), window.end, window.timezone)
            if end > start:
                found.append((start, end))
    return found


def minutes_of(times: list[tuple[int, int]]) -> set[int]:
    return set(itertools.chain.from_iterable(range(start, end) for start, end in times))


# Occurrences


def test_breakfast_at_dawn_is_five_occurrences_a_week() -> None:
    """A2: Mon-Fri 06:30-09:00."""
    times = windows.occurrences((MORNINGS,), AS_OF, SUNDAY)
    assert len(times) == 5
    assert times[0] == (at("2027-03-01 06:30"), at("2027-03-01 09:00"))
    assert windows.demand((MORNINGS,), AS_OF).sessions_week == 5
    assert windows.demand((MORNINGS,), AS_OF).minutes_week == 5 * 150


def test_a_window_over_midnight_ends_on_the_next_day() -> None:
    night = weekly("7", "22:00", "06:00")
    assert windows.occurrences((night,), SUNDAY, SUNDAY) == (
        (at("2027-03-07 22:00"), at("2027-03-08 06:00")),
    )


def test_a_window_that_ends_when_it_starts_or_at_24_lasts_until_then() -> None:
    whole_day = weekly("1", "00:00", "24:00")
    round_the_clock = weekly("1", "09:00", "09:00")
    for window in (whole_day, round_the_clock):
        [(start, end)] = windows.occurrences((window,), AS_OF, AS_OF)
        assert end - start == 24 * 60


def test_dates_limit_a_window_and_exceptions_leave_it_out() -> None:
    window = weekly(
        "12345",
        "06:30",
        "09:00",
        from_=dt.date(2027, 3, 2),
        until=dt.date(2027, 3, 4),
        except_=(dt.date(2027, 3, 3),),
    )
    days = [start for start, _ in windows.occurrences((window,), AS_OF, SUNDAY)]
    assert days == [at("2027-03-02 06:30"), at("2027-03-04 06:30")]


def test_a_night_shift_lasts_an_hour_less_when_the_clock_springs_forward() -> None:
    night = weekly("6", "22:00", "06:00", timezone=NEW_YORK)
    spring, autumn = dt.date(2027, 3, 13), dt.date(2027, 11, 6)
    lengths = [
        end - start
        for day in (spring, autumn, dt.date(2027, 5, 1))
        for start, end in windows.occurrences((night,), day, day)
    ]
    assert lengths == [7 * 60, 9 * 60, 8 * 60]


def test_a_window_that_the_clock_skips_never_ends_before_it_starts() -> None:
    spring = dt.date(2027, 3, 14)
    backwards = weekly("7", "02:30", "03:00", timezone=NEW_YORK)  # 02:30 is read as 03:30 there
    skipped = weekly("7", "02:15", "02:45", timezone=NEW_YORK)
    assert windows.occurrences((backwards,), spring, spring) == ()
    assert windows.occurrences((skipped,), spring, spring) == (
        (instant(spring, "03:15", NEW_YORK), instant(spring, "03:45", NEW_YORK)),
    )


def test_the_far_end_of_the_calendar_is_no_error() -> None:
    for_ever = weekly("1234567", "22:00", "21:00", from_=dt.date.max, until=dt.date.max)
    assert windows.demand((for_ever,), AS_OF).together.minutes == 0
    assert windows.demand((ALWAYS,), dt.date.max).together.minutes == 0
    until_for_ever = weekly("1", "22:00", "06:00", until=dt.date.max)
    openings = windows.missing_openings(
        need := windows.demand((until_for_ever,), AS_OF), need.each, 10_000, (ALWAYS,)[:0]
    )
    assert [opening.window.until for opening in openings] == [dt.date.max]


@given(some_window(ZONES), st.dates(dt.date(2026, 1, 1), dt.date(2029, 1, 1)))
@settings(max_examples=80)
def test_occurrences_are_those_of_the_standard_library(window: Window, first: dt.date) -> None:
    last = first + dt.timedelta(days=100)
    found = windows.occurrences((window,), first, last)
    assert list(found) == sorted(plain_occurrences(window, first, last))
    assert all(start < end for start, end in found)


# The horizon


def test_a_need_is_looked_at_for_84_days() -> None:
    first, last = windows.horizon((MORNINGS,), AS_OF)
    assert (first, (last - first).days + 1) == (AS_OF, 84)
    assert len(windows.demand((MORNINGS,), AS_OF).together.occurrences) == 12 * 5


def test_next_summer_is_matched_against_next_summer() -> None:
    summer = weekly("12345", "08:00", "12:00", from_=dt.date(2027, 7, 5))
    assert windows.horizon((summer,), AS_OF)[0] == dt.date(2027, 7, 5)
    assert windows.horizon((summer, MORNINGS), AS_OF)[0] == AS_OF
    over = weekly("1", "08:00", "12:00", until=AS_OF - dt.timedelta(days=1))
    assert windows.horizon((summer, over), AS_OF)[0] == dt.date(2027, 7, 5)


def test_the_load_is_that_of_the_busiest_week() -> None:
    once = weekly("1234567", "08:00", "12:00", from_=SUNDAY, until=SUNDAY)
    need = windows.demand((once,), AS_OF)
    assert (need.sessions_week, need.minutes_week) == (1, 240)
    assert need.span == need.together.occurrences[0]


# Sets of minutes

TIMES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda t: (t[0], t[0] + t[1])),
    max_size=8,
)


@given(TIMES, TIMES)
def test_sets_of_minutes_are_sets(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    a, b = windows.union(ours), windows.union(theirs)
    left, right = minutes_of(ours), minutes_of(theirs)
    for found, expected in (
        (a, left),
        (windows.intersect(a, b), left & right),
        (windows.subtract(a, b), left - right),
    ):
        assert minutes_of(found) == expected
        assert all(start < end for start, end in found)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(found))
    assert windows.covered(a, b) == len(left & right)
    assert windows.clashes(a, theirs) == bool(left & right)


@given(TIMES, st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(1, 9))))
def test_the_peak_is_the_most_taken_in_any_minute(
    needed: list[tuple[int, int]], taken: list[tuple[int, int, int]]
) -> None:
    taken = [(start, start + length, quantity) for start, length, quantity in taken]
    most = max(
        (
            sum(quantity for start, end, quantity in taken if start <= minute < end)
            for minute in minutes_of(needed)
        ),
        default=0,
    )
    assert windows.peak(windows.union(needed), taken) == most


def test_touching_shifts_do_not_clash() -> None:
    """X1: intervals are half-open."""
    assert not windows.clashes([(60, 120)], [(0, 60), (120, 180)])
    assert windows.clashes([(60, 120)], [(0, 61)])
    assert windows.clashes([(60, 120)], [(119, 180)])
    assert windows.peak([(0, 120)], [(0, 60, 5), (60, 120, 5)]) == 5


# Coverage and masks

WINDOWS = st.lists(some_window(ZONES), max_size=2).map(tuple)
HOURS = st.lists(
    some_window(ZONES)
    | st.sampled_from(ZONES).map(lambda zone: weekly("1234567", "05:00", "23:00", timezone=zone)),
    max_size=3,
).map(tuple)
BUSY = st.lists(
    st.tuples(
        st.integers(at("2027-03-01 00:00"), at("2027-05-20 00:00")), st.integers(1, 3000)
    ).map(lambda t: (t[0], t[0] + t[1])),
    max_size=3,
).map(tuple)
DATES = st.dates(dt.date(2027, 1, 1), dt.date(2027, 12, 31))


def plain_coverage(
    need: windows.Demand, hours: tuple[Window, ...], busy: tuple[tuple[int, int], ...]
) -> list[int]:
    """Free minutes of each window, by painting every minute of the year around it."""
    origin = need.span[0] - 10 * 1440
    free = bytearray(400 * 1440)
    first, last = need.first - dt.timedelta(days=3), need.last + dt.timedelta(days=3)
    for window in hours:
        for start, end in plain_occurrences(window, first, last):
            start, end = max(start - origin, 0), max(end - origin, 0)
            free[start:end] = b"\1" * (end - start)
    for start, end in busy:
        start, end = max(start - origin, 0), max(end - origin, 0)
        free[start:end] = bytes(end - start)
    return [
        sum(sum(free[start - origin : end - origin]) for start, end in part.occurrences)
        for part in need.each
    ]


@given(WINDOWS, HOURS, BUSY, DATES)
@settings(max_examples=80)
def test_masks_and_calendar_count_the_same_minutes(
    needed: tuple[Window, ...],
    hours: tuple[Window, ...],
    busy: tuple[tuple[int, int], ...],
    as_of: dt.date,
) -> None:
    need = windows.demand(needed, as_of)
    found = windows.coverage(need, need.each, hours, busy)
    assert list(found) == plain_coverage(need, hours, busy)


def test_six_weeks_before_and_six_after_the_clock_changes_are_both_counted() -> None:
    """The same window lies an hour apart in UTC, equally often: neither may hide the other."""
    needed = (weekly("1234567", "08:00", "12:00", timezone=NEW_YORK),)
    need = windows.demand(needed, dt.date(2027, 1, 31))
    hours = (weekly("1234567", "21:30", "00:30"),)
    found = windows.coverage(need, need.each, hours, ())
    assert list(found) == plain_coverage(need, hours, ()) == [42 * 150 + 42 * 180]


@given(WINDOWS, HOURS, st.sampled_from([10_000, 5_000, 1, 0]), DATES)
@settings(max_examples=120)
def test_the_first_cut_never_loses_what_the_calendar_admits(
    needed: tuple[Window, ...], hours: tuple[Window, ...], share: int, as_of: dt.date
) -> None:
    need = windows.demand(needed, as_of)
    # Hours that cover the need exactly are the sharpest test, so the need's own are tried too.
    for offered in (hours, needed, (*hours, *needed)):
        free = windows.coverage(need, (need.together,), offered, ())
        if windows.enough(free[0], need.together.minutes, share):
            for step in (windows.QUARTER, windows.BLOCK):
                ours = windows.blocks_of_need(needed, as_of, step)
                assert windows.may_cover(ours, windows.blocks_of_offering(offered, step), share)


def test_the_masks_begin_on_monday_at_midnight_in_china_and_go_round() -> None:
    assert windows.blocks_of_offering((weekly("1", "00:00", "00:20"),), windows.QUARTER) == 0b11
    sunday_night = weekly("7", "23:00", "00:10")
    quarters = windows.blocks_of_offering((sunday_night,), windows.QUARTER)
    assert quarters == 0b1111 << 668 | 1
    assert windows.blocks_of_offering((sunday_night,), windows.BLOCK) == 1 << 55 | 1
    for step, size in ((windows.QUARTER, 672), (windows.BLOCK, 56)):
        assert windows.blocks_of_offering((ALWAYS,), step) == (1 << size) - 1
        assert windows.blocks_of_need((ALWAYS,), AS_OF, step) == (1 << size) - 1


def test_the_first_cut_keeps_who_is_never_open_then_out() -> None:
    evening = (weekly("12345", "18:00", "21:00"),)
    for step in (windows.QUARTER, windows.BLOCK):
        morning = windows.blocks_of_need((MORNINGS,), AS_OF, step)
        assert not windows.may_cover(morning, windows.blocks_of_offering(evening, step), 10_000)
        assert not windows.may_cover(morning, windows.blocks_of_offering(evening, step), 1)


# The smallest opening


def openings(hours: tuple[Window, ...], share: int = 10_000) -> tuple[windows.Opening, ...]:
    need = windows.demand((MORNINGS,), AS_OF)
    return windows.missing_openings(need, need.each, share, hours)


def test_hours_that_are_too_short_are_made_longer_not_more() -> None:
    hours = (weekly("12345", "07:00", "08:30"),)
    found = openings(hours)
    assert [opening.side for opening in found] == ["earlier", "later"]
    assert windows.joined(hours, found) == (MORNINGS,)


def test_only_the_days_that_are_asked_for_open_longer() -> None:
    hours = (weekly("1234567", "07:00", "12:00"),)
    assert windows.joined(hours, openings(hours)) == (*hours, weekly("12345", "06:30", "07:00"))


def test_a_share_of_the_window_needs_only_a_share_of_the_opening() -> None:
    hours = (weekly("12345", "07:00", "08:30"),)
    [opening] = openings(hours, 7_000)
    assert opening.window == weekly("12345", "06:45", "07:00")
    assert openings(hours, 6_000) == ()


def test_a_day_off_is_opened_on_that_date_alone() -> None:
    hours = (weekly("12345", "06:30", "09:00", except_=(dt.date(2027, 3, 9),)),)
    [opening] = openings(hours)
    tuesday = dt.date(2027, 3, 9)
    assert opening.window == weekly("2", "06:30", "09:00", from_=tuesday, until=tuesday)


def test_hours_after_midnight_belong_to_the_day_they_are_on() -> None:
    night = (weekly("5", "22:00", "06:00"),)
    need = windows.demand(night, AS_OF)
    hours = (weekly("5", "22:00", "01:00"),)
    [opening] = windows.missing_openings(need, need.each, 10_000, hours)
    assert opening.window == weekly("6", "01:00", "06:00")
    assert opening.side == "later"


def test_midnight_of_two_days_is_not_one_opening() -> None:
    late, early = weekly("1", "22:00", "00:00"), weekly("1", "00:00", "02:00")
    opening = windows.Opening(window=early, side="on")
    assert windows.joined((late,), [opening]) == (late, early)


@given(WINDOWS, HOURS, st.sampled_from([10_000, 9_000, 4_321]), DATES)
@settings(max_examples=60)
def test_the_openings_are_enough_in_any_zone(
    needed: tuple[Window, ...], hours: tuple[Window, ...], share: int, as_of: dt.date
) -> None:
    need = windows.demand(needed, as_of)
    longer = windows.joined(hours, windows.missing_openings(need, need.each, share, hours))
    free = plain_coverage(need, longer, ())
    for minutes, part in zip(free, need.each, strict=True):
        assert windows.enough(minutes, part.minutes, share)


def test_the_fewest_bookings_are_moved() -> None:
    """X3: with a share below the whole, only the largest clash has to go."""
    need = windows.demand((MORNINGS,), AS_OF)
    small = (at("2027-03-01 06:00"), at("2027-03-01 07:00"))
    large = (at("2027-03-02 06:30"), at("2027-03-02 09:00"))
    moved = windows.bookings_in_the_way(need, need.each, 10_000, (ALWAYS,), (small, large))
    assert moved == ((at("2027-03-01 06:30"), small[1]), large)
    share = (need.together.minutes - 60) * 10_000 // need.together.minutes
    assert windows.bookings_in_the_way(need, need.each, share, (ALWAYS,), (small, large)) == (
        large,
    )
