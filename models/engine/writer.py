"""Writing SQLite: one connection, one unit of work at a time, one COMMIT for many of them.

Statements run on the event loop (a few µs each: the lock is ours, the pages are cached); COMMIT,
which waits for the disk, and statements known to be slow run on a thread. Whoever ends while others
wait releases its savepoint and hands the open transaction on; the last one commits, and only then
do all of them hear that their rows are safe. Every step that frees the writer is a plain call,
never an await: cancelling a task cannot stop it half-way.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import copy
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from models.engine import changes, readers
from models.engine.errors import DatabaseClosed
from models.engine.threads import Call, Threads
from models.engine.work import Work

# A transaction that others wait for is handed on at most so often and so long.
GROUP = 64
GROUP_S = 0.01
# A statement that once took longer than this runs on the thread, until it was quick there.
ON_LOOP_S = 0.005
REMEMBERED = 1000
# How long a command beside the server may keep the file; waited for on the thread.
BUSY_MS = 5000


class Writer:
    """The one connection that writes, and the queue in front of it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        loop: asyncio.AbstractEventLoop,
        changed: changes.Changes,
    ) -> None:
        self._loop = loop
        self._changed = changed
        self._connection = connection
        # Another process holding the file is waited for on the thread, never on the loop.
        connection.execute("PRAGMA busy_timeout = 0")
        self._thread = Threads("sqlite-writer", 1, lambda: connection, loop)
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._taken = False
        self._group: list[tuple[WriterWork, asyncio.Future[None]]] = []
        self._began = 0.0
        self._slow: set[str] = set()
        self._open = True

    @property
    def busy(self) -> bool:
        """Whether a unit of work has it."""
        return self._taken

    async def open_work(self) -> WriterWork:
        """Waits for its turn, in the order of asking."""
        if not self._open:
            raise DatabaseClosed("the database is closed")
        await self._take()
        return WriterWork(self)

    async def close(self, patience_s: float) -> None:
        """Refuses who still waits, lets the one at work end within `patience_s`, commits, stops."""
        self._open = False
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(DatabaseClosed("the database was closed while waiting"))
        try:
            async with asyncio.timeout(patience_s):
                await self._take()
        except TimeoutError:
            # Whoever hangs is cut off alone: those who handed it the transaction are kept.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK TO SAVEPOINT unit")
        self._pass_on()
        await self._thread.stop()
        self._connection.close()

    async def _take(self) -> None:
        if not self._taken:
            self._taken = True
            return
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled in the very moment it became ours: it must go on to the next.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Gives the writer to the next in the queue; commits first when it is time to."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        if self._group and (
            not self._waiting
            or len(self._group) >= GROUP
            or self._loop.time() - self._began > GROUP_S
        ):
            self._commit_group()
        elif self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._taken = False

    def _commit_group(self) -> None:
        group, self._group = self._group, []

        def settle(done: asyncio.Future[None]) -> None:
            self._settle(group, done.exception())
            self._pass_on()

        self._thread.submit(_commit).add_done_callback(settle)

    def _settle(
        self, group: list[tuple[WriterWork, asyncio.Future[None]]], problem: BaseException | None
    ) -> None:
        for work, _ in group:
            self._changed.note(work._written)
        for work, safe in group:
            if problem is None:
                work._committed()
                safe.set_result(None)
            else:
                # Each waiting task raises its own copy: a shared one would mix their tracebacks.
                safe.set_exception(copy.copy(problem))
                safe.exception()  # a cancelled one does not wait for it any more

    def _timed(
        self, connection: sqlite3.Connection, sql: str, args: Sequence[Any]
    ) -> readers.Result:
        started = time.perf_counter()
        result = readers.run(connection, sql, args)
        if time.perf_counter() - started < ON_LOOP_S:
            self._slow.discard(sql)
        elif len(self._slow) < REMEMBERED:
            self._slow.add(sql)
        return result

    def _lost(self, problem: BaseException) -> None:
        """SQLite rolled back the whole transaction by itself (disk full, I/O error)."""
        group, self._group = self._group, []
        self._settle(group, problem)


class WriterWork(Work):
    """One unit of work inside the writer's transaction: a savepoint of its own."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer
        self._begun = False
        self._pending: asyncio.Future[Any] | None = None

    async def _send(self, sql: str, args: Sequence[Any]) -> readers.Result:
        writer = self._writer
        if self._pending is not None and not self._pending.done():
            # Cancelled by a time-out in here, the call goes on; two at once must not be.
            await asyncio.wait([self._pending])
        try:
            if not self._begun:
                await self._begin()
            if sql not in writer._slow:
                return writer._timed(writer._connection, sql, args)
            result: readers.Result = await self._on_thread(
                lambda connection: writer._timed(connection, sql, args)
            )
            return result
        except sqlite3.Error as problem:
            if not writer._connection.in_transaction:
                self._begun = False
                writer._lost(problem)
            raise

    async def _begin(self) -> None:
        """With the first statement, not before: a unit that does nothing costs nothing."""
        connection = self._writer._connection
        if not connection.in_transaction:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as problem:
                if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                await self._on_thread(_begin_patiently)
            self._writer._began = self._writer._loop.time()
        connection.execute("SAVEPOINT unit")
        self._begun = True

    async def _on_thread(self, call: Call) -> Any:
        self._pending = self._writer._thread.submit(call)
        return await asyncio.shield(self._pending)

    async def _commit(self) -> None:
        writer = self._writer
        if not self._begun:
            writer._pass_on()
            self._committed()
            return
        try:
            writer._connection.execute("RELEASE SAVEPOINT unit")
        except sqlite3.Error:
            self._undo()
            raise
        safe = writer._loop.create_future()
        writer._group.append((self, safe))
        writer._pass_on()
        await asyncio.shield(safe)

    async def _rollback(self, problem: BaseException) -> None:
        self._undo()

    def _undo(self) -> None:
        if self._pending is not None and not self._pending.done():
            self._pending.add_done_callback(lambda _: self._undo())
            return
        connection = self._writer._connection
        try:
            if self._begun and self._writer._group:
                connection.execute("ROLLBACK TO SAVEPOINT unit")
                connection.execute("RELEASE SAVEPOINT unit")
            elif connection.in_transaction and not self._writer._group:
                connection.execute("ROLLBACK")
        except sqlite3.Error as problem:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self._writer._lost(problem)
        finally:
            self._writer._pass_on()


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _begin_patiently(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        connection.execute("PRAGMA busy_timeout = 0")
