"""On which dates an event recurs (RFC 5545, 3.3.10), in as many steps as there are dates to see.

A rule comes from anybody: one that never matches, or matches every second, must cost nothing.
"""

from __future__ import annotations

import calendar
import datetime as dt
import itertools
import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

Frequency = Literal["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_FREQUENCIES: tuple[Frequency, ...] = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_UNTIL = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?\Z", re.ASCII)
_BY_DAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,6}\Z", re.ASCII)


class Until(Struct, frozen=True):
    """The last moment of a rule: a whole day, a time in UTC or one on the wall of its event."""

    wall: dt.datetime
    is_day: bool
    is_utc: bool


class Rule(Struct, frozen=True, kw_only=True):
    """How an event recurs. `by_day` pairs an ordinal (0: each one) with an ISO weekday."""

    frequency: Frequency
    interval: int = 1
    count: int | None = None
    until: Until | None = None
    by_day: tuple[tuple[int, int], ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_month: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    week_start: int = 1

    @property
    def is_weekly(self) -> bool:
        """Whether each week is like the others: every day, or the same days of every week."""
        plain = not (self.by_month or self.by_month_day or self.positions)
        return plain and self.interval == 1 and self.frequency in ("DAILY", "WEEKLY")


class Steps:
    """How many dates may still be looked at. Refuses (ValueError) when there are none left."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, steps: int) -> None:
        """Look at so many more."""
        self._left -= steps
        if self._left < 0:
            raise ValueError("its events recur too often: fewer, or end them sooner")


def rule_of(text: str) -> Rule:
    """An RRULE. Refuses (ValueError) what it cannot keep to the letter."""
    parts: dict[str, str] = {}
    for part in text.upper().split(";"):
        name, found, value = part.partition("=")
        if not found or name in parts:
            raise ValueError(f"not a rule: {text[:60]}")
        parts[name] = value
    asked = parts.pop("FREQ", "")
    frequency = next((known for known in _FREQUENCIES if known == asked), None)
    if frequency is None:
        raise ValueError("FREQ is one of DAILY, WEEKLY, MONTHLY, YEARLY")
    rule = Rule(
        frequency=frequency,
        interval=_number(parts.pop("INTERVAL", "1"), 1, 10_000),
        count=_number(parts.pop("COUNT"), 1, 100_000) if "COUNT" in parts else None,
        until=_until(parts.pop("UNTIL")) if "UNTIL" in parts else None,
        by_day=tuple(dict.fromkeys(_by_day(day) for day in _listed(parts.pop("BYDAY", "")))),
        by_month_day=_numbers(parts.pop("BYMONTHDAY", ""), 31),
        by_month=tuple(abs(month) for month in _numbers(parts.pop("BYMONTH", ""), 12)),
        positions=_numbers(parts.pop("BYSETPOS", ""), 366),
        week_start=_by_day(parts.pop("WKST", "MO"))[1],
    )
    if parts:
        raise ValueError(f"{next(iter(parts))[:20]} in a rule is not understood")
    if rule.count and rule.until:
        raise ValueError("COUNT and UNTIL in one rule")
    if any(ordinal for ordinal, _ in rule.by_day) and frequency not in ("MONTHLY", "YEARLY"):
        raise ValueError("BYDAY counts days only in a month or a year")
    return rule


def dates(rule: Rule, first: dt.date, since: dt.date, steps: Steps) -> Iterator[dt.date]:
    """The dates on or after `since` on which an event that begins on `first` recurs, in order;
    COUNT is kept, UNTIL is not (it is a time of day, too)."""
    found = _all(rule, first, first if rule.count else max(first, since), steps)
    counted = itertools.islice(found, rule.count) if rule.count else found
    return (day for day in counted if day >= since)


def _all(rule: Rule, first: dt.date, since: dt.date, steps: Steps) -> Iterator[dt.date]:
    for days in _periods(rule, first, since, steps):
        chosen = [day for day in days if _matches(rule, first, day)]
        if rule.positions:
            at = {place - 1 if place > 0 else len(chosen) + place for place in rule.positions}
            chosen = [day for number, day in enumerate(chosen) if number in at]
        yield from (day for day in chosen if day >= first)


def _periods(rule: Rule, first: dt.date, since: dt.date, steps: Steps) -> Iterator[list[dt.date]]:
    """The days of each period (day, week, month, year) that the rule looks at, from the one of
    `since` on, until the calendar ends."""
    number = _period(rule, first)
    ahead = _period(rule, since) - number
    number += ahead // rule.interval * rule.interval
    while True:
        days = _days(rule, number)
        steps.take(max(len(days), 1))
        if not days:
            return
        yield days
        number += rule.interval


def _period(rule: Rule, day: dt.date) -> int:
    """The number of the period that a day lies in."""
    match rule.frequency:
        case "DAILY":
            return day.toordinal()
        case "WEEKLY":
            return (day.toordinal() - rule.week_start) // 7
        case "MONTHLY":
            return day.year * 12 + day.month - 1
        case "YEARLY":
            return day.year


def _days(rule: Rule, number: int) -> list[dt.date]:
    """The days of a period; none after the last day that a date can be."""
    match rule.frequency:
        case "DAILY":
            begin, length = number, 1
        case "WEEKLY":
            begin, length = number * 7 + rule.week_start, 7
        case "MONTHLY":
            year, month = divmod(number, 12)
            if year > dt.MAXYEAR:
                return []
            begin = dt.date(year, month + 1, 1).toordinal()
            length = calendar.monthrange(year, month + 1)[1]
        case "YEARLY":
            if number > dt.MAXYEAR:
                return []
            begin = dt.date(number, 1, 1).toordinal()
            length = 366 if calendar.isleap(number) else 365
    last = dt.date.max.toordinal()
    return [dt.date.fromordinal(day) for day in range(max(begin, 1), min(begin + length, last + 1))]


def _matches(rule: Rule, first: dt.date, day: dt.date) -> bool:
    if rule.by_month and day.month not in rule.by_month:
        return False
    if rule.by_month_day:
        back = day.day - calendar.monthrange(day.year, day.month)[1] - 1
        if day.day not in rule.by_month_day and back not in rule.by_month_day:
            return False
    if rule.by_day:
        return any(_is_weekday(rule, ordinal, weekday, day) for ordinal, weekday in rule.by_day)
    if rule.by_month_day or rule.frequency == "DAILY":
        return True
    if rule.frequency == "WEEKLY":
        return day.isoweekday() == first.isoweekday()
    same_month = rule.frequency == "MONTHLY" or bool(rule.by_month) or day.month == first.month
    return same_month and day.day == first.day


def _is_weekday(rule: Rule, ordinal: int, weekday: int, day: dt.date) -> bool:
    """Whether a day is that weekday: each one, or the so-manieth of its month or year."""
    if day.isoweekday() != weekday:
        return False
    if not ordinal:
        return True
    if rule.frequency == "MONTHLY" or rule.by_month:
        at, length = day.day, calendar.monthrange(day.year, day.month)[1]
    else:
        at, length = day.timetuple().tm_yday, 366 if calendar.isleap(day.year) else 365
    return ordinal == ((at - 1) // 7 + 1 if ordinal > 0 else -((length - at) // 7 + 1))


def _listed(text: str) -> list[str]:
    return text.split(",") if text else []


def _number(text: str, least: int, most: int) -> int:
    if not _NUMBER.match(text) or not least <= int(text) <= most:
        raise ValueError(f"a number from {least} to {most} in a rule, not {text[:20]}")
    return int(text)


def _numbers(text: str, most: int) -> tuple[int, ...]:
    found = tuple(_number(part, -most, most) for part in _listed(text))
    if 0 in found:
        raise ValueError("0 is no place in a rule")
    return found


def _by_day(text: str) -> tuple[int, int]:
    match = _BY_DAY.match(text)
    if not match or match[1] in ("0", "+0", "-0"):
        raise ValueError(f"not a weekday: {text[:20]}")
    return int(match[1] or 0), DAYS.index(match[2]) + 1


def _until(text: str) -> Until:
    match = _UNTIL.match(text)
    if not match:
        raise ValueError(f"not an UNTIL: {text[:40]}")
    time = dt.datetime.strptime(match[1] + (match[2] or "000000"), "%Y%m%d%H%M%S")
    return Until(time, match[2] is None, bool(match[3]))
