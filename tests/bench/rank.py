"""How long it takes to rank one slot of a need, database included.

    ./run bench rank [--sizes 10000 100000] [--engines sqlite postgres] [--needs 300] [--at URL]

`rank` is `matching.rank` in process, `naive` reads every offering and tries it (a few needs only,
for the ratio; the answers must be the same), `excluded` is `rank` with who was left out and why,
`held` how long other requests wait for it at a stretch, `http` is `GET /v1/needs/{id}/matches`
through the application, `reverse` the needs of one offering, of which there is one for ten of
them. Milliseconds, one need after the other; how many were looked at is counted
apart. `--at` takes a database in which `demo --city N` has settled as many as `--sizes` says.
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
from msgspec import Struct, structs

from api import app as application
from api import worker
from models import accounts, base, engine, migrate, needs, offerings, services, settings
from search import candidates, matching, scoring
from search.gates import NeedFacts
from tests import databases, memory, postgres
from tests.bench import _city

A = TypeVar("A")
T = TypeVar("T")
Asked = tuple[NeedFacts, uuid.UUID, needs.NeedDraft]
ANYBODY = accounts.Visibility()
WARM_UP, NAIVE, AT_ONCE = 20, 3, 5_000
_HEADER = f"{'engine':9}{'offerings':>10}  {'what':11}{'p50':>8}{'p90':>8}{'p99':>8}   candidates"


class Figure(Struct, frozen=True):
    """What one row says: milliseconds, and how many times as long going through all took."""

    engine: str
    size: int
    what: str
    p50: float
    p99: float
    naive: float = 0.0


def main(argv: list[str] | None = None) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="./run bench rank", description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"])
    parser.add_argument("--needs", type=int, default=300)
    parser.add_argument("--at", metavar="URL")
    given = parser.parse_args(argv)
    base.clock = lambda: _city.TODAY
    print(_HEADER)
    figures: list[Figure] = []
    for name in given.engines:
        for size in given.sizes:
            figures += asyncio.run(_measure(name, size, given.needs, given.at))
    return figures


async def _measure(name: str, size: int, count: int, settled: str | None) -> list[Figure]:
    city = _city.City(size)
    label = f"{name:9}{size:>10,}"
    figures: list[Figure] = []

    def note(what: str, times: list[float], counts: Iterable[int] = (), naive: float = 0.0) -> None:
        figures.append(Figure(name, size, what, _share(times, 50), _share(times, 99), naive))
        _print(label, what, times, counts, f", {naive:,.0f} times" if naive else "")

    async with _database(name, settled) as url:
        async with databases.in_use(engine.open_engine(url)):
            if not settled:
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
            digest = await _in_process(note, size, stored[WARM_UP:])
            print(f"{label}  every score of `rank`: {digest[:16]}")
            where = base.Where()
            where.add(f"id IN ({where.values([identity for identity, _ in asked])})")
            if settled:
                await engine.execute(f"DELETE FROM need WHERE {where}", *where.args)
                return figures
        async with _client(url) as client:
            await _timed(stored[:WARM_UP], lambda ask: _over_http(client, ask))
            times, _ = await _timed(stored[WARM_UP:], lambda ask: _over_http(client, ask))
            note("http", times)
    return figures


async def _in_process(note: Callable[..., None], size: int, asked: list[Asked]) -> str:
    times, answers = await _timed(asked, lambda ask: _rank(ask))
    note("rank", times, [len(await _fitting(ask)) for ask in asked])
    several = asked[: NAIVE if size < 1_000_000 else 1]
    slower, naive = await _timed(several, _naively)
    ratio = sum(slower) / sum(times[: len(several)])
    note("naive", slower, [size] * len(several), ratio)
    assert naive == answers[: len(several)], "somebody who fits was missed"
    times, _ = await _timed(asked, lambda ask: _rank(ask, excluded=True))
    note("excluded", times, [len(await _nearby(ask)) for ask in asked])
    note("held", [await _held(ask) for ask in asked[:60]])
    offered = await offerings.browse(ANYBODY, after=None, limit=len(asked))
    times, found = await _timed(
        offered, lambda offering: matching.needs_for(offering, ANYBODY, limit=10)
    )
    note("reverse", times, [len(several) for several in found])
    return hashlib.sha256(repr(answers).encode()).hexdigest()


async def _held(ask: Asked) -> float:
    """The longest that others waited for the event loop while it was asked why not, in time that
    its thread was at work: what the machine does meanwhile is left out."""
    longest, loop = 0.0, asyncio.get_running_loop()
    last, over = time.thread_time(), False

    def tick() -> None:
        nonlocal longest, last
        now = time.thread_time()
        longest, last = max(longest, now - last), now
        if not over:
            loop.call_later(0.001, tick)

    tick()
    await _rank(ask, excluded=True)
    over = True
    await asyncio.sleep(0.002)
    return longest * 1000


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
        others = structs.replace(slot, kind=kind)
        for start in range(0, len(rows), AT_ONCE):
            some = [identity for (identity,) in rows[start : start + AT_ONCE]]
            for offering in await candidates.known_of(some, need, draft.place_id, others, ANYBODY):
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
    asked: Iterable[A], call: Callable[[A], Awaitable[T]]
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
async def _database(name: str, settled: str | None) -> AsyncIterator[str]:
    """An empty database, as a URL; or the one in which the city is already."""
    if settled:
        yield settled
        return
    if name == "sqlite":
        with tempfile.TemporaryDirectory(dir=memory.directory()) as directory:
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
