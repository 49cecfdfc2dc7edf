"""The calendar: every occurrence of the horizon, what a need asks of it, what an offering gives."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from msgspec import Struct

from models.values import Window
from search.windows import civil, intervals, week
from search.windows.intervals import Interval

HORIZON_DAYS = 84
WHOLE = 10_000

# A need's local date and an offering's may differ by two days (zones from -12 to +14), and what
# began the evening before still runs.
_MARGIN_DAYS = 3


class Asked(Struct, frozen=True):
    """Time that must be covered together: its occurrences and the same as masks of the week.

    `minutes` is their total, `pattern` pairs a minute mask with how often it recurs, `days` has the
    minutes of the week on each day (an ordinal) of China.
    """

    windows: tuple[Window, ...]
    occurrences: tuple[Interval, ...]
    minutes: int
    pattern: tuple[tuple[int, int], ...]
    mask: int
    days: dict[int, int]


class Demand(Struct, frozen=True):
    """Everything a need's windows ask of the calendar, worked out once per need.

    `each` has one entry a window, `together` the union; `first..last` are the dates on which an
    offering's own windows matter, `horizon` those on which the need's do; `span` runs from the
    first to the last minute (the day itself if no time is asked); `minutes_week` and
    `sessions_week` are those of the busiest week.
    """

    each: tuple[Asked, ...]
    together: Asked
    horizon: tuple[dt.date, dt.date]
    first: dt.date
    last: dt.date
    span: Interval
    minutes_week: int
    sessions_week: int


@lru_cache(maxsize=2048)
def dated(window: Window, first: dt.date, last: dt.date) -> tuple[tuple[int, int, int], ...]:
    """(day, start, end) of the occurrences that begin on the local dates first..last.

    Days are ordinals. An occurrence that the spring change of the clock leaves without a minute
    does not take place.
    """
    fixed = civil.fixed_offset(window.timezone, first, last)
    begin = max(first, window.from_ or first).toordinal()
    end = min(min(last, window.until or last).toordinal(), civil.LAST_DAY)
    skipped = {day.toordinal() for day in window.except_}
    opens, closes = civil.hours(window)
    found = []
    for day in range(begin, end + 1):
        if (day - 1) % 7 + 1 not in window.days or day in skipped:
            continue
        if fixed is None:
            times = civil.utc(window.timezone, day, opens), civil.utc(window.timezone, day, closes)
        else:
            midnight = (day - civil.EPOCH) * civil.DAY - fixed
            times = midnight + opens, midnight + closes
        if times[0] < times[1]:
            found.append((day, *times))
    return tuple(found)


def occurrences(windows: Iterable[Window], first: dt.date, last: dt.date) -> tuple[Interval, ...]:
    """The occurrences that begin on the local dates first..last, sorted; windows may overlap."""
    return tuple(
        sorted((start, end) for window in windows for _, start, end in dated(window, first, last))
    )


def is_open(windows: Iterable[Window], time: Interval) -> bool:
    """Whether the windows cover every minute of a time."""
    days = [dt.datetime.fromtimestamp(minute * 60, dt.UTC).date() for minute in time]
    opened = occurrences(
        windows, civil.shifted(days[0], -_MARGIN_DAYS), civil.shifted(days[1], _MARGIN_DAYS)
    )
    return intervals.covered([time], intervals.union(opened)) == time[1] - time[0]


def horizon(windows: Sequence[Window], as_of: dt.date) -> tuple[dt.date, dt.date]:
    """The first and last of the 84 dates on which a need is evaluated.

    They begin with `as_of`; if every window that is not over begins later than that, with the
    first date of the need, so that next summer's camp is matched against next summer.
    """
    ahead = [window.from_ or as_of for window in windows if not _is_over(window, as_of)]
    first = as_of.toordinal()
    if ahead and min(ahead).toordinal() >= first + HORIZON_DAYS:
        first = min(ahead).toordinal()
    last = min(first + HORIZON_DAYS - 1, dt.date.max.toordinal())
    return dt.date.fromordinal(first), dt.date.fromordinal(last)


def _is_over(window: Window, as_of: dt.date) -> bool:
    return window.until is not None and window.until < as_of


@lru_cache(maxsize=1024)
def demand(windows: tuple[Window, ...], as_of: dt.date) -> Demand:
    """What a need with these windows asks for, seen from `as_of`."""
    first, last = horizon(windows, as_of)
    days_of = [dated(window, first, last) for window in windows]
    each = tuple(
        _asked((window,), [(start, end) for _, start, end in days])
        for window, days in zip(windows, days_of, strict=True)
    )
    together = _asked(windows, [time for asked in each for time in asked.occurrences])
    minutes: Counter[int] = Counter()
    sessions: Counter[int] = Counter()
    for day, start, end in (item for days in days_of for item in days):
        minutes[(day - 1) // 7] += end - start
        sessions[(day - 1) // 7] += 1
    midnight = (as_of.toordinal() - civil.EPOCH) * civil.DAY - week.CHINA
    times = together.occurrences
    return Demand(
        each=each,
        together=together,
        horizon=(first, last),
        first=civil.shifted(first, -_MARGIN_DAYS),
        last=civil.shifted(last, _MARGIN_DAYS),
        span=(times[0][0], times[-1][1]) if times else (midnight, midnight + civil.DAY),
        minutes_week=max(minutes.values(), default=0),
        sessions_week=max(sessions.values(), default=0),
    )


def _asked(windows: tuple[Window, ...], times: list[Interval]) -> Asked:
    occurrences = intervals.union(times)
    pattern = week.pattern(occurrences)
    mask = 0
    for part, _ in pattern:
        mask |= part
    minutes = sum(end - start for start, end in occurrences)
    days = week.by_day(occurrences)
    return Asked(windows, tuple(occurrences), minutes, pattern, mask, days)


def coverage(
    need: Demand,
    asked: Sequence[Asked],
    availability: tuple[Window, ...],
    busy: Sequence[Interval],
) -> tuple[int, ...]:
    """Free minutes of each part asked for.

    Most offerings are not booked just then and the same every week, but for some days: for those
    the mask of the week gives the same number as the calendar in a tenth of the time.
    """
    always, ever = week.bounds(availability, need.first, need.last)
    if ever is None or (busy and intervals.clashes(need.together.occurrences, busy)):
        return _by_calendar(need, asked, availability, busy)
    if need.together.mask & always == need.together.mask:
        return tuple(part.minutes for part in asked)
    if always == ever:
        return tuple(_within(part, ever) for part in asked)
    lost = _lost(need, asked, availability, ever)
    if lost is None:
        return _by_calendar(need, asked, availability, busy)
    return tuple(_within(part, ever) - gone for part, gone in zip(asked, lost, strict=True))


def _by_calendar(
    need: Demand,
    asked: Sequence[Asked],
    availability: tuple[Window, ...],
    busy: Sequence[Interval],
) -> tuple[int, ...]:
    free = intervals.subtract(open_hours(need, availability), intervals.union(busy))
    return tuple(intervals.covered(part.occurrences, free) for part in asked)


def _lost(
    need: Demand, asked: Sequence[Asked], availability: tuple[Window, ...], ever: int
) -> list[int] | None:
    """Minutes of each part on the days on which some of the windows do not take place; None where
    a day of the week's mask is not a day of theirs."""
    days = week.odd_days(availability, need.first, need.last)
    if days is None:
        return None
    lost = [0] * len(asked)
    for day in days & need.together.days.keys():
        gone = ever & ~week.open_on(availability, day)
        for at, part in enumerate(asked):
            lost[at] += (part.days.get(day, 0) & gone).bit_count()
    return lost


