"""Candidates for a slot, as facts: what the database is asked before the matcher decides.

The cost follows local density, not the size of the city: candidates come from one table by
(service type, kind, cell of 500 m), a superset of what lies within the radius. The gates decide.
"""

from __future__ import annotations

import datetime as dt
import functools
import uuid
import zoneinfo
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from models import accounts, base, disclosure, engine, needs, offerings, values
from models.services import ServiceTypeRecord
from search import cells, gates, windows
from search.gates import Licence, NeedFacts, OfferingFacts, rules
from search.scoring import Weights

T = TypeVar("T")

# Lists in a statement are filled up to one of these, so that there are few statements to prepare.
_LIST_SIZES = (1, 4, 8, 12, 20, 41, 120, 500)
# Excluded offerings are looked for so much further than the radius, and at least so many metres.
_WIDER, _WIDER_AT_LEAST_M = 3, 3_000
# Why-not is told of so many offerings at the most; where there are more, of the nearest.
_MAX_NEARBY, _NARROWEST_M = 5_000, 250

_COLUMNS = (
    "CAST(o.id AS text), o.version, o.kind, CAST(o.partner AS text), o.service_types, o.status,"
    " p.status, {lat}, {lon},"
    " o.reach_m, o.capacity, o.price_amount, o.price_currency, o.price_per, o.availability,"
    " o.features, o.requires_features, o.languages, o.max_hours_week, o.max_contacts_week,"
    " o.ratings, o.rating_sum, o.jobs_agreed, o.jobs_kept,"
    " (SELECT l.timezone FROM place l WHERE l.id = o.public_place)"
)
_PARTNER = "JOIN partner p ON p.id = o.partner"
# How often an offering has served the place `{}`, and the partners that it does not work with.
_SERVED = (
    "COALESCE((SELECT t.times FROM service_record t WHERE t.place = {} AND t.offering = o.id), 0)"
)
_BLOCKED = (
    "o.partner IN (SELECT b.partner FROM blocked_partner b"
    " JOIN place_closure c ON c.ancestor = b.place WHERE c.descendant = {})"
)


def need_facts(need: needs.NeedRecord, timezone: str) -> NeedFacts:
    """A stored need as the matcher sees it, on the present date of its place."""
    draft = needs.NeedDraft(**needs.as_draft(need))
    return facts_of(str(need.id), need.version, draft, timezone)


def facts_of(identity: str, version: int, draft: needs.NeedDraft, timezone: str) -> NeedFacts:
    """A need, stored or only imagined, as the matcher sees it."""
    located = values.position(draft.location)
    return NeedFacts(
        id=identity,
        version=version,
        service_type=draft.service_type,
        as_of=base.now().astimezone(_zone(timezone)).date(),
        lat_e6=located["lat_e6"],
        lon_e6=located["lon_e6"],
        radius_m=draft.radius_m,
        beneficiaries=draft.beneficiaries,
        priority=draft.priority,
        windows=draft.windows,
        min_coverage=round(draft.min_coverage * 10_000),
        budget_amount=draft.budget.amount if draft.budget else None,
        currency=draft.budget.currency if draft.budget else "CNY",
        per=draft.budget.per if draft.budget else "session",
    )


def weights_of(service: ServiceTypeRecord) -> Weights:
    """The weights of a service type: the defaults, with what it has of its own."""
    return Weights(version=service.weights_version, **service.weights)


async def fitting(
    need: NeedFacts, place: uuid.UUID, slot: values.Slot, sees: accounts.Visibility
) -> list[OfferingFacts]:
    """Offerings of the slot's kind and the need's service that may pass every gate.

    They are on offer, so whoever asks may see them. What SQL can compare it compares here, each
    time as its gate does or a little wider: the gates decide.
    """
    where = base.Where()
    here = where.value(place)
    wanted = f"service_type = {where.value(need.service_type)} AND kind = {where.value(slot.kind)}"
    near = _near(
        where, f"SELECT offering FROM offering_service WHERE {wanted}", need, need.radius_m
    )
    where.add(offerings.PUBLIC)
    where.add(f"NOT {_BLOCKED.format(here)}")
    _within_reach(where, need, slot, sees)
    _affordable(where, need, slot)
    lat, lon = _position(where, sees)
    rows = await engine.rows(
        # The cells first, by themselves: PostgreSQL cannot guess how few offerings they hold and
        # would read all; CROSS JOIN says the same to SQLite.
        f"WITH near AS MATERIALIZED ({near})"
        f" SELECT {_COLUMNS.format(lat=lat, lon=lon)}, {_SERVED.format(here)}, 0"
        f" FROM near CROSS JOIN offering o {_PARTNER} WHERE o.id = near.offering AND {where}",
        *where.args,
    )
    return await _facts(_open_then(rows, need, slot), slot)


