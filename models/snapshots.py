"""What was compared for a match, kept so that it replays to the same score years later."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from typing import Any

from msgspec import Raw, Struct
from piccolo.columns import ForeignKey, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import base, engine, errors, needs


class Snapshot(Table):
    """One comparison, addressed by the SHA-256 of its content: the same comparison is one row."""

    digest = Varchar(length=64, primary_key=True)
    need = ForeignKey(needs.Need, null=False)
    content = Text(null=False)
    made_at = Timestamptz(null=False)


class SnapshotRecord(Struct, kw_only=True):
    """A stored comparison; `content` is JSON of the matcher's own facts and results."""

    digest: str
    need_id: uuid.UUID
    made_at: dt.datetime
    content: Raw


async def keep(need: uuid.UUID, content: bytes) -> str:
    """Store a comparison once and answer its digest."""
    digest = hashlib.sha256(content).hexdigest()
    async with engine.unit_of_work():
        await engine.execute(
            "INSERT INTO snapshot (digest, need, content, made_at) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (digest) DO NOTHING",
            digest,
            need,
            content.decode(),
            base.now(),
        )
    return digest


async def read(digest: str) -> SnapshotRecord:
    """One stored comparison, or the not-found refusal."""
    rows: list[dict[str, Any]] = await engine.fetch(
        "SELECT * FROM snapshot WHERE digest = $1", digest
    )
    if not rows:
        raise errors.not_found()
    row = rows[0]
    return SnapshotRecord(
        digest=row["digest"],
        need_id=base.as_id(row["need"]),
        made_at=base.moment(row["made_at"]),
        content=Raw(row["content"].encode()),
    )
