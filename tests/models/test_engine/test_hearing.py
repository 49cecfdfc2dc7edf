"""Several processes on one PostgreSQL: what one writes, the others do not keep on answering."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from models import engine
from models.engine import changes, hearing
from tests.models.test_engine import shelves

SHELVES: engine.Memo[list[str]] = engine.Memo(("shelf",), 2)
# How late another process may be. It is a few ms, but the machine may have other things to do.
LATE_S = 1.0


@pytest.fixture(autouse=True)
def _by_notice_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing becomes too old by itself."""
    monkeypatch.setattr(changes, "KEPT_S", 3600.0)
    monkeypatch.setattr(hearing, "PAUSE_S", 0.05)


@contextlib.asynccontextmanager
async def _other(pg: engine.Postgres) -> AsyncIterator[engine.Postgres]:
    """The engine of another process on the same database; both hear."""
    other = engine.Postgres(pg.config["dsn"], pool_size=2)
    other.config["server_settings"] = other.config["server_settings"] | {
        "application_name": "other"
    }
    await other.start()
    try:
        await other.listen()
        await pg.listen()
        yield other
    finally:
        await other.close()


async def _titles() -> list[str]:
    return [title for (title,) in await engine.rows("SELECT title FROM shelf ORDER BY title")]


async def _kept() -> list[str]:
    return await engine.kept(SHELVES, "all", _titles) or []


async def _until(holds: Callable[[], bool]) -> None:
    # Less than it takes until a lost connection would be noticed by itself.
    async with asyncio.timeout(0.8 * hearing.BEAT_S):
        while not holds():
            await asyncio.sleep(0.005)


async def _rename(other: engine.Postgres, title: str) -> None:
    async with engine.UnitOfWork(other):
        await other.execute("UPDATE shelf SET title = $1", title)


async def _seen(titles: list[str]) -> None:
    async with asyncio.timeout(20):
        while await _kept() != titles:
            await asyncio.sleep(0.005)


async def _break(pg: engine.Postgres, name: str) -> None:
    """Cut off the connection on which that one listens."""
    rows = await pg.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
        " AND datname = current_database() AND query LIKE 'NOTIFY%'",
        name,
    )
    assert rows == [(True,)]


async def test_what_another_process_writes_is_seen_in_a_moment(pg: engine.Postgres) -> None:
    async with _other(pg) as other:
        first = await _kept()
        assert await _kept() is first
        # In a unit of work, and by a single statement.
        for number, write in enumerate((_rename, _alone)):
            await write(other, f"shelf {number}")
            await _seen([f"shelf {number}"])


async def _alone(other: engine.Postgres, title: str) -> None:
    await other.execute("UPDATE shelf SET title = $1", title)


async def test_what_is_written_here_is_not_heard_again(pg: engine.Postgres) -> None:
    async with _other(pg) as other:
        await shelves.put("second", 1)
        before = await _kept()
        here, there = pg.changes.moment(), other.changes.moment()
        await engine.execute("UPDATE book SET text = text")
        await _until(lambda: other.changes.since(there, ("book",)))
        assert pg.changes.moment() == here + 1
        assert await _kept() is before


async def test_what_nobody_keeps_is_not_told(pg: engine.Postgres) -> None:
    async with _other(pg) as other:
        there = other.changes.moment()
        pg.changes.note(changes.UNTOLD)
        pg.changes.note(("book",))
        await _until(lambda: other.changes.since(there, ("book",)))
        assert not other.changes.since(there, changes.UNTOLD)


async def test_while_nothing_is_heard_nothing_is_kept(pg: engine.Postgres) -> None:
    async with _other(pg) as other:
        await _kept()
        await _break(other, "community-partners")
        await _until(lambda: not pg.changes.keep)
        for number in range(20):
            await _rename(other, f"unheard {number}")
            assert pg.changes.keep or await _kept() == [f"unheard {number}"]
        await _until(lambda: pg.changes.keep)
        # Of what it kept before, nothing holds any more.
        assert await _kept() == ["unheard 19"]
        assert await _kept() is await _kept()


async def test_what_could_not_be_told_is_told_afterwards(
    pg: engine.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, again = hearing.asyncpg.connect, asyncio.Event()

    async def later(**config: Any) -> Any:
        await again.wait()
        return await connect(**config)

    async with _other(pg) as other:
        before = await _kept()
        with monkeypatch.context() as patch:
            patch.setattr(hearing.asyncpg, "connect", later)
            await _break(pg, "other")
            await _until(lambda: not other.changes.keep)
            await _rename(other, "afterwards")
            # Nobody could know.
            assert await _kept() is before
            again.set()
            await _seen(["afterwards"])


async def test_a_way_that_takes_everything_and_brings_nothing_is_none(
    pg: engine.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler between us and the database forgets LISTEN."""
    await pg.listen()
    assert pg.changes.keep
    with monkeypatch.context() as patch:
        patch.setattr(hearing, "PATIENCE_S", 0.1)
        patch.setattr(hearing, "BEAT_S", 0.05)
        patch.setattr(hearing.Hearing, "_heard", lambda *_: None)
        pg.changes.keep = True
        await pg.close()
        await pg.start()
        await pg.listen()
        assert not pg.changes.keep


async def test_a_server_begins_without_hearing(
    pg: engine.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(**_: object) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr(hearing.asyncpg, "connect", refused)
        await pg.listen()
        assert not pg.changes.keep
        assert await _kept() == ["first"]
    await _until(lambda: pg.changes.keep)


async def test_no_overlap_of_reads_and_writes_of_two_processes_keeps_an_old_value(
    pg: engine.Postgres,
) -> None:
    """Whoever reads a while after a write was acknowledged elsewhere reads it or what came later,
    however many read meanwhile."""
    written: list[tuple[float, int]] = [(time.monotonic(), 0)]
    over = False

    async def reader() -> int:
        reads = 0
        while not over:
            began = time.monotonic()
            least = max(number for at, number in written if at <= began - LATE_S or not number)
            title = (await _kept())[0]
            assert int(title.removeprefix("shelf ")) >= least
            reads += 1
            await asyncio.sleep(0.001)
        return reads

    async with _other(pg) as other:
        await _rename(other, "shelf 0")
        await _until(lambda: pg.changes.since(0, ("shelf",)))
        reading = [asyncio.create_task(reader()) for _ in range(4)]
        ends = time.monotonic() + 0.8
        while time.monotonic() < ends and not any(task.done() for task in reading):
            await _rename(other, f"shelf {len(written)}")
            written.append((time.monotonic(), len(written)))
            await asyncio.sleep(0.004)
        # Nobody writes any more: what is kept now stays.
        await asyncio.sleep(LATE_S)
        over = True
        assert all(reads > 25 for reads in await asyncio.gather(*reading))
        assert await _kept() == [f"shelf {len(written) - 1}"]
