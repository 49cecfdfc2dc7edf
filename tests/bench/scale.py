"""Several server processes on one PostgreSQL: what they answer together, and what it costs where.

    ./run bench scale [--needs 20000] [--offerings 5000] [--processes 1 2 4] [--rounds 3]
                      [--seconds 2] [--connections 32] [--only get create …]

The requests of `./run bench api`, spread over the processes; numbers of processes take turns.
`api us` is the processor time of the servers for one request, `db us` that of the database's
processes: from these two a machine of any size is reckoned. The rate ends where the cores of this
one do, which the callers and the database share. The search server that is named is not there:
nobody searches, and nobody carries changes to an index.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from statistics import median
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import uvloop
from msgspec import Struct

from tests import memory, postgres, servers
from tests.bench import _load, api


class Together(Struct, frozen=True):
    """What several processes did in one round: answers a second, the worst p99 (ms), and µs of the
    processor a request, in the servers and in the database."""

    rate: float
    p99: float
    api: float
    db: float


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="./run bench scale", description=__doc__.split("\n")[0])
    parser.add_argument("--needs", type=int, default=20_000)
    parser.add_argument("--offerings", type=int, default=5_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", nargs="+", default=["list", "get", "hot", "rank", "create"])
    given = parser.parse_args(argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_measure(given))


async def _measure(given: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres.server())
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir=memory.directory()))
        name = f"bench_{uuid.uuid4().hex}"
        await server.create_database(name)
        url = server.url(name)
        data = await api._fill(url, given)
        several = [
            stack.enter_context(_process(url, f"{directory}/{number}", max(given.processes)))
            for number in range(max(given.processes))
        ]
        for one in several:
            await _load.idle(one.pid)
        print(
            f"{'what':8}{'processes':>10}{'a second':>10}{'p99 ms':>9}{'api us':>8}{'db us':>8}",
            flush=True,
        )
        for task in api._tasks(data):
            if task.name in given.only:
                await _task(task, several, url, given)


@contextlib.contextmanager
def _process(url: str, directory: str, count: int) -> Iterator[api.Server]:
    env = {
        **os.environ,
        "DATABASE_URL": url,
        "DATA_DIR": directory,
        "DEMO": "false",
        "RATE_LIMIT": "1000000",
        "WEB_CONCURRENCY": str(count),
        "MEILI_URL": "http://127.0.0.1:9",
        "MEILI_KEY": "nobody is there",
    }
    command = [sys.executable, "-m", "api", "serve"]
    options: dict[str, Any] = {"cwd": servers.ROOT, "stderr": subprocess.DEVNULL}
    with servers.process(command, env=env, **options) as (at, pid):
        yield api.Server("product", at, pid)


async def _task(
    task: api.Task, several: list[api.Server], url: str, given: argparse.Namespace
) -> None:
    found: dict[int, list[Together]] = {count: [] for count in given.processes}
    # The first round of each warms up.
    for number, count in itertools.product(range(given.rounds + 1), given.processes):
        random.Random(number).shuffle(task.requests)
        seconds = given.seconds if number else given.seconds / 4
        done = await _round(task, several[:count], url, seconds, given.connections)
        if number:
            found[count].append(done)
    alone = median(one.rate for one in found[given.processes[0]])
    for count, rounds in found.items():
        rate, p99, cpu, db = (
            median(getattr(one, what) for one in rounds) for what in Together.__struct_fields__
        )
        row = f"{task.name:8}{count:10}{rate:10,.0f}{p99:9.1f}{cpu:8.0f}{db:8.0f}"
        print(f"{row}   {rate / alone:.2f} x", flush=True)


async def _round(
    task: api.Task, several: list[api.Server], url: str, seconds: float, connections: int
) -> Together:
    before = await _database(url)
    rounds = await asyncio.gather(
        *(
            _load.drive(
                one.at,
                one.pid,
                itertools.cycle(task.requests[number :: len(several)] or task.requests),
                task.status,
                seconds,
                connections // len(several),
            )
            for number, one in enumerate(several)
        )
    )
    after = await _database(url)
    count = sum(one.requests for one in rounds)
    spent = sum(after[pid] - before.get(pid, 0.0) for pid in after)
    return Together(
        sum(one.rate for one in rounds),
        max(one.p99 for one in rounds),
        sum(one.cpu * one.requests for one in rounds) / count,
        spent / count * 1e6,
    )


async def _database(url: str) -> dict[int, float]:
    """Seconds of the processor that each process of the database has used so far."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
    return {row["pid"]: _load.cpu_of(row["pid"]) for row in rows}


if __name__ == "__main__":
    main()
