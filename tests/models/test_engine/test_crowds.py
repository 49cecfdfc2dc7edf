"""Crowds, cancellation and crashes: nothing acknowledged is lost, nothing stays taken."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from models import engine
from models.engine import lending
from models.engine.postgres import POOL_SIZE
from tests import databases
from tests.models.test_engine.shelves import (
    Shelf,
    kept,
    pool,
    put,
    quantity,
    raise_quantity,
    titles,
)

REPOSITORY = Path(__file__).parents[3]


async def test_1500_cancelled_units_leave_every_connection_free_and_no_thread_behind(
    db: engine.Engine,
) -> None:
    threads = threading.active_count()
    chance = random.Random(2)
    finished = 0

    async def request(number: int) -> None:
        nonlocal finished
        async with engine.unit_of_work() as work:
            await raise_quantity()
            async with work.savepoint():
                await put(f"{number:04}")
        finished += 1

    for first in range(0, 1500, 50):
        tasks = [asyncio.create_task(request(first + number)) for number in range(50)]
        for task in tasks:
            await asyncio.sleep(chance.choice([0, 0, 0, 0.0005]))
            task.cancel()
        await asyncio.wait(tasks)
    async with asyncio.timeout(5):
        await raise_quantity()
    # Whoever was told that it is done is in; a cancelled one is in as a whole or not at all.
    assert len(await titles()) == await quantity() - 1 >= finished
    assert threading.active_count() == threads
    if isinstance(db, engine.Postgres):
        async with asyncio.timeout(5), contextlib.AsyncExitStack() as stack:
            for _ in range(POOL_SIZE):
                await stack.enter_async_context(pool(db).acquire())


async def test_100_concurrent_read_modify_writes_add_up(db: engine.Engine) -> None:
    await asyncio.gather(*(raise_quantity() for _ in range(100)))
    assert await quantity() == 100


async def test_one_failing_unit_among_20_loses_only_its_own_rows(db: engine.Engine) -> None:
    async def unit(number: int) -> None:
        async with engine.unit_of_work():
            await put(f"{number:02}")
            await asyncio.sleep(0)
            if number == 7:
                raise LookupError

    results = await asyncio.gather(*(unit(n) for n in range(20)), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [LookupError]
    assert await titles() == [f"{number:02}" for number in range(20) if number != 7]


async def test_a_unit_cancelled_while_it_commits_frees_the_connection(db: engine.Engine) -> None:
    told: list[str] = []

    async def unit() -> None:
        async with engine.unit_of_work() as work:
            await put("a")
            work.after_commit(lambda: told.append("a"))
            asyncio.get_running_loop().call_soon(task.cancel)

    task = asyncio.create_task(unit())
    with pytest.raises(asyncio.CancelledError):
        await task
    await kept("b")
    # The commit was under way and is not torn: rows and callbacks agree.
    assert await titles() == [*told, "b"]


async def test_acknowledged_rows_are_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "town.sqlite"
    async with databases.sqlite_engine(path):
        await Shelf.create_table()
        await asyncio.gather(*(kept(f"{number:03}") for number in range(200)))
    async with databases.sqlite_engine(path):
        assert len(await titles()) == 200


async def test_a_transaction_lost_by_sqlite_is_reported_to_everyone_in_it(
    lite: engine.SQLite,
) -> None:
    await lite.execute(
        "CREATE TRIGGER disk_full BEFORE INSERT ON shelf WHEN NEW.title = 'full' "
        "BEGIN SELECT RAISE(ROLLBACK, 'everything is rolled back'); END"
    )
    names = ["a", "b", "full", "c"]
    results = await asyncio.gather(*(kept(name) for name in names), return_exceptions=True)
    safe = [name for name, result in zip(names, results, strict=True) if result is None]
    assert isinstance(results[2], sqlite3.IntegrityError)
    assert await titles() == safe
    await kept("d")


async def test_a_failed_commit_is_reported_to_everyone_in_it(lite: engine.SQLite) -> None:
    async def orphan() -> None:
        async with engine.unit_of_work():
            await lite.execute("PRAGMA defer_foreign_keys = ON")
            await lite.execute(
                "INSERT INTO book (id, shelf, text) VALUES ($1, $2, '')", uuid.uuid4(), uuid.uuid4()
            )

    results = await asyncio.gather(kept("a"), orphan(), kept("b"), return_exceptions=True)
    assert isinstance(results[1], sqlite3.IntegrityError)
    safe = [name for name, result in zip(["a", "", "b"], results, strict=True) if result is None]
    assert await titles() == safe
    await kept("c")


async def test_a_killed_backend_breaks_only_its_own_unit(pg: engine.Postgres) -> None:
    async def victim() -> None:
        async with engine.unit_of_work():
            await put("victim")
            await pg.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    results = await asyncio.gather(
        *(kept(str(n)) for n in range(5)), victim(), return_exceptions=True
    )
    assert [result is None for result in results] == [True] * 5 + [False]
    await asyncio.gather(*(kept(str(n)) for n in range(10, 30)))
    assert len(await titles()) == 25
    assert pool(pg).get_idle_size() == pool(pg).get_size()


async def test_a_backend_killed_before_the_commit_is_not_taken_for_a_commit(
    pg: engine.Postgres,
) -> None:
    told: list[str] = []

    async def unit() -> None:
        async with engine.unit_of_work() as work:
            work.after_commit(lambda: told.append("committed"))
            await put("a")
            backend = await pg.rows("SELECT pg_backend_pid()")
            async with pool(pg).acquire() as other:
                await other.execute("SELECT pg_terminate_backend($1, 1000)", backend[0][0])

    with pytest.raises(engine.DatabaseUnavailable, match="lost during COMMIT"):
        await unit()
    assert await titles() == told == []


async def test_a_pool_with_no_free_connection_says_so(
    pg: engine.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "ACQUIRE_S", 0.05)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(POOL_SIZE):
            await stack.enter_async_context(pg.lending().lent())
        with pytest.raises(engine.DatabaseBusy, match="came free"):
            await titles()
    assert await titles() == []


async def test_whoever_is_cancelled_as_a_connection_comes_leaves_it_to_the_next(
    pg: engine.Postgres,
) -> None:
    lending = pg.lending()
    held = [await lending.take() for _ in range(POOL_SIZE)]
    first, second = (asyncio.create_task(lending.take()) for _ in range(2))
    await asyncio.sleep(0)
    await lending.give(held.pop(), is_fine=True)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    held.append(await second)
    third = asyncio.create_task(lending.take())
    await asyncio.sleep(0)
    await lending.give(held.pop(), is_fine=False)
    third.cancel()
    await asyncio.gather(third, return_exceptions=True)
    for connection in held:
        await lending.give(connection, is_fine=True)
    assert pool(pg).get_idle_size() == pool(pg).get_size()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(POOL_SIZE):
            await stack.enter_async_context(lending.lent())


async def test_who_waits_for_a_connection_longest_gets_it_first(pg: engine.Postgres) -> None:
    order: list[int] = []

    async def ask(number: int) -> None:
        await pg.rows("SELECT 1")
        order.append(number)

    async with contextlib.AsyncExitStack() as stack:
        for _ in range(POOL_SIZE - 1):
            await stack.enter_async_context(pg.lending().lent())
        await asyncio.gather(*map(ask, range(20)))
    assert order == list(range(20))


_WRITER = """
import asyncio, sys, uuid
from pathlib import Path
from models import engine
async def main():
    opened = engine.SQLite(Path(sys.argv[1]))
    await opened.start()
    engine.use(opened)
    async def writer():
        while True:
            name = uuid.uuid4().hex
            async with engine.unit_of_work():
                await engine.execute("INSERT INTO note VALUES ($1)", name)
            print(name, flush=True)
    await asyncio.gather(*(writer() for _ in range(20)))