def surely_open(
    need: Demand, asked: Sequence[Asked], share: int, availability: tuple[Window, ...]
) -> bool | None:
    """Whether an offering that nobody has booked is open for the share of each part asked for.

    None where masks of the week do not prove it: then the calendar decides.
    """
    always, ever = week.bounds(availability, need.first, need.last)
    if ever is None:
        return None
    if need.together.mask & always == need.together.mask:
        return True
    if not all(enough(_within(part, ever), part.minutes, share) for part in asked):
        return False
    if always == ever or all(enough(_within(part, always), part.minutes, share) for part in asked):
        return True
    return None


def _within(part: Asked, mask: int) -> int:
    """Minutes of the part in these minutes of the week."""
    return sum((minutes & mask).bit_count() * count for minutes, count in part.pattern)


def open_hours(need: Demand, availability: tuple[Window, ...]) -> list[Interval]:
    """When the offering is open, bookings aside, on every date that matters to the need."""
    return intervals.union(occurrences(availability, need.first, need.last))


def enough(minutes: int, total: int, share: int) -> bool:
    """Whether `minutes` of `total` reach a share of 0..10000."""
    return minutes * WHOLE >= share * total


@lru_cache(maxsize=4096)
def blocks_of_need(windows: tuple[Window, ...], as_of: dt.date, step: int) -> int:
    """The week's blocks of `step` minutes that any occurrence of the need touches."""
    return week.blocks_of_times(demand(windows, as_of).together.occurrences, step)
