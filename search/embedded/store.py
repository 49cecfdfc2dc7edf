"""One index: the text index on disk or in memory, and the columns beside it.

Written by one thread, read by many. A reader takes the current View, a consistent pair of both
halves, and keeps it for as long as it needs; publishing replaces the View in one assignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tantivy

from search import analysis, documents
from search.documents import Document
from search.embedded import damage, textindex
from search.embedded.columns import Columns, Ints
from search.embedded.looking import Looking
from search.embedded.memory import Found, Key, Memory, pack
from search.embedded.spelling import Vocabulary
from search.embedded.textindex import Leaf
from search.embedded.weighing import Weighing
from search.engine import Delete, Failure, Match, Op

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
        self._looking = Looking(searcher, schema, memory, len(columns.alive))

    def scored(self, text: str, asked: analysis.Asked, match: Match) -> tuple[Ints, Ints]:
        """Slots and scores of all documents in which a text is found."""
        key: Key = (text, match)
        found = self.memory.get(key)
        if found is None or found.stale:
            weighing, size = Weighing(self.words, asked), len(self.columns.alive)
            if found is None:
                slots, scores = weighing.scores(match, self._looking.ready, size)
            else:
                # Only what was written since may be found otherwise.
                stale = np.array(sorted(found.stale))
                everywhere = np.zeros(size, np.int32)
                everywhere[found.slots] = found.scores
                everywhere[stale] = 0
                ready = partial(self._looking.ready_among, stale)
                places, scores = weighing.scores(match, ready, len(stale))
                everywhere[stale[places]] = scores
                slots = np.flatnonzero(everywhere > 0)
                scores = everywhere[slots]
            found = Found(pack(slots), scores)
            self.memory.put(key, found)
        return found.slots, found.scores.astype(np.int64)

    def remember(self, leaf: Leaf) -> None:
        """Have it known before anybody asks."""
        self._looking.ready([leaf])(leaf)

    def common(self) -> list[Leaf]:
        """What is worth to `remember`."""
        return textindex.common(self._searcher)

    def documents(self, slots: Sequence[int]) -> list[Document]:
        """The documents in these slots, in this order."""
        if not slots:
            return []
        query = textindex.one_of(self._schema, slots)
        with damage.seen():
            found = self._searcher.search(query, len(slots), count=False, order_by_field="slot")
            bodies = {slot: self._searcher.doc(address)["body"][0] for slot, address in found.hits}
            return [documents.unpack(bodies[slot]) for slot in slots]

    def versions(self) -> dict[str, int]:
        """The version of every document."""
        versions = self.columns.numbers["version"]
        return {id: int(versions[slot]) for id, slot in self.columns.slots.items()}


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
