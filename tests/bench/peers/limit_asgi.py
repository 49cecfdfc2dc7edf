"""How fast the same three routes can be: bare ASGI, asyncpg and msgspec, nothing in between.

python -m tests.bench.peers.limit_asgi postgres://… ACCOUNT
"""

from __future__ import annotations

import base64
import datetime as dt
import sys
import urllib.parse
import uuid
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import msgspec
import uuid_utils.compat

from models import needs, values
from tests.bench import peers

_COLUMNS = (
    "id, service_type, place, title_zh, title_en, description_zh, description_en, lat_e6, lon_e6,"
    " radius_m, beneficiaries, priority, windows, min_coverage_bp, budget_amount, budget_currency,"
    " budget_per, slots, status, version, created_at, updated_at"
)
_GET = f"SELECT {_COLUMNS} FROM need WHERE id = $1 AND status = 'open'"
_PAGE = f"SELECT {_COLUMNS} FROM need WHERE status = 'open'"
_INSERTED = (
    "id, service_type, place, public_place, posted_by, title_zh, title_en, description_zh,"
    " description_en, lat_e6, lon_e6, public_lat_e6, public_lon_e6, beneficiary, radius_m,"
    " beneficiaries, priority, windows, min_coverage_bp, budget_amount, budget_currency,"
    " budget_per, slots, status, version, created_at, updated_at"
)
_MARKS = ", ".join(f"${number}" for number in range(1, len(_INSERTED.split(",")) + 1))
_INSERT = f"INSERT INTO need ({_INSERTED}) VALUES ({_MARKS}) RETURNING {_COLUMNS}"
_draft, _encode = msgspec.json.Decoder(needs.NeedDraft).decode, msgspec.json.Encoder().encode
_account = uuid.UUID(sys.argv[2])


class App:
    """The three routes."""

    _pool: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._run(receive, send)
            return
        status = 200
        if scope["method"] == "POST":
            body = (await receive())["body"]
            status, answer = 201, _need(await self._fetch(_INSERT, *_inserted(_draft(body))))
        elif scope["path"] == "/v1/needs":
            answer = await self._page(urllib.parse.parse_qs(scope["query_string"].decode()))
        else:
            answer = _need(await self._fetch(_GET, uuid.UUID(scope["path"][len("/v1/needs/") :])))
        body = _encode(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _run(self, receive: Any, send: Any) -> None:
        await receive()
        self._pool = await asyncpg.create_pool(sys.argv[1], min_size=8, max_size=8, reset=_nothing)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _fetch(self, sql: str, *args: Any) -> Any:
        async with self._pool.acquire() as connection:
            return (await connection.fetch(sql, *args))[0]

    async def _page(self, asked: dict[str, list[str]]) -> dict[str, Any]:
        sql, args, limit = _PAGE, [], int(asked.get("limit", ["20"])[0])
        if "service_type" in asked:
            args.append(asked["service_type"][0])
            sql += f" AND service_type = ${len(args)}"
        if "cursor" in asked:
            args.append(uuid.UUID(bytes=base64.urlsafe_b64decode(asked["cursor"][0] + "==")))
            sql += f" AND id < ${len(args)}"
        async with self._pool.acquire() as connection:
            found = await connection.fetch(f"{sql} ORDER BY id DESC LIMIT {limit + 1}", *args)
        more = len(found) > limit
        last = base64.urlsafe_b64encode(found[limit - 1][0].bytes).decode() if more else None
        return {"items": [_need(row) for row in found[:limit]], "next": last and last.rstrip("=")}


def _need(row: Any) -> dict[str, Any]:
    return {
        "id": row[0],
        "service_type": row[1],
        "place_id": row[2],
        "title": {"zh": row[3], "en": row[4]},
        "description": {"zh": row[5], "en": row[6]},
        "location": None if row[7] is None else {"lat": row[7] / 1e6, "lon": row[8] / 1e6},
        "location_exact": True,
        "radius_m": row[9],
        "beneficiaries": row[10],
        "priority": row[11],
        "windows": msgspec.Raw(row[12].encode()),
        "min_coverage": row[13] / 10_000,
        "budget": None
        if row[14] is None
        else {"amount": row[14], "currency": row[15], "per": row[16]},
        "slots": msgspec.Raw(row[17].encode()),
        "status": row[18],
        "version": row[19],
        "created_at": row[20],
        "updated_at": row[21],
    }


def _inserted(draft: needs.NeedDraft) -> tuple[Any, ...]:
    now, at = dt.datetime.now(dt.UTC), values.position(draft.location)
    row = needs.columns(draft) | at | {"service_type": draft.service_type}
    row |= {"id": uuid_utils.compat.uuid7(), "place": draft.place_id}
    row |= {"public_place": draft.place_id, "posted_by": _account, "beneficiary": "community"}
    row |= {"version": 1, "created_at": now, "updated_at": now}
    return tuple(row[name.strip()] for name in _INSERTED.split(","))


async def _nothing(_: object) -> None:
    """No reset of connections that nobody has set anything on."""


if __name__ == "__main__":
    peers.serve(App())
