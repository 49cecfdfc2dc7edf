"""Few statements for many questions: each text is prepared once a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Lists in a statement are filled up to one of these.
_LIST_SIZES = (1, 4, 8, 12, 20, 41, 120, 500)
LONGEST = _LIST_SIZES[-1]
_LIMIT_STEP = 500


def filled(several: Sequence[T], empty: T) -> list[T]:
    """A list filled up with what changes nothing."""
    size = next(size for size in _LIST_SIZES if size >= len(several))
    return [*several, *[empty] * (size - len(several))]


def limit(most: int) -> int:
    """A LIMIT that gives more rows than `most` where there are more, and hardly more than that."""
    return (most // _LIMIT_STEP + 1) * _LIMIT_STEP
