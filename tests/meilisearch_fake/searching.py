"""One search: filters, ranking rules, facets, pages, marks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.meilisearch_fake import filters, texts
from tests.meilisearch_fake.state import Index, Json, Refused

_GEO_POINT = re.compile(r"_geoPoint\(\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\):(asc|desc)")
_KNOWN = {
    "indexUid", "q", "filter", "sort", "facets", "page", "hitsPerPage", "offset", "limit",
    "matchingStrategy", "locales", "attributesToRetrieve", "attributesToHighlight",
    "highlightPreTag", "highlightPostTag", "showRankingScore", "federationOptions",
}  # fmt: skip

Found = tuple[tuple[Any, ...], str]


def search(index: Index, asked: Json, also: object = None) -> Json:
    """What a search answers; `also` is the filter of a tenant token. Refuses what the server
    refuses."""
    for name in asked:
        if name not in _KNOWN:
            raise Refused(400, "bad_request", f"Unknown field `{name}`")
    found, total, facets = ordered(index, asked, also)
    query = texts.ask(asked.get("q") or "", index.settings["stopWords"])
    if "page" in asked or "hitsPerPage" in asked:
        size, page = asked.get("hitsPerPage", 20), asked.get("page", 1)
        shown = found[(page - 1) * size : page * size] if page else []
        pages = {"hitsPerPage": size, "page": page, "totalHits": total}
        pages["totalPages"] = -(-total // size) if size else 0
    else:
        offset, limit = asked.get("offset", 0), asked.get("limit", 20)
        shown = found[offset : offset + limit]
        pages = {"offset": offset, "limit": limit, "estimatedTotalHits": total}
    answer = {
        "indexUid": asked.get("indexUid"),
        "hits": [_hit(index, asked, query, id) for _, id in shown],
        "query": asked.get("q") or "",
        "processingTimeMs": 0,
        **pages,
    }
    if "facets" in asked and asked["facets"] is not None:
        # As the server: of a field that no document has there is no distribution.
        known = {name for document in index.documents.values() for name in document}
        counted = {name: counts for name, counts in facets.items() if name in known}
        answer |= {"facetDistribution": counted, "facetStats": {}}
    return answer


def federated(queries: Sequence[tuple[Index, Json, object]], federation: Json) -> Json:
    """One list of the hits of several searches, in order of their weighted score."""
    merged = []
    total = 0
    for number, (index, asked, also) in enumerate(queries):
        if {"page", "hitsPerPage", "limit", "offset", "facets"} & asked.keys():
            raise Refused(
                400,
                "invalid_multi_search_query_pagination",
                f"Inside `.queries[{number}]`: Using pagination options is not allowed in"
                " federated queries.",
            )
        found, count, _ = ordered(index, asked, also)
        total += count
        weight = asked.get("federationOptions", {}).get("weight", 1.0)
        query = texts.ask(asked.get("q") or "", index.settings["stopWords"])
        for key, id in found:
            hit = _hit(index, asked, query, id)
            score = weight / (1 + sum(_flat(key[: _ties(index)])))
            hit["_federation"] = {
                "indexUid": asked["indexUid"],
                "queriesPosition": number,
                "weightedRankingScore": score,
            }
            merged.append((-score, key, hit))
    merged.sort(key=lambda one: (one[0], one[1]))
    offset, limit = federation.get("offset", 0), federation.get("limit", 20)
    seen: dict[str, Json] = {}
    for _, _, hit in merged:
        seen.setdefault(hit["id"], hit)
    return {
        "hits": list(seen.values())[offset : offset + limit],
        "processingTimeMs": 0,
        "limit": limit,
        "offset": offset,
        "estimatedTotalHits": min(total, len(seen)),
    }


def ordered(index: Index, asked: Json, also: object) -> tuple[list[Found], int, Json]:
    """Everything that is found, in order; how much counts; and the facets that were asked for."""
    settings = index.settings
    filterable = set(settings["filterableAttributes"])
    try:
        passes = [filters.parse(one, filterable) for one in (asked.get("filter"), also)]
    except filters.BadFilter as bad:
        raise Refused(400, "invalid_search_filter", str(bad)) from bad
    for name in asked.get("facets") or []:
        if name not in filterable and name != "*":
            raise Refused(
                400, "invalid_search_facets", f"Attribute `{name}` is not facet-searchable."
            )
    if asked.get("matchingStrategy", "last") not in ("last", "all", "frequency"):
        raise Refused(400, "invalid_search_matching_strategy", "Unknown value")
    by = _sorts(index, asked.get("sort") or [])
    query = texts.ask(asked.get("q") or "", settings["stopWords"])
    every = asked.get("matchingStrategy") == "all"
    found: list[Found] = []
    for id, document in index.documents.items():
        if all(test(document) for test in passes):
            rank = texts.rank(query, index.words(id), every=every)
            if rank is not None:
                found.append((_key(settings["rankingRules"], rank, document, by), id))
    found.sort(key=lambda one: one[0])
    facets = {name: _counts(index, name, found) for name in asked.get("facets") or []}
    return found, min(len(found), settings["pagination"]["maxTotalHits"]), facets


def _flat(parts: Sequence[Any]) -> list[float]:
    return [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]


def _ties(index: Index) -> int:
    return len(index.settings["rankingRules"]) - 1


def _key(
    rules: list[str], rank: texts.Rank, document: Json, by: list[Callable[[Json], Any]]
) -> tuple[Any, ...]:
    """One part for each ranking rule; the smaller comes first."""
    parts: dict[str, Any] = {
        "sort": tuple(one(document) for one in by),
        "words": rank.missing,
        "typo": rank.typos,
        "proximity": rank.proximity,
        "attribute": (rank.field, rank.place),
        "exactness": rank.inexact,
    }
    key = []
    for rule in rules:
        if rule in parts:
            key.append(parts[rule])
        else:
            name, direction = rule.split(":")
            key.append(_by(name, direction)(document))
    return tuple(key)


def _sorts(index: Index, given: list[str]) -> list[Callable[[Json], Any]]:
    by: list[Callable[[Json], Any]] = []
    sortable = index.settings["sortableAttributes"]
    for one in given:
        point = _GEO_POINT.fullmatch(one)
        name = "_geo" if point else one.split(":")[0]
        if name not in sortable:
            raise Refused(400, "invalid_search_sort", f"Attribute `{name}` is not sortable.")
        if point:
            lat, lng = float(point[1]), float(point[2])
            by.append(_near(lat, lng, descending=point[3] == "desc"))
        else:
            by.append(_by(name, one.split(":")[1]))
    return by


def _by(name: str, direction: str) -> Callable[[Json], Any]:
    """Numbers first, in this direction; what has none comes last."""
    sign = -1 if direction == "desc" else 1

    def key(document: Json) -> tuple[int, float]:
        value = document.get(name)
        return (0, sign * value) if isinstance(value, int | float) else (1, 0)

    return key


def _near(lat: float, lng: float, *, descending: bool) -> Callable[[Json], Any]:
    def key(document: Json) -> tuple[int, float]:
        at = document.get("_geo")
        if at is None:
            return (1, 0)
        metres = filters.metres_between(at["lat"], at["lng"], lat, lng)
        return (0, -metres if descending else metres)

    return key


def _counts(index: Index, name: str, found: list[Found]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for _, id in found:
        value = index.documents[id].get(name)
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            text = str(one).lower() if isinstance(one, bool) else str(one)
            counts[text] = counts.get(text, 0) + 1
    faceting = index.settings["faceting"]
    by_count = faceting["sortFacetValuesBy"].get("*") == "count"
    most = sorted(counts, key=lambda text: (-counts[text], text) if by_count else (0, text))
    return {text: counts[text] for text in most[: faceting["maxValuesPerFacet"]]}


def _hit(index: Index, asked: Json, query: texts.Asked, id: str) -> Json:
    document = index.documents[id]
    displayed = index.settings["displayedAttributes"]
    kept = asked.get("attributesToRetrieve") or ["*"]
    hit = {
        name: value
        for name, value in document.items()
        if (displayed == ["*"] or name in displayed) and (kept == ["*"] or name in kept)
    }
    wanted = asked.get("attributesToHighlight")
    if wanted:
        before, after = asked.get("highlightPreTag", "<em>"), asked.get("highlightPostTag", "</em>")
        hit["_formatted"] = {
            name: _formatted(value, query, before, after, name in wanted or wanted == ["*"])
            for name, value in hit.items()
        }
    for sort in asked.get("sort") or []:
        point = _GEO_POINT.fullmatch(sort)
        at = document.get("_geo")
        if point and at:
            metres = filters.metres_between(at["lat"], at["lng"], float(point[1]), float(point[2]))
            hit["_geoDistance"] = round(metres)
    return hit


def _formatted(value: Any, query: texts.Asked, before: str, after: str, mark: bool) -> Any:
    if isinstance(value, list):
        return [_formatted(one, query, before, after, mark) for one in value]
    if isinstance(value, dict):
        return {key: _formatted(one, query, before, after, mark) for key, one in value.items()}
    if isinstance(value, bool) or value is None:
        return value
    text = str(value)
    return texts.marked(text, query, before, after) if mark else text
