"""Offerings as search documents: one builder for single updates, rebuilds and demo data."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import json

from models import base, disclosure, engine
from models.offerings import PUBLIC
from search import engine as index
from search import hours, places, turns
from search.documents import Document, Location

# Withdrawn ones leave the index.
INDEXED = "status <> 'withdrawn'"
_MOST_CREDENTIALS = 64
_SELECT = (
    "SELECT o.id, o.kind, o.partner, o.place, o.title_zh, o.title_en, o.description_zh,"
    " o.description_en, o.public_lat_e6, o.public_lon_e6, o.capacity, o.price_amount,"
    " o.service_types, o.features, o.availability, o.ratings, o.rating_sum, o.status, o.version,"
    f" CASE WHEN {PUBLIC} THEN 1 ELSE 0 END AS is_public"
    " FROM offering o JOIN partner p ON p.id = o.partner"
)

# Built in one go, which takes some milliseconds.
_AT_ONCE = 10


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
    stated = await _stated([row["id"] for row in rows], [row["partner"] for row in rows])
    ops: list[index.Op] = []
    async for several in turns.pieces(ids, _AT_ONCE):
        for identity in several:
            key = str(identity)
            row = found.get(key)
            if row is None or row["status"] == "withdrawn":
                ops.append(index.Delete(key, row["version"] if row else 1))
            else:
                is_public = bool(row.pop("is_public"))
                known = disclosure.columns("offering", row, "public")
                kinds = stated.get(key, set()) | stated.get(str(row["partner"]), set())
                lineage = where[str(row["place"])]
                document = _document(identity, known, is_public, lineage, names, kinds)
                ops.append(index.Upsert(document))
    return ops


async def _stated(offerings: Sequence[Any], partners: Sequence[Any]) -> dict[str, set[str]]:
    """The kinds of credentials by the offering or, where they are of none in particular, the
    partner that has stated them."""
    found: dict[str, set[str]] = {}
    if not offerings:
        return found
    where = base.Where()
    own, shared = where.values(offerings), where.values(sorted(map(base.as_id, set(partners))))
    # Not `offering IS NULL`: SQLite would go through all that are of no single offering.
    for holder, kind in await engine.rows(
        f"SELECT CAST(offering AS text), kind FROM credential WHERE offering IN ({own})"
        " UNION SELECT CAST(partner AS text), kind FROM credential"
        f" WHERE COALESCE(offering, partner) = partner AND partner IN ({shared})",
        *where.args,
    ):
        found.setdefault(str(holder), set()).add(kind)
    return found


def _document(
    identity: uuid.UUID,
    row: dict[str, Any],
    is_public: bool,
    lineage: places.Lineage,
    names: dict[str, tuple[str, ...]],
    credentials: set[str],
) -> Document:
    services = tuple(json.decode(row["service_types"]))
    open_hours = hours.of(row["availability"])
    located = row["public_lat_e6"] is not None and row["public_lon_e6"] is not None
    return Document(
        id=str(identity),
        kind=row["kind"],
        version=row["version"],
        title_zh=row["title_zh"],
        title_en=row["title_en"],
        description_zh=row["description_zh"],
        description_en=row["description_en"],
        service_types=services,
        service_names=tuple(itertools.chain.from_iterable(names.get(one, ()) for one in services)),
        tags=tuple(json.decode(row["features"])),
        pinyin=places.typed(row["title_zh"], services, names),
        community=lineage.community,
        community_name=lineage.community_name,
        places=lineage.ids,
        partner=str(row["partner"]),
        public=is_public,
        location=Location(row["public_lat_e6"], row["public_lon_e6"]) if located else None,
        capacity=row["capacity"],
        price=row["price_amount"],
        rating=row["rating_sum"] // row["ratings"] if row["ratings"] else 0,
        weekdays=open_hours.weekdays,
        open_week=open_hours.open_week,
        dated=open_hours.dated,
        credentials=tuple(sorted(credentials)[:_MOST_CREDENTIALS]),
        status=row["status"],
        created=places.seconds(identity),
        rank_key=places.rank(identity),
    )