asyncio.run(main())
"""


async def test_kill_9_loses_no_acknowledged_write(tmp_path: Path) -> None:
    path = tmp_path / "town.sqlite"
    async with databases.sqlite_engine(path) as opened:
        await opened.execute("CREATE TABLE note (name TEXT PRIMARY KEY)")
    told: list[str] = []
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        assert writer.stdout is not None
        told.append(writer.stdout.readline().strip())
        time.sleep(random.uniform(0.01, 0.1))  # noqa: ASYNC251 - nothing else runs here
        writer.send_signal(signal.SIGKILL)
        told += [line.strip() for line in writer.stdout.read().splitlines() if len(line) >= 32]
        writer.wait()
    async with databases.sqlite_engine(path) as opened:
        found = {name for (name,) in await opened.rows("SELECT name FROM note")}
    assert len(told) > 50
    assert set(told) <= found


async def test_whoever_cannot_have_all_connections_is_told_when_asking_for_them(
    pg: engine.Postgres,
) -> None:
    name = f"few_{uuid.uuid4().hex}"
    await engine.execute(
        f"CREATE ROLE {name} LOGIN PASSWORD 'few' CONNECTION LIMIT {POOL_SIZE - 1}"
    )
    try:
        url = re.sub("://[^@]*@", f"://{name}:few@", pg.config["dsn"])
        few = engine.Postgres(url)
        await few.start()
        assert few.connections()[0] == 1
        with pytest.raises(engine.DatabaseUnavailable, match="too many connections"):
            await few.connect_all()
        await few.close()
    finally:
        await engine.execute(f"DROP ROLE {name}")
