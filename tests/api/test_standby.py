"""The worker apart: one at a time, and it hears at once of what the servers write."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api import standby, worker
from models import engine
from models.engine import ending
from search import comparing, meili, sync
from search.engine import Query, Scope
from tests import databases, fixtures, meilisearch, postgres


async def test_a_worker_apart_hears_of_a_write_at_once(
    templates: dict[tuple[str, str], fixtures.Template], postgres_server: postgres.Server
) -> None:
    at_work, heard = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        at_work.set()
        await asyncio.Event().wait()

    async with (
        fixtures.copied("postgres", templates["postgres", "migrated"], postgres_server) as url,
        databases.in_use(engine.Postgres(url)) as server,
        asyncio.timeout(20),
    ):
        working = asyncio.create_task(standby.run_alone(url, work, heard.set))
        await at_work.wait()
        # That it hears others it says, too, and nobody has to do anything for that.
        await server.listen()
        await asyncio.sleep(0.2)
        assert not heard.is_set()
        await engine.execute("UPDATE service_type SET slug = slug")
        await asyncio.wait_for(heard.wait(), 10)
        working.cancel()
        await asyncio.wait([working])


async def test_a_worker_that_loses_its_lock_in_a_rebuild_leaves_the_next_one_its_index(
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other builds it anew under the same name, and has all but finished."""
    all_in, ended, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    everything = sync.everything

    async def slowly() -> AsyncIterator[Any]:
        async for one in everything():
            yield one
        all_in.set()
        await goes_on.wait()

    async def work(target: meili.Meili) -> None:
        try:
            await worker.Worker(target).run()
        finally:
            ended.set()

    monkeypatch.setattr(sync, "everything", slowly)
    async with (
        fixtures.copied("postgres", templates["postgres", "settled"], postgres_server) as url,
        databases.in_use(engine.Postgres(url)),
        asyncio.timeout(30),
        contextlib.AsyncExitStack() as stack,
    ):
        server = stack.enter_context(meilisearch.own_server("fake"))
        key = await server.key()
        indexes = [meili.Meili(server.url, key) for _ in range(2)]
        working = []
        for one in indexes:
            stack.push_async_callback(one.close)
            alone = standby.run_alone(url, functools.partial(work, one), lambda: None)
            working.append(asyncio.create_task(alone))
        await all_in.wait()
        all_in.clear()
        await engine.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND granted AND d.datname = current_database()"
        )
        await ended.wait()
        await all_in.wait()
        goes_on.set()
        while (await indexes[0].health()).empty:
            await asyncio.sleep(0.05)
        await ending.ended(*working)
        assert await comparing.differences(indexes[0]) == []
        found = await indexes[0].search(Query(kinds=("service_type",)), Scope(everything=True))
        assert found.total
