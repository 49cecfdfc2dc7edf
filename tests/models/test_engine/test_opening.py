"""Opening, closing, and what is said when that is not possible."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from models import engine
from tests.models.test_engine.shelves import Shelf, kept, put, quantity, raise_quantity, titles


async def test_a_closed_engine_says_so_and_leaves_no_thread(db: engine.Engine) -> None:
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("sqlite-")]
    assert bool(threads) is isinstance(db, engine.SQLite)
    await db.close()
    await db.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sqlite-")]
    for use in (titles, raise_quantity, lambda: put("a"), lambda: Shelf.count()):
        with pytest.raises(engine.DatabaseClosed):
            await use()
    await db.start()
    assert await titles() == []


async def test_closing_lets_the_running_unit_end_and_refuses_the_waiting(
    lite: engine.SQLite,
) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with engine.unit_of_work():
            await put("slow")
            inside.set()
            await leave.wait()

    running = asyncio.create_task(slow())
    await inside.wait()
    waiting = asyncio.create_task(kept("waiting"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(lite.close())
    with pytest.raises(engine.DatabaseClosed):
        await waiting
    leave.set()
    await running
    await closing
    await lite.start()
    assert await titles() == ["slow"]


async def test_a_second_server_on_one_sqlite_file_is_refused(lite: engine.SQLite) -> None:
    second = engine.SQLite(lite.path)
    with pytest.raises(engine.DatabaseBusy, match="stop it first, or use PostgreSQL"):
        await second.start()
    beside = engine.open_engine(f"sqlite:///{lite.path}", exclusive=False)
    await beside.start()
    await beside.execute("UPDATE shelf SET quantity = 9")
    await beside.close()
    assert await quantity() == 9
    await lite.close()
    await second.start()
    await second.close()


async def test_a_file_locked_by_a_command_is_waited_for_without_stopping_the_loop(
    lite: engine.SQLite,
) -> None:
    other = sqlite3.connect(lite.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(kept("a"))
    cancelled = asyncio.create_task(kept("b"))
    ticks = 0
    while ticks < 20:
        await asyncio.sleep(0.005)
        ticks += 1
    assert not writing.done()
    writing.cancel()
    other.execute("ROLLBACK")
    await cancelled
    assert await titles() == ["b"]
    other.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough for a header" * 40, None])
async def test_an_unusable_sqlite_file_is_named_in_one_line(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "town.sqlite"
    path.write_bytes(content) if content else path.mkdir()
    broken = engine.SQLite(path)
    for _ in range(2):
        with pytest.raises(engine.DatabaseUnavailable, match=r"town\.sqlite: [^\n]+$"):
            await broken.start()


async def test_an_unreachable_postgres_is_reported_without_the_password() -> None:
    opened = engine.open_engine("postgres://someone:geheim@127.0.0.1:9/town")
    with pytest.raises(engine.DatabaseUnavailable, match="cannot connect") as caught:
        await opened.start()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "town.sqlite", "sqlite://", "sqlite:///:memory:", "mysql://h/d"]
)
def test_an_address_that_is_no_database_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL must look like"):
        engine.open_engine(url)


async def test_a_file_that_no_thread_can_open_any_more_is_a_database_that_is_away(
    tmp_path: Path,
) -> None:
    (tmp_path / "there").mkdir()
    lite = engine.SQLite(tmp_path / "there" / "town.sqlite")
    await lite.start()
    (tmp_path / "there").rename(tmp_path / "elsewhere")
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM n LIMIT"
    try:
        with pytest.raises(engine.DatabaseUnavailable, match="unable to open"):
            await lite.rows(f"{slow} 300000")
    finally:
        await lite.close()