def _open_then(
    rows: list[tuple[Any, ...]], need: NeedFacts, slot: values.Slot
) -> list[tuple[Any, ...]]:
    """Those that the week's quarter-hours allow to pass the gate of time."""
    asked = windows.blocks_of_need(need.windows, need.as_of, windows.QUARTER)
    _, share = gates.asked(_case(need, slot))
    return [row for row in rows if windows.may_cover(asked, _quarters(row[14]), share)]


async def nearby(
    need: NeedFacts, place: uuid.UUID, slot: values.Slot, sees: accounts.Visibility
) -> list[OfferingFacts]:
    """Offerings of the slot's kind around the need, whatever they offer and whatever their state:
    those of which somebody might ask "why not?"."""
    where = base.Where()
    here, kind = where.value(place), where.value(slot.kind)
    metres = await _looked_at(need, slot)
    near = _near(where, f"SELECT * FROM offering WHERE kind = {kind}", need, metres)
    where.add("o.status <> 'withdrawn'")
    sees.restrict(where, offerings.PUBLIC, "o.place", "o.partner")
    lat, lon = _position(where, sees)
    rows = await engine.rows(
        f"SELECT {_COLUMNS.format(lat=lat, lon=lon)}, {_SERVED.format(here)},"
        f" {_BLOCKED.format(here)} FROM ({near}) o {_PARTNER} WHERE {where} LIMIT {_MAX_NEARBY}",
        *where.args,
    )
    return await _facts(rows, slot)


async def _looked_at(need: NeedFacts, slot: values.Slot) -> int | None:
    """How far to look for why-not: less far where there are too many to tell of them all."""
    if need.radius_m is None or need.lat_e6 is None:
        return None
    metres = max(need.radius_m * _WIDER, _WIDER_AT_LEAST_M)
    while metres > _NARROWEST_M:
        where = base.Where()
        kind = where.value(slot.kind)
        near = _near(where, f"SELECT 1 FROM offering WHERE kind = {kind}", need, metres)
        ((count,),) = await engine.rows(
            f"SELECT count(*) FROM (SELECT 1 FROM ({near}) o LIMIT {_MAX_NEARBY + 1}) n",
            *where.args,
        )
        if count <= _MAX_NEARBY:
            break
        metres = metres * 2 // 3
    return metres


async def by_place(
    offering: uuid.UUID, asked: Iterable[uuid.UUID], sees: accounts.Visibility
) -> dict[uuid.UUID, OfferingFacts]:
    """One offering as the matcher sees it for a need of each of the places."""
    where = base.Where()
    where.add("o.id = {}", offering)
    lat, lon = _position(where, sees)
    (row,) = await engine.rows(
        f"SELECT {_COLUMNS.format(lat=lat, lon=lon)} FROM offering o {_PARTNER} WHERE {where}",
        *where.args,
    )
    held = (await _licences([row], None))[row[0]]
    served = dict(
        await engine.rows("SELECT place, times FROM service_record WHERE offering = $1", offering)
    )
    blocked = await engine.rows(
        "SELECT c.descendant FROM blocked_partner b JOIN place_closure c ON c.ancestor = b.place"
        " WHERE b.partner = $1",
        row[3],
    )
    times = {str(place): count for place, count in served.items()}
    closed = {str(place) for (place,) in blocked}
    return {
        place: _fact((*row, times.get(str(place), 0), str(place) in closed), held)
        for place in asked
    }


