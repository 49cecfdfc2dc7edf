"""Candidates for a slot, as facts: what the database is asked before the matcher decides.

The cost follows local density, not the size of the city: candidates come from one table by
(service type, kind, cell of 500 m), a superset of what lies within the radius. The gates decide.
"""

from __future__ import annotations

import functools
import uuid
import zoneinfo
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from models import accounts, base, bookings, disclosure, engine, needs, offerings, places, values
from models.services import ServiceTypeRecord
from search import cells, gates, licences, promises, statements, turns, windows
from search.gates import Glance, Licence, NeedFacts, OfferingFacts, rules
from search.scoring import Weights

T = TypeVar("T")

# Excluded offerings are looked for so much further than the radius, and at least so many metres.
_WIDER, _WIDER_AT_LEAST_M = 3, 3_000
_LARGEST_RADIUS_M = 1_000_000
# Why-not is told of so many offerings at the most; where there are more, of the nearest.
_MAX_NEARBY, _NARROWEST_M = 5_000, 250
# Rows that are made into facts in one go: about a millisecond.
_AT_ONCE = 128
_ZONE = "(SELECT l.timezone FROM place l WHERE l.id = o.public_place)"
_COLUMNS = (
    "CAST(o.id AS text), o.version, o.kind, CAST(o.partner AS text), o.service_types, o.status,"
    " p.status, {lat}, {lon},"
    " o.reach_m, o.capacity, o.price_amount, o.price_currency, o.price_per, o.availability,"
    " o.features, o.requires_features, o.languages, o.max_hours_week, o.max_contacts_week,"
    " o.ratings, o.rating_sum, o.jobs_agreed, o.jobs_kept,"
    f" {_ZONE}"
)
_GLANCE = (
    "CAST(o.id AS text), CAST(o.partner AS text), o.status, p.status, {blocked}, {lat}, {lon},"
    " o.reach_m, o.capacity, o.price_amount, o.price_currency, o.price_per, o.max_hours_week,"
    " o.max_contacts_week, o.service_types, o.features, o.languages, o.availability, {zone},"
    " {booked}"
)
_PARTNER = "JOIN partner p ON p.id = o.partner"
# How often an offering has served the place `{}`, where a building counts as what it stands in
# (`reliability.count_job`), and the partners that it does not work with.
_SERVED = (
    "COALESCE((SELECT t.times FROM service_record t WHERE t.offering = o.id AND t.place = (SELECT"
    " CASE WHEN l.kind = 'building' THEN l.parent ELSE l.id END FROM place l WHERE l.id = {})), 0)"
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
    need: NeedFacts,
    place: uuid.UUID,
    slot: values.Slot,
    sees: accounts.Visibility,
    *,
    reach: bool = True,
) -> list[OfferingFacts]:
    """Offerings of the slot's kind and the need's service that may pass every gate; without
    `reach`, that one aside.

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
    _within_reach(where, need, sees, reach and slot.kind != "space")
    _affordable(where, need, slot)
    lat, lon = _position(where, sees)
    rows = await engine.rows(
        # The cells first, by themselves: PostgreSQL cannot guess how few offerings they hold and
        # would read all; CROSS JOIN says the same to SQLite.
        f"WITH near AS MATERIALIZED ({near})"
        f" SELECT {_COLUMNS.format(lat=lat, lon=lon)}, {_SERVED.format(here)}, 0,"
        f" {promises.anything(slot.kind, where.value(promises.present()))}"
        f" FROM near CROSS JOIN offering o {_PARTNER} WHERE o.id = near.offering AND {where}",
        *where.args,
    )
    return await _facts(await _open_then(rows, need, slot), need, slot)


async def _open_then(
    rows: list[tuple[Any, ...]], need: NeedFacts, slot: values.Slot
) -> list[tuple[Any, ...]]:
    """Those that the week's quarter-hours allow to pass the gate of time."""
    asked = windows.blocks_of_need(need.windows, need.as_of, windows.QUARTER)
    _, share = gates.asked(_case(need, slot))
    found: list[tuple[Any, ...]] = []
    async for several in turns.pieces(rows, _AT_ONCE):
        found += [row for row in several if windows.may_cover(asked, _quarters(row[14]), share)]
    return found


