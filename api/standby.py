"""One worker at a time for one database: the others stand by until it stops or dies.

The lock belongs to a connection of its own to PostgreSQL, and so ends with the process, however
it ends. A SQLite file lets only one process in and needs none of this.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import structlog

from models.engine import ending, hearing

log = structlog.get_logger()
CONNECT_S = 10.0
# How often to look whether the connection, and with it the lock, is still there.
HEARTBEAT_S = 2.0
PAUSE_S = 2.0
_LOCK = 7_226_100_703
_SETTINGS = {
    "application_name": "community-partners-worker",
    # A worker whose machine is gone must not keep the others waiting for hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_LOST = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Taken(Exception):
    """Another process holds the lock."""


async def run_alone(
    url: str, work: Callable[[], Awaitable[None]], heard: Callable[[], object]
) -> None:
    """Runs `work` for as long as this process holds the lock, from its turn on, until cancelled.
    Meanwhile `heard` is called whenever a server has written something.

    When the lock is lost with its connection, the work is cancelled and waits for its turn again.
    """
    while True:
        try:
            async with lock(url, wait=True, heard=heard) as heart:
                log.info("worker.at_work")
                await _while_beating(heart, work)
        except _LOST as error:
            log.warning("worker.lock_lost", seconds=PAUSE_S, error=type(error).__name__)
        await asyncio.sleep(PAUSE_S)


@contextlib.asynccontextmanager
async def lock(
    url: str, *, wait: bool, heard: Callable[[], object] | None = None
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The lock; yields what runs as long as it is held and raises once it is lost.

    If another process holds it, waits for it or raises Taken.
    """
    connection = await asyncpg.connect(url, timeout=CONNECT_S, server_settings=_SETTINGS)

    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())

    async def beat() -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                # At once, where it is told: the next worker begins at once, too.
                async with asyncio.timeout(HEARTBEAT_S):
                    await lost.wait()
            await connection.fetchval("SELECT 1", timeout=HEARTBEAT_S)

    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            if not wait:
                raise Taken
            log.info("worker.standby")
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        if heard:
            await connection.add_listener(hearing.CHANNEL, _calling(heard))
        yield beat
    finally:
        connection.terminate()


def _calling(heard: Callable[[], object]) -> Callable[[object, int, str, str], None]:
    def told(_connection: object, _pid: int, _channel: str, message: str) -> None:
        if hearing.tables_of(message):
            heard()

    return told


async def _while_beating(
    heart: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[None]]
) -> None:
    tasks = [asyncio.ensure_future(one()) for one in (heart, work)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await ending.ended(*tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # of two that failed one is told
    for task in done:
        task.result()
