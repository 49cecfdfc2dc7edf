"""SQLite answers on the event loop without holding it up."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from models import engine
from tests.models.test_engine.shelves import put, quantity, titles


async def test_a_long_question_does_not_stop_the_loop(lite: engine.SQLite) -> None:
    long = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) "
        "SELECT count(*) FROM n"
    )
    asked = asyncio.create_task(lite.rows(long, 1_000_000))
    ticks = 0
    while not asked.done():
        await asyncio.sleep(0.001)
        ticks += 1
    assert await asked == [(1_000_000,)]
    assert ticks > 20


async def test_many_quick_statements_in_a_row_let_other_tasks_run(lite: engine.SQLite) -> None:
    async def many() -> None:
        ends = time.perf_counter() + 0.1
        while time.perf_counter() < ends:
            await quantity()

    asked = asyncio.create_task(many())
    ticks = 0
    while not asked.done():
        await asyncio.sleep(0)
        ticks += 1
    assert ticks > 5


async def test_a_unit_cut_off_during_a_slow_statement_leaves_the_writer_in_order(
    lite: engine.SQLite,
) -> None:
    slow = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) "
        "UPDATE shelf SET quantity = (SELECT count(*) FROM n)"
    )
    await lite.execute(slow, 300_000)  # from now on it is known to be slow

    async def unit() -> None:
        async with engine.unit_of_work() as work:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01), work.savepoint():
                    await lite.execute(slow, 3_000_000)
            await put("after the time-out")

    cancelled = asyncio.create_task(lite.execute(slow, 3_000_000))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await unit()
    assert await titles() == ["after the time-out"]
    assert await quantity() == 300_000


async def test_an_engine_is_not_used_from_another_event_loop(lite: engine.SQLite) -> None:
    def elsewhere() -> None:
        asyncio.run(titles())

    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(elsewhere)
