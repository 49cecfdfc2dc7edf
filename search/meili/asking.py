"""Queries as the server takes them, and its answers as pages.

Nothing a caller typed gets into a filter: it is put together from checked slugs and numbers. Of
the text only its words are sent, since the server would read quotes and hyphens as commands.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import rjieba
from msgspec import Struct, field

from models import values
from search import analysis
from search.documents import Document
from search.engine import Hit, OpenAt, Page, Query, Scope
from search.meili import entries

_EARTH_M = 6_371_008.8
_LOCALES = {"zh": "cmn", "en": "eng"}
_LATIN = "0-9A-Za-z\u00c0-\u024f"
_CUT_OFF = re.compile(f"(?<=[{_LATIN}]){entries.CLOSE}([{_LATIN}]+)")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Answer(Struct, frozen=True):
    """What the server found for one query."""

    total: int = field(name="totalHits")
    hits: tuple[msgspec.Raw, ...] = ()
    facets: dict[str, dict[str, int]] = field(name="facetDistribution", default_factory=dict)


class Answers(Struct, frozen=True):
    """What the server found for several queries, in their order."""

    results: tuple[Answer, ...]


def asked(index: str, query: Query, scope: Scope) -> list[dict[str, Any]]:
    """What to ask the server: the query itself, and then each facet that ignores a filter."""
    filters = _filters(query)
    main = _search(index, query, [*seen_by(scope), *filters.values()])
    main |= {"page": query.page, "hitsPerPage": query.page_size, "sort": _sort(query)}
    main["facets"] = [name for name in query.facets if name not in filters]
    if query.highlight:
        main |= {
            "attributesToHighlight": entries.TEXTS,
            "highlightPreTag": entries.OPEN,
            "highlightPostTag": entries.CLOSE,
        }
    searches = [main]
    for name in _own(query, filters):
        others = [clause for key, clause in filters.items() if key != name]
        count = _search(index, query, [*seen_by(scope), *others])
        searches.append(count | {"page": 1, "hitsPerPage": 0, "facets": [name]})
    return searches


def page(query: Query, answers: Sequence[Answer]) -> Page:
    """The page, from the answers to what `asked` asks for."""
    main = answers[0]
    counts = dict(main.facets)
    for answer in answers[1:]:
        counts |= answer.facets
    return Page(
        hits=tuple(_hit(query, raw) for raw in main.hits),
        total=main.total,
        total_capped=main.total >= entries.MAX_TOTAL,
        facets={name: counts.get(name, {}) for name in query.facets},
        page=query.page,
        pages=-(-main.total // query.page_size) if query.page_size else 0,
    )


def words(text: str, *, all_of_them: bool) -> str:
    """The words of a text as the server is to read them.

    What the dictionary leaves over of a Chinese run (a name, or a part across two words) goes as
    a phrase where it has to be found anyway. The server never drops a phrase, so elsewhere it
    goes as characters.
    """
    read = analysis.ask(text).words
    sent = []
    for position, word in enumerate(read):
        left_over = word.han and len(rjieba.cut(word.text, False)) > 1
        phrase = left_over and (all_of_them or position == 0)
        sent.append(f'"{word.text}"' if phrase else word.text)
    finished = bool(read) and not (read[-1].han or read[-1].open)
    return " ".join(sent) + " " * finished


def title(document: Document, text: str) -> str:
    """The document's title in the script of the text, or else the one it has."""
    titles = (document.title_en, document.title_zh)
    chinese = any(word.han for word in analysis.ask(text).words)
    return next(filter(None, reversed(titles) if chinese else titles), "")


def _search(index: str, query: Query, clauses: Iterable[str]) -> dict[str, Any]:
    locales = [_LOCALES[language] for language in query.languages if language in _LOCALES]
    return {
        "indexUid": index,
        "q": words(query.text, all_of_them=query.match == "all"),
        "filter": list(clauses),  # all of them must hold
        "matchingStrategy": "all" if query.match == "all" else "last",
        "locales": locales or list(_LOCALES.values()),
    }


def _own(query: Query, filters: dict[str, str]) -> list[str]:
    return [name for name in query.facets if name in filters]


def seen_by(scope: Scope) -> list[str]:
    """What restricts a search to what the scope may see; all of it must hold."""
    if scope.everything:
        return []
    clauses = ["public = true"]
    for name, some in (("places", scope.places), ("partner", scope.partners)):
        keys = sorted(key for key in some if _KEY.fullmatch(key))
        if keys:
            clauses.append(_one_of(name, keys))
    return [" OR ".join(clauses)]


