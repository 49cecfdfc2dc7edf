"""Is the process alive, and can it serve?"""

from __future__ import annotations

import asyncio
from typing import Literal

from litestar import Response, get
from msgspec import Struct

from models import engine, migrate


class Health(Struct):
    """`ok`, or what is missing."""

    status: Literal["ok", "unavailable"]
    database: Literal["ok", "unavailable", "migrations pending"]


@get("/livez", operation_id="livez", summary="The process is alive", tags=["health"])
async def livez() -> dict[str, str]:
    """Answers as long as the event loop turns; asks nothing else."""
    return {"status": "ok"}


@get("/readyz", operation_id="readyz", summary="The service can serve", tags=["health"])
async def readyz() -> Response[Health]:
    """Whether the database answers and is up to date; 503 when not."""
    try:
        async with asyncio.timeout(2):
            pending = await migrate.pending()
    except (TimeoutError, OSError, engine.DatabaseUnavailable):
        return Response(Health("unavailable", "unavailable"), status_code=503)
    if pending:
        return Response(Health("unavailable", "migrations pending"), status_code=503)
    return Response(Health("ok", "ok"))
