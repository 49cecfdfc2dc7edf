"""How fast the audit trail is verified, and what it costs whoever writes at the same time.

    ./run bench audit [--links 1000000] [--units 2000] [--writers 32]

Verifying: a chain of so many links, with a signed head every 10,000, on each engine. Writing: units
of one offering's size by concurrent writers, with and without an act in each; on PostgreSQL also
with a COMMIT that waits for the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import resource
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from models import audit, base, engine, migrate
from tests import databases, postgres

KEY = b"a key of this benchmark"
SIGNED_EVERY = 10_000
AT_ONCE = 20_000
ACTIONS = ("need.posted", "offering.changed", "credential.verified")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=2000)
    parser.add_argument("--writers", type=int, default=32)
    asyncio.run(_measure(parser.parse_args()))


async def _measure(given: argparse.Namespace) -> None:
    with postgres.server() as server:
        async with databases.sqlite_engine() as opened:
            await _engine(opened, "sqlite", given)
        async with databases.postgres_engine(server) as opened:
            await _engine(opened, "postgres", given)
            for setting in ("fsync", "synchronous_commit"):
                await opened.execute(f"ALTER SYSTEM SET {setting} = 'on'")
            await opened.execute("SELECT pg_reload_conf()")
        async with databases.postgres_engine(server) as opened:
            await migrate.migrate()
            await _write(given, "postgres, durable")


async def _engine(opened: engine.Engine, name: str, given: argparse.Namespace) -> None:
    await migrate.migrate()
    await _write(given, name)
    async with engine.unit_of_work():
        await audit.start_over()
    started = time.perf_counter()
    await _fill(opened, given.links)
    filled = time.perf_counter() - started
    before = _memory()
    walk, started, cpu = audit.Verification(KEY), time.perf_counter(), time.process_time()
    flaws = [flaw async for flaw in walk.flaws()]
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert not flaws, flaws[:3]
    assert walk.links == given.links
    print(
        f"{name:18} verify {walk.links:,} links and {walk.heads} heads: {took:.1f} s"
        f" ({cpu:.1f} s of one core), {walk.links / took:,.0f}/s,"
        f" peak memory +{_memory() - before} MB (made in {filled:.0f} s)",
        flush=True,
    )


async def _write(given: argparse.Namespace, name: str) -> None:
    speeds = []
    for with_audit in (False, True, False, True):
        speeds.append(await _units(given.units, given.writers, with_audit))
    without, with_it = max(speeds[::2]), max(speeds[1::2])
    print(
        f"{name:18} {given.writers} writers: {without:,.0f} units/s without,"
        f" {with_it:,.0f} with an act each ({with_it / without:.0%})",
        flush=True,
    )


async def _units(count: int, writers: int, with_audit: bool) -> float:
    numbers = iter(range(count))

    async def writer() -> None:
        for _ in numbers:
            async with engine.unit_of_work():
                for _ in range(4):  # the row, its index rows, the outbox
                    await engine.execute(
                        "INSERT INTO outbox (topic, subject, happened_at) VALUES ($1, $2, $3)",
                        "bench",
                        base.new_id(),
                        base.now(),
                    )
                if with_audit:
                    await audit.append("need.posted", base.new_id(), place=base.new_id(), n=1)

    started = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(writers)))
    return count / (time.perf_counter() - started)


async def _fill(opened: engine.Engine, links: int) -> None:
    rows = _chain(links)
    async with _inserting(opened) as insert:
        while chunk := list(itertools.islice(rows, AT_ONCE)):
            await insert(chunk)
    ends = await engine.rows(
        "SELECT seq, hash FROM audit WHERE seq % $1 = 0 ORDER BY seq", SIGNED_EVERY
    )
    before = ""
    for seq, sealed in ends:
        row = (seq, base.new_id(), sealed, base.now())
        before = audit._signature(KEY, row, before)
        await engine.execute(
            "INSERT INTO audit_head (seq, id, hash, signed_at, signature)"
            " VALUES ($1, $2, $3, $4, $5)",
            *row,
            before,
        )


@contextlib.asynccontextmanager
async def _inserting(opened: engine.Engine) -> AsyncIterator[Any]:
    """Many rows at once, past the engine: what is measured is reading them."""
    columns = [name.strip() for name in audit._COLUMNS.split(",")]
    if isinstance(opened, engine.Postgres):
        assert opened.pool
        async with opened.pool.acquire() as connection:
            yield lambda rows: connection.copy_records_to_table(
                "audit", records=rows, columns=columns
            )
        return
    marks = ", ".join("?" * len(columns))
    assert opened._writer
    connection = opened._writer._connection

    async def insert(rows: list[Any]) -> None:
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO audit VALUES ({marks})", rows)
        connection.execute("COMMIT")

    yield insert


def _chain(links: int) -> Iterator[tuple[Any, ...]]:
    previous = audit.GENESIS
    actors, places = [[base.new_id() for _ in range(n)] for n in (500, 200)]
    for seq in range(1, links + 1):
        row = (
            seq,
            base.now(),
            actors[seq % 500],
            ACTIONS[seq % 3],
            base.new_id(),
            places[seq % 200],
            '{"was":"open"}',
            previous,
        )
        previous = audit.digest(*row)
        yield (*row, previous)


def _memory() -> int:
    """The most that this process has ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