async def around(
    need: NeedFacts, place: uuid.UUID, slot: values.Slot, sees: accounts.Visibility
) -> list[Glance]:
    """Offerings of the slot's kind around the need, whatever they offer and whatever their state:
    those of which somebody might ask "why not?".

    Less far where there are too many to tell of them all. How far depends on what the caller may
    see and on nothing else: nobody learns how many are hidden.
    """
    circles = _circles(need)
    at = await _within_reading(need, slot, circles)
    seen = await _glances(circles[at], place, slot, sees, _MAX_NEARBY)
    while at and len(seen) <= _MAX_NEARBY:
        at -= 1
        further = cells.beyond(circles[at] or [], circles[at + 1] or [])
        more = await _glances(further, place, slot, sees, _MAX_NEARBY - len(seen))
        if len(seen) + len(more) > _MAX_NEARBY:
            break
        seen += more
    return seen[:_MAX_NEARBY]


def _circles(need: NeedFacts) -> list[list[tuple[int, int]] | None]:
    """The cells that are looked at for why-not, those that go furthest first; None is anywhere."""
    if need.radius_m is None or need.lat_e6 is None or need.lon_e6 is None:
        return [None]
    metres = [max(need.radius_m * _WIDER, _WIDER_AT_LEAST_M)]
    while metres[-1] > _NARROWEST_M:
        metres.append(metres[-1] * 2 // 3)
    return [cells.ranges(cells.Around(need.lat_e6, need.lon_e6, radius)) for radius in metres]


async def _within_reading(
    need: NeedFacts, slot: values.Slot, circles: list[list[tuple[int, int]] | None]
) -> int:
    """A circle that will be read whole, whatever the caller may see: the widest of which the
    index alone knows that it does not hold too many. To begin there only saves questions."""
    for at, circle in enumerate(circles[:-1]):
        where = base.Where()
        near = _in_cells(
            where, f"SELECT 1 FROM offering WHERE kind = {where.value(slot.kind)}", circle
        )
        ((count,),) = await engine.rows(
            f"SELECT count(*) FROM (SELECT 1 FROM ({near}) o LIMIT {_MAX_NEARBY + 1}) n",
            *where.args,
        )
        if count <= _MAX_NEARBY:
            return at
    return len(circles) - 1


async def _glances(
    ranges: list[tuple[int, int]] | None,
    place: uuid.UUID,
    slot: values.Slot,
    sees: accounts.Visibility,
    most: int,
) -> list[Glance]:
    """What the gates look at of the offerings in the cells: all, or a few more than `most`."""
    where = base.Where()
    here, kind = where.value(place), where.value(slot.kind)
    near = _in_cells(where, f"SELECT * FROM offering WHERE kind = {kind}", ranges)
    where.add("o.status <> 'withdrawn'")
    sees.restrict(where, offerings.PUBLIC, "o.place", "o.partner")
    lat, lon = _position(where, sees)
    columns = _GLANCE.format(
        blocked=_BLOCKED.format(here),
        lat=lat,
        lon=lon,
        zone=_ZONE if slot.credentials else "NULL",
        booked=promises.anything(slot.kind, where.value(promises.present())),
    )
    rows = await engine.rows(
        f"SELECT {columns} FROM ({near}) o {_PARTNER} WHERE {where} LIMIT {statements.limit(most)}",
        *where.args,
    )
    return list(map(Glance._make, rows))


async def known_of(
    identities: Sequence[str],
    need: NeedFacts,
    place: uuid.UUID,
    slot: values.Slot,
    sees: accounts.Visibility,
) -> list[OfferingFacts]:
    """Those of the offerings that the caller may see, as facts for a need of the place."""
    found: list[OfferingFacts] = []
    for start in range(0, len(identities), statements.LONGEST):
        several = identities[start : start + statements.LONGEST]
        where = base.Where()
        here = where.value(place)
        where.add(f"o.id IN ({where.values(statements.filled(several, several[0]))})")
        sees.restrict(where, offerings.PUBLIC, "o.place", "o.partner")
        lat, lon = _position(where, sees)
        booked = promises.anything(slot.kind, where.value(promises.present()))
        rows = await engine.rows(
            f"SELECT {_COLUMNS.format(lat=lat, lon=lon)}, {_SERVED.format(here)},"
            f" {_BLOCKED.format(here)}, {booked}"
            f" FROM offering o {_PARTNER} WHERE {where}",
            *where.args,
        )
        found += await _facts(rows, need, slot)
    return found


async def licences_at(
    several: Sequence[Glance], slot: values.Slot
) -> dict[str, tuple[Licence, ...]]:
    """The licences that the gates of the slot ask for, by offering."""
    if not slot.credentials:
        return {}
    holders = [(seen.id, seen.partner, seen.timezone or "") for seen in several]
    return await licences.of(holders, set(slot.credentials))


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
    held = (await licences.of([(row[0], row[3], row[24])], None))[row[0]]
    served = dict(
        await engine.rows("SELECT place, times FROM service_record WHERE offering = $1", offering)
    )
    blocked = await engine.rows(
        "SELECT c.descendant FROM blocked_partner b JOIN place_closure c ON c.ancestor = b.place"
        " WHERE b.partner = $1",
        row[3],
    )
    times = {str(place): count for place, count in served.items()}
    counted = await places.public_places(asked)
    closed = {str(place) for (place,) in blocked}
    booked = (await promises.given_away([row[0]])).get(row[0], ())
    return {
        place: _fact((*row, times.get(str(counted[place]), 0), str(place) in closed), held, booked)
        for place in asked
    }


def needs_near(offering: offerings.OfferingRecord) -> base.Where:
    """Conditions on needs: those with a slot of the offering's kind whose gates radius and reach
    may be open, by the public points. A little wider than the gates, which decide."""
    where = base.Where()
    kind = where.value(f'"kind":"{offering.kind}"')
    where.add(f"replace(slots, {kind}, '') <> slots")
    here = values.position(offering.location)
    if here["lat_e6"] is None or here["lon_e6"] is None:
        where.add("radius_m IS NULL")
        return where
    # As far as the largest radius a need may have; nowhere nearer is a degree shorter.
    around = cells.Around(here["lat_e6"], here["lon_e6"], _LARGEST_RADIUS_M)
    if around.sideways is None:
        return where
    square = _square(
        where, "public_lat_e6", "public_lon_e6", here["lat_e6"], here["lon_e6"], around
    )
    # Of both, who may know more than the public point may know one so much nearer.
    astray = disclosure.SNAP_LAT_E6 + disclosure.SNAP_LON_E6
    radius = f"CAST((CAST(radius_m AS bigint) + 2) * 9 + {astray} AS double precision)"
    where.add(f"(radius_m IS NULL OR {square} <= {radius} * {radius})")
    if offering.reach_m is not None and offering.kind != "space":
        reach = float((offering.reach_m + 2) * 9 + astray)
        where.add(
            f"(public_lat_e6 IS NULL OR {square} <= CAST({{}} AS double precision))", reach**2
        )
    return where


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
    where: base.Where, need: NeedFacts, sees: accounts.Visibility, goes: bool
) -> None:
    """Gates radius and, for what goes there, reach; both a little wider: the distance is taken
    for less than it is."""
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
    square = _square(where, lat, lon, need.lat_e6, need.lon_e6, around)
    where.add(f"{square} <= CAST({{}} AS double precision)", float(around.reach + astray) ** 2)
    if goes:
        reach = f"CAST((o.reach_m + 2) * 9 + {astray} AS double precision)"
        where.add(f"(o.reach_m IS NULL OR {square} <= {reach} * {reach})")


