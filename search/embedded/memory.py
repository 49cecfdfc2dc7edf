"""What the last few texts found, carried from one state of the index to the next.

The next page, another filter and another order ask for the same text again, and fetching a
thousand hits from the text index takes longer than all the rest of a search. A write makes stale
only the documents it touched: words that are new to the index occur in no others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from search.embedded.columns import Ints
from search.engine import Match

_MAX_HITS = 2_000_000  # of all texts together: 32 MB
_MAX_TEXTS = 1000
_MAX_STALE = 500  # documents; with more, asking anew is cheaper

Key = tuple[str, Match | Literal["first"]]  # a text, or the first word of several


class Found(Struct, frozen=True):
    """Slots and scores a text found, but for the `stale` slots, which were written since."""

    slots: Ints
    scores: Ints
    stale: frozenset[int] = frozenset()


class Memory:
    """Used by several readers at once; each state of the index has its own."""

    def __init__(self, found: Iterable[tuple[Key, Found]] = ()) -> None:
        self._found: OrderedDict[Key, Found] = OrderedDict(found)
        self._hits = sum(len(one.slots) for one in self._found.values())
        self._lock = threading.Lock()

    def get(self, key: Key) -> Found | None:
        """What this text found, if that is still known."""
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: Key, found: Found) -> None:
        """Remembers what this text found, and forgets what was not asked for longest."""
        with self._lock:
            before = self._found.pop(key, None)
            self._hits += len(found.slots) - (len(before.slots) if before else 0)
            self._found[key] = found
            while self._hits > _MAX_HITS or len(self._found) > _MAX_TEXTS:
                _, oldest = self._found.popitem(last=False)
                self._hits -= len(oldest.slots)

    def after(self, touched: frozenset[int]) -> Memory:
        """The memory of the next state, in which these slots were written."""
        with self._lock:
            known = list(self._found.items())
        aged = ((key, Found(one.slots, one.scores, one.stale | touched)) for key, one in known)
        return Memory((key, one) for key, one in aged if len(one.stale) <= _MAX_STALE)