def _position(where: base.Where, sees: accounts.Visibility) -> tuple[str, str]:
    """The position that these eyes may know, as SQL: of a home that is not theirs the public
    point, so that no gate, score or mend depends on where exactly it is."""
    known = sees.knows(where, "o.place", "o.partner")
    if sees.everything:
        return "o.lat_e6", "o.lon_e6"
    if known is None:
        return "o.public_lat_e6", "o.public_lon_e6"
    return (
        f"CASE WHEN {known} THEN o.lat_e6 ELSE o.public_lat_e6 END",
        f"CASE WHEN {known} THEN o.lon_e6 ELSE o.public_lon_e6 END",
    )


def _within_reach(
    where: base.Where, need: NeedFacts, slot: values.Slot, sees: accounts.Visibility
) -> None:
    """Gates radius and reach, a little wider: the distance is taken for less than it is."""
    if need.radius_m is None or need.lat_e6 is None or need.lon_e6 is None:
        return
    around = cells.Around(need.lat_e6, need.lon_e6, need.radius_m)
    if around.sideways is None:
        return
    lat, lon, astray = "o.public_lat_e6", "o.public_lon_e6", 0
    if sees.everything:
        lat, lon = "o.lat_e6", "o.lon_e6"
    elif sees.places or sees.partners:
        # Of some they know more than the public point, which is no further off than this.
        astray = (disclosure.SNAP_LAT_E6 + disclosure.SNAP_LON_E6) // 2
    north = f"CAST({lat} - {where.value(need.lat_e6)} AS double precision)"
    east = (
        f"CAST({lon} - {where.value(need.lon_e6)} AS double precision)"
        f" * CAST({where.value(around.cosine)} AS double precision)"
    )
    square = f"{north} * {north} + {east} * {east}"
    where.add(f"{square} <= CAST({{}} AS double precision)", float(around.reach + astray) ** 2)
    if slot.kind != "space":
        reach = f"CAST((o.reach_m + 2) * 9 + {astray} AS double precision)"
        where.add(f"(o.reach_m IS NULL OR {square} <= {reach} * {reach})")


def _affordable(where: base.Where, need: NeedFacts, slot: values.Slot) -> None:
    """Gates contacts, capacity, load and budget, as far as nothing has been promised yet."""
    case = _case(need, slot)
    where.add("(o.max_contacts_week IS NULL OR o.max_contacts_week > 0)")
    where.add("(o.capacity IS NULL OR o.capacity >= {})", rules.places_needed(slot))
    where.add(
        "(o.max_hours_week IS NULL OR o.max_hours_week * 60 >= {})", gates.weekly_minutes(case)
    )
    if need.budget_amount is not None:
        where.add(
            "(o.price_amount = 0 OR o.price_currency = {} AND o.price_amount * CASE o.price_per"
            " WHEN 'session' THEN CAST({} AS bigint) WHEN 'week' THEN 52 ELSE 12 END"
            " <= CAST({} AS bigint))",
            need.currency,
            gates.per_year(case, 1, "session"),
            gates.per_year(case, need.budget_amount, need.per),
        )


def _case(need: NeedFacts, slot: values.Slot) -> gates.Case:
    """What the gates know of a slot before any offering stands before it."""
    return gates.case_of(need, slot, OfferingFacts(id="", version=0, kind=slot.kind, partner=""))


def _near(where: base.Where, select: str, need: NeedFacts, radius_m: int | None) -> str:
    """The rows of a SELECT whose `cell` is within a radius of the need, as SQL.

    One SELECT for each row of cells: an index does exactly that, and both planners know it. A need
    without a radius is help from anywhere: no restriction.
    """
    if radius_m is None or need.lat_e6 is None or need.lon_e6 is None:
        return select
    ranges = cells.ranges(cells.Around(need.lat_e6, need.lon_e6, radius_m))
    return " UNION ALL ".join(
        f"{select} AND cell BETWEEN {where.value(low)} AND {where.value(high)}"
        for low, high in _filled(ranges, (1, 0))
    )


def _filled(several: Sequence[T], empty: T) -> list[T]:
    """A list filled up with what changes nothing."""
    size = next(size for size in _LIST_SIZES if size >= len(several))
    return [*several, *[empty] * (size - len(several))]


