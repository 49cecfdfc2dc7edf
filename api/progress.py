"""Long work shows a bar on a terminal and plain lines in a pipe."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY_S = 2.0


@contextlib.contextmanager
def shown(label: str) -> Iterator[Callable[[int, int], None]]:
    """A function `(done, total)` to call along the way; output goes to stderr."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    yield _lines(label)


def _lines(label: str) -> Callable[[int, int], None]:
    last = 0.0

    def line(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= EVERY_S:
            last = now
            print(f"{label}: {done} of {total}", file=sys.stderr, flush=True)

    return line
