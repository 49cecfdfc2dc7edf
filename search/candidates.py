"""Candidates for a slot, as facts: what the database is asked before the matcher decides.

The cost follows local density, not the size of the city: candidates come from one table by
(service type, kind, cell of 500 m), a superset of what lies within the radius. The gates decide.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import uuid
import zoneinfo
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from models import accounts, base, engine, needs, offerings, values
from models.services import ServiceTypeRecord
from search import windows
from search.gates import Licence, NeedFacts, OfferingFacts
from search.scoring import Weights

# Beyond this many rows of cells (20 km), one range over all of them is asked instead.
_MAX_ROWS = 40
# Excluded offerings are looked for so much further than the radius, and at least so many metres.
_WIDER, _WIDER_AT_LEAST_M = 3, 3_000
# Why-not is told of so many offerings at the most; the nearest cells come first.
_MAX_NEARBY = 5_000

_COLUMNS = (
    "o.id, o.version, o.kind, o.partner, o.service_types, o.status, p.status, o.lat_e6, o.lon_e6,"
    " o.reach_m, o.capacity, o.price_amount, o.price_currency, o.price_per, o.availability,"
    " o.features, o.requires_features, o.languages, o.max_hours_week, o.max_contacts_week,"
    " o.ratings, o.rating_sum, o.jobs_agreed, o.jobs_kept, pl.timezone"
)
_JOINS = "JOIN partner p ON p.id = o.partner JOIN place pl ON pl.id = o.place"


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
    need: NeedFacts, place: uuid.UUID, kind: str, sees: accounts.Visibility
) -> list[OfferingFacts]:
    """Offerings of the kind and service on offer near enough to be worth a look."""
    where = base.Where()
    where.add("s.service_type = {} AND s.kind = {}", need.service_type, kind)
    where.add(offerings.PUBLIC)
    sees.restrict(where, offerings.PUBLIC, "o.place", "o.partner")
    source = _near(where, need, need.radius_m, "s.cell")
    rows = await engine.rows(
        f"SELECT {_COLUMNS} FROM {source} offering_service s"
        f" JOIN offering o ON o.id = s.offering {_JOINS} WHERE {where}",
        *where.args,
    )
    return await _facts(rows, place)


async def nearby(
    need: NeedFacts, place: uuid.UUID, kind: str, sees: accounts.Visibility
) -> list[OfferingFacts]:
    """Offerings of the kind around the need, whatever they offer and whatever their state: those
    of which somebody might ask "why not?"."""
    where = base.Where()
    where.add("o.kind = {} AND o.status <> 'withdrawn'", kind)
    sees.restrict(where, offerings.PUBLIC, "o.place", "o.partner")
    wider = None
    if need.radius_m is not None:
        wider = max(need.radius_m * _WIDER, _WIDER_AT_LEAST_M)
    source = _near(where, need, wider, "o.cell")
    rows = await engine.rows(
        f"SELECT {_COLUMNS} FROM {source} offering o {_JOINS} WHERE {where} LIMIT {_MAX_NEARBY}",
        *where.args,
    )
    return await _facts(rows, place)


async def by_place(
    offering: uuid.UUID, asked: Iterable[uuid.UUID]
) -> dict[uuid.UUID, OfferingFacts]:
    """One offering as the matcher sees it for a need of each of the places."""
    rows = await engine.rows(
        f"SELECT {_COLUMNS} FROM offering o {_JOINS} WHERE o.id = $1", offering
    )
    held = await _licences(rows)
    served = dict(
        await engine.rows("SELECT place, times FROM service_record WHERE offering = $1", offering)
    )
    blocked = await engine.rows(
        "SELECT c.descendant FROM blocked_partner b JOIN place_closure c ON c.ancestor = b.place"
        " WHERE b.partner = $1",
        rows[0][3],
    )
    times = {str(place): count for place, count in served.items()}
    closed = {str(place) for (place,) in blocked}
    return {
        place: _fact(rows[0], times.get(str(place), 0), str(place) in closed, held[str(rows[0][0])])
        for place in asked
    }


def _near(where: base.Where, need: NeedFacts, radius_m: int | None, column: str) -> str:
    """Restrict to the cells within a radius; answers what to put before the table in FROM.

    A need without a radius is help from anywhere: no restriction.
    """
    if radius_m is None or need.lat_e6 is None or need.lon_e6 is None:
        return ""
    ranges = cell_ranges(need.lat_e6, need.lon_e6, radius_m)
    rows = ", ".join(
        f"(CAST({where.value(low)} AS bigint), CAST({where.value(high)} AS bigint))"
        for low, high in ranges
    )
    where.add(f"{column} BETWEEN r.lo AND r.hi")
    # CROSS JOIN keeps SQLite's planner from putting the big table first.
    return f"(WITH r (lo, hi) AS (VALUES {rows}) SELECT lo, hi FROM r) r CROSS JOIN"


def cell_ranges(lat_e6: int, lon_e6: int, radius_m: int) -> list[tuple[int, int]]:
    """Ranges of cells that hold every position within the radius, one per row of cells."""
    # 8.993 micro-degrees a metre from south to north, rounded up with one metre to spare.
    reach = (radius_m + 1) * 9 + 1
    south, north = lat_e6 - reach, lat_e6 + reach
    furthest = min(max(abs(south), abs(north)) / 1e6, 89.9)
    sideways = math.ceil(reach / math.cos(math.radians(furthest))) + 1
    west, east = lon_e6 - sideways, lon_e6 + sideways
    if west < -180_000_000 or east > 180_000_000:
        west, east = -180_000_000, 180_000_000
    first, last = south // offerings.CELL_E6, north // offerings.CELL_E6
    if last - first >= _MAX_ROWS:
        return [(offerings.cell(south, west), offerings.cell(north, east))]
    return [
        (
            offerings.cell(row * offerings.CELL_E6, west),
            offerings.cell(row * offerings.CELL_E6, east),
        )
        for row in range(first, last + 1)
    ]


async def _facts(rows: Sequence[tuple[Any, ...]], place: uuid.UUID) -> list[OfferingFacts]:
    if not rows:
        return []
    served = await _served(place)
    blocked = await _blocked(place)
    held = await _licences(rows)
    return [
        _fact(row, served.get(str(row[0]), 0), str(row[3]) in blocked, held.get(str(row[0]), ()))
        for row in rows
    ]


def _fact(
    row: tuple[Any, ...], served: int, blocked: bool, licences: tuple[Licence, ...]
) -> OfferingFacts:
    hours = row[18]
    return OfferingFacts(
        id=str(row[0]),
        version=row[1],
        kind=row[2],
        partner=str(row[3]),
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
        served_here=served,
        blocked=blocked,
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


async def _served(place: uuid.UUID) -> dict[str, int]:
    rows = await engine.rows("SELECT offering, times FROM service_record WHERE place = $1", place)
    return {str(offering): times for offering, times in rows}


async def _blocked(place: uuid.UUID) -> frozenset[str]:
    rows = await engine.rows(
        "SELECT partner FROM blocked_partner WHERE place IN"
        " (SELECT ancestor FROM place_closure WHERE descendant = $1)",
        place,
    )
    return frozenset(str(partner) for (partner,) in rows)


async def _licences(rows: Sequence[tuple[Any, ...]]) -> dict[str, tuple[Licence, ...]]:
    """Licences by offering: its own, and those of its partner that belong to no single one."""
    own: dict[str, list[Licence]] = {}
    partners: dict[str, list[Licence]] = {}
    zones = {str(row[0]): row[24] for row in rows}
    home = {str(row[3]): row[24] for row in rows}
    asked = sorted(home)
    for start in range(0, len(asked), 500):
        chunk = asked[start : start + 500]
        for partner, offering, kind, issuer, number, begins, ends, verifier in await engine.rows(
            "SELECT partner, offering, kind, issuer, number, valid_from, valid_to, verified_by"
            f" FROM credential WHERE partner IN ({base.placeholders(len(chunk))}) ORDER BY id",
            *chunk,
        ):
            zone = zones.get(str(offering), home[str(partner)]) if offering else home[str(partner)]
            licence = Licence(
                kind,
                issuer,
                number,
                begins and windows.start_of_day(_date(begins), zone),
                ends and windows.end_of_day(_date(ends), zone),
                verifier is not None,
            )
            holder, key = (own, offering) if offering else (partners, partner)
            holder.setdefault(str(key), []).append(licence)
    return {
        str(row[0]): (*own.get(str(row[0]), ()), *partners.get(str(row[3]), ())) for row in rows
    }


def _date(value: str | dt.date) -> dt.date:
    """A date of a row: text on SQLite."""
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)


@functools.lru_cache(maxsize=512)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)
