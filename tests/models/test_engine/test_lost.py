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
from models.engine.postgres import POOL_SIZE
from tests.models.test_engine.shelves import kept, pool, put, titles

# What a stop may take: what was asked and what was begun are each waited for a while.
STOPS_WITHIN_S = 8 * lending.RELEASE_S
pytestmark = pytest.mark.skipif(
    "PG_TEST_URL" in os.environ, reason="it signals the processes of a PostgreSQL of its own"
)


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
        _kill(pg)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        wrong = [one for one in results if one and not isinstance(one, engine.DatabaseUnavailable)]
        assert wrong == []
        lost += sum(one is not None for one in results)
    assert lost
    await kept("afterwards")
    assert pool(pg).get_idle_size() == pool(pg).get_size()


def _kill(pg: engine.Postgres) -> None:
    for process in _backends(pg):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)


async def _gone(pg: engine.Postgres) -> None:
    """Lose every connection, and notice; the pool opens another by itself."""
    lost = set(_backends(pg))
    _kill(pg)
    async with asyncio.timeout(20):
        while lost.intersection(_backends(pg)):
            await asyncio.sleep(0.01)


async def test_a_connection_that_is_lost_is_told_whatever_is_asked_of_it_next(
    pg: engine.Postgres,
) -> None:
    async def before_the_first() -> None:
        async with engine.unit_of_work():
            await _gone(pg)
            await put("never")

    async def between_two() -> None:
        async with engine.unit_of_work():
            await put("never")
            await _gone(pg)
            await titles()

    async def before_the_end() -> None:
        async with engine.unit_of_work():
            await put("never")
            await _gone(pg)

    for unit in (before_the_first, between_two, before_the_end):
        with pytest.raises(engine.DatabaseUnavailable, match="lost"):
            await unit()
    await kept("afterwards")
    assert await titles() == ["afterwards"]


async def test_what_ends_a_unit_is_what_is_told_also_without_a_connection(
    pg: engine.Postgres,
) -> None:
    async def lost(then: BaseException | None) -> None:
        async with engine.unit_of_work():
            await put("never")
            await _gone(pg)
            if then:
                raise then
            await asyncio.sleep(60)

    with pytest.raises(LookupError):
        await lost(LookupError())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await lost(None)
    cancelled = asyncio.create_task(lost(None))
    await asyncio.sleep(0.5)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    assert cancelled.cancelled()
    assert await titles() == []


async def test_a_connection_that_is_lost_on_its_way_to_the_next_is_given_back(
    pg: engine.Postgres,
) -> None:
    """Whoever waited for it was cancelled in that very moment."""
    lent = pg.lending()
    held = [await lent.take() for _ in range(POOL_SIZE)]
    first, second = (asyncio.create_task(lent.take()) for _ in range(2))
    await asyncio.sleep(0)
    await lent.give(held[0], is_fine=True)
    held[0].terminate()
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    async with asyncio.timeout(20):
        held[0] = await second
    for one in held:
        await lent.give(one, is_fine=True)
    await asyncio.gather(*(kept(f"{number}") for number in range(3 * POOL_SIZE)))
    assert len(await titles()) == 3 * POOL_SIZE


@pytest.mark.parametrize("in_a_unit", [False, True])
async def test_a_time_out_holds_also_when_postgresql_hangs(
    pg: engine.Postgres, in_a_unit: bool
) -> None:
    hangs = asyncio.Event()

    async def asks() -> None:
        async with engine.unit_of_work() if in_a_unit else contextlib.nullcontext():
            await put("never") if in_a_unit else await titles()
            hung.enter_context(_hanging(pg))
            hangs.set()
            await engine.rows("SELECT 1")

    with contextlib.ExitStack() as hung:
        asking = asyncio.create_task(asks())
        await hangs.wait()
        await asyncio.sleep(0)
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
