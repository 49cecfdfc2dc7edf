"""How long it takes to rank one slot of a need, database included.

    ./run bench rank [--sizes 10000 100000] [--engines sqlite postgres] [--needs 300]

`rank` is `matching.rank` in process, `naive` reads every offering and tries it (a few needs only,
for the ratio; the answers must be the same), `excluded` is `rank` with who was left out and why,
`http` is `GET /v1/needs/{id}/matches` through the application. Milliseconds, one need after the
other; how many were looked at is counted apart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import logging
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import httpx
import structlog
from msgspec import structs

from api import app as application
from api import worker
from models import accounts, base, engine, migrate, needs, services, settings
from search import candidates, matching, scoring
from search.gates import NeedFacts
from tests import databases, postgres
from tests.bench import _city

T = TypeVar("T")
Asked = tuple[NeedFacts, uuid.UUID, needs.NeedDraft]
ANYBODY = accounts.Visibility()
WARM_UP, NAIVE = 20, 3
_HEADER = f"{'engine':9}{'offerings':>10}  {'what':11}{'p50':>8}{'p90':>8}{'p99':>8}   candidates"


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench rank", description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"])
    parser.add_argument("--needs", type=int, default=300)
    given = parser.parse_args()
    base.clock = lambda: _city.TODAY
    print(_HEADER)
    for name in given.engines:
        for size in given.sizes:
            asyncio.run(_measure(name, size, given.needs))


async def _measure(name: str, size: int, count: int) -> None:
    city = _city.City(size)
    label = f"{name:9}{size:>10,}"
    async with _database(name) as url:
        async with databases.in_use(engine.open_engine(url)):
            await migrate.migrate()
            await city.settle()
            asked = city.asks(count + WARM_UP)
            await city.post(asked)
            stored = [
                (candidates.facts_of(str(identity), 1, draft, "Asia/Shanghai"), identity, draft)
                for identity, draft in asked
            ]
            for ask in stored[:WARM_UP]:
                await _rank(ask, excluded=True)
            gc.collect()
            gc.freeze()  # as the server does
            await _in_process(label, size, stored[WARM_UP:])
        async with _client(url) as client:
            await _timed(stored[:WARM_UP], lambda ask: _over_http(client, ask))
            times, _ = await _timed(stored[WARM_UP:], lambda ask: _over_http(client, ask))
            _print(label, "http", times)


async def _in_process(label: str, size: int, asked: list[Asked]) -> None:
    times, answers = await _timed(asked, lambda ask: _rank(ask))
    counts = [len(await _fitting(ask)) for ask in asked]
    _print(label, "rank", times, counts)
    several = asked[:NAIVE]
    slower, naive = await _timed(several, _naively)
    _print(
        label, "naive", slower, [size] * NAIVE, f", {sum(slower) / sum(times[:NAIVE]):.0f} times"
    )
    assert naive == answers[:NAIVE], "somebody who fits was missed"
    times, _ = await _timed(asked, lambda ask: _rank(ask, excluded=True))
    counts = [len(await _nearby(ask)) for ask in asked]
    _print(label, "excluded", times, counts)
    digest = hashlib.sha256(repr(answers).encode()).hexdigest()
    print(f"{label}  every score of `rank`: {digest[:16]}")


async def _rank(ask: Asked, *, excluded: bool = False) -> list[tuple[str, int]]:
    facts, _, draft = ask
    ranking = await matching.rank(
        facts, draft.place_id, draft.slots, ANYBODY, limit=10, excluded=excluded
    )
    return [(match.offering_id, match.score) for slot in ranking.slots for match in slot.matches]


async def _naively(ask: Asked) -> list[tuple[str, int]]:
    """Read every offering, and put each before the matcher."""
    need, _, draft = ask
    (slot,) = draft.slots
    (service,) = await services.refer("service_type", (need.service_type,))
    weights = candidates.weights_of(service)
    fit = []
    for kind in _city.KINDS:
        rows = await engine.rows("SELECT CAST(id AS text) FROM offering WHERE kind = $1", kind)
        everybody = [identity for (identity,) in rows]
        others = structs.replace(slot, kind=kind)
        for offering in await candidates.known_of(everybody, draft.place_id, others, ANYBODY):
            result = scoring.evaluate(need, slot, offering, weights)
            if isinstance(result, scoring.Match):
                fit.append(result)
    fit.sort(key=scoring.sort_key)
    return [(match.offering_id, match.score) for match in fit[:10]]


async def _over_http(client: httpx.AsyncClient, ask: Asked) -> None:
    answer = await client.get(f"/v1/needs/{ask[1]}/matches")
    assert answer.status_code == 200, answer.text


async def _fitting(ask: Asked) -> list[object]:
    facts, _, draft = ask
    return [*await candidates.fitting(facts, draft.place_id, draft.slots[0], ANYBODY)]


async def _nearby(ask: Asked) -> list[object]:
    facts, _, draft = ask
    return [*await candidates.around(facts, draft.place_id, draft.slots[0], ANYBODY)]


async def _timed(
    asked: Iterable[Asked], call: Callable[[Asked], Awaitable[T]]
) -> tuple[list[float], list[T]]:
    times, answers = [], []
    for ask in asked:
        began = time.perf_counter()
        answers.append(await call(ask))
        times.append((time.perf_counter() - began) * 1000)
    return times, answers


def _print(
    label: str, what: str, times: list[float], counts: Iterable[int] = (), more: str = ""
) -> None:
    shown = "".join(f"{_share(times, share):>8.2f}" for share in (50, 90, 99))
    counted = sorted(counts)
    found = f"   {_share(counted, 50):,.0f} (p99 {_share(counted, 99):,.0f})" if counted else ""
    print(f"{label}  {what:11}{shown}{found}{more}", flush=True)


def _share(values: list[float] | list[int], percent: int) -> float:
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


@contextlib.asynccontextmanager
async def _database(name: str) -> AsyncIterator[str]:
    """An empty database, as a URL."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory(dir=databases.fast_directory()) as directory:
            yield f"sqlite:///{directory}/bench.sqlite"
        return
    with postgres.server() as server:
        await server.create_database("bench")
        yield server.url("bench")


@contextlib.asynccontextmanager
async def _client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The application without its worker, who would be indexing the whole city meanwhile."""

    async def nothing(_: worker.Worker) -> None:
        pass

    # A line of log for each request would be most of what is printed.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    worker.Worker.start = worker.Worker.stop = nothing  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as directory:
        options = settings.load({}, database_url=url, data=Path(directory), rate_limit=0)
        app = application.create_app(options)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.lifespan(),
            httpx.AsyncClient(transport=transport, base_url="http://town") as client,
        ):
            yield client


if __name__ == "__main__":
    main()
