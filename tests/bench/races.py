"""How many are given what there is once: accepts, places, bookings, holds, kills.

    ./run bench races [--callers 10000] [--http 2000] [--kills 100] [--engines sqlite postgres]

So many callers at once, each in a task of its own, of the models' verbs: agreements for one space,
of which 1 may be accepted; for 100 places of a service, of which 100 may; enrolments on 100 places;
random bookings of one week; holds of a second, while a clock expires them and others book. The same
bookings over HTTP, on PostgreSQL through two server processes. A caller who hears that the database
is busy tries again, as the answer says. `flaws` counts what `tests/balance.py` finds afterwards:
overlaps, and whatever is counted as taken and is not. At last a server is killed again and again
under its writers (`tests/kills.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from msgspec import structs

from models import agreements, base, bookings, engine, errors, migrate, offerings, values
from models.agreements.records import AgreementRecord
from tests import balance, crowds, databases, kills, memory, postgres, servers, towns
from tests.crowds import Scene

PLACES = 100
# Requests under way at once; the client itself is slow when more wait in it.
UNDER_WAY = 200
_ROOM = values.Slot(role="room", kind="space", quantity=1000)
_COOK = values.Slot(role="cook", kind="merchant", quantity=1000)
Call = Callable[[], Awaitable[Any]]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="./run bench races", description=__doc__.split("\n")[0])
    parser.add_argument("--callers", type=int, default=10_000)
    parser.add_argument("--http", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"])
    given = parser.parse_args(argv)
    print(
        f"{'what':34}{'engine':>10}{'callers':>9}{'done':>8}{'refused':>9}{'again':>8}"
        f"{'seconds':>9}{'a second':>10}{'flaws':>7}",
        flush=True,
    )
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres.server()) if "postgres" in given.engines else None
        for kind in given.engines:
            asyncio.run(_engine(kind, server if kind == "postgres" else None, given))


async def _engine(kind: str, server: postgres.Server | None, given: argparse.Namespace) -> None:
    for measure in (_verbs, _over_http, _killed):
        with tempfile.TemporaryDirectory(dir=memory.directory()) as directory:
            url = f"sqlite:///{directory}/bench.sqlite"
            if server:
                name = f"bench_{uuid.uuid4().hex}"
                await server.create_database(name)
                url = server.url(name)
            async with databases.in_use(engine.open_engine(url)):
                await migrate.migrate()
                setting = await towns.settle()
            await measure(kind, url, Path(directory), setting, given)


async def _verbs(
    kind: str, url: str, _: Path, setting: towns.Setting, given: argparse.Namespace
) -> None:
    async with databases.in_use(engine.open_engine(url)):
        for what, measure in (
            ("accepts of 1 space", _accepts_of_a_space),
            ("accepts of 100 places", _accepts_of_places),
            ("enrolments on 100 places", _enrolments),
            ("bookings of one week", _bookings),
            ("holds of a second, and bookings", _holds),
        ):
            scene = await crowds.settle(setting)
            async with measure(scene, given.callers) as calls:
                await _measure(what, kind, calls)


async def _measure(what: str, kind: str, calls: Sequence[Call]) -> None:
    """All at once; then count anew."""
    said: Counter[str] = Counter()
    began = time.perf_counter()
    await asyncio.gather(*(_call(call, said) for call in calls))
    _row(what, kind, len(calls), said, time.perf_counter() - began, await balance.flaws())


async def _call(call: Call, said: Counter[str]) -> None:
    while True:
        try:
            made = await call()
            said["waits" if getattr(made, "status", "") == "waitlisted" else "done"] += 1
            return
        except errors.Refusal:
            said["refused"] += 1
            return
        except engine.DatabaseBusy:
            said["again"] += 1
            await asyncio.sleep(random.uniform(0, 1))


@contextlib.asynccontextmanager
async def _accepts_of_a_space(scene: Scene, callers: int) -> AsyncIterator[list[Call]]:
    room, need = await scene.offer("space"), await scene.ask(_ROOM)
    made = await scene.propose(need, [scene.member(room, "room", [scene.time(0)])])
    yield await _accepts(scene, made, callers)


@contextlib.asynccontextmanager
async def _accepts_of_places(scene: Scene, callers: int) -> AsyncIterator[list[Call]]:
    shop, need = await scene.offer("merchant", capacity=PLACES), await scene.ask(_COOK)
    made = await scene.propose(need, [scene.member(shop, "cook", [scene.time(0)])])
    yield await _accepts(scene, made, callers)


async def _accepts(scene: Scene, made: AgreementRecord, callers: int) -> list[Call]:
    """The same proposal so many times, its rows copied, and its partner who says yes to each."""
    owners = {"agreement": "id", "party": "agreement", "commitment": "agreement"}
    kept = {
        table: await engine.fetch(f"SELECT * FROM {table} WHERE {owner} = $1", made.id)
        for table, owner in owners.items()
    }
    copied: dict[str, list[list[Any]]] = {table: [] for table in owners}
    ids = [made.id]
    for _ in range(callers - 1):
        fresh = {str(row["id"]): base.new_id() for rows in kept.values() for row in rows}
        ids.append(fresh[str(made.id)])
        for table, rows in kept.items():
            copied[table] += [[fresh.get(str(one), one) for one in row.values()] for row in rows]
    await engine.copy([(table, list(kept[table][0]), copied[table]) for table in owners])
    actor, body = scene.people_of(scene.partners[0]), agreements.StepDraft()

    def call(one: uuid.UUID) -> Call:
        return lambda: agreements.accept(structs.replace(made, id=one), body, actor)

    return [call(one) for one in ids]


@contextlib.asynccontextmanager
async def _enrolments(scene: Scene, callers: int) -> AsyncIterator[list[Call]]:
    shop = await scene.offer("merchant", capacity=PLACES)
    need = await scene.ask(values.Slot(role="cook", kind="merchant"), beneficiaries=PLACES)
    member = scene.member(shop, "cook", [scene.time(0)], PLACES)
    made = await scene.propose(need, [member], places=PLACES)
    await agreements.accept(made, agreements.StepDraft(), scene.people_of(scene.partners[0]))
    draft = agreements.EnrolmentDraft()
    yield [lambda: agreements.enrol(need.id, draft, base.new_id()) for _ in range(callers)]


@contextlib.asynccontextmanager
async def _bookings(scene: Scene, callers: int) -> AsyncIterator[list[Call]]:
    space, chance = await scene.offer("space"), random.Random(5)
    yield [_booking(scene, space, chance, None) for _ in range(callers)]


@contextlib.asynccontextmanager
async def _holds(scene: Scene, callers: int) -> AsyncIterator[list[Call]]:
    space, chance = await scene.offer("space"), random.Random(6)

    async def tick() -> None:
        while True:
            with contextlib.suppress(engine.DatabaseBusy):
                await bookings.expire()
            await asyncio.sleep(0.05)

    ticking = asyncio.create_task(tick())
    yield [_booking(scene, space, chance, 1 if number % 4 else None) for number in range(callers)]
    ticking.cancel()
    await asyncio.wait([ticking])


def _booking(
    scene: Scene, space: offerings.OfferingRecord, chance: random.Random, hold_s: int | None
) -> Call:
    starts, ends = _time(scene.begins, chance)
    draft = bookings.BookingDraft(starts_at=starts, ends_at=ends, hold_s=hold_s)
    return lambda: bookings.book(space, draft, scene.account)


def _time(begins: int, chance: random.Random) -> tuple[dt.datetime, dt.datetime]:
    """From 15 minutes to 3 hours of a week."""
    starts = begins + 15 * chance.randrange(672)
    return bookings.moment_of(starts), bookings.moment_of(starts + 15 * chance.randint(1, 12))


async def _over_http(
    kind: str, url: str, directory: Path, setting: towns.Setting, given: argparse.Namespace
) -> None:
    async with databases.in_use(engine.open_engine(url)):
        scene = await crowds.settle(setting)
        space = await scene.offer("space")
    count, chance = (2 if kind == "postgres" else 1), random.Random(7)
    said: Counter[str] = Counter()
    turn = asyncio.Semaphore(UNDER_WAY)
    path = f"/v1/offerings/{space.id}/bookings"
    headers = {"Authorization": f"Bearer {setting.tokens['operator']}"}
    server = [sys.executable, "-m", "api", "serve"]
    environment = {**os.environ, "DATABASE_URL": url, "DEMO": "false", "RATE_LIMIT": "0"}
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for number in range(count):
            env = {**environment, "DATA_DIR": f"{directory}/server-{number}"}
            options: dict[str, Any] = {"cwd": servers.ROOT, "stderr": subprocess.DEVNULL}
            at = stack.enter_context(servers.running(server, env=env, **options))
            limits = httpx.Limits(max_connections=UNDER_WAY)
            client = httpx.AsyncClient(base_url=at, headers=headers, limits=limits, timeout=None)
            clients.append(await stack.enter_async_context(client))

        async def one(number: int) -> None:
            starts, ends = _time(scene.begins, chance)
            body = {"starts_at": starts.isoformat(), "ends_at": ends.isoformat()}
            async with turn:
                answer = await _post(clients[number % count], path, body, said)
            said[{201: "done", 409: "refused"}.get(answer.status_code, "failed")] += 1

        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(given.http)))
        took = time.perf_counter() - began
    async with databases.in_use(engine.open_engine(url)):
        wrong = await balance.flaws() + ["an answer that is none"] * said["failed"]
    _row(f"bookings over HTTP, {count} process(es)", kind, given.http, said, took, wrong)


async def _post(
    client: httpx.AsyncClient, path: str, body: dict[str, str], said: Counter[str]
) -> httpx.Response:
    """With a key, and again when it was not answered: a server ends connections that were idle."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = await client.post(path, json=body, headers=headers)
            if answer.status_code != 503:
                return answer
        said["again"] += 1
        await asyncio.sleep(random.uniform(0, 1))


async def _killed(
    kind: str, url: str, directory: Path, setting: towns.Setting, given: argparse.Namespace
) -> None:
    with kills.loaded() as program:
        found = await kills.under_writers(program, url, directory, setting, kills=given.kills)
    print(
        f"{'killed under 6 writers':34}{kind:>10}  {found.kills} times in {found.seconds:.0f} s:"
        f" {found.acknowledged:,} writes acknowledged, {found.resent:,} sent again;"
        f" {len(found.flaws)} lost, doubled or out of balance;"
        f" index complete {found.index_s:.2f} s after a start at most",
        flush=True,
    )
    for flaw in found.flaws[:5]:
        print(f"  {flaw}")


def _row(
    what: str, kind: str, callers: int, said: Counter[str], seconds: float, wrong: Sequence[str]
) -> None:
    refused = said["refused"] + said["waits"]
    print(
        f"{what:34}{kind:>10}{callers:>9,}{said['done']:>8,}{refused:>9,}{said['again']:>8,}"
        f"{seconds:>9.1f}{callers / seconds:>10,.0f}{len(wrong):>7}",
        flush=True,
    )
    for flaw in wrong[:5]:
        print(f"  {flaw}")


if __name__ == "__main__":
    main()
