"""How long it takes to find the best five bundles of a need, database included; and how good
they are.

    ./run bench bundles [--sizes 10000 100000] [--engines sqlite postgres] [--needs 200]

Needs take a space, a licensed operator, two or three helpers in a rota and, half of them, a
supervisor. `bundles` is `bundling.bundle` in process: where something was `found`, where a role was
`short` of candidates (and the answer says why not), where nobody goes together (`obstacle`).
`reading` the candidates and `searching` are its two halves; `loop` is how late the event loop was
meanwhile. `quality` is the best bundle among the best candidates of each role as a share of the
best among all. Milliseconds, one need after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

from msgspec import structs

from models import base, migrate, needs, services, values
from search import bundles, bundling, candidates
from search.gates import NeedFacts
from search.scoring import Weights
from tests import databases, postgres
from tests.bench import _city, rank

Asked = tuple[NeedFacts, uuid.UUID, needs.NeedDraft]
WARM_UP = 10
_FEATURES, _LICENCES = ("step_free", "power", "kitchen"), ("food_licence", "health_certificate")
_HEADER = f"{'engine':9}{'offerings':>10}  {'what':11}{'p50':>8}{'p90':>8}{'p99':>8}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="./run bench bundles", description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"])
    parser.add_argument("--needs", type=int, default=200)
    given = parser.parse_args(argv)
    base.clock = lambda: _city.TODAY
    print(_HEADER)
    for name in given.engines:
        for size in given.sizes:
            asyncio.run(_measure(name, size, given.needs))


async def _measure(name: str, size: int, count: int) -> None:
    city = _city.City(size)
    label = f"{name:9}{size:>10,}"
    async with _database(name):
        await migrate.migrate()
        await city.settle()
        asked = [
            (candidates.facts_of(str(identity), 1, draft, "Asia/Shanghai"), identity, draft)
            for identity, draft in _asks(city, size, count + WARM_UP)
        ]
        for ask in asked[:WARM_UP]:
            await _bundle(ask)
        gc.collect()
        gc.freeze()  # as the server does
        await _in_process(label, asked[WARM_UP:])
        await _quality(label, asked[WARM_UP:])


@contextlib.asynccontextmanager
async def _database(name: str) -> AsyncIterator[None]:
    """An empty database in use."""
    if name == "sqlite":
        async with databases.sqlite_engine():
            yield
        return
    with postgres.server() as server:
        async with databases.postgres_engine(server):
            yield


def _asks(city: _city.City, size: int, count: int) -> Iterator[tuple[uuid.UUID, needs.NeedDraft]]:
    """Needs of several slots, 500 to 1,500 m around a community's people."""
    chance = random.Random(size)
    for identity, draft in city.asks(count):
        slots = [
            values.Slot(
                "room",
                "space",
                features=(chance.choice(_FEATURES),) if chance.random() < 0.5 else (),
                min_capacity=chance.choice([None, 8, 30]),
            ),
            values.Slot(
                "operator",
                "merchant",
                credentials=(chance.choice(_LICENCES),) if chance.random() < 0.3 else (),
            ),
            values.Slot("helpers", "volunteer", quantity=chance.choice([2, 3]), mode="rota"),
            values.Slot("supervisor", "vanguard"),
        ]
        budget = chance.choice([None, values.Price(1_000), values.Price(3_000)])
        kept = tuple(slots[: chance.choice([3, 4])])
        yield identity, structs.replace(draft, slots=kept, budget=budget)


async def _bundle(ask: Asked) -> bundling.Bundling:
    facts, _, draft = ask
    return await bundling.bundle(facts, draft.place_id, draft.slots, rank.ANYBODY, limit=5)


async def _in_process(label: str, asked: Sequence[Asked]) -> None:
    held: list[float] = []
    async with _watched(held):
        times, found = await rank._timed(asked, _bundle)
    rank._print(label, "bundles", times)
    state = Counter(
        "found" if f.found else "short" if f.short else "+".join(o.rule for o in f.obstacles)
        for f in found
    )
    for what in ("found", "short", "obstacle"):
        some = [
            t
            for t, f in zip(times, found, strict=True)
            if what == ("found" if f.found else "short" if f.short else "obstacle")
        ]
        if some:
            rank._print(label, what, some, (), f"   of {len(some)}")
    read, _ = await rank._timed(asked, _read)
    rank._print(label, "reading", read)
    search = [await _searched(ask) for ask in asked]
    rank._print(label, "searching", search)
    rank._print(label, "loop", held)
    print(f"{label}  {dict(state)}, bundles of a need: {Counter(len(f.found) for f in found)}")
    scores = [[(b.score, [m.offering.id for m in b.members]) for b in f.found] for f in found]
    digest = hashlib.sha256(repr(scores).encode()).hexdigest()
    print(f"{label}  every bundle: {digest[:16]}", flush=True)


@contextlib.asynccontextmanager
async def _watched(held: list[float]) -> AsyncIterator[None]:
    """How late the event loop is, every few milliseconds, in milliseconds."""

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.002)
            held.append((time.perf_counter() - before) * 1000 - 2)

    watching = asyncio.create_task(watch())
    yield
    watching.cancel()


async def _read(ask: Asked) -> bundling.Offered:
    facts, _, draft = ask
    return await bundling._offered(facts, draft.place_id, draft.slots, rank.ANYBODY)


async def _searched(ask: Asked) -> float:
    """Milliseconds for the pure part."""
    facts, _, _ = ask
    offered = await _read(ask)
    weights = await _weights(facts)
    began = time.perf_counter()
    bundles.top(bundles.prepare(facts, offered, weights), 5)
    return (time.perf_counter() - began) * 1000


async def _weights(facts: NeedFacts) -> Weights:
    (service,) = await services.refer("service_type", (facts.service_type,))
    return candidates.weights_of(service)


async def _quality(label: str, asked: Sequence[Asked]) -> None:
    """The score of the best bundle with the caps, as a share of the best without."""
    shares, lost = [], 0
    for ask in asked:
        facts, _, _ = ask
        problem = bundles.prepare(facts, await _read(ask), await _weights(facts))
        exact = bundles.Search(problem).best()
        if exact is None:
            continue
        capped = bundles.Search(problem.capped()).best()
        if capped is None:
            lost += 1
        else:
            best = bundles.explained(problem, exact).score
            shares.append(bundles.explained(problem, capped).score / best)
    mean, worst = sum(shares) / len(shares), min(shares)
    print(f"{label}  quality    mean {mean:.4f} worst {worst:.4f} of {len(shares)}, lost {lost}")


if __name__ == "__main__":
    main()
