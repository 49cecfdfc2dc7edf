"""The planner process: `python -m search.planning`, an Order on stdin, Lines on stdout.

It ends with its order, or as soon as whoever gave it is gone.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import msgspec

from search.planning import account
from search.planning.protocol import Line, Order

# More than the largest plan needs; a mistake must not take the machine with it.
MEMORY_BYTES = 4 << 30
_NICE = 5
_SIZE_BYTES = 8


def main() -> None:
    """Read an order (its length in 8 bytes, then JSON), solve it, say how far it is."""
    _behave()
    size = int.from_bytes(sys.stdin.buffer.read(_SIZE_BYTES), "big")
    order = msgspec.json.decode(sys.stdin.buffer.read(size), type=Order)
    threading.Thread(target=_leave_when_alone, daemon=True).start()
    ends = time.monotonic() + order.seconds
    reports = []
    for at, problem in enumerate(order.problems):
        left = max(ends - time.monotonic(), 0.1) / (len(order.problems) - at)
        reports.append(account.plan(problem, left, _say))
    _write(Line(reports=tuple(reports)))


def _say(phase: str, share: float) -> None:
    _write(Line(phase=phase, share=share))


def _write(line: Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _leave_when_alone() -> None:
    """The server holds the other end of stdin open for as long as it wants an answer."""
    sys.stdin.buffer.read(1)
    os._exit(1)


def _behave() -> None:
    """Never before the server in the queue for the processor, and not without end in memory."""
    if sys.platform == "win32":
        return
    import resource

    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    main()
