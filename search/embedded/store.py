"""One index: the text index on disk or in memory, and the columns beside it.

Written by one thread, read by many. A reader takes the current View, a consistent pair of both
halves, and keeps it for as long as it needs; publishing replaces the View in one assignment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tantivy

from search import documents
from search.documents import Document
from search.embedded import textindex
from search.embedded.columns import Columns, Ints
from search.embedded.spelling import Vocabulary
from search.engine import Delete, Failure, Match, Op

_HEAP_BYTES = 30_000_000
_MAX_REMEMBERED = 32


class View:
    """One state of the index."""

    def __init__(
        self,
        searcher: tantivy.Searcher,
        schema: tantivy.Schema,
        columns: Columns,
        words: Vocabulary,
    ) -> None:
        self.columns = columns
        self.words = words
        self._searcher = searcher
        self._schema = schema
        self._remembered: OrderedDict[tuple[str, Match], tuple[Ints, Ints]] = OrderedDict()

    def plan(self, text: str, match: Match) -> textindex.Plan:
        """How to find this text in this state of the index."""
        return textindex.plan(self._schema, self.words, text, match)

    def matches(self, text: str, match: Match, clause: tantivy.Query) -> tuple[Ints, Ints]:
        """Slots and scores of all documents that meet the clause of this text.

        The last few are remembered: the next page, another filter, another order ask them again.
        """
        key = (text, match)
        found = self._remembered.get(key)
        if found is None:
            found = self._remembered[key] = self._match(clause)
            while len(self._remembered) > _MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    def documents(self, slots: Sequence[int]) -> list[Document]:
        """The documents in these slots, in this order."""
        if not slots:
            return []
        query = tantivy.Query.term_set_query(self._schema, "slot", slots)
        found = self._searcher.search(query, limit=len(slots), order_by_field="slot").hits
        bodies = {slot: self._searcher.doc(address)["body"][0] for slot, address in found}
        return [documents.unpack(bodies[slot]) for slot in slots]

    def versions(self) -> dict[str, int]:
        """The version of every document."""
        versions = self.columns.numbers["version"]
        return {id: int(versions[slot]) for id, slot in self.columns.slots.items()}

    def _match(self, clause: tantivy.Query) -> tuple[Ints, Ints]:
        most = max(1, self._searcher.num_docs)  # tantivy panics at a limit of 0
        hits = self._searcher.search(clause, limit=most, count=False).hits
        scores = np.fromiter((score for score, _ in hits), np.int64, len(hits))
        slots = self._searcher.fast_field_values("slot", [address for _, address in hits])
        return np.array(slots, np.int64), scores


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
        self.view = self._load()
        # Of deleted documents too: an old upsert that arrives late must not bring them back.
        self._seen = self.view.versions()

    def stage(self, ops: Sequence[Op]) -> list[Failure]:
        """Prepares writes; they are searchable after publish. Returns what had to be left out."""
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
        self._index.reload()
        words = self.view.words.extended(self._words)
        self.view = View(self._index.searcher(), self._schema, self._staged, words)
        self._staged, self._words = None, {}

    def revert(self) -> None:
        """Forgets what was staged, after a write that failed because the disk is full."""
        self._staged, self._words = None, {}
        # A tantivy writer that has failed once refuses everything; the next write opens another.
        self._writer = None

    def close(self) -> None:
        """Ends the writer and its threads. What was staged is lost."""
        if self._writer is not None:
            self._writer.rollback()
            self._writer.wait_merging_threads()
            self._writer = None

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
        return View(searcher, self._schema, columns, words)

    def _put(self, document: Document, body: bytes) -> None:
        columns = self._open_columns()
        if document.id in columns.slots:
            self._open_writer().delete_documents_by_term("id", document.id)
        slot = columns.slot_for(document.id)
        entry = textindex.entry(slot, document, body)
        self._open_writer().add_document(entry.text)
        columns.put(slot, document)
        self._seen[document.id] = document.version
        for word, fields in entry.latin.items():
            self._words[word] = self._words.get(word, 0) | fields

    def _delete(self, op: Delete) -> None:
        if op.id in self._open_columns().slots:
            self._open_writer().delete_documents_by_term("id", op.id)
            self._open_columns().drop(op.id)
        self._seen[op.id] = max(op.version, self._seen.get(op.id, 0))

    def _open_columns(self) -> Columns:
        if self._staged is None:
            self._staged = self.view.columns.copy()
        return self._staged

    def _open_writer(self) -> tantivy.IndexWriter:
        if self._writer is None:
            self._writer = self._index.writer(_HEAP_BYTES, 1)
        return self._writer
