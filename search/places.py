"""What documents say of where they belong, and of the services they name."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from models import base, engine, services
from search import pinyin


class Lineage(Struct, frozen=True):
    """A place and everything above it: ids for the scope, the community for facet and text."""

    ids: tuple[str, ...]
    community: str
    community_name: str


async def lineages(place_ids: Sequence[Any]) -> dict[str, Lineage]:
    """The lineage of each place, by its id."""
    asked = sorted({str(place) for place in place_ids})
    if not asked:
        return {}
    # As tuples: there are some five for each document of an index.
    rows = await engine.rows(
        "SELECT CAST(c.descendant AS text), CAST(c.ancestor AS text), p.kind, p.slug, p.name_zh,"
        " p.name_en FROM place_closure c JOIN place p ON p.id = c.ancestor"
        f" WHERE c.descendant IN ({base.placeholders(len(asked))}) ORDER BY c.depth",
        *asked,
    )
    grouped: dict[str, list[tuple[str, ...]]] = {}
    for place, *above in rows:
        grouped.setdefault(place, []).append(tuple(above))
    return {place: _lineage(above) for place, above in grouped.items()}


def _lineage(above: list[tuple[str, ...]]) -> Lineage:
    """Of (id, kind, slug, name in Chinese, name in English) of the place and those above it."""
    community = next((row for row in above if row[1] == "community"), None)
    return Lineage(
        tuple([row[0] for row in above]),
        community[2] if community else "",
        f"{community[3]} {community[4]}" if community else "",
    )


async def service_names() -> dict[str, tuple[str, ...]]:
    """What each service type is called, with its synonyms, in both languages. Kept: never change
    it."""
    return await engine.kept(_service_names, None, _read_service_names) or {}


_service_names: engine.Memo[dict[str, tuple[str, ...]]] = engine.Memo(("service_type",), 1)


async def _read_service_names() -> dict[str, tuple[str, ...]]:
    return {
        service.slug: (
            service.name.zh,
            service.name.en,
            *service.synonyms.zh,
            *service.synonyms.en,
        )
        for service in await services.every()
    }


def typed(
    title: str, services: Sequence[str], names: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """What may be typed on a Latin keyboard for a title and the names of its service types."""
    return pinyin.keys((title, *(names[slug][0] for slug in services if slug in names)))


def seconds(identity: uuid.UUID) -> int:
    """When a UUIDv7 was made, in Unix seconds."""
    return (identity.int >> 80) // 1000


def rank(identity: uuid.UUID) -> int:
    """The tie-breaker of a UUIDv7: its 48-bit time, so that the newer comes first."""
    return identity.int >> 80
