"""PostgreSQL that ends, hangs or is lost while somebody waits for it, and cancels meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Iterator

import pytest

from models import engine
from models.engine import ending, lending
from tests.models.test_engine.shelves import kept, pool, put, titles

# What a stop may take: what was asked and what was begun are each waited for a while.
STOPS_WITHIN_S = 4 * lending.RELEASE_S


def _backends(pg: engine.Postgres) -> list[int]:
    """The processes of PostgreSQL behind our connections."""
    held = [holder._con for holder in pool(pg)._holders]
    return [one.get_server_pid() for one in held if one and not one.is_closed()]


@contextlib.contextmanager
def _hanging(pg: engine.Postgres) -> Iterator[None]:
    """They answer nothing, and cannot be asked to stop: a machine that froze."""
    stopped = _backends(pg)
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


async def test_whoever_asks_while_postgresql_ends_is_told_that_it_is_away(
    pg: engine.Postgres,
) -> None:
    chance = random.Random(2)
    lost = 0

    async def unit(number: int) -> None:
        async with engine.unit_of_work():
            await engine.execute("SELECT pg_sleep(0.001)")
            await put(f"{number}")

    for first in range(0, 240, 12):
        asked = [unit(number) for number in range(first, first + 6)]
        asked += [engine.execute("SELECT pg_sleep(0.002)") for _ in range(6)]
        tasks = [asyncio.ensure_future(one) for one in asked]
        await asyncio.sleep(chance.uniform(0.001, 0.006))
        for process in _backends(pg):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        wrong = [one for one in results if one and not isinstance(one, engine.DatabaseUnavailable)]
        assert wrong == []
        lost += sum(one is not None for one in results)
    assert lost
    await kept("afterwards")
    assert pool(pg).get_idle_size() == pool(pg).get_size()


@pytest.mark.parametrize("in_a_unit", [False, True])
async def test_a_time_out_holds_also_when_postgresql_hangs(
    pg: engine.Postgres, in_a_unit: bool
) -> None:
    async def asks() -> None:
        if not in_a_unit:
            await engine.rows("SELECT 1")
            return
        async with engine.unit_of_work():
            await put("never")
            hung.enter_context(_hanging(pg))
            await engine.rows("SELECT 1")

    with contextlib.ExitStack() as hung:
        if not in_a_unit:
            hung.enter_context(_hanging(pg))
        asking = asyncio.create_task(asks())
        await asyncio.sleep(0.2)
        asking.cancel()
        done, _ = await asyncio.wait({asking}, timeout=STOPS_WITHIN_S)
        assert done
        assert asking.cancelled()
    await kept("afterwards")
    assert await titles() == ["afterwards"]


async def test_a_cancel_at_the_end_of_a_savepoint_is_still_a_cancel(pg: engine.Postgres) -> None:
    async def unit(number: int) -> None:
        async with engine.unit_of_work() as work:
            async with work.savepoint():
                await put(f"{number}")
            await asyncio.sleep(60)

    chance = random.Random(5)
    for number in range(60):
        working = asyncio.create_task(unit(number))
        await asyncio.sleep(chance.uniform(0.0005, 0.003))
        working.cancel()
        await asyncio.wait({working})
        assert working.cancelled()
    assert await titles() == []


async def test_what_takes_a_cancel_for_a_failure_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ending, "AGAIN_S", 0.05)
    failures = []

    async def loop() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                failures.append("one")
                if len(failures) == 3:
                    raise

    working = [asyncio.create_task(loop()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        await ending.ended(*working)
    assert [task.cancelled() for task in working] == [True, False]