async def _facts(rows: Sequence[tuple[Any, ...]], slot: values.Slot) -> list[OfferingFacts]:
    kinds = {*slot.credentials, *slot.preferred_credentials}
    held = await _licences(rows, kinds) if rows and kinds else {}
    return [_fact(row, held.get(row[0], ())) for row in rows]


def _fact(row: tuple[Any, ...], licences: tuple[Licence, ...]) -> OfferingFacts:
    hours = row[18]
    return OfferingFacts(
        id=row[0],
        version=row[1],
        kind=row[2],
        partner=row[3],
        services=_words(row[4]),
        status=row[5],
        partner_status=row[6],
        lat_e6=row[7],
        lon_e6=row[8],
        reach_m=row[9],
        capacity=row[10],
        price_amount=row[11],
        currency=row[12],
        per=row[13],
        availability=_windows(row[14]),
        licences=licences,
        features=_words(row[15]),
        requires_features=_words(row[16]),
        languages=_words(row[17]),
        max_minutes_week=None if hours is None else hours * 60,
        max_contacts_week=row[19],
        ratings=row[20],
        rating_sum=row[21],
        jobs_agreed=row[22],
        jobs_kept=row[23],
        served_here=row[25],
        blocked=bool(row[26]),
    )


# Texts repeat: a thousand volunteers share a few dozen weeks and sets of features.
_read_words = msgspec.json.Decoder(tuple[str, ...])
_read_windows = msgspec.json.Decoder(tuple[values.Window, ...])


@functools.lru_cache(maxsize=16_384)
def _words(text: str) -> tuple[str, ...]:
    return _read_words.decode(text)


@functools.lru_cache(maxsize=16_384)
def _windows(text: str) -> tuple[values.Window, ...]:
    return _read_windows.decode(text)


@functools.lru_cache(maxsize=65_536)
def _quarters(text: str) -> int:
    return windows.blocks_of_offering(_windows(text), windows.QUARTER)


async def _licences(
    rows: Sequence[tuple[Any, ...]], kinds: set[str] | None
) -> dict[str, tuple[Licence, ...]]:
    """Licences by offering: its own, and those of its partner that belong to no single one.

    Only those of the kinds, if any are named: no gate and no part asks for others.
    """
    own = await _held("offering", {row[0] for row in rows}, kinds)
    # Not `offering IS NULL`: SQLite would go through all that are of no single offering.
    shared = await _held(
        "COALESCE(offering, partner) = partner AND partner", {row[3] for row in rows}, kinds
    )
    return {
        row[0]: tuple(
            _licence(*held, row[24]) for held in (*own.get(row[0], ()), *shared.get(row[3], ()))
        )
        for row in rows
    }


async def _held(
    column: str, holders: set[str], kinds: set[str] | None
) -> dict[str, list[tuple[Any, ...]]]:
    """Licences by holder, oldest first; `column` names the holder, the last word of a condition."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    asked = sorted(holders)
    for start in range(0, len(asked), _LIST_SIZES[-1]):
        where = base.Where()
        several = asked[start : start + _LIST_SIZES[-1]]
        where.add(f"{column} IN ({where.values(_filled(several, several[0]))})")
        if kinds:
            named = sorted(kinds)
            where.add(f"kind IN ({where.values(_filled(named, named[0]))})")
        for holder, *held in await engine.rows(
            f"SELECT {column.split()[-1]}, kind, issuer, valid_from, valid_to,"
            f" verified_by IS NOT NULL FROM credential WHERE {where} ORDER BY id",
            *where.args,
        ):
            found.setdefault(str(holder), []).append(tuple(held))
    return found


@functools.lru_cache(maxsize=16_384)
def _licence(
    kind: str,
    issuer: str,
    begins: str | dt.date | None,
    ends: str | dt.date | None,
    verified: int,
    zone: str,
) -> Licence:
    """A licence on the local days of its offering. Numbers are not compared, and not everybody's
    to know."""
    return Licence(
        kind,
        issuer,
        "",
        None if begins is None else windows.start_of_day(_date(begins), zone),
        None if ends is None else windows.end_of_day(_date(ends), zone),
        bool(verified),
    )


def _date(value: str | dt.date) -> dt.date:
    """A date of a row: text on SQLite."""
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)


@functools.lru_cache(maxsize=512)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)
