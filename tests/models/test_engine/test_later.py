"""Statements whose answer nobody waits for: together in one, and still one transaction."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid

import pytest

from models import base, engine
from tests.models.test_engine.shelves import Shelf, put, titles

SHELF = "INSERT INTO shelf (id, title, quantity, open, at) VALUES ($1, $2, 1, TRUE, $3)"
BOOK = "INSERT INTO book (id, shelf, text) VALUES ($1, $2, $3)"
AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


async def later(title: str) -> uuid.UUID:
    shelf = uuid.uuid4()
    await engine.later(SHELF, shelf, title, AT)
    return shelf


async def books() -> list[str]:
    return [text for (text,) in await engine.rows("SELECT text FROM book ORDER BY text")]


async def test_a_unit_of_nothing_else_is_kept_whole(db: engine.Engine) -> None:
    async with engine.unit_of_work():
        shelf = await later("a")
        await later("b")
        await engine.later(BOOK, uuid.uuid4(), shelf, "one")
    assert await titles() == ["a", "b"]
    assert await books() == ["one"]


async def test_many_rows_are_all_written_and_a_row_that_lacks_a_column_is_refused(
    db: engine.Engine,
) -> None:
    rows = [
        {"id": uuid.uuid4(), "title": f"{number:03}", "quantity": number, "open": True, "at": AT}
        for number in range(250)
    ]
    await base.insert_all(Shelf, rows)
    assert await titles() == [f"{number:03}" for number in range(250)]
    with pytest.raises(TypeError, match="at"):
        await base.insert_all(Shelf, [{"id": uuid.uuid4(), "title": "x", "quantity": 1, "open": 1}])
    await base.insert_all(Shelf, [])


async def test_a_unit_of_nothing_else_is_one_round_trip(pg: engine.Postgres) -> None:
    sent: list[str] = []
    async with engine.unit_of_work() as work:
        work.connection.add_query_logger(lambda asked: sent.append(asked.query))  # type: ignore[attr-defined]  # PostgreSQL's alone
        await later("a")
        await later("b")
    assert [text[:5] for text in sent] == ["WITH "]
    assert await titles() == ["a", "b"]


async def test_outside_of_a_unit_it_is_written_at_once(db: engine.Engine) -> None:
    await later("a")
    assert await titles() == ["a"]


async def test_whoever_asks_afterwards_finds_it(db: engine.Engine) -> None:
    async with engine.unit_of_work():
        await later("a")
        await later("b")
        assert await titles() == ["a", "b"]
        await later("c")
    assert await titles() == ["a", "b", "c"]


async def test_nobody_else_sees_it_before_the_commit(db: engine.Engine) -> None:
    inside, go = asyncio.Event(), asyncio.Event()

    async def unit() -> None:
        async with engine.unit_of_work():
            await later("a")
            await titles()
            inside.set()
            await go.wait()

    task = asyncio.create_task(unit())
    await inside.wait()
    assert await titles() == []
    go.set()
    await task
    assert await titles() == ["a"]


@pytest.mark.parametrize("before", [0, 1, 20])
async def test_one_that_is_refused_takes_all_with_it(db: engine.Engine, before: int) -> None:
    called: list[str] = []
    with pytest.raises(engine.CONFLICTS):
        async with engine.unit_of_work() as work:
            for number in range(before):
                await later(f"a{number}")
            await engine.later(BOOK, uuid.uuid4(), uuid.uuid4(), "of no shelf")
            work.after_commit(lambda: called.append("committed"))
    assert await titles() == await books() == called == []
    await put("after")
    assert await titles() == ["after"]


async def test_what_a_unit_that_failed_has_put_off_is_not_written(db: engine.Engine) -> None:
    with pytest.raises(LookupError):
        async with engine.unit_of_work():
            await later("a")
            raise LookupError
    assert await titles() == []


async def test_a_savepoint_takes_back_its_own_alone(db: engine.Engine) -> None:
    async with engine.unit_of_work() as work:
        await later("a")
        with pytest.raises(LookupError):
            async with work.savepoint():
                await later("b")
                raise LookupError
        with pytest.raises(engine.CONFLICTS):
            async with work.savepoint():
                await later("a")
        await later("c")
    assert await titles() == ["a", "c"]


async def test_cancelled_at_its_end_a_unit_is_kept_or_not_and_the_next_one_works(
    db: engine.Engine,
) -> None:
    async def unit(title: str) -> None:
        async with engine.unit_of_work():
            await later(title)
            await later(title + "'")

    for number in range(20):
        task = asyncio.create_task(unit(f"{number:02}"))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await unit("last")
    found = await titles()
    assert {"last", "last'"} <= set(found)
    assert {title + "'" for title in found if len(title) == 2} <= set(found)
