"""Civil time: what a clock on the wall shows, as UTC minutes since 1970 and back.

A time that the clock shows twice means the first (fold=0); one that it skips in spring is read
with the offset before the change, as RFC 5545 does.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from functools import lru_cache

from models.values import Window

DAY = 24 * 60
EPOCH = dt.date(1970, 1, 1).toordinal()
# A wire may carry 9999-12-31 for "for ever"; nothing is counted in the last week of the calendar.
LAST_DAY = dt.date.max.toordinal() - 7


def _offset(timezone: str, ordinal: int, minute: int) -> int:
    day = dt.date.fromordinal(ordinal)
    wall = dt.time(minute // 60, minute % 60, tzinfo=zoneinfo.ZoneInfo(timezone))
    offset = dt.datetime.combine(day, wall).utcoffset() or dt.timedelta()
    return (offset.days * 86_400 + offset.seconds) // 60


@lru_cache(maxsize=65_536)
def utc(timezone: str, ordinal: int, minute: int) -> int:
    """The instant of a minute after midnight of a day; from 1440 on, of the day after it."""
    ordinal, minute = ordinal + minute // DAY, minute % DAY
    return (ordinal - EPOCH) * DAY + minute - _offset(timezone, ordinal, minute)


@lru_cache(maxsize=4096)
def fixed_offset(timezone: str, first: dt.date, last: dt.date) -> int | None:
    """The zone's minutes east of UTC if they stay the same from `first` to `last`, else None."""
    begin, end = max(first.toordinal() - 1, 1), min(last.toordinal(), LAST_DAY) + 3
    offsets = {_offset(timezone, day, 0) for day in range(begin, end)}
    return offsets.pop() if len(offsets) == 1 else None


@lru_cache(maxsize=1024)
def offset_range(timezone: str) -> tuple[int, int]:
    """Least and greatest offset of the zone from 2020 to 2060; nothing is matched earlier."""
    begin, end = dt.date(2020, 1, 1).toordinal(), dt.date(2061, 1, 1).toordinal()
    offsets = [_offset(timezone, day, 720) for day in range(begin, end, 7)]
    return min(offsets), max(offsets)


def local(minute: int, timezone: str) -> dt.datetime:
    """An instant in the time of a zone."""
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (epoch + dt.timedelta(minutes=minute)).astimezone(zoneinfo.ZoneInfo(timezone))


def clock(minute: int, timezone: str) -> str:
    """An instant as RFC 3339 in a zone: `2027-03-31T09:00+08:00`."""
    return local(minute, timezone).isoformat(timespec="minutes")


def local_date(minute: int, timezone: str) -> dt.date:
    """The civil date of an instant in a zone."""
    return local(minute, timezone).date()


def start_of_day(day: dt.date, timezone: str) -> int:
    """The instant at which a civil date begins in a zone."""
    return utc(timezone, day.toordinal(), 0)


def end_of_day(day: dt.date, timezone: str) -> int:
    """The instant at which a civil date is over in a zone."""
    return utc(timezone, day.toordinal() + 1, 0)


def hours(window: Window) -> tuple[int, int]:
    """Start and end in minutes after midnight; an end on the next day is beyond 1440."""
    start = int(window.start[:2]) * 60 + int(window.start[3:])
    end = int(window.end[:2]) * 60 + int(window.end[3:])
    return start, end if end > start else end + DAY


def length(window: Window) -> int:
    """Minutes from start to end on the wall."""
    start, end = hours(window)
    return end - start


def hhmm(minute: int) -> str:
    """A minute after midnight, up to two days, as a window writes it; 1440 is `24:00`."""
    minute = minute if minute <= DAY else minute - DAY
    return f"{minute // 60:02d}:{minute % 60:02d}"


def shifted(day: dt.date, days: int) -> dt.date:
    """The date so many days later, within what a date can be."""
    return dt.date.fromordinal(min(max(day.toordinal() + days, 1), dt.date.max.toordinal()))
