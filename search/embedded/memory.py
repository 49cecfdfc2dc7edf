"""What was found lately, for texts and for single tokens, carried from one state to the next.

The next page, another filter and another order ask for the same text again, and other texts for
the same common words. A write makes stale only the documents it touched: words that are new to the
index occur in no others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from search.embedded.columns import Bools, Ints, Small
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

    def where(self, size: int) -> Ints | Bools:
        """The slots, or where they are many, of each of so many whether it is one of them."""
        if self.packed.dtype == np.uint8:
            return np.unpackbits(self.packed.view(np.uint8), count=size).view(np.bool_)
        return self.slots

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


class _Kept:
    """What is found, in whichever state: the state it was found in, and what."""

    def __init__(self) -> None:
        self.found: OrderedDict[Key, tuple[int, Found]] = OrderedDict()
        self.size = 0
        self.lock = threading.Lock()


class Memory:
    """Of one state of the index; used by several readers at once. All states keep what they find
    together, so that a write costs nothing here: what it made stale is seen when it is asked for.
    """

    def __init__(self) -> None:
        self._kept = _Kept()
        self._state = 0
        # Which slots the last writes have touched, the latest last.
        self._written: tuple[frozenset[int], ...] = ()
        self._stale: dict[int, frozenset[int]] = {}
        self._alike: dict[tuple[str, int], Leaf] = {}

    def get(self, key: Key) -> Found | None:
        """What was found for this, if that is still known."""
        kept = self._kept
        with kept.lock:
            entry = kept.found.get(key)
            if entry is None:
                return None
            kept.found.move_to_end(key)
        state, found = entry
        if not 0 <= self._state - state <= len(self._written):
            return None
        stale = self._stale_since(state)
        if len(stale) > _MAX_STALE:
            return None
        return Found(found.packed, found.scores, stale, found.hits) if stale else found

    def alike(self, field: str, hits: int) -> tuple[Leaf, Found] | None:
        """A leaf of that field found in this state to stand in so many documents, and in which."""
        leaf = self._alike.get((field, hits))
        found = self.get(leaf) if leaf else None
        return (leaf, found) if leaf and found else None

    def put(self, key: Key, found: Found) -> None:
        """Remembers what was found, and forgets what was not asked for longest."""
        kept = self._kept
        if isinstance(key, Leaf) and found.hits:
            self._alike[key.field, found.hits] = key
        with kept.lock:
            state, before = kept.found.get(key, (-1, None))
            if state > self._state:
                return
            kept.size += found.size - (before.size if before else 0)
            kept.found[key] = self._state, found
            kept.found.move_to_end(key)
            while kept.size > _MAX_BYTES or len(kept.found) > _MAX_FOUND:
                _, (_, oldest) = kept.found.popitem(last=False)
                kept.size -= oldest.size

    def after(self, touched: frozenset[int]) -> Memory:
        """The memory of the next state, in which these slots were written."""
        following = Memory()
        following._kept, following._state = self._kept, self._state + 1
        following._written = (*self._written, touched)[-_MAX_STALE:]
        return following

    def _stale_since(self, state: int) -> frozenset[int]:
        writes = self._state - state
        stale = self._stale.get(writes)
        if stale is None:
            stale = frozenset().union(*self._written[len(self._written) - writes :])
            self._stale[writes] = stale
        return stale
