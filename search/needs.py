"""Needs as search documents: one builder for single updates, rebuilds and demo data."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from models import base, disclosure, engine
from search import engine as index
from search import hours, places, turns
from search.documents import Document, Location

# Withdrawn and closed ones leave the index.
INDEXED = "status NOT IN ('withdrawn', 'closed')"

_SELECT = (
    "SELECT id, place, service_type, title_zh, title_en, description_zh, description_en,"
    " public_lat_e6, public_lon_e6, beneficiaries, budget_amount, windows, status, version"
    " FROM need"
)

# Built in one go, which takes some milliseconds.
_AT_ONCE = 10


async def operations(ids: Sequence[uuid.UUID]) -> list[index.Op]:
    """What brings the index up to date for these needs: documents of public columns alone;
    withdrawn and closed needs leave it."""
    if not ids:
        return []
    rows = await engine.fetch(f"{_SELECT} WHERE id IN ({base.placeholders(len(ids))})", *ids)
    found = {str(row["id"]): row for row in rows}
    # Where it really is, for the scope of its own staff: no question names it, no hit tells it.
    where = await places.lineages([row["place"] for row in rows])
    names = await places.service_names()
    ops: list[index.Op] = []
    async for several in turns.pieces(ids, _AT_ONCE):
        for identity in several:
            key = str(identity)
            row = found.get(key)
            if row is None or row["status"] in ("withdrawn", "closed"):
                ops.append(index.Delete(key, row["version"] if row else 1))
            else:
                known = disclosure.columns("need", row, "public")
                ops.append(
                    index.Upsert(_document(identity, known, where[str(row["place"])], names))
                )
    return ops


def _document(
    identity: uuid.UUID,
    row: dict[str, Any],
    lineage: places.Lineage,
    names: dict[str, tuple[str, ...]],
) -> Document:
    open_hours = hours.of(row["windows"])
    located = row["public_lat_e6"] is not None and row["public_lon_e6"] is not None
    return Document(
        id=str(identity),
        kind="need",
        version=row["version"],
        title_zh=row["title_zh"],
        title_en=row["title_en"],
        description_zh=row["description_zh"],
        description_en=row["description_en"],
        service_types=(row["service_type"],),
        service_names=names.get(row["service_type"], ()),
        pinyin=places.typed(row["title_zh"], (row["service_type"],), names),
        community=lineage.community,
        community_name=lineage.community_name,
        places=lineage.ids,
        public=row["status"] == "open",
        location=Location(row["public_lat_e6"], row["public_lon_e6"]) if located else None,
        capacity=row["beneficiaries"],
        price=row["budget_amount"],
        weekdays=open_hours.weekdays,
        open_week=open_hours.open_week,
        dated=open_hours.dated,
        status=row["status"],
        created=places.seconds(identity),
        rank_key=places.rank(identity),
    )
