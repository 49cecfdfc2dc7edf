"""The Meilisearch engine: searches, writes that are waited for, and rebuilds beside the index.

A write is durable when its task has succeeded, not when the server has answered 202. A rebuild
fills a second index; the server then exchanges their names between two searches.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from search.documents import Document
from search.engine import (
    MAX_PAGE_SIZE,
    Failure,
    Health,
    Op,
    Page,
    Phones,
    Query,
    Receipt,
    Scope,
    SearchToken,
    SearchUnavailable,
    TokensNotOffered,
    Upsert,
)
from search.meili import asking, keys, writing
from search.meili.entries import INDEX
from search.meili.server import Answered, Server
from search.meili.writing import Sent, Target

_LOOKED_AT = 4  # documents for each suggestion, since several may have the same title
_MAX_RECEIPTS = 1000  # that nobody has waited for yet; older ones are forgotten


class _Batch(Struct, frozen=True):
    sent: tuple[Sent, ...]
    failures: tuple[Failure, ...]


class _Stats(Struct, frozen=True):
    numberOfDocuments: int  # noqa: N815 - the server's name


class _Tasks(Struct, frozen=True):
    total: int


class Meili:
    """See engine.SearchEngine. One process at a time may write; any number may search.

    `index` is the name of the index on the server; `<index>_next` is where it is rebuilt.
    """

    def __init__(
        self, url: str, key: str = "", index: str = INDEX, phones: Phones | None = None
    ) -> None:
        """Connects to nothing yet. Refuses (SearchUnavailable) what is no address or no key."""
        self._server = Server(url, key)
        self._phones = phones
        self._main = Target(self._server, index)
        self._known = False  # whether the index is known to be on the server
        self._rebuild: MeiliRebuild | None = None
        self._writing = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._batches: OrderedDict[int, _Batch] = OrderedDict()

    @property
    def paused(self) -> bool:
        """Whether the server is left alone for a moment; see `breaker`."""
        return self._server.paused

    async def search(self, query: Query, scope: Scope) -> Page:
        """One page of what matches the query within the scope."""
        return (await self.multi([query], scope))[0]

    async def multi(self, queries: Sequence[Query], scope: Scope) -> list[Page]:
        """Several queries of one caller, sent together; the server answers one after the other,
        so a write may come between them."""
        asked = [asking.asked(self._main.uid, query, scope) for query in queries]
        body = {"queries": list(itertools.chain(*asked))}
        found = await self._server.ask(asking.Answers, "POST", "/multi-search", body)
        results = iter(found.results)
        answers = [list(itertools.islice(results, len(some))) for some in asked]
        try:
            return [asking.page(*both) for both in zip(queries, answers, strict=True)]
        except msgspec.MsgspecError as error:
            raise SearchUnavailable(f"documents of another form: {error}") from error

    async def suggest(self, text: str, scope: Scope, limit: int) -> list[str]:
        """Titles of what continues or resembles the text, in the script it is written in."""
        self._check_open()
        if not asking.words(text, all_of_them=True) or limit < 1:
            return []
        size = min(_LOOKED_AT * limit, MAX_PAGE_SIZE)
        page = await self.search(Query(text=text, match="all", page_size=size), scope)
        titles = [asking.title(hit.document, text) for hit in page.hits]
        return list(dict.fromkeys(filter(None, titles)))[:limit]

    async def search_token(self, scope: Scope, seconds: int) -> SearchToken:
        """What a phone needs to ask the server itself; see `keys.sign`."""
        self._check_open()
        if self._phones is None:
            raise TokensNotOffered
        return keys.sign(self._phones, self._main.uid, scope, seconds)

    async def apply(self, ops: Sequence[Op]) -> Receipt:
        """Queues writes on the server and returns; they are searchable after wait."""
        self._check_open()
        if not ops:
            return Receipt(())
        valid, failures = writing.writes(ops)
        async with self._writing:
            sent = [*await self._send_beside(valid), *await self._send(valid)]
        number = next(self._numbers)
        self._batches[number] = _Batch(tuple(sent), tuple(failures))
        while len(self._batches) > _MAX_RECEIPTS:
            self._batches.popitem(last=False)
        return Receipt((number,))

    async def wait(self, receipt: Receipt) -> tuple[Failure, ...]:
        """Returns when the batch is searchable, with the documents that had to be left out."""
        self._check_open()
        failures: dict[str, Failure] = {}
        for number in receipt.tasks:
            batch = self._batches.pop(number, None)
            if batch is None:
                continue
            failures |= {failure.id: failure for failure in batch.failures}
            for sent in batch.sent:
                failures |= {failure.id: failure for failure in await sent.target.settle(sent)}
        return tuple(failures.values())

    async def begin_rebuild(self) -> MeiliRebuild:
        """Starts an empty index beside this one; an unfinished earlier one is dropped."""
        async with self._writing:
            self._rebuild = None
            beside = Target(self._server, f"{self._main.uid}_next")
            # There may be one that nobody remembers: what a rebuild left that was killed.
            await beside.drop()
            await beside.create()
            self._rebuild = MeiliRebuild(self, beside)
            return self._rebuild

    async def versions(self) -> dict[str, int]:
        """The version of every document in the index."""
        return await self._main.versions()

    async def health(self) -> Health:
        """How many documents are in, how many writes are waiting, and whether to rebuild."""
        uid, path = self._main.uid, self._main.path
        waiting = {"statuses": "enqueued,processing", "indexUids": uid, "limit": 1}
        try:
            marked, stats, tasks = await asyncio.gather(
                self._main.marked(),
                self._server.ask(_Stats, "GET", f"{path}/stats"),
                self._server.ask(_Tasks, "GET", "/tasks", **waiting),
            )
        except Answered as answered:
            if answered.code == "index_not_found":
                return Health(documents=0, pending=0, empty=True)
            raise
        return Health(documents=stats.numberOfDocuments, pending=tasks.total, empty=not marked)

    async def close(self) -> None:
        """Lets go of the server, which finishes the writes it has accepted. May be called twice."""
        await self._server.close()

    async def add(self, rebuild: MeiliRebuild, documents: Sequence[Document]) -> list[Failure]:
        """What MeiliRebuild.add does."""
        valid, failures = writing.writes([Upsert(document) for document in documents])
        async with self._writing:
            await self._check(rebuild)
            sent = await rebuild.beside.send(valid)
        for one in sent:
            failures += await rebuild.beside.settle(one)
        return failures

    async def swap(self, rebuild: MeiliRebuild) -> None:
        """What MeiliRebuild.commit does."""
        async with self._writing:
            await self._check(rebuild)
            beside, main = rebuild.beside, self._main
            name = await beside.mark()
            rename = not await main.exists()
            swap: dict[str, list[str] | bool] = {
                "indexes": [beside.uid, main.uid],
                "rename": rename,
            }
            await self._server.administer(lambda client: client.swap_indexes([swap]))
            # Our key may not look at that task, which belongs to no index; the next one may be
            # looked at, and tasks are done in order. It deletes the old index.
            await beside.drop()
            if await main.marked() != name:
                raise SearchUnavailable("the server did not put the new index in its place")
            self._rebuild = None
            beside.uid, main.uid = main.uid, beside.uid
            self._main, self._known = beside, True

    def forget(self, rebuild: MeiliRebuild) -> None:
        """What MeiliRebuild.abort does."""
        if self._rebuild is rebuild:
            self._rebuild = None

    async def _send(self, writes: Sequence[writing.Write]) -> list[Sent]:
        if not self._known:
            # The server would make the index itself, but without our settings.
            if not await self._main.exists():
                await self._main.create()
            self._known = True
        return await self._main.send(writes)

    async def _send_beside(self, writes: Sequence[writing.Write]) -> list[Sent]:
        if self._rebuild is None:
            return []
        try:
            return await self._rebuild.beside.send(writes)
        except SearchUnavailable:
            # The rebuild has lost a write and is worth nothing; the writes themselves go on.
            self._rebuild = None
            return []

    async def _check(self, rebuild: MeiliRebuild) -> None:
        self._check_open()
        # By another one of ours, or of another process under the same name.
        if self._rebuild is not rebuild or not await rebuild.beside.is_ours():
            raise SearchUnavailable("this rebuild was finished, aborted or overtaken")

    def _check_open(self) -> None:
        if self._server.closed:
            raise SearchUnavailable("the search engine is closed")


class MeiliRebuild:
    """See engine.Rebuild."""

    def __init__(self, engine: Meili, beside: Target) -> None:
        self._engine = engine
        self.beside = beside

    async def add(self, documents: Sequence[Document]) -> tuple[Failure, ...]:
        """Adds documents, unless a newer version has arrived by apply."""
        return tuple(await self._engine.add(self, documents))

    async def commit(self) -> None:
        """Puts the new index in the place of the old one, between two searches."""
        await self._engine.swap(self)

    async def abort(self) -> None:
        """Forgets the new index: the next rebuild drops it before it begins. By now it may be that
        of another process."""
        self._engine.forget(self)
