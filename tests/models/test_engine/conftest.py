"""A database with the two tables in it: on both engines, or on one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from models import engine
from tests import databases
from tests.models.test_engine import shelves


@contextlib.asynccontextmanager
async def a_database(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[engine.Engine]:
    if kind == "sqlite":
        context: contextlib.AbstractAsyncContextManager[engine.Engine] = databases.sqlite_engine()
    else:
        context = databases.postgres_engine(request.getfixturevalue("postgres_server"))
    async with context as opened:
        await shelves.Shelf.create_table()
        await shelves.Book.create_table()
        await shelves.put("first", 0)
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
async def db(request: pytest.FixtureRequest) -> AsyncIterator[engine.Engine]:
    async with a_database(request.param, request) as opened:
        yield opened


@pytest.fixture
async def lite(request: pytest.FixtureRequest) -> AsyncIterator[engine.SQLite]:
    async with a_database("sqlite", request) as opened:
        assert isinstance(opened, engine.SQLite)
        yield opened


@pytest.fixture
async def pg(request: pytest.FixtureRequest) -> AsyncIterator[engine.Postgres]:
    async with a_database("postgres", request) as opened:
        assert isinstance(opened, engine.Postgres)
        yield opened
