"""What a unit of work promises, the same on both engines."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from models import engine
from tests.models.test_engine.shelves import kept, put, titles


async def test_what_a_unit_wrote_is_there_after_it_and_nothing_is_after_an_error(
    db: engine.Engine,
) -> None:
    async with engine.unit_of_work():
        assert engine.in_transaction()
        await put("a")
        await put("b")
    assert not engine.in_transaction()

    async def failing() -> None:
        async with engine.unit_of_work():
            await put("c")
            raise LookupError

    with pytest.raises(LookupError):
        await failing()
    assert await titles() == ["a", "b"]


async def test_nobody_outside_sees_rows_before_the_commit(db: engine.Engine) -> None:
    written, look = asyncio.Event(), asyncio.Event()

    async def writer() -> None:
        async with engine.unit_of_work():
            await put("a")
            written.set()
            await look.wait()

    task = asyncio.create_task(writer())
    await written.wait()
    assert await titles() == []
    look.set()
    await task
    assert await titles() == ["a"]


async def test_a_nested_unit_belongs_to_the_outer_one(db: engine.Engine) -> None:
    async def failing() -> None:
        async with engine.unit_of_work() as outer:
            async with engine.unit_of_work() as inner:
                assert inner is outer
                await put("inner")
            raise LookupError

    with pytest.raises(LookupError):
        await failing()
    assert await titles() == []


async def test_an_error_that_left_a_nested_unit_cannot_be_caught_into_half_a_commit(
    db: engine.Engine,
) -> None:
    async def careless() -> None:
        async with engine.unit_of_work():
            await put("outer")
            with contextlib.suppress(KeyError):
                async with engine.unit_of_work():
                    raise KeyError("inner")

    with pytest.raises(engine.TransactionFailed, match="KeyError"):
        await careless()
    assert await titles() == []


async def test_a_failed_statement_dooms_the_unit_on_sqlite_as_it_does_on_postgres(
    db: engine.Engine,
) -> None:
    told: list[str] = []

    async def careless() -> None:
        async with engine.unit_of_work() as work:
            work.after_commit(lambda: told.append("committed"))
            await put("a")
            with contextlib.suppress(Exception):
                await put("a")
            with pytest.raises(engine.TransactionFailed):
                await put("b")

    with pytest.raises(engine.TransactionFailed, match="savepoint"):
        await careless()
    assert await titles() == []
    assert told == []


async def test_a_savepoint_rolls_back_alone_with_its_callbacks(db: engine.Engine) -> None:
    told: list[str] = []
    async with engine.unit_of_work() as work:
        await put("before")
        with contextlib.suppress(Exception):
            async with work.savepoint():
                await put("inside")
                work.after_commit(lambda: told.append("inside"))
                async with work.savepoint():
                    await put("deeper")
                await put("before")
        async with work.savepoint():
            await put("kept")
        await put("after")
        work.after_commit(lambda: told.append("outside"))
    assert await titles() == ["after", "before", "kept"]
    assert told == ["outside"]


async def test_a_statement_that_took_too_long_inside_a_savepoint_costs_only_the_savepoint(
    db: engine.Engine,
) -> None:
    async with engine.unit_of_work() as work:
        await put("before")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as limit, work.savepoint():
                await put("inside")
                limit.reschedule(asyncio.get_running_loop().time() + 0.05)
                if db.dialect == "postgres":
                    await engine.execute("SELECT pg_sleep(60)")
                await asyncio.sleep(60)
        await put("after")
    assert await titles() == ["after", "before"]


async def test_callbacks_run_in_order_after_the_commit_and_never_on_rollback(
    db: engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []

    def broken() -> None:
        raise ValueError("a callback of somebody")

    async with engine.unit_of_work() as work:
        work.after_commit(lambda: told.append(1))
        work.after_commit(broken)
        work.after_commit(lambda: told.append(engine.in_transaction()))
        await put("a")
        assert told == []
    assert told == [1, False]
    assert "a callback after commit failed" in caplog.text

    async def failing() -> None:
        async with engine.unit_of_work() as work:
            work.after_commit(lambda: told.append("rolled back"))
            raise LookupError

    with pytest.raises(LookupError):
        await failing()
    assert told == [1, False]


async def test_a_task_started_inside_is_refused_and_one_started_after_the_commit_works(
    db: engine.Engine,
) -> None:
    started: list[asyncio.Task[list[str]]] = []
    async with engine.unit_of_work() as work:
        await put("a")
        work.after_commit(lambda: started.append(asyncio.create_task(titles())))
        with pytest.raises(RuntimeError, match="started inside a transaction"):
            await asyncio.create_task(titles())
        with pytest.raises(RuntimeError, match="started inside a transaction"):
            await asyncio.gather(kept("b"))
        late = asyncio.create_task(titles())
    assert await started[0] == ["a"]
    with pytest.raises(RuntimeError, match="started inside a transaction"):
        await late
