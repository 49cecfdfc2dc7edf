"""The week as an integer: one bit a minute, a quarter-hour or a 3-hour block.

Bit 0 begins on Monday 00:00 at UTC+8; what runs past Sunday midnight goes on at bit 0.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from models.values import Window
from search.windows import civil
from search.windows.intervals import Interval

WEEK = 7 * civil.DAY
QUARTER = 15
BLOCK = 180

CHINA = 8 * 60  # minutes east of UTC
_MONDAY = 3 * civil.DAY + CHINA  # 1970-01-01 was a Thursday


def week_of(minute: int) -> int:
    """The number of the week in which a minute lies; that of the first day of 1970 is 0."""
    return (minute + _MONDAY) // WEEK


def whole_weeks(time: Interval) -> Interval:
    """From the first minute of the week in which a time begins to the end of that in which it
    ends."""
    first, last = week_of(time[0]), week_of(time[1] - 1)
    return first * WEEK - _MONDAY, (last + 1) * WEEK - _MONDAY


def pattern(times: Iterable[Interval]) -> tuple[tuple[int, int], ...]:
    """(mask, count) pairs: the minutes of the week in `mask` are asked for `count` times."""
    seen: Counter[Interval] = Counter()
    for start, end in times:
        for piece in range(start, end, civil.DAY):
            seen[((piece + _MONDAY) % WEEK, min(end - piece, civil.DAY))] += 1
    found: list[tuple[int, int]] = []
    for (position, length), count in sorted(seen.items()):
        mask = _ring(position, length, WEEK)
        for at, (other, times_asked) in enumerate(found):
            if times_asked == count and not other & mask:
                found[at] = (other | mask, count)
                break
        else:
            found.append((mask, count))
    return tuple(found)


def bounds(availability: Iterable[Window], first: dt.date, last: dt.date) -> tuple[int, int | None]:
    """The minutes of the week that are open in each week from `first` to `last`, and those that
    are open in any; None for these if a change of the clock moves them.
    """
    always, ever = 0, 0
    for window in availability:
        offset = civil.fixed_offset(window.timezone, first, last)
        if offset is None:
            return 0, None
        mask = _open_minutes(window.days, window.start, window.end, offset)
        ever = ever | mask if ever else mask
        if (
            (window.from_ is None or window.from_ <= first)
            and (window.until is None or window.until >= last)
            and not (window.except_ and any(first <= day <= last for day in window.except_))
        ):
            always = always | mask if always else mask
    return always, ever


def odd_days(availability: Iterable[Window], first: dt.date, last: dt.date) -> set[int] | None:
    """The days (ordinals) from `first` to `last` on which a window does not take place that does
    in other weeks.

    None if a window runs past midnight or by another clock than China's: then a day of the mask
    is not a day of the window.
    """
    days: set[int] = set()
    for window in availability:
        if (
            civil.hours(window)[1] > civil.DAY
            or civil.fixed_offset(window.timezone, first, last) != CHINA
        ):
            return None
        days.update(day.toordinal() for day in window.except_ if first <= day <= last)
        if window.from_ is not None:
            days.update(range(first.toordinal(), min(window.from_, last).toordinal() + 1))
        if window.until is not None:
            days.update(range(max(window.until, first).toordinal(), last.toordinal() + 1))
    return days


def open_on(availability: Iterable[Window], day: int) -> int:
    """The minutes of the week of those windows that take place on a day: windows by the clock of
    China that end before midnight."""
    date, mask = dt.date.fromordinal(day), 0
    for window in availability:
        if (
            (window.from_ is None or window.from_ <= date)
            and (window.until is None or window.until >= date)
            and date not in window.except_
        ):
            mask |= _open_minutes(window.days, window.start, window.end, CHINA)
    return mask


def by_day(times: Iterable[Interval]) -> dict[int, int]:
    """The minutes of the week that these times take on each day (an ordinal) of China."""
    found: dict[int, int] = {}
    for start, end in times:
        while start < end:
            day = (start + CHINA) // civil.DAY
            midnight = (day + 1) * civil.DAY - CHINA
            piece = _ring((start + _MONDAY) % WEEK, min(end, midnight) - start, WEEK)
            found[civil.EPOCH + day] = found.get(civil.EPOCH + day, 0) | piece
            start = midnight
    return found


@lru_cache(maxsize=8192)
def _open_minutes(days: tuple[int, ...], start: str, end: str, offset: int) -> int:
    begins, ends = civil.hours(Window(days=days, start=start, end=end))
    mask = 0
    for day in days:
        mask |= _ring((day - 1) * civil.DAY + begins - offset + CHINA, ends - begins, WEEK)
    return mask


def blocks_of_offering(availability: Iterable[Window], step: int) -> int:
    """The week's blocks of `step` minutes (QUARTER or BLOCK) in which it may be open at all.

    Rounded outwards, widened to every offset of the zone, without dates and bookings: a stored
    mask stays true until the availability changes.
    """
    mask = 0
    for window in availability:
        mask |= _open_blocks(window.days, window.start, window.end, window.timezone, step)
    return mask


@lru_cache(maxsize=8192)
def _open_blocks(days: tuple[int, ...], start: str, end: str, timezone: str, step: int) -> int:
    least, most = civil.offset_range(timezone)
    begins, ends = civil.hours(Window(days=days, start=start, end=end))
    mask = 0
    for day in days:
        midnight = (day - 1) * civil.DAY + CHINA
        mask |= _blocks(midnight + begins - most, midnight + ends - least, step)
    return mask


def blocks_of_times(times: Iterable[Interval], step: int) -> int:
    """The week's blocks of `step` minutes that any of these times touches."""
    mask = 0
    for start, end in times:
        mask |= _blocks(start + _MONDAY, end + _MONDAY, step)
    return mask


def may_cover(need: int, offering: int, share: int) -> bool:
    """The first cut: False only if the calendar cannot give `share` (0..10000) of the need.

    Both masks have the same step. Who covers a need whole is open in each block it touches.
    """
    if share >= 10_000:
        return need & offering == need
    return share <= 0 or not need or need & offering != 0


def _blocks(start: int, end: int, step: int) -> int:
    first, after = start // step, -(-end // step)
    return _ring(first, after - first, WEEK // step)


def _ring(position: int, length: int, size: int) -> int:
    """`length` bits from `position` on, going round after `size`."""
    full = (1 << size) - 1
    if length >= size:
        return full
    bits = ((1 << length) - 1) << position % size
    return (bits | bits >> size) & full
