"""Long work on the event loop, in short turns: others are served in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# One turn of work, in seconds. A piece that has begun is finished first.
TURN_S = 0.005


async def pieces(several: Sequence[T], size: int) -> AsyncIterator[Sequence[T]]:
    """The sequence in pieces; everybody else has a turn before the first of several, and whenever
    one of ours is over."""
    if len(several) > size:
        await asyncio.sleep(0)
    ends = time.perf_counter() + TURN_S
    for start in range(0, len(several), size):
        if time.perf_counter() > ends:
            await asyncio.sleep(0)
            ends = time.perf_counter() + TURN_S
        yield several[start : start + size]
