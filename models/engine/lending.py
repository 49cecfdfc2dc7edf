"""Who has which connection of the pool. Under load one goes from hand to hand.

asyncpg's own queue, timers and tasks cost as much as a short statement. So whoever is done gives
the connection to the one who has waited longest, and only where nobody waits, or something went
wrong on it, it goes back to asyncpg, which mends or replaces it.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from models.engine.errors import DatabaseBusy, DatabaseClosed

ACQUIRE_S = 10.0
# How long a statement or a transaction that was given up may take to end. Then its connection is
# dropped instead: a server that hangs must not hold up whoever has given up.
RELEASE_S = 1.0


class Lending:
    """The connections of one pool, `size` of them."""

    def __init__(self, pool: asyncpg.Pool, size: int) -> None:
        self._pool, self._free = pool, size
        # Each gets a connection, or None: the right to ask the pool for one.
        self._waiting: collections.deque[asyncio.Future[Any]] = collections.deque()

    async def take(self) -> Any:
        """A connection. Refuses with DatabaseBusy when none came free in ACQUIRE_S."""
        given = None
        if self._free:
            self._free -= 1
        else:
            given = await self._wait()
        if given is not None:
            return given
        try:
            return await self._pool.acquire()
        except BaseException:
            self._free_one()
            raise

    async def give(self, connection: Any, *, is_fine: bool) -> None:
        """It is done with. `is_fine`: everything asked of it was answered, and no transaction is
        open. Whatever is wrong with it is no matter of who gives it back."""
        if is_fine and self._waiting and not is_gone(connection):
            turn = self._next()
            if turn:
                turn.set_result(connection)
                return
        try:
            # A failure has closed it: the pool opens another when one is needed.
            with contextlib.suppress(Exception):
                await self._pool.release(connection, timeout=RELEASE_S)
        finally:
            self._free_one()

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[Any]:
        """`async with` one of them."""
        connection = await self.take()
        is_fine = False
        try:
            yield connection
            is_fine = True
        finally:
            await self.give(connection, is_fine=is_fine)

    def close(self) -> None:
        """Whoever still waits gets none any more."""
        while turn := self._next():
            turn.set_exception(DatabaseClosed("the database was closed while waiting"))

    async def _wait(self) -> Any:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_later(ACQUIRE_S, _give_up, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            # Cancelled in the very moment it was given something, which must go on to the next.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                if turn.result() is None:
                    self._free_one()
                else:
                    await self.give(turn.result(), is_fine=True)
            raise
        finally:
            timer.cancel()

    def _free_one(self) -> None:
        """One may be asked of the pool again."""
        turn = self._next()
        if turn:
            turn.set_result(None)
        else:
            self._free += 1

    def _next(self) -> asyncio.Future[Any] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None


def is_gone(connection: Any) -> bool:
    """Whether it was lost. asyncpg then also takes it from whoever holds it."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


def _give_up(turn: asyncio.Future[Any]) -> None:
    if not turn.done():
        turn.set_exception(DatabaseBusy(f"no database connection came free in {ACQUIRE_S:.0f} s"))
