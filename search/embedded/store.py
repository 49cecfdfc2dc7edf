"""One index: the text index on disk or in memory, and the columns beside it.

Written by one thread, read by many. A reader takes the current View, a consistent pair of both
halves, and keeps it for as long as it needs; publishing replaces the View in one assignment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import msgspec
import numpy as np
import tantivy

from search import documents
from search.documents import Document
from search.embedded import textindex
from search.embedded.columns import Columns, Ints
from search.embedded.memory import Found, Key, Memory
from search.embedded.spelling import Vocabulary
from search.engine import Delete, Failure, Match, Op, SearchUnavailable

_HEAP_BYTES = 30_000_000


class View:
    """One state of the index."""

    def __init__(
        self,
        searcher: tantivy.Searcher,
        schema: tantivy.Schema,
        columns: Columns,
        words: Vocabulary,
        memory: Memory,
    ) -> None:
        self.columns = columns
        self.words = words
        self.memory = memory
        self._searcher = searcher
        self._schema = schema

    def plan(self, text: str, match: Match) -> textindex.Plan:
        """How to find this text in this state of the index."""
        return textindex.plan(self._schema, self.words, text, match)

    def matches(
        self, text: str, match: Match, clause: tantivy.Query, plan: textindex.Plan
    ) -> tuple[Ints, Ints]:
        """Slots and scores of all documents that meet the clause of the plan of this text."""
        found = self.memory.get((text, match))
        if found is None:
            found = self._match(clause) if plan.first is None else self._beyond(plan.first, plan)
        elif found.stale:
            found = self._refresh(found, clause)
        else:
            return found.slots, found.scores
        self.memory.put((text, match), found)
        return found.slots, found.scores

    def _beyond(self, first: tantivy.Query, plan: textindex.Plan) -> Found:
        """What a text of several words finds. Its first word may find nearly everything, and has
        probably been asked for before; of the others only what they add is fetched."""
        key: Key = (plan.first_word, "first")
        known = self.memory.get(key)
        if known is None:
            known = self._match(first)
            self.memory.put(key, known)
        elif known.stale:
            known = self._refresh(known, first)
            self.memory.put(key, known)
        scores = np.zeros(len(self.columns.alive), np.int64)
        scores[known.slots] = known.scores
        if plan.more is not None:
            more = self._match(plan.more)
            scores[more.slots] = more.scores
        slots = np.flatnonzero(scores)
        return Found(slots, scores[slots])

    def documents(self, slots: Sequence[int]) -> list[Document]:
        """The documents in these slots, in this order."""
        if not slots:
            return []
        query = self._one_of(slots)
        with _reading():
            found = self._searcher.search(query, len(slots), count=False, order_by_field="slot")
            bodies = {slot: self._searcher.doc(address)["body"][0] for slot, address in found.hits}
            return [documents.unpack(bodies[slot]) for slot in slots]

    def versions(self) -> dict[str, int]:
        """The version of every document."""
        versions = self.columns.numbers["version"]
        return {id: int(versions[slot]) for id, slot in self.columns.slots.items()}

    def _match(self, clause: tantivy.Query) -> Found:
        most = max(1, self._searcher.num_docs)  # tantivy panics at a limit of 0
        with _reading():
            hits = self._searcher.search(clause, limit=most, count=False).hits
        scores = np.fromiter(map(itemgetter(0), hits), np.float64, len(hits))
        slots = self._searcher.fast_field_values("slot", [address for _, address in hits])
        return Found(np.array(slots, np.int64), scores.astype(np.int64))

    def _refresh(self, found: Found, clause: tantivy.Query) -> Found:
        kept = ~np.isin(found.slots, list(found.stale))
        fresh = self._match(textindex.both(clause, self._one_of(found.stale)))
        return Found(
            np.concatenate([found.slots[kept], fresh.slots]),
            np.concatenate([found.scores[kept], fresh.scores]),
        )

    def _one_of(self, slots: Iterable[int]) -> tantivy.Query:
        # One clause per slot: a single query over a set of terms is fifteen times slower.
        term = tantivy.Query.term_query
        should = [(tantivy.Occur.Should, term(self._schema, "slot", slot)) for slot in slots]
        return tantivy.Query.const_score_query(tantivy.Query.boolean_query(should), 0.0)


class Store:
    """One index and its writer. Everything but `view` belongs to the writing thread."""

    def __init__(self, path: Path | None) -> None:
        """Opens or begins the index at this path (None: in memory).

        Raises whatever tantivy or msgspec find wrong with a damaged one.
        """
        self._schema = textindex.schema()
        self._index = tantivy.Index(self._schema, str(path) if path else None)
        # Readers are renewed by publish; by default tantivy would watch the files from a thread.
        self._index.config_reader("manual")
        self._writer: tantivy.IndexWriter | None = None
        self._staged: Columns | None = None
        self._words: dict[str, int] = {}
        self._touched: set[int] = set()
        self._behind = False
        self.view = self._load()
        # Of deleted documents too: an old upsert that arrives late must not bring them back.
        self._seen = self.view.versions()

    def stage(self, ops: Sequence[Op]) -> list[Failure]:
        """Prepares writes; they are searchable after publish. Returns what had to be left out."""
        if self._behind:
            self._catch_up()
        failures = []
        for op in ops:
            if isinstance(op, Delete):
                self._delete(op)
                continue
            try:
                body = documents.pack(op.document)
            except documents.BadDocument as error:
                failures.append(Failure(str(op.document.id), str(error)))
                continue
            # The same version again is news: it may be a repair, or a new name of its place.
            if op.document.version >= self._seen.get(op.document.id, 0):
                self._put(op.document, body)
        return failures

    def publish(self) -> None:
        """Makes what was staged searchable."""
        if self._staged is None:
            return
        self._open_writer().commit()
        self._behind = True
        self._index.reload()
        words = self.view.words.extended(self._words)
        memory = self.view.memory.after(frozenset(self._touched))
        self.view = View(self._index.searcher(), self._schema, self._staged, words, memory)
        self._behind = False
        self._forget_staged()

    def revert(self) -> None:
        """Forgets what was staged, after a write that failed because the disk is full."""
        self._forget_staged()
        # A tantivy writer that has failed once refuses everything; the next write opens another.
        self._writer = None

    def close(self) -> None:
        """Ends the writer and its threads. What was staged is lost."""
        writer, self._writer = self._writer, None
        if writer is not None:
            if self._staged is not None:
                writer.rollback()
            writer.wait_merging_threads()

    def _load(self) -> View:
        searcher = self._index.searcher()
        columns = Columns()
        if searcher.num_docs:
            everything = tantivy.Query.all_query()
            found = searcher.search(everything, searcher.num_docs, order_by_field="slot")
            for slot, address in found.hits:
                columns.put(slot, documents.unpack(searcher.doc(address)["body"][0]))
            columns.free_the_rest()
        words = Vocabulary(textindex.latin_words(searcher))
        return View(searcher, self._schema, columns, words, Memory())

    def _catch_up(self) -> None:
        """After a commit whose outcome could not be read back: columns and text must agree."""
        self._index.reload()
        self.view = self._load()
        self._behind = False

    def _forget_staged(self) -> None:
        self._staged, self._words, self._touched = None, {}, set()

    def _put(self, document: Document, body: bytes) -> None:
        columns = self._open_columns()
        if document.id in columns.slots:
            self._open_writer().delete_documents_by_term("id", document.id)
        slot = columns.slot_for(document.id)
        entry = textindex.entry(slot, document, body)
        self._open_writer().add_document(entry.text)
        columns.put(slot, document)
        self._seen[document.id] = document.version
        self._touched.add(slot)
        for word, fields in entry.latin.items():
            self._words[word] = self._words.get(word, 0) | fields

    def _delete(self, op: Delete) -> None:
        if op.id in (self._staged or self.view.columns).slots:
            self._open_writer().delete_documents_by_term("id", op.id)
            self._touched.add(self._open_columns().drop(op.id))
        self._seen[op.id] = max(op.version, self._seen.get(op.id, 0))

    def _open_columns(self) -> Columns:
        if self._staged is None:
            self._staged = self.view.columns.copy()
        return self._staged

    def _open_writer(self) -> tantivy.IndexWriter:
        if self._writer is None:
            self._writer = self._index.writer(_HEAP_BYTES, 1)
        return self._writer


def is_damage(error: BaseException) -> bool:
    """Whether reading failed because of what the files contain.

    On damaged files tantivy raises ValueError or gives up in the middle. Such a panic is no
    Exception, so that nobody catches it by accident, and its class has no public name.
    """
    kinds = (ValueError, OSError, KeyError, msgspec.MsgspecError)
    return isinstance(error, kinds) or type(error).__name__ == "PanicException"


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if is_damage(error):
            raise SearchUnavailable("the index is damaged") from error
        raise
