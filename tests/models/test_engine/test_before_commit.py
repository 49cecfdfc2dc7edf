"""What a unit of work does as its last thing before the commit."""

from __future__ import annotations

import asyncio

import pytest

from models import engine
from tests.models.test_engine.shelves import put, titles


async def write(texts: list[str]) -> None:
    await put("+".join(texts))


async def test_it_is_written_once_with_everything_given_for_it(db: engine.Engine) -> None:
    async with engine.unit_of_work() as work:
        work.before_commit(write, "a")
        async with engine.unit_of_work() as inner:
            inner.before_commit(write, "b")
        assert await titles() == []
    assert await titles() == ["a+b"]


async def test_it_is_not_written_when_the_unit_fails(db: engine.Engine) -> None:
    with pytest.raises(LookupError):
        async with engine.unit_of_work() as work:
            work.before_commit(write, "a")
            raise LookupError
    assert await titles() == []


async def test_what_a_savepoint_took_back_is_not_in_it(db: engine.Engine) -> None:
    async with engine.unit_of_work() as work:
        work.before_commit(write, "a")
        with pytest.raises(LookupError):
            async with work.savepoint():
                work.before_commit(write, "b")
                raise LookupError
    assert await titles() == ["a"]


async def test_when_it_fails_nothing_of_the_unit_is_kept_and_no_callback_runs(
    db: engine.Engine,
) -> None:
    called: list[str] = []

    async def failing(texts: list[str]) -> None:
        await write(texts)
        raise LookupError

    with pytest.raises(LookupError):
        async with engine.unit_of_work() as work:
            await put("a")
            work.before_commit(failing, "b")
            work.after_commit(lambda: called.append("committed"))
    assert await titles() == []
    assert called == []
    assert not engine.in_transaction()


async def test_cancelled_in_it_the_unit_is_rolled_back_and_the_next_one_works(
    db: engine.Engine,
) -> None:
    reached = asyncio.Event()

    async def slow(texts: list[str]) -> None:
        await write(texts)
        reached.set()
        await asyncio.sleep(60)

    async def unit() -> None:
        async with engine.unit_of_work() as work:
            work.before_commit(slow, "a")

    task = asyncio.create_task(unit())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with engine.unit_of_work() as work:
        work.before_commit(write, "b")
    assert await titles() == ["b"]
