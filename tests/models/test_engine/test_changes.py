"""What is kept of the database until it is written, and how writes are noticed."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Awaitable, Callable

import pytest
from piccolo.columns import ForeignKey
from piccolo.table import Table

from models import engine
from models.engine import changes
from tests import databases
from tests.models.test_engine import shelves

SHELVES: engine.Memo[list[str]] = engine.Memo(("shelf",), 2)


async def _titles() -> list[str]:
    rows = await engine.rows("SELECT title FROM shelf ORDER BY title")
    return [title for (title,) in rows]


def _row(title: str) -> tuple[object, ...]:
    return (uuid.uuid4(), title, 0, True, dt.datetime(2026, 3, 1, tzinfo=dt.UTC))


async def _kept(read: Callable[[], Awaitable[list[str]]] = _titles) -> list[str]:
    return await engine.kept(SHELVES, "all", read) or []


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest) -> None:
    if "db" in request.fixturenames:
        request.getfixturevalue("db").changes.keep = True


async def test_what_is_kept_is_not_read_again(db: engine.Engine) -> None:
    first = await _kept()
    assert first == ["first"]
    assert await _kept() is first


async def test_after_a_write_it_is_read_anew(db: engine.Engine) -> None:
    await _kept()
    await shelves.put("second", 1)
    assert await _kept() == ["first", "second"]
    async with engine.unit_of_work():
        await engine.execute("DELETE FROM shelf WHERE title = $1", "second")
        # What is not committed yet is seen here, and kept by nobody.
        assert await _kept() == ["first"]
    assert await _kept() == ["first"]
    await engine.copy([("shelf", ("id", "title", "quantity", "open", "at"), [_row("copied")])])
    assert await _kept() == ["copied", "first"]


async def test_what_was_rolled_back_leaves_nothing_behind(db: engine.Engine) -> None:
    await _kept()
    with pytest.raises(ZeroDivisionError):
        async with engine.unit_of_work():
            await shelves.put("never", 1)
            assert await _kept() == ["first", "never"]
            raise ZeroDivisionError
    assert await _kept() == ["first"]


async def test_a_write_to_another_table_leaves_it_alone(db: engine.Engine) -> None:
    first = await _kept()
    await engine.execute("UPDATE book SET text = text")
    assert await _kept() is first


async def test_no_overlap_of_reads_and_writes_keeps_an_old_value(db: engine.Engine) -> None:
    """Whoever has been told that a row is written reads it, however many read meanwhile."""
    over = False

    async def reader() -> None:
        while not over:
            await _kept()
            await asyncio.sleep(0)

    reading = [asyncio.create_task(reader()) for _ in range(8)]
    for number in range(60):
        await shelves.put(f"shelf {number:02}", 0)
        assert f"shelf {number:02}" in await _kept()
    over = True
    await asyncio.gather(*reading)


async def test_many_who_ask_concurrently_read_it_once(db: engine.Engine) -> None:
    asked = 0

    async def slowly() -> list[str]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return await _titles()

    many = [_kept(slowly) for _ in range(20)]
    assert await asyncio.gather(*many) == [["first"]] * 20
    assert asked == 1


async def test_a_read_from_before_a_write_is_waited_for_by_nobody_after_it(
    db: engine.Engine,
) -> None:
    """What is under way may not have seen it."""
    has_read, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> list[str]:
        titles = await _titles()
        has_read.set()
        await goes_on.wait()
        return titles

    before = asyncio.create_task(_kept(slowly))
    await has_read.wait()
    await shelves.put("second", 1)
    async with asyncio.timeout(5):
        assert await _kept() == ["first", "second"]
    goes_on.set()
    assert await before == ["first"]
    assert await _kept() == ["first", "second"]


async def test_whoever_waits_for_a_read_that_is_given_up_reads_by_himself(
    db: engine.Engine,
) -> None:
    async def for_ever() -> list[str]:
        await asyncio.Event().wait()
        return []

    never = asyncio.create_task(_kept(for_ever))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(_kept())
    await asyncio.sleep(0)
    never.cancel()
    assert await waiting == ["first"]


async def test_nothing_is_kept_for_longer_than_a_while(
    pg: engine.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever could not be heard of is seen then."""
    monkeypatch.setattr(changes, "KEPT_S", 0.2)
    pg.changes.keep = True
    await _kept()
    other = engine.Postgres(pg.config["dsn"])
    async with databases.in_use(other):
        await shelves.put("elsewhere", 0)
    await asyncio.sleep(0.25)
    assert await _kept() == ["elsewhere", "first"]


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1 FROM shelf FOR UPDATE", set()),
        ("insert into shelf (name) values ($1)", {"shelf"}),
        ("INSERT INTO book (id) SELECT id FROM shelf", {"book"}),
        ("INSERT OR REPLACE INTO shelf VALUES (1)", {"shelf"}),
        (
            "WITH gone AS (DELETE FROM book RETURNING 1) UPDATE shelf SET books = 0",
            {"book", "shelf"},
        ),
        ("DELETE FROM shelf", {"shelf", "book"}),
        ("TRUNCATE shelf", {"*"}),
        ("ALTER TABLE shelf DISABLE TRIGGER USER", {"*"}),
        ("VACUUM", {"*"}),
    ],
)
def test_what_a_statement_may_write_is_known(sql: str, tables: set[str]) -> None:
    changes.learn([shelves.Shelf, shelves.Book])
    assert changes.written(sql) - {"of", "set"} == tables


async def test_nothing_is_kept_of_what_is_not_there(db: engine.Engine) -> None:
    asked = 0

    async def nothing() -> list[str] | None:
        nonlocal asked
        asked += 1
        return None

    for _ in range(3):
        assert await engine.kept(SHELVES, "none", nothing) is None
    assert asked == 3


async def test_of_too_many_the_oldest_is_forgotten(db: engine.Engine) -> None:
    first = await _kept()
    for key in ("a", "b"):
        await engine.kept(SHELVES, key, _titles)
    assert await _kept() is not first


def test_a_table_that_is_declared_later_is_known_too() -> None:
    changes.learn([shelves.Shelf])
    assert changes.mentioned("SELECT 1 FROM page, shelf") == {"shelf"}

    class Binding(Table, tablename="binding"):
        pass

    class Page(Table, tablename="page"):
        binding = ForeignKey(Binding)

    changes.learn([shelves.Shelf, Binding, Page])
    assert changes.mentioned("SELECT 1 FROM page, shelf") == {"page", "shelf"}
    assert changes.written("DELETE FROM binding") == {"binding", "page"}
