"""Ending what runs beside everything else."""

from __future__ import annotations

import asyncio
from typing import Any

# Longer than what a task has to put in order when it is cancelled.
AGAIN_S = 3.0


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancels them until they have ended; what they end with is still theirs to tell.

    Once is not enough: what a task waits for may fail in the very moment in which it is cancelled,
    and a loop that goes on after failures then never hears that it should not.
    """
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=AGAIN_S)
