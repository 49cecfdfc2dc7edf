"""SQLite through our engine against Piccolo's own: list, get and create of needs, in process.

    ./run bench sqlite [--needs 100000] [--rounds 5] [--seconds 1] [--callers 32]

`stock` are Piccolo's queries on Piccolo's engine, as its documentation writes them; `ours` the
very same queries on our engine; `bound` SQL that is written once and whose values are bound. All
three answer the same rows of the same file before anything is measured. So many callers at once;
rounds take turns. `create` is committed row by row: by Piccolo's engine as it commits, by ours so
that it outlives a power cut. Creates that were refused ("database is locked") are not counted;
`refused` says how many.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from msgspec import Struct
from piccolo.engine.sqlite import SQLiteEngine

from models import base, engine, migrate
from models.needs import Need
from tests import databases
from tests.bench import _city

PAGE = 20
Call = Callable[[], Awaitable[Any]]


class Way(Struct, frozen=True):
    """One way of asking, and the engine it asks."""

    name: str
    asked: Any
    calls: dict[str, Call]


class Rows(Struct, frozen=True):
    """What there is to ask for."""

    ids: list[uuid.UUID]
    services: list[str]
    row: dict[str, Any]
    chance: random.Random

    def key(self) -> uuid.UUID:
        return self.chance.choice(self.ids)

    def service(self) -> str:
        return self.chance.choice(self.services)

    def fresh(self) -> dict[str, Any]:
        return self.row | {"id": base.new_id()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="./run bench sqlite", description=__doc__.split("\n")[0])
    parser.add_argument("--needs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--callers", type=int, default=32)
    given = parser.parse_args(argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_measure(given))


async def _measure(given: argparse.Namespace) -> None:
    # On the disk: what a commit costs there is part of it.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bench.sqlite"
        async with databases.in_use(engine.SQLite(path)) as ours:
            rows = await _fill(given.needs)
            stock = SQLiteEngine(path=str(path))
            ways = [
                Way("stock", stock, _piccolo(rows)),
                Way("ours", ours, _piccolo(rows)),
                Way("bound", ours, _bound(rows)),
            ]
            await _compare(ways, rows)
            print(
                f"{'what':8}{'how':8}{'a second':>10}{'p50 ms':>9}{'p99 ms':>9}{'refused':>9}",
                flush=True,
            )
            for what in ("list", "get", "create"):
                await _rounds(what, ways, given)


async def _fill(count: int) -> Rows:
    await migrate.migrate()
    city = _city.City(10)
    await city.settle()
    asked = city.asks(count)
    await city.post(asked)
    await engine.execute("ANALYZE")
    (row,) = await engine.fetch("SELECT * FROM need WHERE id = $1", asked[0][0])
    services = sorted({draft.service_type for _, draft in asked})
    return Rows([identity for identity, _ in asked], services, row, random.Random(3))


def _piccolo(rows: Rows) -> dict[str, Call]:
    return {
        "list": lambda: _page(rows.service(), rows.key()),
        "get": lambda: Need.select().where(Need.id == rows.key()).first().run(),
        "create": lambda: Need.insert(Need(**_typed(rows.fresh()))).run(),
    }


def _page(service: str, after: uuid.UUID) -> Awaitable[Any]:
    return (
        Need.select()
        .where(Need.status == "open", Need.service_type == service, Need.id < after)
        .order_by(Need.id, ascending=False)
        .limit(PAGE)
        .run()
    )


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """As a user of Piccolo has it at hand: moments that are moments."""
    return row | {name: base.moment(row[name]) for name in ("created_at", "updated_at")}


_LIST = (
    "SELECT * FROM need WHERE status = 'open' AND service_type = $1 AND id < $2"
    f" ORDER BY id DESC LIMIT {PAGE}"
)


def _bound(rows: Rows) -> dict[str, Call]:
    marks = base.placeholders(len(rows.row))
    insert = f"INSERT INTO need ({', '.join(rows.row)}) VALUES ({marks})"
    return {
        "list": lambda: engine.fetch(_LIST, rows.service(), rows.key()),
        "get": lambda: engine.fetch("SELECT * FROM need WHERE id = $1", rows.key()),
        "create": lambda: engine.execute(insert, *rows.fresh().values()),
    }


async def _compare(ways: list[Way], rows: Rows) -> None:
    for _ in range(20):
        service, after = rows.service(), rows.key()
        bound = await engine.fetch(_LIST, service, after)
        for way in ways[:2]:
            engine.use(way.asked)
            page = await _page(service, after)
            assert [str(row["id"]) for row in page] == [row["id"] for row in bound], way.name
            assert [row["windows"] for row in page] == [row["windows"] for row in bound], way.name
    print("stock, ours and bound answer the same rows", flush=True)


async def _rounds(what: str, ways: list[Way], given: argparse.Namespace) -> None:
    rates: dict[str, list[float]] = {way.name: [] for way in ways}
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    refused = dict.fromkeys(rates, 0)
    for _ in range(given.rounds):
        for way in ways:
            engine.use(way.asked)
            done = await _drive(way.calls[what], given.callers, given.seconds)
            rates[way.name].append(len(done[0]) / done[2])
            times[way.name] += done[0]
            refused[way.name] += done[1]
    for way in ways:
        taken = sorted(times[way.name]) or [0.0]
        line = f"{what:8}{way.name:8}{median(rates[way.name]):10,.0f}"
        line += f"{taken[len(taken) // 2] * 1000:9.2f}{taken[len(taken) * 99 // 100] * 1000:9.2f}"
        line += f"{refused[way.name]:9,}"
        if way.name != "stock":
            pairs = zip(rates[way.name], rates["stock"], strict=True)
            line += f"   {median(ours / theirs for ours, theirs in pairs):.1f} x stock"
        print(line, flush=True)


async def _drive(call: Call, callers: int, seconds: float) -> tuple[list[float], int, float]:
    """How long each took, how many were refused, and how long all of it was."""
    times: list[float] = []
    refused = 0
    began = time.perf_counter()

    async def caller() -> None:
        nonlocal refused
        while (started := time.perf_counter()) < began + seconds:
            try:
                await call()
                times.append(time.perf_counter() - started)
            except sqlite3.OperationalError:
                refused += 1
            # Ours may answer without ever waiting.
            await asyncio.sleep(0)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return times, refused, time.perf_counter() - began


if __name__ == "__main__":
    main()
