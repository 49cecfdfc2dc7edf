"""Answers a query from one View: candidates, scope, filters, counts, order, page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models import values
from search import analysis, engine
from search.documents import Document
from search.embedded import marking
from search.embedded.columns import ABSENT, Bools, Columns, Ints
from search.embedded.store import View
from search.embedded.weighing import Weighing
from search.engine import Hit, Page, Query, Scope

Floats = NDArray[np.float64]
Key = Ints | Floats

_EARTH_M = 6_371_008.8
_LOOKED_AT = 4  # documents for each suggestion, since several may have the same title
_FARTHEST = int(np.iinfo(np.int64).max)


def find(view: View, query: Query, scope: Scope) -> Page:
    """One page of what matches the query within the scope."""
    asked = analysis.ask(query.text)
    slots, scores = _candidates(view, query, asked)
    visible = _visible(view.columns, slots, scope)
    slots, scores = _only(slots, visible), _only(scores, visible)
    filters = _filters(view.columns, slots, query)
    facets = {str(name): _counts(view.columns, slots, filters, name) for name in query.facets}
    passing = _all(filters, len(slots))
    slots, scores = _only(slots, passing), _only(scores, passing)
    shown = _page(view.columns, slots, scores, query)
    return Page(
        hits=_hits(view, shown, query, asked),
        total=len(slots),
        total_capped=False,
        facets=facets,
        page=query.page,
        pages=-(-len(slots) // query.page_size) if query.page_size else 0,
    )


def _candidates(view: View, query: Query, asked: analysis.Asked) -> tuple[Ints, Ints]:
    """Slots and scores of what the text finds; of everything if it asks for nothing."""
    if asked.words:
        return view.scored(query.text, asked, query.match)
    slots = np.flatnonzero(view.columns.alive)
    return slots, np.zeros(len(slots), np.int64)


def _visible(columns: Columns, slots: Ints, scope: Scope) -> Bools:
    if scope.everything:
        return np.ones(len(slots), np.bool_)
    visible = columns.public[slots]
    visible |= columns.codes["places"].any_of(slots, scope.places)
    visible |= columns.codes["partner"].any_of(slots, scope.partners)
    return visible


def _filters(columns: Columns, slots: Ints, query: Query) -> dict[str, Bools]:
    """What each filter of the query lets pass; those on a facet are named after it."""
    wanted: dict[str, Sequence[str]] = {
        "kind": query.kinds,
        "status": query.statuses,
        "service_types": query.service_types_any,
        "tags": query.tags,
        "community": query.communities,
        "weekdays": [str(day) for day in query.weekdays],
    }
    filters = {
        name: columns.codes[name].any_of(slots, some) for name, some in wanted.items() if some
    }
    for service_type in query.service_types_all:
        passes = columns.codes["service_types"].any_of(slots, [service_type])
        filters[f"all:{service_type}"] = passes
    for kind in query.credentials:
        filters[f"credential:{kind}"] = columns.codes["credentials"].any_of(slots, [kind])
    if query.ids is not None:
        filters["ids"] = columns.named(query.ids)[slots]
    if query.except_ids:
        filters["except_ids"] = ~columns.named(query.except_ids)[slots]
    if query.open_at is not None:
        filters["open_at"] = _open(columns, query.open_at)[slots]
    if query.price_max is not None:
        price = columns.numbers["price"][slots]
        filters["price_max"] = (price != ABSENT) & (price <= query.price_max)
    if query.capacity_min is not None:
        filters["capacity_min"] = columns.numbers["capacity"][slots] >= query.capacity_min
    if query.box is not None:
        filters["box"] = _inside(columns, slots, query.box)
    if query.near is not None and query.radius_m is not None:
        filters["radius_m"] = _within(columns, slots, query.near, query.radius_m)
    return filters


def _all(filters: dict[str, Bools], size: int, besides: str = "") -> Bools:
    passes = np.ones(size, np.bool_)
    for name, some in filters.items():
        if name != besides:
            passes &= some
    return passes


def _only(rows: Ints, passing: Bools) -> Ints:
    """Those that pass; mostly all do, and then nothing is copied."""
    return rows if passing.all() else rows[passing]


def _counts(columns: Columns, slots: Ints, filters: dict[str, Bools], name: str) -> dict[str, int]:
    counted = _only(slots, _all(filters, len(slots), besides=name))
    return columns.codes[name].counts(counted, engine.MAX_FACET_VALUES)


def _open(columns: Columns, at: engine.OpenAt) -> Bools:
    by_date = columns.dated if at.exact is None else ~columns.dated | columns.named(at.exact)
    found: Bools = columns.open_in(at.quarter) & by_date
    return found


def _inside(columns: Columns, slots: Ints, box: engine.Box) -> Bools:
    lat, lon = columns.lat_e6[slots], columns.lon_e6[slots]
    return (
        (lat >= values.micro(box.south))
        & (lat <= values.micro(box.north))
        & (lon >= values.micro(box.west))
        & (lon <= values.micro(box.east))
    )


def _within(columns: Columns, slots: Ints, near: values.Point, radius_m: int) -> Bools:
    # Only what lies in the same band of latitudes is worth the trigonometry.
    band_e6 = values.micro(np.degrees(radius_m / _EARTH_M)) + 1
    lat = columns.lat_e6[slots]
    middle = values.micro(near.lat)
    candidates = np.flatnonzero((lat >= middle - band_e6) & (lat <= middle + band_e6))
    within = np.zeros(len(slots), np.bool_)
    within[candidates] = _metres(columns, slots[candidates], near) <= radius_m
    return within


def _metres(columns: Columns, slots: Ints, near: values.Point) -> Floats:
    """Great-circle distances (haversine); infinite for what has no position."""
    lat_e6 = columns.lat_e6[slots]
    lat = np.radians(lat_e6 / 1e6)
    lon = np.radians(columns.lon_e6[slots] / 1e6)
    lat_0, lon_0 = np.radians(near.lat), np.radians(near.lon)
    chord = np.sin((lat - lat_0) / 2) ** 2
    chord += np.cos(lat) * np.cos(lat_0) * np.sin((lon - lon_0) / 2) ** 2
    metres: Floats = 2 * _EARTH_M * np.arcsin(np.sqrt(np.minimum(chord, 1)))
    metres[lat_e6 == ABSENT] = np.inf
    return metres


def _page(columns: Columns, slots: Ints, scores: Ints, query: Query) -> Ints:
    """The slots of the page that was asked for, in order."""
    first = (query.page - 1) * query.page_size
    if query.page_size == 0 or first >= len(slots):
        return slots[:0]
    keys: list[Key] = [-scores, -columns.numbers["rank_key"][slots]]
    if query.sort == "newest":
        keys.insert(0, -columns.numbers["created"][slots])
    elif query.sort == "rating":
        keys.insert(0, -columns.numbers["rating"][slots])
    elif query.sort == "price_asc":
        price = columns.numbers["price"][slots]
        keys.insert(0, np.where(price == ABSENT, _FARTHEST, price))
    elif query.sort == "distance" and query.near is not None:
        keys.insert(0, _metres(columns, slots, query.near))
    best = smallest(keys, first + query.page_size)
    return slots[best[first:]]


def smallest(keys: Sequence[Key], most: int) -> Ints:
    """The rows with the smallest keys, in order; later keys decide ties, then the row number.

    Narrows down key by key before sorting: sorting all of 50,000 rows would take ten times as
    long as finding the best twenty.
    """
    rows = np.arange(len(keys[0]))
    sure: list[Ints] = []
    for key in keys:
        if len(rows) <= most:
            break
        values_here = key[rows]
        limit = np.partition(values_here, most - 1)[most - 1]
        below = rows[values_here < limit]
        sure.append(below)
        most -= len(below)
        rows = rows[values_here == limit]
    kept = np.sort(np.concatenate([*sure, rows[:most]]))
    return kept[np.lexsort([key[kept] for key in reversed(keys)])]


def _hits(view: View, slots: Ints, query: Query, asked: analysis.Asked) -> tuple[Hit, ...]:
    found = view.documents(slots.tolist())
    metres = [np.inf] * len(found)
    if query.near is not None:
        metres = _metres(view.columns, slots, query.near).tolist()
    marks = Weighing(view.words, asked).marks() if query.highlight else None
    return tuple(
        Hit(
            document=document,
            distance_m=round(distance) if distance < np.inf else None,
            highlights=marking.highlights(document, marks) if marks else {},
        )
        for document, distance in zip(found, metres, strict=True)
    )


def suggest(view: View, text: str, scope: Scope, limit: int) -> list[str]:
    """Titles of what continues or resembles the text, in the script it is written in."""
    asked = analysis.ask(text)
    if not asked.words or limit < 1:
        return []
    most = min(_LOOKED_AT * limit, engine.MAX_PAGE_SIZE)
    page = find(view, Query(text=text, match="all", page_size=most), scope)
    chinese = any(word.han for word in asked.words)
    titles = [_title(hit.document, chinese=chinese) for hit in page.hits]
    return list(dict.fromkeys(filter(None, titles)))[:limit]


def _title(document: Document, *, chinese: bool) -> str:
    if chinese:
        return document.title_zh or document.title_en
    return document.title_en or document.title_zh
