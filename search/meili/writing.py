"""One index on the server: what has been sent to it, and how to send more."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from search import documents
from search.engine import Delete, Failure, Op, SearchUnavailable
from search.meili import entries
from search.meili.server import Answered, Server

_UPLOAD_BYTES = 8 * 2**20
_PAGE = 1000  # ids and versions in one answer
_NOT_THERE = "index_not_found"
_CLAIM = "begun-by"


class Write(Struct, frozen=True):
    """A valid op, the document as the server takes it; `entry` None deletes."""

    id: str
    version: int
    entry: bytes | None


class Sent(Struct, frozen=True):
    """One task of an index: the documents in it, or the ids that it deletes."""

    target: Target
    task: int
    upserts: tuple[Write, ...] = ()
    deletes: tuple[str, ...] = ()


class _Version(Struct, frozen=True):
    id: str
    version: int


class _Versions(Struct, frozen=True):
    results: list[_Version]


class Target:
    """An index by its name. Only one process at a time may write to it.

    It remembers the version it last sent of every id, of deleted ones too, because the server
    takes whatever comes: an old upsert that arrives late must not undo what is newer.
    """

    def __init__(self, server: Server, uid: str) -> None:
        self.uid = uid
        self._server = server
        self._seen: dict[str, int] = {}
        self._sending = asyncio.Lock()
        self._claim = uuid.uuid4().hex

    @property
    def path(self) -> str:
        return f"/indexes/{self.uid}"

    async def create(self) -> None:
        """An empty index of this name, which must not be there, with our settings."""
        uid = self.uid
        carry_out = self._server.carry_out
        claimed = {**entries.SETTINGS, "synonyms": {_CLAIM: [self._claim]}}
        await carry_out(lambda client: client.create_index(uid, {"primaryKey": "id"}))
        await carry_out(lambda client: client.index(uid).update_settings(claimed))

    async def is_ours(self) -> bool:
        """Whether the index of this name is the one that was created here, and not yet marked."""
        path = f"{self.path}/settings/synonyms"
        try:
            marks = await self._server.ask(dict[str, list[str]], "GET", path)
        except Answered as answered:
            if answered.code == _NOT_THERE:
                return False
            raise
        return self._claim in marks.get(_CLAIM, ())

    async def drop(self) -> None:
        """Deletes the index, if there is one."""
        uid = self.uid
        await self._server.carry_out(lambda client: client.delete_index(uid), but=_NOT_THERE)

    async def exists(self) -> bool:
        """Whether the server has it."""
        uid = self.uid
        try:
            await self._server.administer(lambda client: client.get_raw_index(uid))
        except Answered as answered:
            if answered.code == _NOT_THERE:
                return False
            raise
        return True

    async def mark(self) -> str:
        """Says that it is complete and what it was made with; answers a name that is its alone.

        An index has no room for remarks, so they are a synonym for a word that no one types.
        They go along when two indexes exchange names.
        """
        uid, name = self.uid, uuid.uuid4().hex
        marks = {entries.mark(): [name]}
        await self._server.carry_out(lambda client: client.index(uid).update_synonyms(marks))
        return name

    async def marked(self) -> str:
        """The name that `mark` gave it; empty if it is incomplete, or not as one would be now."""
        uid = self.uid
        marks = await self._server.administer(lambda client: client.index(uid).get_synonyms())
        return "".join(marks.get(entries.mark(), ()))

    async def versions(self) -> dict[str, int]:
        """The version of every document. Writes meanwhile may be in it or not."""
        found: dict[str, int] = {}
        body = {"fields": ["id", "version"], "limit": _PAGE}
        while True:
            page = await self._fetch({**body, "offset": len(found)})
            found |= page
            if len(page) < _PAGE:
                return found

    async def send(self, writes: Sequence[Write]) -> list[Sent]:
        """Queues the writes, but for upserts older than what the index has seen."""
        async with self._sending:
            await self._look_up([one.id for one in writes if one.entry is not None])
            upserts: dict[str, Write] = {}
            deletes: dict[str, None] = {}
            for one in writes:
                seen = self._seen.get(one.id, 0)
                if one.entry is None:
                    upserts.pop(one.id, None)
                    deletes[one.id] = None
                # The same version again is news: it may be a repair, or a new name of its place.
                elif one.version >= seen:
                    deletes.pop(one.id, None)
                    upserts[one.id] = one
                self._seen[one.id] = max(one.version, seen)
            sent = [await self._upload(part) for part in _payloads(upserts.values())]
            if deletes:
                sent.append(await self._delete(tuple(deletes)))
            return sent

    async def settle(self, sent: Sent, *, alone: bool = False) -> list[Failure]:
        """Waits for a task. When a document spoils it for the others, they are sent without it.

        The server fails a whole batch for one document, so it is halved until that one is found.
        It may be one of another task that it did together with this: what is `alone` has no such
        excuse.
        """
        trouble = await self._server.outcome(sent.task)
        if trouble is None:
            return []
        if trouble.code.startswith("index_") or (alone and sent.deletes):
            raise SearchUnavailable(f"task {sent.task} failed: {trouble.code} {trouble.message}")
        if sent.deletes:
            async with self._sending:
                again = await self._delete(sent.deletes)
            return await self.settle(again, alone=True)
        if alone:
            return [Failure(sent.upserts[0].id, trouble.message)]
        half = len(sent.upserts) // 2
        failures = []
        for part in filter(None, (sent.upserts[:half], sent.upserts[half:])):
            async with self._sending:
                # Meanwhile something newer may have been sent.
                current = [one for one in part if one.version == self._seen[one.id]]
                resent = await self._upload(current) if current else None
            if resent:
                failures += await self.settle(resent, alone=len(current) == 1)
        return failures

    async def _upload(self, part: Sequence[Write]) -> Sent:
        documents = [one.entry for one in part if one.entry is not None]
        task = await self._server.upload(f"{self.path}/documents", documents)
        return Sent(self, task, tuple(part))

    async def _delete(self, ids: tuple[str, ...]) -> Sent:
        path = f"{self.path}/documents/delete-batch"
        return Sent(self, await self._server.queue("POST", path, ids), deletes=ids)

    async def _look_up(self, ids: Sequence[str]) -> None:
        """Learns the versions of ids it has not sent itself."""
        unknown = [id for id in dict.fromkeys(ids) if id not in self._seen]
        for start in range(0, len(unknown), _PAGE):
            some = unknown[start : start + _PAGE]
            body = {"ids": some, "fields": ["id", "version"], "limit": _PAGE}
            found = await self._fetch(body)
            self._seen |= {id: found.get(id, 0) for id in some}

    async def _fetch(self, body: dict[str, object]) -> dict[str, int]:
        path = f"{self.path}/documents/fetch"
        answer = await self._server.ask(_Versions, "POST", path, body)
        return {one.id: one.version for one in answer.results}


def writes(ops: Sequence[Op]) -> tuple[list[Write], list[Failure]]:
    """The ops as the server takes them, and those that no engine takes."""
    valid, failures = [], []
    for op in ops:
        if isinstance(op, Delete):
            valid.append(Write(op.id, op.version, None))
            continue
        try:
            valid.append(Write(op.document.id, op.document.version, entries.entry(op.document)))
        except documents.BadDocument as error:
            failures.append(Failure(str(op.document.id), str(error)))
    return valid, failures


def _payloads(upserts: Iterable[Write]) -> Iterator[list[Write]]:
    part: list[Write] = []
    size = 0
    for one in upserts:
        length = len(one.entry or b"") + 1
        if part and size + length > _UPLOAD_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += length
    if part:
        yield part
