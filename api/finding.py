"""Search over offerings and needs. (Not api/search.py: that would shadow the package.)"""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from msgspec import Struct

from api import answers
from api.requests import StrictRequest
from models import accounts, errors, values
from search import documents, sync
from search import engine as index

Kinds = Annotated[list[documents.Kind] | None, QueryParameter(name="kind")]
Words = Annotated[
    str,
    QueryParameter(name="q", max_length=200, description="Chinese, English, or both."),
]
Slugs = Annotated[list[str] | None, QueryParameter(name="service_type", max_items=16)]


class HitOut(Struct, omit_defaults=True):
    """One thing found; `GET /v1/offerings/{id}` or `/v1/needs/{id}` has the rest."""

    id: str
    kind: str
    title: dict[Literal["zh", "en"], str]
    service_types: tuple[str, ...]
    community: str
    status: str
    location: values.Point | None = None
    capacity: int | None = None
    price: int | None = None
    rating: float | None = None
    distance_m: int | None = None
    highlights: dict[str, str] | None = None


class FoundOut(Struct):
    """One page of what was found. `lag_s` is how far the index is behind the database."""

    items: list[HitOut]
    total: int
    total_capped: bool
    facets: dict[str, dict[str, int]]
    page: int
    pages: int
    lag_s: float


class SearchController(Controller):
    """Full-text search, filters, facets and nearness."""

    path = "/v1/search"
    tags = ("search",)

    @get(operation_id="search", summary="Search offerings and needs")
    async def search(
        self,
        request: StrictRequest,
        engine: NamedDependency[index.SearchEngine],
        q: Words = "",
        kind: Kinds = None,
        service_type: Slugs = None,
        tag: Annotated[list[str] | None, QueryParameter(name="tag", max_items=16)] = None,
        community: Annotated[
            list[str] | None, QueryParameter(name="community", max_items=16)
        ] = None,
        weekday: Annotated[list[int] | None, QueryParameter(name="weekday", max_items=7)] = None,
        price_max: FromQuery[int | None] = None,
        capacity_min: FromQuery[int | None] = None,
        lat: Annotated[float | None, QueryParameter(name="lat", ge=-90, le=90)] = None,
        lon: Annotated[float | None, QueryParameter(name="lon", ge=-180, le=180)] = None,
        radius_m: FromQuery[int | None] = None,
        sort: FromQuery[index.Sort] = "relevance",
        facet: Annotated[list[index.Facet] | None, QueryParameter(name="facet")] = None,
        match: FromQuery[index.Match] = "any",
        highlight: FromQuery[bool] = False,
        page: Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, QueryParameter(name="page_size", ge=0, le=100)] = 20,
    ) -> Response[FoundOut]:
        """Words in Chinese or English (typos and prefixes too), narrowed by filters, ordered by
        relevance, newness, rating, price or distance. `lat` and `lon` go together."""
        if (lat is None) != (lon is None):
            missing = "lat" if lat is None else "lon"
            raise errors.Refusal("invalid", errors.FieldError(missing, "required"))
        near = values.Point(lat, lon) if lat is not None and lon is not None else None
        try:
            query = index.Query(
                text=q,
                kinds=tuple(kind or ()),
                service_types_any=tuple(service_type or ()),
                tags=tuple(tag or ()),
                communities=tuple(community or ()),
                weekdays=tuple(weekday or ()),
                price_max=price_max,
                capacity_min=capacity_min,
                near=near,
                radius_m=radius_m,
                sort=sort,
                facets=tuple(facet or ()),
                match=match,
                highlight=highlight,
                page=page,
                page_size=page_size,
            )
        except index.BadQuery as bad:
            field = errors.FieldError(
                _PARAMETER.get(bad.field, bad.field), "wrong_format", {"needed": bad.detail}
            )
            raise errors.Refusal("invalid", field) from None
        found = await engine.search(query, scope(request.user))
        return answers.shown(
            request,
            FoundOut(
                [_hit(hit) for hit in found.hits],
                found.total,
                found.total_capped,
                found.facets,
                found.page,
                found.pages,
                round(await sync.lag(), 3),
            ),
        )


_PARAMETER = {
    "text": "q",
    "kinds": "kind",
    "service_types_any": "service_type",
    "tags": "tag",
    "communities": "community",
    "weekdays": "weekday",
    "facets": "facet",
    "near": "lat",
}


def scope(caller: accounts.Caller) -> index.Scope:
    """The caller's visibility, as the index reads it: the same rule as the database's."""
    sees = accounts.visibility(caller)
    return index.Scope(
        places=frozenset(map(str, sees.places)),
        partners=frozenset(map(str, sees.partners)),
        everything=sees.everything,
    )


def _hit(hit: index.Hit) -> HitOut:
    found = hit.document
    where = found.location
    return HitOut(
        id=found.id,
        kind=found.kind,
        title={"zh": found.title_zh, "en": found.title_en},
        service_types=found.service_types,
        community=found.community,
        status=found.status,
        location=values.point(where.lat_e6, where.lon_e6) if where else None,
        capacity=found.capacity,
        price=found.price,
        rating=found.rating / 100 if found.rating else None,
        distance_m=hit.distance_m,
        highlights=hit.highlights or None,
    )
