"""What would be enough: the smallest openings to add, the fewest bookings to move."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct, structs

from models.values import Window
from search.windows import calendar, civil, intervals
from search.windows.calendar import Asked, Demand
from search.windows.intervals import Interval

Side = Literal["earlier", "later", "on"]


class Opening(Struct, frozen=True):
    """A window to add to an availability, and how it lies to what is open already."""

    window: Window
    side: Side


def missing_openings(
    need: Demand, asked: Sequence[Asked], share: int, availability: tuple[Window, ...]
) -> tuple[Opening, ...]:
    """What must be opened, bookings aside, so that each part asked for reaches its share.

    What adjoins open hours comes first; the last opening is cut to the fewest minutes that do.
    """
    added: list[Opening] = []
    for part in asked:
        windows = availability + tuple(opening.window for opening in added)
        added += _fewest(need, part, share, calendar.open_hours(need, windows))
    return tuple(added)


def _fewest(need: Demand, part: Asked, share: int, free: list[Interval]) -> list[Opening]:
    chosen: list[Opening] = []

    def reached(*more: Opening) -> bool:
        windows = [opening.window for opening in (*chosen, *more)]
        opened = calendar.occurrences(windows, need.first, need.last)
        minutes = intervals.covered(part.occurrences, intervals.union([*free, *opened]))
        return calendar.enough(minutes, part.minutes, share)

    for opening in _gaps(need, part, free):
        if reached():
            break
        chosen.append(_shortest(opening, reached))
    return chosen


def _gaps(need: Demand, part: Asked, free: list[Interval]) -> list[Opening]:
    """Openings that together hold every missing minute; adjoining ones first, then the frequent."""
    opens, closes = {start for start, _ in free}, {end for _, end in free}
    found: list[tuple[bool, int, Opening]] = []
    for window in part.windows:
        dated = calendar.dated(window, *need.horizon)
        groups: dict[tuple[Side, Interval], list[int]] = {}
        gaps: list[Interval] = []
        for day, start, end in dated:
            for gap in intervals.subtract([(start, end)], _near(free, start, end)):
                side: Side = "on"
                if gap[0] in closes or gap[1] in opens:
                    side = "later" if gap[0] in closes else "earlier"
                span = _civil(window, day, (start, end), gap)
                groups.setdefault((side, span), []).append(day)
                gaps.append(gap)
        free = intervals.union([*free, *gaps])
        for (side, span), days in groups.items():
            opening = _moved(_only_on(window, [day for day, _, _ in dated], days), span)
            found.append((side == "on", -len(days), Opening(opening, side)))
    return [opening for *_, opening in sorted(found, key=lambda item: item[:2])]


def _near(times: list[Interval], start: int, end: int) -> list[Interval]:
    """Those that may overlap start..end."""
    return times[max(bisect_left(times, (start, start)) - 1, 0) : bisect_left(times, (end, end))]


def _civil(window: Window, day: int, whole: Interval, gap: Interval) -> Interval:
    """A gap in an occurrence as civil minutes after the day's midnight.

    The whole window if the gap begins or ends in an hour that the clock shows twice.
    """
    hours = civil.hours(window)
    edges = []
    for at, known, minute in zip(gap, whole, hours, strict=True):
        if at != known:
            local = civil.local(at, window.timezone)
            minute = (local.toordinal() - day) * civil.DAY + local.hour * 60 + local.minute
            if civil.utc(window.timezone, day, minute) != at:
                return hours
        edges.append(minute)
    start, end = edges
    return (start, end) if start < end <= start + civil.DAY else hours


def _only_on(window: Window, all_days: list[int], days: list[int]) -> Window:
    """The window on these of its days only: with its own dates if they are all of a weekday."""
    weekdays = {(day - 1) % 7 + 1 for day in days}
    window = structs.replace(window, days=tuple(sorted(weekdays)))
    if days == [day for day in all_days if (day - 1) % 7 + 1 in weekdays]:
        return window
    chosen = set(days)
    skipped = tuple(
        dt.date.fromordinal(day)
        for day in range(days[0], days[-1])
        if (day - 1) % 7 + 1 in weekdays and day not in chosen
    )
    first, last = dt.date.fromordinal(days[0]), dt.date.fromordinal(days[-1])
    return structs.replace(window, from_=first, until=last, except_=skipped)


def _moved(window: Window, span: Interval) -> Window:
    """The window from and to other minutes, which may lie on the day after its own."""
    days = span[0] // civil.DAY
    return Window(
        days=tuple(sorted((day - 1 + days) % 7 + 1 for day in window.days)),
        start=civil.hhmm(span[0] - days * civil.DAY),
        end=civil.hhmm(span[1] - days * civil.DAY),
        timezone=window.timezone,
        from_=window.from_ and civil.shifted(window.from_, days),
        until=window.until and civil.shifted(window.until, days),
        except_=tuple(civil.shifted(day, days) for day in window.except_),
    )


def _shortest(opening: Opening, reached: Callable[[Opening], bool]) -> Opening:
    """The opening cut to the fewest minutes with which the share is reached."""
    start, end = civil.hours(opening.window)

    def cut(minutes: int) -> Opening:
        span = (end - minutes, end) if opening.side == "earlier" else (start, start + minutes)
        return Opening(_moved(opening.window, span), opening.side)

    if not reached(cut(end - start - 1)):
        return opening
    return cut(bisect_left(range(end - start), True, lo=1, key=lambda k: reached(cut(k))))


def joined(availability: tuple[Window, ...], openings: Iterable[Opening]) -> tuple[Window, ...]:
    """The availability with the openings in it: longer windows where one adjoins, else new ones."""
    windows = list(availability)
    for opening in openings:
        for at, window in enumerate(windows):
            longer = _longer(window, opening.window)
            if longer is not None:
                windows[at] = longer
                break
        else:
            windows.append(opening.window)
    return tuple(windows)


def _longer(window: Window, other: Window) -> Window | None:
    """Both as one window, if they touch and differ in nothing but their hours."""
    if set(window.days) != set(other.days):
        return None
    if structs.replace(other, days=window.days, start=window.start, end=window.end) != window:
        return None
    early, late = (other, window) if other.end == window.start else (window, other)
    (start, middle), (again, end) = civil.hours(early), civil.hours(late)
    if middle != again or end - start > civil.DAY:
        return None
    return structs.replace(window, start=early.start, end=late.end)


def bookings_in_the_way(
    need: Demand,
    asked: Sequence[Asked],
    share: int,
    availability: tuple[Window, ...],
    busy: Iterable[Interval],
) -> tuple[Interval, ...]:
    """The fewest busy times that must become free so that each part reaches its share."""
    open_hours = calendar.open_hours(need, availability)
    booked = intervals.union(busy)
    freed: list[Interval] = []
    for part in asked:
        wanted = intervals.intersect(part.occurrences, open_hours)
        clash = intervals.intersect(wanted, intervals.subtract(booked, intervals.union(freed)))
        minutes = intervals.covered(wanted, wanted) - intervals.covered(clash, clash)
        for start, end in sorted(clash, key=lambda piece: (piece[0] - piece[1], piece)):
            if calendar.enough(minutes, part.minutes, share):
                break
            freed.append((start, end))
            minutes += end - start
    return tuple(intervals.union(freed))
