"""Search over offerings, needs, service types and places in one list.

(Not api/search.py: that would shadow the package.)
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter, SkipValidation
from msgspec import Struct

from api import answers, asking, found, labels, language, shapes
from api.requests import StrictRequest
from models import base, errors, queries, values
from search import documents, hours, licensed, meaning, scopes, sync
from search import engine as index

Kinds = Annotated[list[documents.Kind] | None, QueryParameter(name="kind")]
Words = Annotated[
    str,
    QueryParameter(name="q", max_length=200, description="Chinese, English, pinyin or initials."),
]
Slugs = Annotated[list[str] | None, QueryParameter(name="service_type", max_items=16)]
_A_WALK = 15  # minutes
# The masks of the week hold for these years (`windows.offset_range`).
_YEARS = range(2020, 2060)


class SearchController(Controller):
    """Full-text search, filters, facets and nearness."""

    path = "/v1/search"
    tags = ("search",)

    @get(operation_id="search", summary="Search everything in one list")
    async def search(
        self,
        request: StrictRequest,
        engine: NamedDependency[SkipValidation[index.SearchEngine]],
        q: Words = "",
        kind: Kinds = None,
        service_type: Slugs = None,
        tag: Annotated[list[str] | None, QueryParameter(name="tag", max_items=16)] = None,
        community: Annotated[
            list[str] | None, QueryParameter(name="community", max_items=16)
        ] = None,
        weekday: Annotated[list[int] | None, QueryParameter(name="weekday", max_items=7)] = None,
        credential: Annotated[
            list[str] | None, QueryParameter(name="credential", max_items=4)
        ] = None,
        open_at: Annotated[str | None, QueryParameter(name="open_at", max_length=40)] = None,
        price_max: FromQuery[int | None] = None,
        capacity_min: FromQuery[int | None] = None,
        lat: Annotated[float | None, QueryParameter(name="lat", ge=-90, le=90)] = None,
        lon: Annotated[float | None, QueryParameter(name="lon", ge=-180, le=180)] = None,
        radius_m: FromQuery[int | None] = None,
        near_me: FromQuery[bool] = False,
        walk_minutes: Annotated[
            int | None, QueryParameter(name="walk_minutes", ge=1, le=120)
        ] = None,
        sort: FromQuery[index.Sort | None] = None,
        facet: Annotated[list[index.Facet] | None, QueryParameter(name="facet")] = None,
        match: FromQuery[index.Match] = "any",
        highlight: FromQuery[bool] = False,
        page: Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, QueryParameter(name="page_size", ge=0, le=100)] = 20,
        remember: FromQuery[bool] = True,
    ) -> Response[found.FoundOut]:
        """Words in Chinese, English or pinyin (typos and prefixes too), narrowed by filters,
        ordered by relevance, newness, rating, price or distance: one list of all the offerings,
        needs, service types and places that you may find, unless `kind` names some. Filters are
        about offerings and needs; so is a question without words. `lat` and `lon` go together; with
        them `near_me` asks for what is a walk of `walk_minutes` (15) away, the nearest first.
        `open_at` is exact by dates, exceptions and bookings. `credential` asks for a licence that
        is verified and valid at that time, or now, and says who is left out for it."""
        near = _near(lat, lon)
        if near_me or walk_minutes is not None:
            radius_m = _walk(near, radius_m, walk_minutes or _A_WALK)
            sort = sort or "distance"
        query = _query(
            text=q,
            # Who types nothing wants to see what there is, not what it is called.
            kinds=tuple(kind or ()) if kind or q.strip() else documents.OFFERED,
            service_types_any=tuple(service_type or ()),
            tags=tuple(tag or ()),
            communities=tuple(community or ()),
            weekdays=tuple(weekday or ()),
            credentials=tuple(credential or ()),
            price_max=price_max,
            capacity_min=capacity_min,
            near=near,
            radius_m=radius_m,
            sort=sort or "relevance",
            facets=tuple(facet or ()),
            match=match,
            highlight=highlight,
            page=page,
            page_size=page_size,
        )
        moment = _moment(open_at)
        finding = _Finding(engine, scopes.of(request.user), shapes.tongue_of(request))
        answer = await finding.find(query, moment)
        if remember and page == 1 and answer.total:
            # Not a dependency: of two the framework makes a group of tasks.
            ledger: queries.Ledger = request.app.state.ledger
            asking.note(ledger, request, q, community)
        return answers.shown(request, answer)


class _Finding(Struct, frozen=True):
    """One question to an engine, by somebody who reads this language."""

    target: index.SearchEngine
    scope: index.Scope
    tongue: language.Language

    async def find(self, query: index.Query, moment: dt.datetime | None) -> found.FoundOut:
        """The answer to a query, about what is open at a moment if one is given."""
        exact, capped, excluded, excluded_total = query, False, list[found.LeftOutOut](), 0
        if query.credentials:
            at = moment or base.now()
            held = await licensed.restricted(self.target, query, self.scope, at)
            exact, capped = held.query, held.capped
            excluded, excluded_total = await self._left_out(held)
        if moment is not None:
            exact, more = await hours.restricted(self.target, exact, self.scope, moment)
            capped = capped or more
        page = await self.target.search(exact, self.scope)
        facets = page.facets
        if query.kinds == documents.OFFERED and "kind" in facets:
            # Nobody asked for these kinds, so no others are told that would come without them.
            counted = facets["kind"].items()
            offered = {str(kind): n for kind, n in counted if kind in documents.OFFERED}
            facets = facets | {"kind": offered}
        other = None
        if query.page == 1:
            other = await meaning.did_you_mean(self.target, exact, self.scope, page.total)
        return found.FoundOut(
            [found.hit(hit, self.tongue) for hit in page.hits],
            page.total,
            page.total_capped or capped,
            facets,
            await labels.of(facets, self.tongue),
            page.page,
            page.pages,
            round(await sync.lag(), 3),
            found.meant(other),
            excluded,
            excluded_total,
        )

    async def _left_out(self, held: licensed.Restricted) -> tuple[list[found.LeftOutOut], int]:
        if not held.lacking:
            return [], 0
        page = await self.target.search(held.others, self.scope)
        told = [
            found.LeftOutOut(
                found.hit(hit, self.tongue),
                [
                    shapes.failure_out(failure, self.tongue)
                    for failure in held.lacking[hit.document.id]
                ],
            )
            for hit in page.hits
        ]
        return told, page.total


_PARAMETER = {
    "text": "q",
    "kinds": "kind",
    "service_types_any": "service_type",
    "tags": "tag",
    "communities": "community",
    "weekdays": "weekday",
    "credentials": "credential",
    "facets": "facet",
    "near": "lat",
}


def _query(**asked: Any) -> index.Query:
    """The query, or the refusal that names the parameter that is wrong."""
    try:
        return index.Query(**asked)
    except index.BadQuery as bad:
        raise _wrong(_PARAMETER.get(bad.field, bad.field), bad.detail) from None


def _near(lat: float | None, lon: float | None) -> values.Point | None:
    if lat is None and lon is None:
        return None
    if lat is None or lon is None:
        missing = "lat" if lat is None else "lon"
        raise errors.Refusal("invalid", errors.FieldError(missing, "required"))
    return values.Point(lat, lon)


def _walk(near: values.Point | None, radius_m: int | None, minutes: int) -> int:
    """How far one gets on foot; a radius that is smaller stays."""
    if near is None:
        raise errors.Refusal(
            "invalid", *(errors.FieldError(name, "required") for name in ("lat", "lon"))
        )
    far = minutes * found.METRES_A_QUARTER // 15
    return far if radius_m is None else min(far, radius_m)


def _moment(given: str | None) -> dt.datetime | None:
    """`now`, or a time of RFC 3339, in whose offset a query may bring a space for its plus."""
    if given is None or given == "now":
        return base.now() if given else None
    needed = "now, or a time such as 2026-12-01T08:00+08:00"
    try:
        moment = dt.datetime.fromisoformat(given.replace(" ", "+"))
    except ValueError:
        raise _wrong("open_at", needed) from None
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise _wrong("open_at", needed)
    return moment


def _wrong(field: str, needed: str) -> errors.Refusal:
    return errors.Refusal("invalid", errors.FieldError(field, "wrong_format", {"needed": needed}))
