"""How what was found is answered."""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from api import labels, language, shapes
from models import values
from search import engine as index
from search import meaning

# Fifteen minutes are a kilometre: 4 km/h, measured as the crow flies, so streets are allowed for.
METRES_A_QUARTER = 1_000


class HitOut(Struct, omit_defaults=True):
    """One thing found; `GET /v1/offerings/{id}`, `/v1/needs/{id}` or `/v1/places/{id}` has the
    rest. The id of a service type is the slug to ask for with `service_type`. `title_text` is the
    title in the language of `Accept-Language`."""

    id: str
    kind: str
    title: dict[Literal["zh", "en"], str]
    title_text: str
    service_types: tuple[str, ...]
    community: str
    status: str
    location: values.Point | None = None
    capacity: int | None = None
    price: int | None = None
    rating: float | None = None
    distance_m: int | None = None
    walk_minutes: int | None = None
    highlights: dict[str, str] | None = None


class LeftOutOut(Struct):
    """What would have been found, but for its licences."""

    item: HitOut
    because: list[shapes.FailureOut]


class MeantOut(Struct):
    """Another text, and how many it finds with the same filters."""

    text: str
    total: int


class FoundOut(Struct):
    """One page of what was found. `lag_s` is how far the index is behind the database.

    `total_capped`: there may be more than `total`. `labels` are the values of the facets in the
    language of `Accept-Language`. `excluded` are the first of those that `credential` keeps out.
    """

    items: list[HitOut]
    total: int
    total_capped: bool
    facets: dict[str, dict[str, int]]
    labels: dict[str, dict[str, str]]
    page: int
    pages: int
    lag_s: float
    did_you_mean: MeantOut | None = None
    excluded: list[LeftOutOut] = []
    excluded_total: int = 0


def hit(found: index.Hit, tongue: language.Language) -> HitOut:
    """A hit in the caller's language."""
    document = found.document
    where, metres = document.location, found.distance_m
    return HitOut(
        id=document.id,
        kind=document.kind,
        title={"zh": document.title_zh, "en": document.title_en},
        title_text=labels.title((document.title_zh, document.title_en), tongue),
        service_types=document.service_types,
        community=document.community,
        status=document.status,
        location=values.point(where.lat_e6, where.lon_e6) if where else None,
        capacity=document.capacity,
        price=document.price,
        rating=document.rating / 100 if document.rating else None,
        distance_m=metres,
        walk_minutes=None if metres is None else math.ceil(metres * 15 / METRES_A_QUARTER),
        highlights=found.highlights or None,
    )


def meant(found: meaning.Meant | None) -> MeantOut | None:
    """The other text, if there is one."""
    return MeantOut(found.text, found.total) if found else None
