"""The worker apart: one at a time, and it hears at once of what the servers write."""

from __future__ import annotations

import asyncio

from api import standby
from models import engine
from tests import databases, fixtures, postgres


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
