"""Reading SQLite: on the event loop while it is quick, on a thread when it is not.

A hop to a thread and back costs 40 µs where the query itself takes 6, and under load each row waits
for the interpreter's lock (p99 7 ms against 0.03 ms). So a read starts on the loop, with a
deadline; one that passes it is interrupted and asked again on a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

from models.engine.errors import DatabaseClosed
from models.engine.threads import Threads

Result = tuple[Any, list[tuple[Any, ...]]]  # the cursor's description (or None), the rows

ON_LOOP_S = 0.002
# The clock is looked at every so many steps of SQLite's machine: some 50 µs.
STEPS = 2000
# A statement that was too slow this often goes to a thread at once, until it was quick there.
STRIKES = 3
REMEMBERED = 1000


def run(connection: sqlite3.Connection, sql: str, args: Sequence[Any]) -> Result:
    cursor = connection.execute(sql, args)
    return cursor.description, cursor.fetchall()


class Readers:
    """One connection on the loop and up to `threads` on threads of their own, all read-only."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        threads: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._quick = connect()
        # A lock is waited for on a thread, never on the loop.
        self._quick.execute("PRAGMA busy_timeout = 0")
        self._quick.set_progress_handler(self._overdue, STEPS)
        self._threads = Threads("sqlite-reader", threads, connect, loop)
        self._deadline = 0.0
        self._strikes: dict[str, int] = {}
        self._open = True

    async def run(self, sql: str, args: Sequence[Any]) -> Result:
        if not self._open:
            raise DatabaseClosed("the database is closed")
        if self._strikes.get(sql, 0) < STRIKES:
            self._deadline = time.perf_counter() + ON_LOOP_S
            try:
                return run(self._quick, sql, args)
            except sqlite3.OperationalError:
                # Too slow, or locked for a moment: reading again is always safe, and a real
                # error comes again.
                if self._overdue():
                    self._strike(sql)
        result: Result = await self._threads.submit(
            lambda connection: self._slowly(connection, sql, args)
        )
        return result

    async def close(self) -> None:
        self._open = False
        self._quick.close()
        await self._threads.stop()

    def _overdue(self) -> bool:
        return time.perf_counter() > self._deadline

    def _strike(self, sql: str) -> None:
        if len(self._strikes) >= REMEMBERED:
            self._strikes.clear()
        self._strikes[sql] = self._strikes.get(sql, 0) + 1

    def _slowly(self, connection: sqlite3.Connection, sql: str, args: Sequence[Any]) -> Result:
        started = time.perf_counter()
        result = run(connection, sql, args)
        if time.perf_counter() - started < ON_LOOP_S / 2:
            self._strikes.pop(sql, None)
        return result
