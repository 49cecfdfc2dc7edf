"""Runs the planner in a process of its own: a solve holds its thread, and HiGHS its settings."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from search.planning.problem import Problem
from search.planning.protocol import Line, Order
from search.planning.report import Report

# Starting, reading and writing, beside the time for solving.
_MORE_S = 30.0
_ROOT = Path(__file__).parents[2]
_LONGEST_LINE = 1 << 30


class Failed(Exception):
    """The planner process ended without an answer; the text is the end of what it said."""


async def run(
    problems: Sequence[Problem],
    seconds: float,
    say: Callable[[str, float], None] = lambda _phase, _share: None,
) -> tuple[Report, ...]:
    """One report for each problem. When cancelled, the process is killed."""
    order = await asyncio.to_thread(msgspec.json.encode, Order(tuple(problems), seconds))
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "search.planning",
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    assert child.stdin
    assert child.stdout
    assert child.stderr
    errors = asyncio.create_task(child.stderr.read())
    try:
        async with asyncio.timeout(seconds + _MORE_S):
            with contextlib.suppress(ConnectionError):
                child.stdin.write(len(order).to_bytes(8, "big") + order)
                await child.stdin.drain()
            async for text in child.stdout:
                line = msgspec.json.decode(text, type=Line)
                if line.reports is not None:
                    return line.reports
                say(line.phase, line.share)
        raise Failed((await errors).decode(errors="replace")[-1000:])
    except TimeoutError:
        raise Failed(f"no answer after {seconds + _MORE_S:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        errors.cancel()
