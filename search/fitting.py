"""Whether named offerings fit a need together, for an agreement on certain dates.

Every gate holds for every exact time of the whole agreement, not only for the 84 days that a
ranking looks at; and those who serve at a space suit it, and together they keep to the budget.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence

import msgspec
from msgspec import Struct, structs

from models import accounts, needs, places, services, values
from search import candidates, gates, matching, scoring, windows
from search.bundles import levels
from search.bundles.found import at_spots
from search.gates import NeedFacts, OfferingFacts
from search.windows import Interval

# Of these, places are asked for.
COUNTED = frozenset({"merchant", "goods"})


class Asked(Struct, frozen=True, kw_only=True):
    """An offering asked to take a role: so many places, and its own share of the windows."""

    role: str
    offering: uuid.UUID
    quantity: int | None = None
    windows: tuple[values.Window, ...] | None = None


class Fitted(Struct, frozen=True):
    """An offering that fits: when it would serve, how many places, and its match."""

    role: str
    offering: OfferingFacts
    quantity: int
    times: tuple[Interval, ...]
    match: scoring.Match
    content: bytes


class Misfit(Struct, frozen=True):
    """Why one of those asked does not fit: the gates that are shut, or a joint rule; none of them
    if it is not there. `at` is its place in what was asked, None if it is nobody's alone."""

    at: int | None
    shut: tuple[str, ...]


class _Span(Struct, frozen=True):
    need: NeedFacts
    place: uuid.UUID
    dates: tuple[dt.date, dt.date]
    weights: scoring.Weights
    spots: tuple[gates.Spot, ...]


async def fit(
    need: needs.NeedRecord,
    dates: tuple[dt.date, dt.date],
    asked: Sequence[Asked],
    left: int,
    sees: accounts.Visibility,
    beside: Sequence[uuid.UUID] = (),
) -> tuple[list[Fitted], list[Misfit]]:
    """Those asked as they fit, and why others do not.

    `left` are the places that the need still lacks; `beside` are offerings that are members
    already: whoever comes to them serves at their spaces.
    """
    zone = (await places.timezones([need.place_id]))[need.place_id]
    (service,) = await services.refer("service_type", (need.service_type,))
    slots = {slot.role: slot for slot in need.slots}
    facts = candidates.need_facts(within(need, dates), zone)
    known = {
        one.id: one
        for slot in need.slots
        for one in await candidates.known_of(
            sorted({str(a.offering) for a in asked if a.role == slot.role}),
            facts,
            need.place_id,
            slot,
            sees,
        )
    }
    there = await candidates.known_of(
        [str(one) for one in beside], facts, need.place_id, need.slots[0], sees
    )
    spaces = [one for one in (*known.values(), *there) if one.kind == "space"]
    span = _Span(facts, need.place_id, dates, candidates.weights_of(service), levels.spots(spaces))
    found: list[Fitted] = []
    wrong: list[Misfit] = []
    for at, one in enumerate(asked):
        slot, offering = slots.get(one.role), known.get(str(one.offering))
        if slot is None or offering is None or offering.kind != slot.kind:
            wrong.append(Misfit(at, ()))
            continue
        fitted = await _member(span, slot, offering, one, left, sees)
        if isinstance(fitted, Fitted):
            found.append(fitted)
        else:
            wrong.append(Misfit(at, fitted))
    if not wrong:
        wrong = _together(facts, found, spaces)
    return found, wrong


def within(need: needs.NeedRecord, dates: tuple[dt.date, dt.date]) -> needs.NeedRecord:
    """A need that asks for nothing outside of two local dates."""
    return structs.replace(need, windows=limited(need.windows, dates))


async def replacements(
    need: needs.NeedRecord,
    dates: tuple[dt.date, dt.date],
    role: str,
    quantity: int | None,
    sees: accounts.Visibility,
    limit: int,
    members: Collection[str],
) -> list[scoring.Match]:
    """The best `limit` for a role between two dates, without those who are members."""
    slots = [slot for slot in need.slots if slot.role == role]
    if not slots:
        return []
    zone = (await places.timezones([need.place_id]))[need.place_id]
    slot = slots[0]
    if quantity is not None:
        slot = structs.replace(slot, min_capacity=quantity)
    facts = candidates.need_facts(within(need, dates), zone)
    ranking = await matching.rank(
        facts, need.place_id, (slot,), sees, limit=limit + len(members), excluded=False
    )
    return [one for one in ranking.slots[0].matches if one.offering_id not in members][:limit]


