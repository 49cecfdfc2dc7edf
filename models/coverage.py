"""Coverage: what is on offer in a place, against the people and the ground it serves."""

from __future__ import annotations

import uuid

from msgspec import Struct

from models import engine, offerings, places


class ServiceCoverage(Struct):
    """Active offerings of one service type; the ratios are null where the profile is silent."""

    service_type: str
    offerings: int
    per_1000_residents: float | None
    per_km2: float | None


class Coverage(Struct):
    """Coverage of a place and everything below it."""

    place_id: uuid.UUID
    population: int | None
    area_m2: int | None
    partners: int
    services: list[ServiceCoverage]


async def of(place: places.PlaceRecord) -> Coverage:
    """Count the public offerings in the place's subtree, by service type; zero is a finding."""
    rows = await engine.fetch(
        "SELECT t.slug, count(c.offering) AS offerings FROM service_type t LEFT JOIN ("
        " SELECT s.service_type, s.offering FROM offering_service s"
        " JOIN offering o ON o.id = s.offering JOIN partner p ON p.id = o.partner"
        f" WHERE {offerings.PUBLIC} AND o.public_place IN"
        " (SELECT descendant FROM place_closure WHERE ancestor = $1)"
        ") c ON c.service_type = t.slug GROUP BY t.slug ORDER BY t.slug",
        place.id,
    )
    admitted = await engine.fetch(
        "SELECT count(*) AS n FROM partner WHERE status = 'admitted' AND public_place IN"
        " (SELECT descendant FROM place_closure WHERE ancestor = $1)",
        place.id,
    )
    return Coverage(
        place.id,
        place.population,
        place.area_m2,
        admitted[0]["n"],
        [
            ServiceCoverage(
                row["slug"],
                row["offerings"],
                _ratio(row["offerings"] * 1_000, place.population),
                _ratio(row["offerings"] * 1_000_000, place.area_m2),
            )
            for row in rows
        ],
    )


def _ratio(count: int, of_what: int | None) -> float | None:
    return round(count / of_what, 3) if of_what else None
