"""What SQLite deleted is not in its files, either."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from models import engine
from models.engine import forgetting
from tests import databases


def _bytes(path: Path) -> bytes:
    return b"".join(
        Path(f"{path}{suffix}").read_bytes()
        for suffix in ("", "-wal")
        if Path(f"{path}{suffix}").exists()
    )


async def _stir(dice: random.Random) -> None:
    """Rows of all sizes that move between pages; the canaries are then blanked or deleted."""
    await engine.execute("CREATE TABLE page (id INTEGER PRIMARY KEY, word TEXT, text TEXT)")
    async with engine.unit_of_work():
        for number in range(600):
            word = "canary" if dice.random() < 0.1 else "plain"
            text = word * dice.randint(1, 400)
            await engine.execute("INSERT INTO page VALUES ($1, $2, $3)", number, word, text)
            await engine.execute(
                "UPDATE page SET text = text || word || $1 WHERE id = $2",
                "x" * dice.randint(0, 900),
                dice.randint(0, number),
            )
    await engine.execute("DELETE FROM page WHERE word = 'canary' AND id % 2 = 0")
    await engine.execute("UPDATE page SET word = '', text = '' WHERE word = 'canary'")


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_deleted_is_left_in_the_file_or_its_log(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "town.sqlite"
    async with databases.sqlite_engine(path) as database:
        await _stir(random.Random(seed))
        assert b"canary" in _bytes(path)
        assert await forgetting.forget(database)
        assert b"canary" not in _bytes(path)
        assert len(await engine.fetch("SELECT 1 FROM page")) > 500


async def test_writes_wait_for_it_and_reads_do_not(tmp_path: Path) -> None:
    async with databases.sqlite_engine(tmp_path / "town.sqlite") as database:
        await _stir(random.Random(1))

        async def write() -> None:
            await engine.execute("INSERT INTO page VALUES (1000, 'late', '')")

        done, *_ = await asyncio.gather(
            forgetting.forget(database), write(), engine.fetch("SELECT count(*) FROM page")
        )
        assert done
        assert await engine.fetch("SELECT 1 FROM page WHERE id = 1000")


async def test_a_file_that_somebody_holds_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "town.sqlite"
    async with databases.sqlite_engine(path) as database:
        await _stir(random.Random(2))
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert not await forgetting.forget(database)
        holder.execute("ROLLBACK")
        holder.close()
        assert await forgetting.forget(database)


async def test_connections_overwrite_what_they_delete(tmp_path: Path) -> None:
    async with databases.sqlite_engine(tmp_path / "town.sqlite"):
        assert await engine.rows("PRAGMA secure_delete") == [(1,)]
