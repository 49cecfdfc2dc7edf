"""The embedded engine: threads around the Keeper of the index.

Searches run on a small pool, writes on one thread. The writing thread takes everything that is
waiting, makes it searchable with one commit, and then answers all of it: a burst of small writes
costs hardly more than one.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from search.documents import Document
from search.embedded import finding
from search.embedded.damage import Damaged
from search.embedded.keeper import Beside, Keeper
from search.embedded.store import View
from search.engine import (
    Failure,
    Health,
    Op,
    Page,
    Query,
    Receipt,
    Scope,
    SearchToken,
    SearchUnavailable,
    TokensNotOffered,
)

T = TypeVar("T")

_READERS = 2
_MAX_RECEIPTS = 1000  # remembered after their batch is done; older ones count as done
_AT_ONCE = 50  # documents of a rebuild, which take some 20 milliseconds
# What was written since makes what is known stale, and in the end too stale to be of use.
_RECALL_AFTER, _RECALL_EVERY_S = 250, 60.0
# Times as long as reading took, so that whoever asks or writes meanwhile is served.
_REST, _LONGEST_REST_S = 4.0, 0.2
_MAX_TOGETHER = 64  # batches in one commit


class _Batch:
    """Writes waiting to become searchable."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.ops = ops
        self.done: Future[tuple[Failure, ...]] = Future()


