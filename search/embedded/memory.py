"""What was found lately, for texts and for single tokens, carried from one state to the next.

The next page, another filter and another order ask for the same text again, and other texts for
the same common words. A write makes stale only the documents it touched: words that are new to the
index occur in no others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from search.embedded.columns import Ints, Small
from search.embedded.textindex import Leaf
from search.engine import Match

_MAX_BYTES = 64_000_000  # of all together
_MAX_FOUND = 8000
_MAX_STALE = 500  # documents; with more, asking anew is cheaper

_NONE = np.zeros(0, np.int32)
Key = tuple[str, Match] | Leaf


class Found(Struct, frozen=True):
    """Slots, packed, and of a text their scores, but for the `stale` slots, which were written
    since; of a leaf how many there are."""

    packed: NDArray[np.int32 | np.uint8]
    scores: Small = _NONE
    stale: frozenset[int] = frozenset()
    hits: int = 0

    @property
    def slots(self) -> Ints:
        """In order."""
        if self.packed.dtype == np.uint8:
            # As truths: numpy finds those many times as fast as numbers.
            return np.flatnonzero(np.unpackbits(self.packed.view(np.uint8)).view(np.bool_))
        return self.packed.astype(np.int64)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.packed.nbytes + self.scores.nbytes


def pack(slots: Ints) -> NDArray[np.int32 | np.uint8]:
    """Slots in order, as numbers or, where they are many, as one bit for each that there is."""
    if len(slots) == 0 or 32 * len(slots) < slots[-1]:
        return slots.astype(np.int32)
    bits = np.zeros(slots[-1] + 1, np.bool_)
    bits[slots] = True
    return np.packbits(bits)


class Memory:
    """Used by several readers at once; each state of the index has its own."""

    def __init__(self, found: Iterable[tuple[Key, Found]] = ()) -> None:
        self._found: OrderedDict[Key, Found] = OrderedDict(found)
        self._size = sum(one.size for one in self._found.values())
        self._alike: dict[tuple[str, int], Leaf] = {}
        self._lock = threading.Lock()

    def get(self, key: Key) -> Found | None:
        """What was found for this, if that is still known."""
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def alike(self, field: str, hits: int) -> tuple[Leaf, Found] | None:
        """A leaf of that field found in this state to stand in so many documents, and in which."""
        with self._lock:
            leaf = self._alike.get((field, hits))
            found = self._found.get(leaf) if leaf else None
            return (leaf, found) if leaf and found else None

    def put(self, key: Key, found: Found) -> None:
        """Remembers what was found, and forgets what was not asked for longest."""
        with self._lock:
            before = self._found.pop(key, None)
            self._size += found.size - (before.size if before else 0)
            self._found[key] = found
            if isinstance(key, Leaf) and found.hits:
                self._alike[key.field, found.hits] = key
            while self._size > _MAX_BYTES or len(self._found) > _MAX_FOUND:
                _, oldest = self._found.popitem(last=False)
                self._size -= oldest.size

    def after(self, touched: frozenset[int]) -> Memory:
        """The memory of the next state, in which these slots were written."""
        with self._lock:
            known = list(self._found.items())
        # Most have the same stale slots.
        stale = {some: some | touched for some in {one.stale for _, one in known}}
        return Memory(
            (key, Found(one.packed, one.scores, stale[one.stale], one.hits))
            for key, one in known
            if len(one.stale) <= _MAX_STALE
        )
