"""Chance that falls the same way everywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Draws from one seed. Only `random()` is used: Python promises that its sequence stays."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a town, not a secret

    def share(self) -> float:
        """A number from 0 up to 1."""
        return self._random.random()

    def between(self, low: int, high: int, step: int = 1) -> int:
        """One of low, low + step, … up to high."""
        return low + step * int(self.share() * ((high - low) // step + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.share() * len(items))]

    def chance(self, percent: int) -> bool:
        """True so many times in a hundred."""
        return self.share() * 100 < percent
