"""Answers kept for repeated requests: a POST with an Idempotency-Key happens once."""

from __future__ import annotations

import datetime as dt
from typing import Any

from msgspec import Struct
from piccolo.columns import UUID, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import base, engine, errors

KEPT_FOR = dt.timedelta(days=7)


class Answer(Table):
    """The answer to one keyed request, written in the transaction of its effect."""

    id = UUID(primary_key=True)
    caller = Varchar(length=64, null=False)
    route = Varchar(length=200, null=False)
    key = Varchar(length=200, null=False)
    request_digest = Varchar(length=64, null=False)
    status = Integer(null=False)
    headers = Text(null=False)
    body = Text(null=False)
    created_at = Timestamptz(null=False)


class Kept(Struct, frozen=True):
    """A stored answer: HTTP status, headers and body."""

    status: int
    headers: dict[str, str]
    body: str


async def claim(caller: str, route: str, key: str, request_digest: str) -> Kept | None:
    """Take a key inside the running unit of work; the stored answer if it was taken before.

    A second request with the same key waits here for the first one to commit or roll back.
    Refuses the key for another payload.
    """
    now = base.now()
    # One that is not kept any more is taken over.
    claimed = await engine.rows(
        "INSERT INTO answer (id, caller, route, key, request_digest, status, headers, body,"
        " created_at) VALUES ($1, $2, $3, $4, $5, 0, '', '', $6)"
        " ON CONFLICT (caller, route, key) DO UPDATE SET"
        " request_digest = excluded.request_digest, status = 0, headers = '', body = '',"
        " created_at = excluded.created_at WHERE answer.created_at < $7 RETURNING id",
        base.new_id(),
        caller,
        route,
        key,
        request_digest,
        now,
        now - KEPT_FOR,
    )
    if claimed:
        return None
    rows: list[dict[str, Any]] = await engine.fetch(
        "SELECT request_digest, status, headers, body FROM answer"
        " WHERE caller = $1 AND route = $2 AND key = $3",
        caller,
        route,
        key,
    )
    if rows[0]["request_digest"] != request_digest:
        raise errors.Refusal("key_reused")
    return Kept(
        rows[0]["status"],
        base.unpack(rows[0]["headers"], dict[str, str]),
        rows[0]["body"],
    )


async def keep(caller: str, route: str, key: str, answer: Kept) -> None:
    """Store the answer of a claimed key, in the same unit of work."""
    await engine.later(
        "UPDATE answer SET status = $1, headers = $2, body = $3"
        " WHERE caller = $4 AND route = $5 AND key = $6",
        answer.status,
        base.pack(answer.headers),
        answer.body,
        caller,
        route,
        key,
    )
