"""Coverage: what is on offer in a place, against the people and the ground it serves."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from models import base, engine, offerings, places, services, values

# A part of a place, or None: what is on offer in the place and in no part of it.
_Counts = Counter[tuple[str, uuid.UUID | None]]


class Part(Struct, frozen=True):
    """A part of the place: what lies directly below it, down to the grids."""

    place_id: uuid.UUID
    name: values.Bilingual
    population: int | None
    area_m2: int | None


class Cell(Struct, frozen=True):
    """How many offerings there are; decimal ratios, null where the profile is silent."""

    offerings: int
    per_1000_residents: str | None
    per_km2: str | None


class ServiceCoverage(Struct, frozen=True):
    """Active offerings of admitted partners of one service type, for these age groups: in the whole
    place, and in each of its `parts`, in their order."""

    service_type: str
    age_groups: tuple[services.AgeGroup, ...]
    offerings: int
    per_1000_residents: str | None
    per_km2: str | None
    parts: list[Cell]


class Gap(Struct, frozen=True):
    """The services for an age group that nobody offers in a place."""

    place_id: uuid.UUID
    age_group: services.AgeGroup
    service_types: list[str]


class Coverage(Struct, frozen=True):
    """The service matrix of a place: age group × service × part. What is on offer somewhere in the
    place but in none of its parts counts for the whole. `gaps` are all its cells that are zero."""

    place_id: uuid.UUID
    population: int | None
    area_m2: int | None
    partners: int
    parts: list[Part]
    services: list[ServiceCoverage]
    gaps: list[Gap]


async def of(place: places.PlaceRecord) -> Coverage:
    """Count the public offerings in the place's subtree, where everybody may know them to be; zero
    is a finding."""
    parts = await _parts(place.id)
    counts = await _counts(place.id, [part.place_id for part in parts])
    partners = await engine.rows(
        "SELECT count(*) FROM partner WHERE status = 'admitted' AND public_place IN"
        " (SELECT descendant FROM place_closure WHERE ancestor = $1)",
        place.id,
    )
    return matrix(place, partners[0][0], parts, await services.every(), counts)


def matrix(
    place: places.PlaceRecord,
    partners: int,
    parts: Sequence[Part],
    taxonomy: Sequence[services.ServiceTypeRecord],
    counts: _Counts,
) -> Coverage:
    """The matrix of these counts of offerings by service type and part; no part is the rest."""
    covered = []
    for service in taxonomy:
        several = [counts[service.slug, part.place_id] for part in parts]
        whole = _cell(counts[service.slug, None] + sum(several), place.population, place.area_m2)
        covered.append(
            ServiceCoverage(
                service.slug,
                service.age_groups,
                whole.offerings,
                whole.per_1000_residents,
                whole.per_km2,
                [
                    _cell(count, part.population, part.area_m2)
                    for count, part in zip(several, parts, strict=True)
                ],
            )
        )
    gaps = [
        Gap(where, group, missing)
        for number, where in enumerate((place.id, *(part.place_id for part in parts)))
        for group in services.AGE_GROUPS
        if (missing := _missing(covered, group, number - 1))
    ]
    return Coverage(place.id, place.population, place.area_m2, partners, list(parts), covered, gaps)


def _missing(covered: Sequence[ServiceCoverage], group: services.AgeGroup, part: int) -> list[str]:
    """The services for an age group that a part lacks; part -1 is the whole."""
    return [
        service.service_type
        for service in covered
        if group in service.age_groups
        and not (service.offerings if part < 0 else service.parts[part].offerings)
    ]


def _cell(count: int, population: int | None, area_m2: int | None) -> Cell:
    return Cell(count, _ratio(count * 1_000, population), _ratio(count * 1_000_000, area_m2))


def _ratio(count: int, of_what: int | None) -> str | None:
    """A ratio with three decimals, half up, without a float on the way."""
    if not of_what:
        return None
    thousandths = (2_000 * count + of_what) // (2 * of_what)
    return f"{thousandths // 1_000}.{thousandths % 1_000:03d}"


async def _parts(place: uuid.UUID) -> list[Part]:
    rows = await engine.fetch(
        "SELECT id, name_zh, name_en, population, area_m2 FROM place WHERE parent = $1"
        " AND status = 'active' AND kind <> 'building' ORDER BY slug",
        place,
    )
    return [
        Part(
            base.as_id(row["id"]),
            values.Bilingual(row["name_zh"], row["name_en"]),
            row["population"],
            row["area_m2"],
        )
        for row in rows
    ]


async def _counts(place: uuid.UUID, parts: Sequence[uuid.UUID]) -> _Counts:
    where = base.Where()
    where.add(offerings.PUBLIC)
    where.within("o.public_place", place)
    # No part: a list with nothing in it, which neither database takes.
    among = where.values(parts) if parts else "NULL"
    rows = await engine.rows(
        "SELECT s.service_type, c.ancestor, count(*) FROM offering o"
        " JOIN partner p ON p.id = o.partner JOIN offering_service s ON s.offering = o.id"
        " LEFT JOIN place_closure c ON c.descendant = o.public_place"
        f" AND c.ancestor IN ({among}) WHERE {where} GROUP BY 1, 2",
        *where.args,
    )
    return Counter({(service, part and base.as_id(part)): count for service, part, count in rows})
