"""What runs beside the requests: the worker, which carries the outbox to the index and is woken
after each commit, the clock, and the signing of the audit trail.

They are started with the application, never from a request: a task made inside a unit of work would
inherit its transaction.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import datetime as dt

import structlog

from models import (
    agreements,
    attendance,
    audit,
    base,
    bookings,
    engine,
    outbox,
    queries,
    reviews,
)
from models.agreements import arrears
from models.engine import ending
from search import alerts, comparing, pinyin, sync
from search import engine as index

log = structlog.get_logger()
# Another process may have written unheard: look also when nobody rings. PostgreSQL only.
POLL_S = 1.0
LONGEST_PAUSE_S = 30.0
TICK_S = 5.0
# In UTC: three in the morning in China.
COMPARE_AT_HOUR = 19
SIGN_EVERY_S = 3600.0
# What signing may cost of the time that a stop has.
SIGN_AT_STOP_S = 2.0
_EXPECTED = (index.SearchUnavailable, engine.DatabaseUnavailable, OSError)


class Loop(abc.ABC):
    """A task beside the requests. `start` and `stop` belong to the application's lifespan."""

    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self.run())

    async def stop(self) -> None:
        """Stop wherever it waits; what is left to do is done at the next start."""
        if self._task:
            await ending.ended(self._task)
            if not self._task.cancelled():
                self._task.result()

    @abc.abstractmethod
    async def run(self) -> None:
        """Work until cancelled."""


class Worker(Loop):
    """One loop over the outbox."""

    def __init__(self, target: index.SearchEngine):
        self._target = target
        self._bell = asyncio.Event()
        self._compare_at = _tonight()

    async def start(self) -> None:
        """Begin: first a full index where there is none, then every change as it comes, and once a
        night a comparison of all of it with the database."""
        outbox.listeners.add(self.ring)
        await super().start()

    async def stop(self) -> None:
        """Stop between two batches; what is left in the outbox is carried at the next start."""
        outbox.listeners.discard(self.ring)
        await super().stop()

    def ring(self, _: str = "") -> None:
        """There may be something to do."""
        self._bell.set()

    async def run(self) -> None:
        """Work until cancelled. Trouble with the index or the database only makes it wait."""
        await pinyin.ready()
        pause = 0.0
        while True:
            try:
                if (await self._target.health()).empty:
                    await sync.rebuild(self._target)
                self._bell.clear()
                # Notices wait for the index, and never the other way round.
                while await sync.drain(self._target) or await alerts.tell(self._target):
                    pass
                if base.now() >= self._compare_at:
                    await comparing.mend(self._target)
                    self._compare_at = _tonight()
                pause = 0.0
            except Exception as error:
                # Whatever it is, the rows are still there and the next round tries again; only
                # what nobody expects deserves its trace in the log.
                pause = min(max(pause * 2, 0.5), LONGEST_PAUSE_S)
                expected = isinstance(error, _EXPECTED)
                log.warning(
                    "worker.waiting",
                    seconds=pause,
                    error=type(error).__name__,
                    exc_info=None if expected else error,
                )
                await asyncio.sleep(pause)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._bell.wait()


def _tonight() -> dt.datetime:
    """When the index is next compared with the database."""
    now = base.now()
    today = now.replace(hour=COMPARE_AT_HOUR, minute=0, second=0, microsecond=0)
    return today if today > now else today + dt.timedelta(days=1)


class Clock(Loop):
    """Does what time does by itself: holds that are over become free, agreements lapse, are
    completed, are over, rent is due; occurrences are missed or served, reviews are shown. It begins
    with what became due while nobody was there."""

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            for tick in (
                bookings.expire,
                attendance.tick,
                agreements.tick,
                arrears.tick,
                reviews.tick,
            ):
                try:
                    await tick()
                except Exception as error:
                    # The next round tries again; the others do not wait for it.
                    expected = isinstance(error, _EXPECTED)
                    log.warning(
                        "clock.waiting",
                        error=type(error).__name__,
                        exc_info=None if expected else error,
                    )
            await asyncio.sleep(TICK_S)


class Keeping(Loop):
    """Writes down what was asked of the search, and ends the days of what is popular."""

    def __init__(self, ledger: queries.Ledger):
        self._ledger = ledger

    async def run(self) -> None:
        """Tick until cancelled. What is not written at a stop is forgotten."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._ledger.keep()
                await queries.close_days()
            except Exception as error:
                # What was asked just now is lost, which hurts nobody.
                expected = isinstance(error, _EXPECTED)
                log.warning(
                    "keeping.waiting",
                    error=type(error).__name__,
                    exc_info=None if expected else error,
                )


class Signing(Loop):
    """Signs where the audit trail ends: every hour, and once more at a clean stop."""

    def __init__(self, key: bytes):
        self._key = key

    async def stop(self) -> None:
        """Sign what is left to sign."""
        await super().stop()
        await self._sign(SIGN_AT_STOP_S)

    async def run(self) -> None:
        """Sign until cancelled; the first signature comes after an hour."""
        while True:
            await asyncio.sleep(SIGN_EVERY_S)
            await self._sign(SIGN_EVERY_S)

    async def _sign(self, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                await audit.sign(self._key, _tell)
        except Exception as error:
            # The rows are there: the next signature covers them, too.
            log.warning("audit.unsigned", error=type(error).__name__, exc_info=error)


def _tell(head: audit.Head) -> None:
    """A copy outside the database shows when the tail and its heads were cut off together."""
    log.info("audit.signed", seq=head.seq, hash=head.hash)
