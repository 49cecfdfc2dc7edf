"""Where tokens stand in one state of the index: known from before, or asked of the text index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tantivy

from search.embedded import damage, textindex
from search.embedded.columns import Bools, Ints
from search.embedded.memory import Found, Memory, pack
from search.embedded.textindex import Leaf, Standing
from search.embedded.weighing import Fetch, Where, truths

_NONE = np.zeros(0, np.int64)
_MANY = 1500  # hits; from here on counting first saves time


class Looking:
    """Over so many slots."""

    def __init__(
        self, searcher: tantivy.Searcher, schema: tantivy.Schema, memory: Memory, size: int
    ) -> None:
        self._searcher = searcher
        self._schema = schema
        self._memory = memory
        self._size = size

    def ready(self, leaves: Sequence[Leaf]) -> Fetch:
        """What finds the slots where each of these stands."""
        known = {leaf: found for leaf in leaves if (found := self._memory.get(leaf))}
        touched = self._touched(known)

        def fetch(leaf: Leaf) -> Where:
            found = known.get(leaf)
            if found is None:
                return self._fetched(leaf)
            return self._refreshed(leaf, found, touched) if found.stale else found.where(self._size)

        return fetch

    def ready_among(self, slots: Ints, leaves: Sequence[Leaf]) -> Fetch:
        """What finds in which of a few slots each of these stands, as places among them."""
        with damage.seen():
            clauses = {
                leaf: textindex.clause(self._schema, leaf)
                for leaf in leaves
                if textindex.most(self._searcher, leaf)
            }
            # Mostly none has anything to do with these, and one question tells.
            anything = textindex.both(textindex.any_of(clauses.values()), self._one_of(slots))
            touched = textindex.slots(self._searcher, anything, len(slots)) if clauses else _NONE
        here = self._one_of(touched)

        def fetch(leaf: Leaf) -> Where:
            if not len(touched) or leaf not in clauses:
                return _NONE
            with damage.seen():
                clause = textindex.both(clauses[leaf], here)
                found = textindex.slots(self._searcher, clause, len(touched))
            return np.searchsorted(slots, found)

        return fetch

    def _touched(self, known: dict[Leaf, Found]) -> frozenset[int]:
        """Of the documents written since, those that have anything to do with these: mostly none,
        and one question tells."""
        stale = frozenset().union(*(found.stale for found in known.values()))
        if not stale:
            return stale
        anything = textindex.any_of(textindex.clause(self._schema, leaf) for leaf in known)
        with damage.seen():
            written = textindex.both(anything, self._one_of(stale))
            found = textindex.slots(self._searcher, written, len(stale))
        return frozenset(found.tolist())

    def _refreshed(self, leaf: Leaf, found: Found, touched: frozenset[int]) -> Where:
        there = np.zeros(self._size, np.bool_)
        there[found.slots] = True
        there[list(found.stale)] = False
        again = found.stale & touched
        if again:
            clause = textindex.both(textindex.clause(self._schema, leaf), self._one_of(again))
            with damage.seen():
                there[textindex.slots(self._searcher, clause, len(again))] = True
        slots = np.flatnonzero(there)
        self._memory.put(leaf, Found(pack(slots), hits=len(slots)))
        return slots

    def _fetched(self, leaf: Leaf) -> Where:
        if leaf.standing is Standing.ALL:
            return self._all_of(leaf)
        with damage.seen():
            most = textindex.most(self._searcher, leaf)
            if not most:
                return _NONE
            if leaf.standing is Standing.ANY and most >= textindex.FEW:
                return self._any_of(leaf)
            found = self._listed(leaf, most)
        self._memory.put(leaf, found)
        return found.where(self._size)

    def _listed(self, leaf: Leaf, most: int) -> Found:
        """Where this stands, which is known to be in so many documents at the most."""
        clause = textindex.clause(self._schema, leaf)
        if most >= _MANY and leaf.standing is not Standing.ANY:
            most = textindex.count(self._searcher, clause)
            same = self._wherever(leaf, most) or self._same(leaf, clause, most)
            if same is not None:
                return same
        slots = textindex.slots(self._searcher, clause, most)
        return Found(pack(slots), hits=len(slots))

    def _wherever(self, leaf: Leaf, hits: int) -> Found | None:
        """Where all tokens of a phrase are, if that is no more often than it has hits. Their places
        in the texts take long to read, and need not be read again to list them."""
        if len(leaf.tokens) == 1:
            return None
        slots = np.flatnonzero(self._all_of(leaf))
        return Found(pack(slots), hits=hits) if len(slots) == hits else None

    def _same(self, leaf: Leaf, clause: tantivy.Query, hits: int) -> Found | None:
        """What is known of a leaf that stands in the very same documents. Words of one service
        or place do, and counting tells it much sooner than listing."""
        alike = self._memory.alike(leaf.field, hits) if hits >= _MANY else None
        if alike is None:
            return None
        other, found = alike
        both = textindex.both(clause, textindex.clause(self._schema, other))
        return found if textindex.count(self._searcher, both) == hits else None

    # Tokens that are common are in other questions, too: each is looked for by itself.

    def _all_of(self, leaf: Leaf) -> Bools:
        singles = _singles(leaf)
        fetch = self.ready(singles)
        there = np.ones(self._size, np.bool_)
        for single in singles:
            there &= truths(fetch(single), self._size)
        return there

    def _any_of(self, leaf: Leaf) -> Bools:
        singles = _singles(leaf)
        fetch = self.ready(singles)
        there = np.zeros(self._size, np.bool_)
        for single in singles:
            there |= truths(fetch(single), self._size)
        return there

    def _one_of(self, slots: Ints | frozenset[int]) -> tantivy.Query:
        return textindex.one_of(self._schema, slots)


def _singles(leaf: Leaf) -> list[Leaf]:
    return [Leaf(leaf.field, ((0, token),)) for _, token in leaf.tokens]