def _square(
    where: base.Where, lat: str, lon: str, lat_e6: int, lon_e6: int, around: cells.Around
) -> str:
    """The square of a distance in micro-degrees of latitude, or less, as SQL."""
    north = f"CAST({lat} - {where.value(lat_e6)} AS double precision)"
    east = (
        f"CAST({lon} - {where.value(lon_e6)} AS double precision)"
        f" * CAST({where.value(around.cosine)} AS double precision)"
    )
    return f"({north} * {north} + {east} * {east})"


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
    around = cells.Around(need.lat_e6, need.lon_e6, radius_m)
    return _in_cells(where, select, cells.ranges(around))


def _in_cells(where: base.Where, select: str, ranges: list[tuple[int, int]] | None) -> str:
    """The rows of a SELECT whose `cell` is in one of the ranges, as SQL; None is no restriction."""
    if ranges is None:
        return select
    return " UNION ALL ".join(
        f"{select} AND cell BETWEEN {where.value(low)} AND {where.value(high)}"
        for low, high in statements.filled(ranges, (1, 0))
    )


async def _facts(
    rows: Sequence[tuple[Any, ...]], need: NeedFacts, slot: values.Slot
) -> list[OfferingFacts]:
    kinds = {*slot.credentials, *slot.preferred_credentials}
    holders = [(row[0], row[3], row[24]) for row in rows]
    held = await licences.of(holders, kinds) if rows and kinds else {}
    some = [row[0] for row in rows if row[27]]
    booked = await promises.given_away(some, promises.span_of(need)) if some else {}
    found: list[OfferingFacts] = []
    async for several in turns.pieces(rows, _AT_ONCE):
        found += [_fact(row, held.get(row[0], ()), booked.get(row[0], ())) for row in several]
    return found


