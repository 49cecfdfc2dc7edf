"""Service types and places as search documents, so that one list has whatever is called like that.

They are found by their names alone: no filter on hours, prices or nearness knows them, and ties go
to offerings and needs. Buildings are left out, which are homes.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from models import base, engine, services
from search import engine as index
from search import pinyin
from search.documents import Document

INDEXED = "kind <> 'building' AND status = 'active'"
# A service type has no version of its own: what ships with the program comes with a rebuild.
VERSION = 1
# What settles ties between names, the larger first; all of it below any offering and need.
_RANKS = {"grid": 1, "community": 2, "subdistrict": 3, "district": 4, "municipality": 5}
_SERVICE_RANK = 6


async def service_types() -> list[Document]:
    """Every service type, by its slug, with its other words."""
    return [
        Document(
            id=service.slug,
            kind="service_type",
            version=VERSION,
            title_zh=service.name.zh,
            title_en=service.name.en,
            service_names=(*service.synonyms.zh, *service.synonyms.en),
            pinyin=pinyin.keys((service.name.zh, *service.synonyms.zh)),
            public=True,
            rank_key=_SERVICE_RANK,
        )
        for service in await services.every()
    ]


async def operations(ids: Sequence[uuid.UUID]) -> list[index.Op]:
    """What brings the index up to date for these places: buildings and withdrawn ones leave it."""
    if not ids:
        return []
    rows = await engine.fetch(
        "SELECT id, kind, name_zh, name_en, version FROM place"
        f" WHERE {INDEXED} AND id IN ({base.placeholders(len(ids))})",
        *ids,
    )
    found = {str(row["id"]): row for row in rows}
    return [
        index.Upsert(_place(found[key])) if key in found else index.Delete(key, 1)
        for key in map(str, ids)
    ]


def _place(row: dict[str, Any]) -> Document:
    return Document(
        id=str(row["id"]),
        kind="place",
        version=row["version"],
        title_zh=row["name_zh"],
        title_en=row["name_en"],
        pinyin=pinyin.keys((row["name_zh"],)),
        public=True,
        rank_key=_RANKS[row["kind"]],
    )
