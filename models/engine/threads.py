"""Daemon threads that run calls for an event loop and are gone when they say so."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

Call = Callable[[Any], Any]


class Threads:
    """So many threads; each makes a tool (a SQLite connection) for its first call, and lends it to
    all of its calls.

    Calls run in the order they were handed in; with one thread that order is a guarantee.
    """

    def __init__(
        self, name: str, count: int, make: Callable[[], Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._loop = loop
        self._calls: queue.SimpleQueue[tuple[Call, asyncio.Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._make = make
        self._ended = [loop.create_future() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._run, args=(ended,), name=name, daemon=True)
            for ended in self._ended
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Call) -> asyncio.Future[Any]:
        """The future of `call(tool)`. Cancelling it before its turn means it never runs."""
        done = self._loop.create_future()
        self._calls.put((call, done))
        return done

    async def stop(self) -> None:
        """Lets the calls handed in so far end, then ends the threads."""
        for _ in self._threads:
            self._calls.put(None)
        await asyncio.gather(*self._ended)
        for thread in self._threads:
            thread.join()

    def _run(self, ended: asyncio.Future[None]) -> None:
        tool: Any = None
        while (item := self._calls.get()) is not None:
            call, done = item
            if done.cancelled():
                continue
            result: Any = None
            problem: Exception | None = None
            try:
                if tool is None:
                    tool = self._make()
                result = call(tool)
            except Exception as raised:
                problem = raised
            self._tell(_settle, done, result, problem)
            del item, call, done, result, problem
        if tool is not None:
            tool.close()
        self._tell(_settle, ended, None, None)

    def _tell(self, *call: Any) -> None:
        # The loop is closed already when a program ends without closing its engine.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(*call)


def _settle(future: asyncio.Future[Any], result: Any, problem: Exception | None) -> None:
    if future.done():
        return
    if problem is not None:
        future.set_exception(problem)
        # Whoever waited may have been cancelled; then nobody has to hear of it.
        future.exception()
    else:
        future.set_result(result)
