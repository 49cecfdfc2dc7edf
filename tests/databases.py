"""Databases for tests: an engine that is started, in use, and gone afterwards with its data.

async with databases.sqlite_engine() as opened: …
with postgres.server() as server:
    async with databases.postgres_engine(server) as opened: …
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

from models import engine
from tests import memory, postgres

E = TypeVar("E", engine.SQLite, engine.Postgres)


@contextlib.asynccontextmanager
async def sqlite_engine(path: Path | None = None) -> AsyncIterator[engine.SQLite]:
    """A fresh file, or the one at `path`, which stays."""
    with tempfile.TemporaryDirectory(dir=memory.directory()) as directory:
        async with in_use(engine.SQLite(path or Path(directory) / "test.sqlite")) as opened:
            yield opened


@contextlib.asynccontextmanager
async def postgres_engine(
    server: postgres.Server, template: str | None = None
) -> AsyncIterator[engine.Postgres]:
    """A fresh database on `server`, empty or copied from `template`."""
    name = f"test_{uuid.uuid4().hex}"
    await server.create_database(name, template)
    try:
        async with in_use(engine.Postgres(server.url(name))) as opened:
            yield opened
    finally:
        await server.drop_database(name)


@contextlib.asynccontextmanager
async def in_use(opened: E) -> AsyncIterator[E]:
    """Started and in use inside; closed afterwards, and the one before in use again."""
    before = engine._current
    await opened.start()
    engine.use(opened)
    try:
        yield opened
    finally:
        await opened.close()
        if before is not None:
            engine.use(before)