def _fact(
    row: tuple[Any, ...], held: tuple[Licence, ...], booked: Sequence[bookings.Time]
) -> OfferingFacts:
    weekly = row[18]
    facts = OfferingFacts(
        id=row[0],
        version=row[1],
        kind=row[2],
        partner=row[3],
        services=words(row[4]),
        status=row[5],
        partner_status=row[6],
        lat_e6=row[7],
        lon_e6=row[8],
        reach_m=row[9],
        capacity=row[10],
        price_amount=row[11],
        currency=row[12],
        per=row[13],
        availability=hours(row[14]),
        licences=held,
        features=words(row[15]),
        requires_features=words(row[16]),
        languages=words(row[17]),
        max_minutes_week=None if weekly is None else weekly * 60,
        max_contacts_week=row[19],
        ratings=row[20],
        rating_sum=row[21],
        jobs_agreed=row[22],
        jobs_kept=row[23],
        served_here=row[25],
        blocked=bool(row[26]),
    )
    return promises.kept(facts, booked) if booked else facts


# Texts repeat: a thousand volunteers share a few dozen weeks and sets of features.
_read_words = msgspec.json.Decoder(tuple[str, ...])
_read_windows = msgspec.json.Decoder(tuple[values.Window, ...])


@functools.lru_cache(maxsize=16_384)
def words(text: str) -> tuple[str, ...]:
    """A column of words."""
    return _read_words.decode(text)


@functools.lru_cache(maxsize=16_384)
def hours(text: str) -> tuple[values.Window, ...]:
    """The column of weekly windows."""
    return _read_windows.decode(text)


@functools.lru_cache(maxsize=65_536)
def _quarters(text: str) -> int:
    return windows.blocks_of_offering(hours(text), windows.QUARTER)


@functools.lru_cache(maxsize=512)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)
