"""Sets of minutes: lists of half-open `(start, end)`, sorted and disjoint unless said."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Interval = tuple[int, int]


def union(times: Iterable[Interval]) -> list[Interval]:
    """Any intervals, sorted and made disjoint; touching ones become one."""
    merged: list[Interval] = []
    begin, until = 0, None
    for start, end in sorted(times):
        if until is None:
            begin, until = start, end
        elif start > until:
            merged.append((begin, until))
            begin, until = start, end
        elif end > until:
            until = end
    if until is not None:
        merged.append((begin, until))
    return merged


def intersect(ours: Iterable[Interval], theirs: Sequence[Interval]) -> list[Interval]:
    """What is in both."""
    found = []
    at, size = 0, len(theirs)
    for start, end in ours:
        while at < size and theirs[at][1] <= start:
            at += 1
        other = at
        while other < size and theirs[other][0] < end:
            begin, until = theirs[other]
            found.append((start if start > begin else begin, end if end < until else until))
            other += 1
    return found


def subtract(ours: Iterable[Interval], theirs: Sequence[Interval]) -> list[Interval]:
    """What is in ours and not in theirs."""
    left = []
    at, size = 0, len(theirs)
    for start, end in ours:
        while at < size and theirs[at][1] <= start:
            at += 1
        other = at
        while other < size and theirs[other][0] < end:
            begin, until = theirs[other]
            if start < begin:
                left.append((start, begin))
            start = until
            other += 1
        if start < end:
            left.append((start, end))
    return left


def covered(needed: Sequence[Interval], free: Sequence[Interval]) -> int:
    """How many of the needed minutes are free."""
    return sum(end - start for start, end in intersect(needed, free))


def clashes(needed: Sequence[Interval], busy: Iterable[Interval]) -> bool:
    """Whether any busy interval, in any order, takes a needed minute."""
    for start, end in busy:
        at = bisect_right(needed, (start, start))
        if at < len(needed) and needed[at][0] < end and start < end:
            return True
        if at and start < needed[at - 1][1] and start < end:
            return True
    return False


def peak(needed: Sequence[Interval], taken: Iterable[tuple[int, int, int]]) -> int:
    """The most that is taken at once in any needed minute; `taken` is (start, end, quantity)."""
    steps: list[Interval] = []
    for start, end, quantity in taken:
        for begins, ends in intersect(needed, [(start, end)]):
            steps += [(begins, quantity), (ends, -quantity)]
    most = level = 0
    for _, change in sorted(steps):  # what ends at a minute goes before what begins there
        level += change
        most = max(most, level)
    return most
