"""What offerings have given away already: times and places that are booked, and times at which an
outside calendar has them busy."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from msgspec import structs

from models import base, bookings, engine
from search import statements
from search.gates import NeedFacts, OfferingFacts
from search.windows import Interval, demand, union, week_of, whole_weeks

_ANY = (
    "(EXISTS (SELECT 1 FROM booking b WHERE b.offering = o.id AND b.ends > {0}"
    f" AND {bookings.LIVE})"
    " OR EXISTS (SELECT 1 FROM busy_time y WHERE y.offering = o.id AND y.ends > {0}))"
)
_ANY_OF_KIN = (
    "EXISTS (SELECT 1 FROM space_kin k JOIN booking b ON b.offering = k.relative"
    f" WHERE k.offering = o.id AND b.ends > {{0}} AND {bookings.LIVE})"
    " OR EXISTS (SELECT 1 FROM space_kin k JOIN busy_time y ON y.offering = k.relative"
    " WHERE k.offering = o.id AND y.ends > {0})"
)
_EVER = 1 << 53


def anything(kind: str, since: str) -> str:
    """Whether an offering `o` of a kind, or kin of a space, is booked after a minute, as SQL: of
    most nothing need be read then."""
    if kind != "space":
        return _ANY.format(since)
    return f"({_ANY} OR {_ANY_OF_KIN})".format(since)


def present() -> int:
    """This minute: what ended before it matters to nobody."""
    return bookings.minute(base.now())


def span_of(need: NeedFacts) -> Interval:
    """The weeks in which a need asks for something."""
    return whole_weeks(demand(need.windows, need.as_of).span)


async def given_away(
    offering_ids: Sequence[str], span: Interval = (0, _EVER)
) -> dict[str, list[bookings.Time]]:
    """What is booked of each offering within a span, by its id."""
    found: dict[str, list[bookings.Time]] = {}
    now = base.now()
    for start in range(0, len(offering_ids), statements.LONGEST):
        several = offering_ids[start : start + statements.LONGEST]
        found |= await bookings.taken_of(statements.filled(several, several[0]), *span, now)
    return found


async def booked_out(minute: int) -> list[str]:
    """The offerings of which nobody can have anything in that minute, by id: spaces and people that
    are booked, what has no place left, what an outside calendar has busy, and the kin of all these
    spaces. What is held no longer now is not booked."""
    whole = ", ".join(f"'{kind}'" for kind in sorted(bookings.WHOLE))
    then = "{0}.ends > $1 AND {0}.starts <= $1"
    booked = (
        f"{then.format('b')} AND {bookings.LIVE} AND (b.held_until IS NULL OR b.held_until > $2)"
    )
    rows = await engine.rows(
        "SELECT CAST(b.offering AS text) FROM booking b JOIN offering o ON o.id = b.offering"
        f" WHERE {booked} GROUP BY b.offering, o.kind, o.capacity"
        f" HAVING o.kind IN ({whole}) OR sum(b.quantity) >= o.capacity"
        f" UNION SELECT CAST(y.offering AS text) FROM busy_time y WHERE {then.format('y')}"
        " UNION SELECT CAST(k.offering AS text) FROM space_kin k"
        f" JOIN booking b ON b.offering = k.relative WHERE {booked}"
        " UNION SELECT CAST(k.offering AS text) FROM space_kin k"
        f" JOIN busy_time y ON y.offering = k.relative WHERE {then.format('y')}",
        minute,
        base.now(),
    )
    return [identity for (identity,) in rows]


def kept(facts: OfferingFacts, times: Sequence[bookings.Time]) -> OfferingFacts:
    """An offering with what it has promised: a space or person is gone for that time, of the others
    so many places are taken; and its week is as full as the fullest of those booked. What is busy
    elsewhere is gone whatever it is, and none of its work; nor is what its kin are booked for."""
    booked = [time for time in times if time.quantity]
    minutes: Counter[int] = Counter()
    for starts, ends in union((time.starts, time.ends) for time in booked):
        minutes[week_of(starts)] += ends - starts
    jobs = Counter(week_of(time.starts) for time in booked)
    whole = facts.kind in bookings.WHOLE
    busy = [(time.starts, time.ends) for time in times if whole or time.busy]
    # Two rooms of one floor may be booked at once.
    if any(before[1] > after[0] for before, after in itertools.pairwise(busy)):
        busy = union(busy)
    return structs.replace(
        facts,
        committed_minutes_week=max(minutes.values(), default=0),
        contacts_week=max(jobs.values(), default=0),
        busy=tuple(busy),
        taken=() if whole else tuple((time.starts, time.ends, time.quantity) for time in booked),
    )
