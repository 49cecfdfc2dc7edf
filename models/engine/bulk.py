"""Very many rows at once: COPY on PostgreSQL, one prepared statement on SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sqlite3
import uuid
from collections.abc import Sequence
from typing import Any

from models.engine.postgres import Postgres
from models.engine.sqlite import SQLite, connect
from models.engine.work import joined

# A table, its columns, and rows of their values.
Load = tuple[str, Sequence[str], Sequence[Sequence[Any]]]


async def copy(target: SQLite | Postgres, loads: Sequence[Load]) -> None:
    """Add rows to tables in one transaction of its own, with every constraint checked.

    For filling an empty database: nothing is told to the outbox or the audit trail. Refuses with
    RuntimeError inside a unit of work, which could not take it back.
    """
    if joined(target) is not None:
        raise RuntimeError("copy() is a transaction of its own")
    try:
        await _copy(target, loads)
    finally:
        target.changes.note(table for table, _, _ in loads)


async def _copy(target: SQLite | Postgres, loads: Sequence[Load]) -> None:
    if isinstance(target, Postgres):
        async with target.lending().lent() as connection, connection.transaction():
            for table, columns, rows in loads:
                await connection.copy_records_to_table(table, records=rows, columns=columns)
        return
    await asyncio.to_thread(_insert, target.path, loads)


def _insert(path: str, loads: Sequence[Load]) -> None:
    with contextlib.closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for table, columns, rows in loads:
                names, marks = ", ".join(columns), ", ".join("?" * len(columns))
                connection.executemany(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})",
                    (list(map(_plain, row)) for row in rows),
                )
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (uuid.UUID, dt.date)) else value
