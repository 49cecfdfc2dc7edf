"""The first page of a long list against its thousandth, in process, on both databases.

    ./run bench pages [--needs 1000000] [--calls 100] [--engines sqlite postgres]

A thousand needs of the synthetic city, copied by the database itself. Three of ten are open, but
none of the newest tenth, as where whoever asks is served soon; one of a thousand is a draft. Pages
of 20, newest first: of everybody's list, of one service, of one community and of the whole city for
everybody, and of closed needs and drafts for an operator. Printed are medians; first and thousandth
pages take turns. A list that has no thousandth page is compared with its last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from models import accounts, engine, migrate, needs
from tests import databases, memory, postgres
from tests.bench import _city

PAGE, LAST = 20, 1_000
TEMPLATES = 1_000
# Copied by one statement, which may take no longer than any other.
AT_ONCE = 50_000
ANYBODY, OPERATOR = accounts.Visibility(), accounts.EVERYTHING
List = Callable[[uuid.UUID | None, int], Awaitable[list[needs.NeedRecord]]]
_NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)"
    " SELECT i FROM n)",
    "postgres": "(SELECT generate_series($1::int, $2::int) AS i)",
}
_ID = {
    "sqlite": "printf('01990000-0000-7000-8000-%012x', number)",
    "postgres": "('01990000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid",
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="./run bench pages", description=__doc__.split("\n")[0])
    parser.add_argument("--needs", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"])
    given = parser.parse_args(argv)
    print(
        f"{'list':26}{'engine':>10}{'page 1, ms':>12}{'page':>7}{'ms':>8}{'times':>7}", flush=True
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for kind in given.engines:
            runner.run(_measure(kind, given))


async def _measure(kind: str, given: argparse.Namespace) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if kind == "postgres":
            server = stack.enter_context(postgres.server())
            opened: Any = databases.postgres_engine(server)
        else:
            directory = tempfile.TemporaryDirectory(dir=memory.directory())
            opened = databases.sqlite_engine(Path(stack.enter_context(directory)) / "pages.sqlite")
        await stack.enter_async_context(opened)
        city = await _fill(given.needs)
        for name, browse in _lists(city).items():
            number, after = await _far(browse)
            first, far = await _time(browse, after, given.calls)
            row = f"{name:26}{kind:>10}{first:12.2f}{number:7,}{far:8.2f}{far / first:7.2f}"
            print(row, flush=True)


async def _fill(count: int) -> _city.City:
    await migrate.migrate()
    city = _city.City(1_000)
    await city.settle()
    # The one that the city came with.
    await engine.execute("DELETE FROM need")
    await city.post(city.asks(TEMPLATES))
    dialect = engine.current().dialect
    await engine.execute("CREATE TABLE template AS SELECT * FROM need")
    await engine.execute("DELETE FROM need")
    copied = [column._meta.name for column in needs.Need._meta.columns]
    copied = [name for name in copied if name not in ("id", "status")]
    ends, quiet = count // TEMPLATES, count - count // 10
    for start in range(0, ends, AT_ONCE // TEMPLATES):
        await engine.execute(
            f"INSERT INTO need (id, status, {', '.join(copied)})"
            f" SELECT {_ID[dialect]}, CASE WHEN number % 1000 = 999 THEN 'draft'"
            f" WHEN number % 10 < 3 AND number < {quiet} THEN 'open' ELSE 'closed' END,"
            f" {', '.join(copied)} FROM (SELECT t.*, n.i * {TEMPLATES} + t.k AS number"
            " FROM (SELECT *, row_number() OVER (ORDER BY id) - 1 AS k FROM template) t"
            f" CROSS JOIN {_NUMBERS[dialect]} n) made ORDER BY number",
            start,
            min(start + AT_ONCE // TEMPLATES, ends) - 1,
        )
    await engine.execute("ANALYZE")
    return city


def _lists(city: _city.City) -> dict[str, List]:
    service = city.asks(1)[0][1].service_type
    one = {"limit": PAGE}

    def of(sees: accounts.Visibility, **which: Any) -> List:
        return lambda after, limit: needs.browse(
            sees, after=after, **(one | which | {"limit": limit})
        )

    return {
        "everybody's": of(ANYBODY),
        "of one service": of(ANYBODY, service_type=service),
        "of one community": of(ANYBODY, within=city.communities[0].id),
        "of the whole city": of(ANYBODY, within=city.root),
        "closed, for an operator": of(OPERATOR, status="closed"),
        "drafts, for an operator": of(OPERATOR, status="draft"),
    }


async def _far(browse: List) -> tuple[int, uuid.UUID | None]:
    """The number of the thousandth page or the last full one, and what comes before it."""
    seen: list[uuid.UUID] = []
    while len(seen) < (LAST - 1) * PAGE:
        found = await browse(seen[-1] if seen else None, (LAST - 1) * PAGE - len(seen))
        if not found:
            break
        seen += [need.id for need in found]
    pages = len(seen) // PAGE if len(seen) < (LAST - 1) * PAGE else LAST
    before = (pages - 1) * PAGE
    return pages, seen[before - 1] if before else None


async def _time(browse: List, after: uuid.UUID | None, calls: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(calls):
        for taken, start in zip(times, (None, after), strict=True):
            began = time.perf_counter()
            assert len(await browse(start, PAGE)) == PAGE
            taken.append((time.perf_counter() - began) * 1000)
    return median(times[0]), median(times[1])


if __name__ == "__main__":
    main()