def times(
    asked: Sequence[values.Window],
    availability: Sequence[values.Window],
    dates: tuple[dt.date, dt.date],
) -> tuple[Interval, ...]:
    """When an offering would serve: what is asked for between two dates, as far as it is open."""
    wanted = windows.union(windows.occurrences(asked, *dates))
    # Zones differ, and what began the evening before still runs.
    margin = dt.timedelta(days=3)
    hours = windows.occurrences(availability, dates[0] - margin, dates[1] + margin)
    return tuple(windows.intersect(wanted, windows.union(hours)))


def places_for(slot: values.Slot, capacity: int | None, left: int) -> int:
    """How many places are asked of an offering: what the slot says, or as many as it has and the
    need still lacks."""
    return slot.min_capacity or min(capacity or left, left) or 1


async def _member(
    span: _Span,
    slot: values.Slot,
    offering: OfferingFacts,
    one: Asked,
    left: int,
    sees: accounts.Visibility,
) -> Fitted | tuple[str, ...]:
    """The member as it fits, or the gates that are shut at any time of the agreement."""
    need = span.need
    if one.windows is not None:
        need = structs.replace(need, windows=limited(one.windows, span.dates))
        if not _inside(need, span):
            return ("time",)
    quantity = one.quantity or places_for(slot, offering.capacity, left)
    if slot.kind in COUNTED:
        slot = structs.replace(slot, min_capacity=quantity)
    shut: set[str] = set()
    first: tuple[NeedFacts, OfferingFacts, scoring.Match] | None = None
    for part in _parts(need, span.dates):
        (facts,) = await candidates.known_of([offering.id], part, span.place, slot, sees)
        result = at_spots(part, slot, facts, span.weights, span.spots)
        if isinstance(result, scoring.Exclusion):
            shut.update(result.gates)
        elif first is None:
            first = part, facts, result
    if shut or first is None:
        return tuple(sorted(shut)) or ("time",)
    compared = (matching.Compared(slot, first[1], first[2]),)
    content = matching.Content(first[0], span.weights, compared)
    when = times(need.windows, offering.availability, span.dates)
    encoded = msgspec.json.encode(content, order="sorted")
    return Fitted(one.role, first[1], quantity, when, first[2], encoded)


def _parts(need: NeedFacts, dates: tuple[dt.date, dt.date]) -> list[NeedFacts]:
    """The need in pieces that the matcher sees whole, one after the other."""
    found, begin = [], dates[0]
    while begin <= dates[1]:
        end = min(dates[1], begin + dt.timedelta(days=windows.HORIZON_DAYS - 1))
        kept = limited(need.windows, (begin, end))
        if windows.occurrences(kept, begin, end):
            found.append(structs.replace(need, windows=kept, as_of=begin))
        begin = end + dt.timedelta(days=1)
    return found


def limited(
    several: Sequence[values.Window], dates: tuple[dt.date, dt.date]
) -> tuple[values.Window, ...]:
    """Windows without what lies outside of two local dates."""
    first, last = dates
    return tuple(
        structs.replace(
            window, from_=max(first, window.from_ or first), until=min(last, window.until or last)
        )
        for window in several
        if (window.until or last) >= first and (window.from_ or first) <= last
    )


def _inside(need: NeedFacts, span: _Span) -> bool:
    """Whether a member's own share lies in what the need asks for, and is not nothing."""
    share = windows.union(windows.occurrences(need.windows, *span.dates))
    whole = windows.union(windows.occurrences(span.need.windows, *span.dates))
    minutes = sum(end - start for start, end in share)
    return bool(share) and windows.covered(share, whole) == minutes


def _together(
    need: NeedFacts,
    found: Sequence[Fitted],
    spaces: Sequence[OfferingFacts],
) -> list[Misfit]:
    """Joint rules: what one requires of a space it has, nobody is asked twice, and the sum of the
    prices is within the budget."""
    wrong = []
    has = [frozenset(space.features) for space in spaces]
    seen: set[str] = set()
    for at, one in enumerate(found):
        wanted = frozenset(one.offering.requires_features)
        if has and one.offering.kind != "space" and all(wanted - features for features in has):
            wrong.append(Misfit(at, ("features",)))
        if one.offering.id in seen:
            wrong.append(Misfit(at, ("one_role",)))
        seen.add(one.offering.id)
    if need.budget_amount is not None and found:
        anybody = OfferingFacts(id="", version=0, kind="space", partner="")
        case = gates.case_of(need, values.Slot(role="any", kind="space"), anybody)
        spent = sum(
            gates.per_year(case, one.offering.price_amount, one.offering.per) for one in found
        )
        if spent > gates.per_year(case, need.budget_amount, need.per):
            wrong.append(Misfit(None, ("budget",)))
    return wrong