class _Task:
    """Anything else that only the writing thread may do."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run


class Embedded:
    """See engine.SearchEngine. Opening reads all documents once: about a second for 50,000."""

    def __init__(self, directory: Path | None) -> None:
        self.keeper = Keeper(directory)
        self._closed = False
        self._receipts: OrderedDict[int, Future[tuple[Failure, ...]]] = OrderedDict()
        self._last_receipt = 0
        self._jobs: queue.SimpleQueue[_Batch | _Task | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="search-reader")
        self._writer = threading.Thread(target=self._write, name="search-writer", daemon=True)
        self._writer.start()
        self._writes, self._recall_at = 0, 0.0
        # Beside the readers: it rests most of its time.
        self._recaller = ThreadPoolExecutor(1, thread_name_prefix="search-recall")
        self._recall_current()

    @property
    def paused(self) -> bool:
        """Never: it is in this process."""
        return False

    async def search(self, query: Query, scope: Scope) -> Page:
        """One page of what matches the query within the scope."""
        view = self._view()
        return await self._looking(lambda: finding.find(view, query, scope))

    async def multi(self, queries: Sequence[Query], scope: Scope) -> list[Page]:
        """Several queries of one caller, answered from one state of the index."""
        view = self._view()
        return await self._looking(lambda: [finding.find(view, q, scope) for q in queries])

    async def suggest(self, text: str, scope: Scope, limit: int) -> list[str]:
        """Titles within the scope that continue or resemble what has been typed so far."""
        view = self._view()
        return await self._looking(lambda: finding.suggest(view, text, scope, limit))

    async def search_token(self, scope: Scope, seconds: int) -> SearchToken:
        """Nobody but this process can ask this index."""
        raise TokensNotOffered

    async def apply(self, ops: Sequence[Op]) -> Receipt:
        """Accepts writes and returns at once; they are searchable after wait."""
        self._view()
        batch = _Batch(ops)
        self._last_receipt += 1
        self._receipts[self._last_receipt] = batch.done
        while len(self._receipts) > _MAX_RECEIPTS and next(iter(self._receipts.values())).done():
            self._receipts.popitem(last=False)
        self._jobs.put(batch)
        return Receipt((self._last_receipt,))

    async def wait(self, receipt: Receipt) -> tuple[Failure, ...]:
        """Returns when the batch is searchable, with the documents that had to be left out."""
        self._view()
        waiting = [self._receipts[task] for task in receipt.tasks if task in self._receipts]
        # A caller that gives up must not cancel the batch itself.
        done = [await asyncio.shield(asyncio.wrap_future(future)) for future in waiting]
        return tuple(failure for failures in done for failure in failures)

    async def begin_rebuild(self) -> EmbeddedRebuild:
        """Starts an empty index beside this one; an unfinished earlier one is dropped."""
        return EmbeddedRebuild(self, await self.on_writer(lambda: self.keeper.begin_rebuild()))

    async def versions(self) -> dict[str, int]:
        """The version of every document in the index."""
        return await self._on_reader(self._view().versions)

    async def health(self) -> Health:
        """How many documents are in, how many batches are waiting, and whether to rebuild."""
        documents = len(self._view().columns.slots)
        return Health(documents=documents, pending=self._jobs.qsize(), empty=self.keeper.empty)

    async def close(self) -> None:
        """Finishes the writes accepted so far and lets go of everything. May be called twice."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            await self._on_reader(self._writer.join)
            await self._on_reader(self._recaller.shutdown)
            self._readers.shutdown()
            del self.keeper  # ends the threads inside tantivy with the index they watch

    async def on_writer(self, work: Callable[[], T]) -> T:
        """What this returns on the writing thread, in turn with the writes."""
        self._view()
        done: Future[T] = Future()
        self._jobs.put(_Task(lambda: _settle(done, work)))
        return await asyncio.shield(asyncio.wrap_future(done))

    async def _looking(self, work: Callable[[], T]) -> T:
        try:
            return await self._on_reader(work)
        except Damaged:
            self.keeper.found_damage()
            raise

    async def _on_reader(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    def _view(self) -> View:
        if self._closed:
            raise SearchUnavailable("the search engine is closed")
        return self.keeper.store.view

    async def recall(self, view: View) -> None:
        """Reads what many questions will be about, so that it is known before the first."""
        self._view()
        await self._on_reader(lambda: self._recall(lambda: view, rest=0.0))

    def _recall_current(self) -> None:
        self._writes, self._recall_at = 0, time.monotonic() + _RECALL_EVERY_S
        self._recaller.submit(self._recall, lambda: self.keeper.store.view, _REST)

    def _recall(self, current: Callable[[], View], rest: float) -> None:
        for leaf in current().common():
            if self._closed:
                return
            began = time.monotonic()
            # In the state there is by now: writes go on.
            current().remember(leaf)
            time.sleep(min(rest * (time.monotonic() - began), _LONGEST_REST_S))

    def _write(self) -> None:
        job = self._jobs.get()
        while job is not None:
            batches: list[_Batch] = []
            while isinstance(job, _Batch):
                batches.append(job)
                if len(batches) == _MAX_TOGETHER or self._jobs.empty():
                    break
                job = self._jobs.get()
            if batches:
                self._write_together(batches)
            if isinstance(job, _Task):
                job.run()
            if job is not None:
                job = self._jobs.get()
        self.keeper.close()

    def _write_together(self, batches: Sequence[_Batch]) -> None:
        try:
            failures = self.keeper.write([batch.ops for batch in batches])
        except BaseException as error:
            for batch in batches:
                batch.done.set_exception(_unavailable(error))
            return
        for batch, failed in zip(batches, failures, strict=True):
            batch.done.set_result(failed)
        self._writes += sum(len(batch.ops) for batch in batches)
        if (
            self._writes >= _RECALL_AFTER
            and time.monotonic() >= self._recall_at
            and not self.keeper.rebuilding  # which ends with it
        ):
            self._recall_current()


class EmbeddedRebuild:
    """See engine.Rebuild."""

    def __init__(self, engine: Embedded, beside: Beside) -> None:
        self._engine = engine
        self._beside = beside

    async def add(self, documents: Sequence[Document]) -> tuple[Failure, ...]:
        """Adds documents, unless a newer version has arrived by apply. Others have their turn."""
        engine, failures = self._engine, list[Failure]()
        # Once at least: an engine that is closed says so of no documents, too.
        for start in range(0, max(len(documents), 1), _AT_ONCE):
            several = documents[start : start + _AT_ONCE]
            failures += await engine.on_writer(partial(self._add, several))
        return tuple(failures)

    async def commit(self) -> None:
        """Puts the new index in the place of the old one, between two searches."""
        engine = self._engine
        view = await engine.on_writer(lambda: engine.keeper.settle(self._beside))
        await engine.recall(view)
        await engine.on_writer(lambda: engine.keeper.swap(self._beside))

    async def abort(self) -> None:
        """Drops the new index. Does nothing after commit."""
        await self._engine.on_writer(lambda: self._engine.keeper.drop(self._beside))

    def _add(self, documents: Sequence[Document]) -> tuple[Failure, ...]:
        return self._engine.keeper.add(self._beside, documents)


def _settle(done: Future[T], work: Callable[[], T]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:
        done.set_exception(_unavailable(error))


def _unavailable(error: BaseException) -> SearchUnavailable:
    """The writing thread must outlive whatever happens, also a panic inside tantivy."""
    if isinstance(error, SearchUnavailable):
        return error
    unavailable = SearchUnavailable(f"the index could not be written: {error}")
    unavailable.__cause__ = error
    return unavailable
