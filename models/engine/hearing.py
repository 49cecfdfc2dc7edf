"""What other processes write to a PostgreSQL database, heard a moment later (LISTEN, NOTIFY).

Each server has a connection of its own for it, on which it tells which tables it has written, once
that is committed, and hears what others have. Only while it hears, is anything kept
(`changes.Changes.keep`). What could not be told, since somebody was killed or cut off, is seen
once what was kept is KEPT_S old.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from models.engine.changes import EVERYTHING, UNTOLD, Changes
from models.engine.ending import ended

log = logging.getLogger(__name__)
CHANNEL = "community_changes"
# A notice wakes every process: what is written meanwhile goes into the next one.
PACE_S = 0.05
# How often something is said at least, and how long it may take until it is heard.
BEAT_S, PATIENCE_S = 5.0, 5.0
PAUSE_S = 1.0


class Hearing:
    """Notes in `known` what others write and tells them what is noted there; lets things be kept
    for as long as it hears."""

    def __init__(self, known: Changes, config: Mapping[str, Any]) -> None:
        self._known, self._config = known, config
        self._untold: set[str] = set()
        self._bell, self._echo, self._tried = asyncio.Event(), asyncio.Event(), asyncio.Event()
        known.tell = self._tell
        self._task = asyncio.create_task(self._run())

    async def ready(self) -> None:
        """Wait until it hears, or has failed to for the first time."""
        await self._tried.wait()

    async def stop(self) -> None:
        """Tell and hear no more."""
        self._known.tell = None
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(**self._config)
                try:
                    await self._talk(connection)
                finally:
                    self._known.keep = False
                    connection.terminate()
            except Exception as error:
                # Whatever it is: it is tried again, and nothing is kept until it works.
                log.warning("other processes are not heard: %s", type(error).__name__)
            self._tried.set()
            await asyncio.sleep(PAUSE_S)

    async def _talk(self, connection: Any) -> None:
        """Tell what there is to tell, and hear it oneself, until the connection is lost. A proxy
        that takes LISTEN and forgets it is as bad as none."""
        connection.add_termination_listener(self._hang_up)
        await connection.add_listener(CHANNEL, self._heard)
        while True:
            self._bell.clear()
            self._echo.clear()
            telling, self._untold = self._untold, set()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await connection.execute(_notice(self._known.name, telling))
                    await self._echo.wait()
            except BaseException:
                self._untold |= telling
                raise
            if not self._known.keep:
                # Of what was written while nobody listened nothing is known.
                self._known.heard(EVERYTHING)
                self._known.keep = True
                self._tried.set()
            await asyncio.sleep(PACE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._bell.wait()

    def _tell(self, tables: frozenset[str]) -> None:
        if fresh := tables - UNTOLD:
            self._untold |= fresh
            self._bell.set()

    def _heard(self, _connection: object, _pid: int, _channel: str, message: object) -> None:
        notice = str(message)
        if notice.split()[0] == self._known.name:
            self._echo.set()
        else:
            self._known.heard(tables_of(notice))

    def _hang_up(self, _connection: object) -> None:
        self._known.keep = False
        self._bell.set()


def tables_of(notice: str) -> list[str]:
    """Which tables may have been written; none if somebody only made sure that they hear."""
    return notice.split()[1:]


def _notice(sender: str, tables: Iterable[str]) -> str:
    # Names of tables have letters only, and are far from the 8,000 bytes that fit.
    return f"NOTIFY {CHANNEL}, '{' '.join((sender, *sorted(tables)))}'"
