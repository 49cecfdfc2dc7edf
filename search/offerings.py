"""Offerings as search documents: one builder for single updates, rebuilds and demo data."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import json

from models import base, disclosure, engine
from models.offerings import PUBLIC
from search import engine as index
from search import places
from search.documents import Document, Location

# Withdrawn ones leave the index.
INDEXED = "status <> 'withdrawn'"
_SELECT = (
    f"SELECT o.*, CASE WHEN {PUBLIC} THEN 1 ELSE 0 END AS is_public"
    " FROM offering o JOIN partner p ON p.id = o.partner"
)


async def operations(ids: Sequence[uuid.UUID]) -> list[index.Op]:
    """What brings the index up to date for these offerings: their documents as they are now, of
    public columns alone, and deletions for those that are withdrawn or gone."""
    if not ids:
        return []
    rows = await engine.fetch(f"{_SELECT} WHERE o.id IN ({base.placeholders(len(ids))})", *ids)
    found = {str(row["id"]): row for row in rows}
    # Where it really is, for the scope of its own staff: no question names it, no hit tells it.
    where = await places.lineages([row["place"] for row in rows])
    names = await places.service_names()
    ops: list[index.Op] = []
    for key in map(str, ids):
        row = found.get(key)
        if row is None or row["status"] == "withdrawn":
            ops.append(index.Delete(key, row["version"] if row else 1))
        else:
            is_public = bool(row.pop("is_public"))
            known = disclosure.columns("offering", row, "public")
            ops.append(index.Upsert(_document(known, is_public, where[str(row["place"])], names)))
    return ops


def _document(
    row: dict[str, Any],
    is_public: bool,
    lineage: places.Lineage,
    names: dict[str, tuple[str, ...]],
) -> Document:
    services = tuple(json.decode(row["service_types"]))
    windows = json.decode(row["availability"])
    located = row["public_lat_e6"] is not None and row["public_lon_e6"] is not None
    identity = uuid.UUID(str(row["id"]))
    return Document(
        id=str(identity),
        kind=row["kind"],
        version=row["version"],
        title_zh=row["title_zh"],
        title_en=row["title_en"],
        description_zh=row["description_zh"],
        description_en=row["description_en"],
        service_types=services,
        service_names=tuple(name for slug in services for name in names.get(slug, ())),
        tags=tuple(json.decode(row["features"])),
        community=lineage.community,
        community_name=lineage.community_name,
        places=lineage.ids,
        partner=str(row["partner"]),
        public=is_public,
        location=Location(row["public_lat_e6"], row["public_lon_e6"]) if located else None,
        capacity=row["capacity"],
        price=row["price_amount"],
        rating=row["rating_sum"] // row["ratings"] if row["ratings"] else 0,
        weekdays=tuple(sorted({day for window in windows for day in window["days"]})),
        status=row["status"],
        created=places.seconds(identity),
        rank_key=places.rank(identity),
    )
