"""When somebody may come and go, how much of it counts, and what time does with an occurrence: as
data and pure functions. Times are UTC minutes since 1970, half-open.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal, get_args

from msgspec import Struct

from models.agreements import lifecycle

OccurrenceStatus = Literal["planned", "under_way", "served", "missed", "cancelled"]
# here: has come and not gone yet; kept: has come; missed: has not.
Outcome = Literal["here", "kept", "missed"]
STATUSES: tuple[OccurrenceStatus, ...] = get_args(OccurrenceStatus)
# Nobody brings a room or a box: it was there if anybody else came.
THINGS = frozenset({"space_hours", "goods"})


def _minutes(period: str) -> int:
    """How long an ISO 8601 duration is."""
    return int(lifecycle.period(period) / dt.timedelta(minutes=1))


# Check-in opens so long before the start, and closes with the end.
EARLY = _minutes("PT60M")
# Check-out closes so long after the end.
LATE = _minutes("PT24H")
# At most so much more than planned counts.
TOLERANCE = _minutes("PT15M")
# So long after the end an occurrence to which nobody came is missed.
MISSED = _minutes("PT0S")
# So long after the end its rows may be corrected.
CORRECTED = _minutes("P30D")


class Span(Struct, frozen=True):
    """A planned time."""

    starts: int
    ends: int


def may_come(span: Span, minute: int) -> bool:
    """Whether check-in is open."""
    return span.starts - EARLY <= minute < span.ends


def may_go(span: Span, minute: int) -> bool:
    """Whether check-out is still open."""
    return minute <= span.ends + LATE


def counted(span: Span, came: int, left: int | None) -> int:
    """How many minutes count of the time that somebody was there: those planned, and the tolerance
    at most. Who has not checked out counts to the planned end."""
    begins = max(came, span.starts - TOLERANCE)
    until = span.ends if left is None else min(left, span.ends + TOLERANCE)
    return max(0, min(until - begins, span.ends - span.starts + TOLERANCE))


def is_due(status: OccurrenceStatus, span: Span, here: bool, minute: int) -> bool:
    """Whether time closes an occurrence: one to which nobody came after its end, another when
    nobody is `here` any more, and at last when check-out closes."""
    if status == "planned":
        return minute >= span.ends + MISSED
    if status == "under_way":
        return minute >= span.ends + (LATE if here else 0)
    return False


def settled(kinds: Sequence[str], came: Sequence[bool]) -> list[Outcome]:
    """What each commitment of an occurrence is when it closes: whether its people came, and of a
    thing whether anybody did."""
    anybody = any(came)
    return [
        "kept" if there or (anybody and kind in THINGS) else "missed"
        for kind, there in zip(kinds, came, strict=True)
    ]
