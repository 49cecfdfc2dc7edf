"""Why not, over all open needs of a place at once: which gates keep offerings out, which changes
would let most of them in, and which hours nobody covers."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from models import accounts, agreements, disclosure, needs, places, services, values
from search import advice, candidates, gates, turns, whynot
from search.advice import Hours, PartOfDay, Unfilled
from search.gates import NeedFacts
from search.scoring import Exclusion, Weights

# No more needs are looked at, and none after so many exclusions: a few seconds.
MAX_NEEDS, MAX_EXCLUDED = 100, 50_000
# Of each slot the changes are counted for so many offerings that one gate alone keeps out.
MAX_NEAR = 50
_MOST_HOURS = 10
# Offerings of which the gates are asked in one go: about a millisecond.
_AT_ONCE = 32

W = TypeVar("W", bound=str | tuple[str, ...])
# Until which hour each part of the day lasts.
_PARTS_OF_DAY: tuple[tuple[int, PartOfDay], ...] = (
    (5, "night"),
    (11, "morning"),
    (14, "midday"),
    (18, "afternoon"),
    (22, "evening"),
    (24, "night"),
)


class Looked(Struct, frozen=True):
    """One slot of a need: whether as many offerings fit it as it takes, how many do not fit, and
    `near`, explained, the best of those that one gate alone keeps out of what they could do."""

    service_type: str
    slot: values.Slot
    is_filled: bool
    excluded: int
    funnel: tuple[whynot.Funnel, ...]
    near: tuple[Exclusion, ...]


class MendCount(Struct, frozen=True):
    """How many offerings that one gate alone keeps out this change would let in."""

    gate: str
    action: str
    offerings: int


class Declined(Struct, frozen=True):
    """How many proposals for needs of the place were declined for this reason, so far."""

    reason: values.Reason
    proposals: int


class Shortfalls(Struct, frozen=True):
    """Exclusions over the open needs of a place. An offering counts once for each slot that it was
    compared with; `alone` are those that one gate keeps out by itself.

    `needs` counts all that are open there; `looked_at` fewer when there are too many: the newest.
    """

    place_id: uuid.UUID
    needs: int
    looked_at: int
    slots: int
    unfilled_slots: int
    excluded: int
    gates: list[whynot.Funnel]
    mends: list[MendCount]
    hours: list[Hours]
    unfilled: list[Unfilled]
    declined: list[Declined]
    summary: values.Bilingual


async def of(place: uuid.UUID, sees: accounts.Visibility) -> Shortfalls:
    """Look at the open needs of a place and everything below it, with the caller's eyes."""
    found = await needs.browse(sees, after=None, limit=MAX_NEEDS, status="open", within=place)
    asking = await disclosure.all_shown(sees, found)
    zones = await places.timezones(need.place_id for need in asking)
    taxonomy = {service.slug: service for service in await services.every()}
    looked: list[Looked] = []
    looked_at = excluded = 0
    for need in asking:
        if excluded > MAX_EXCLUDED:
            break
        facts = candidates.need_facts(need, zones[need.place_id])
        weights = candidates.weights_of(taxonomy[need.service_type])
        several = [await _look(facts, need.place_id, slot, sees, weights) for slot in need.slots]
        looked += several
        excluded += sum(item.excluded for item in several)
        looked_at += 1
        await asyncio.sleep(0)
    declined = await agreements.declined(place, sees)
    names = {slug: service.name for slug, service in taxonomy.items()}
    count = await needs.count_open(sees, place)
    return tally(place, count, looked_at, looked, declined, names)


async def _look(
    need: NeedFacts,
    place: uuid.UUID,
    slot: values.Slot,
    sees: accounts.Visibility,
    weights: Weights,
) -> Looked:
    fitting = await candidates.fitting(need, place, slot, sees)
    fits = 0
    async for several in turns.pieces(fitting, _AT_ONCE):
        fits += sum(gates.passes(gates.case_of(need, slot, offering)) for offering in several)
        if fits >= slot.quantity:
            break
    out = await whynot.left_out(
        need, place, slot, sees, weights, fitting, MAX_NEAR, advice.OTHER_THINGS
    )
    near = tuple(entry for entry in out.excluded if len(entry.gates) == 1)
    filled = fits >= slot.quantity
    return Looked(need.service_type, slot, filled, out.total, out.funnel, near)


def tally(
    place: uuid.UUID,
    count: int,
    looked_at: int,
    looked: Sequence[Looked],
    declined: Mapping[values.Reason, int],
    names: dict[str, values.Bilingual],
) -> Shortfalls:
    """Count what was found. Ties are settled by name, so that the same answer is the same."""
    excluded: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for item in looked:
        for step in item.funnel:
            excluded[step.gate] += step.excluded
            alone[step.gate] += step.alone
    shut = [whynot.Funnel(gate, excluded[gate], alone[gate]) for gate in excluded]
    shut.sort(key=lambda step: (-step.alone, -step.excluded, step.gate))
    short = [item for item in looked if not item.is_filled]
    unfilled = Counter((item.service_type, item.slot.kind) for item in short)
    hours = _hours(looked)
    rest = [Unfilled(service, kind, slots) for (service, kind), slots in _most(unfilled)]
    return Shortfalls(
        place,
        count,
        looked_at,
        len(looked),
        len(short),
        sum(item.excluded for item in looked),
        shut,
        _mends(looked),
        hours,
        rest,
        [Declined(reason, count) for reason, count in _most(Counter(declined))],
        advice.say(
            len(looked),
            len(short),
            alone,
            hours[0] if hours else None,
            rest[0] if rest else None,
            names,
        ),
    )


def part_of_day(window: dict[str, Any]) -> PartOfDay:
    """In which part of the day the middle of these hours lies."""
    start, end = (_minute(window[name]) for name in ("start", "end"))
    middle = (start + (end if end > start else end + 24 * 60)) // 2 % (24 * 60)
    return next(name for until, name in _PARTS_OF_DAY if middle < until * 60)


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _mends(looked: Sequence[Looked]) -> list[MendCount]:
    counted: Counter[tuple[str, str]] = Counter()
    for item in looked:
        for out in item.near:
            counted.update({(why.gate, why.mend.action) for why in out.because if why.mend})
    return [MendCount(gate, action, offerings) for (gate, action), offerings in _most(counted)]


def _hours(looked: Sequence[Looked]) -> list[Hours]:
    counted: Counter[tuple[str, values.OfferingKind, PartOfDay]] = Counter()
    days: dict[tuple[str, values.OfferingKind, PartOfDay], set[int]] = {}
    for item in looked:
        for out in item.near:
            windows = [w for why in out.because if why.mend for w in _added(why.mend.values)]
            for window in windows:
                what = (item.service_type, item.slot.kind, part_of_day(window))
                days.setdefault(what, set()).update(window["days"])
            counted.update(
                {(item.service_type, item.slot.kind, part_of_day(window)) for window in windows}
            )
    return [
        Hours(what[0], what[1], what[2], tuple(sorted(days[what])), offerings)
        for what, offerings in _most(counted)[:_MOST_HOURS]
    ]


def _added(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The hours that a mend adds, if that is what it does."""
    added = said.get("add")
    return [w for w in added if isinstance(w, dict)] if isinstance(added, list) else []


def _most(counted: Counter[W]) -> list[tuple[W, int]]:
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))