def _filters(query: Query) -> dict[str, str]:
    """The filters of the query; those on a facet are named after it."""
    wanted: dict[str, Sequence[str | int]] = {
        "kind": query.kinds,
        "status": query.statuses,
        "service_types": query.service_types_any,
        "tags": query.tags,
        "community": query.communities,
        "weekdays": query.weekdays,
    }
    filters = {name: _one_of(name, some) for name, some in wanted.items() if some}
    for service_type in query.service_types_all:
        filters[f"all:{service_type}"] = f'service_types = "{service_type}"'
    for kind in query.credentials:
        filters[f"credential:{kind}"] = f'credentials = "{kind}"'
    if query.ids is not None:
        filters["ids"] = _one_of("id", query.ids)
    if query.except_ids:
        filters["except_ids"] = f"NOT {_one_of('id', query.except_ids)}"
    if query.open_at is not None:
        filters["open_at"] = _open(query.open_at)
    if query.price_max is not None:
        filters["price_max"] = f"price <= {query.price_max:d}"
    if query.capacity_min is not None:
        filters["capacity_min"] = f"capacity >= {query.capacity_min:d}"
    if query.box is not None:
        box = query.box
        north_east = f"[{box.north:.6f}, {box.east:.6f}]"
        filters["box"] = f"_geoBoundingBox({north_east}, [{box.south:.6f}, {box.west:.6f}])"
    if query.near is not None and query.radius_m is not None:
        filters["radius_m"] = f"_geoRadius({_point(query.near)}, {query.radius_m:d})"
    return filters


def _open(at: OpenAt) -> str:
    dated = "dated = true"
    if at.exact is not None:
        dated = f"(dated = false OR {_one_of('id', at.exact)})"
    return f"open_quarters = {at.quarter:d} AND {dated}"


def _one_of(name: str, some: Iterable[str | int]) -> str:
    quoted = (f'"{one}"' for one in some)
    return f"{name} IN [{', '.join(quoted)}]"


def _point(point: values.Point) -> str:
    return f"{point.lat:.6f}, {point.lon:.6f}"


def _sort(query: Query) -> list[str]:
    if query.sort == "distance" and query.near is not None:
        return [f"_geoPoint({_point(query.near)}):asc"]
    fields = {"newest": "created:desc", "rating": "rating:desc", "price_asc": "price:asc"}
    return [fields[query.sort]] if query.sort in fields else []


def _hit(query: Query, raw: msgspec.Raw) -> Hit:
    document, kept = entries.read(raw)
    fields = entries.TEXTS if kept.formatted else ()
    marked = {name: _highlight(document, name, kept.formatted) for name in fields}
    return Hit(
        document=document,
        distance_m=_metres(document, query.near),
        highlights={name: text for name, text in marked.items() if text},
    )


def _metres(document: Document, near: values.Point | None) -> int | None:
    """The great-circle distance (haversine); the server tells it only when it sorts by it."""
    at = document.location
    if near is None or at is None:
        return None
    lat, lon = math.radians(at.lat_e6 / 1e6), math.radians(at.lon_e6 / 1e6)
    lat_0, lon_0 = math.radians(near.lat), math.radians(near.lon)
    chord = math.sin((lat - lat_0) / 2) ** 2
    chord += math.cos(lat) * math.cos(lat_0) * math.sin((lon - lon_0) / 2) ** 2
    return round(2 * _EARTH_M * math.asin(math.sqrt(min(chord, 1.0))))


def _highlight(document: Document, name: str, formatted: dict[str, Any]) -> str:
    """The field escaped, what the server marked inside <em>; empty if it marked nothing."""
    marked, texts = formatted[name], getattr(document, name)
    if isinstance(texts, str):
        marked, texts = [marked], (texts,)
    if not any(entries.OPEN in one for one in marked):
        return ""
    moved = (_moved(one, text) for one, text in zip(marked, texts, strict=True))
    # The server marks as much of a word as was typed, and each part of a compound by itself.
    whole = _CUT_OFF.sub(rf"\1{entries.CLOSE}", ", ".join(moved))
    escaped = html.escape(whole.replace(entries.CLOSE + entries.OPEN, ""))
    return escaped.replace(entries.OPEN, "<em>").replace(entries.CLOSE, "</em>")


def _moved(marked: str, text: str) -> str:
    """The marks of the plain text put into the one it was made from, which may bring none."""
    rest = iter(text)
    moved = []
    for char in marked:
        if char not in (entries.OPEN, entries.CLOSE):
            char = next(rest)
            if char in (entries.OPEN, entries.CLOSE):
                continue
        moved.append(char)
    return "".join(moved)
