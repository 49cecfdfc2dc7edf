"""The API against what people would use instead, over HTTP, on one PostgreSQL, in one run.

    ./run bench api [--needs 100000] [--offerings 10000] [--rounds 5] [--seconds 2]
                    [--connections 32] [--only get create …]

`product` is this program with everything switched on: sign-in, limits, request id, access log,
audit trail, search index. `fastapi` are the same routes in FastAPI, SQLAlchemy's async ORM and
Pydantic, with none of it; `bare` is ASGI, asyncpg and msgspec by hand, and `static` sends bytes.
All are uvicorn with uvloop and httptools, one process each, and must answer the same JSON before
anything is measured. Rounds take turns; printed are medians of all rounds. `cpu` is the processor
time of the server alone for one request; `x` says how many times as many requests as `fastapi`, of
which the second one counts processor time only, which other work on the machine disturbs less.

`list` filters by service from anywhere among the needs, signed in; `get` and `create` are signed
in, too. `hot` and `304` are the first page for everybody. `rank` and `search` are the product's
alone: nobody else has them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import datetime as dt
import itertools
import os
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import uvloop
from msgspec import Struct

from models import accounts, engine, migrate
from models.demo import town
from tests import databases, memory, postgres, servers
from tests.bench import _city, _load

COMPARED = 25
# Enough that none of the rounds comes to an end of them.
DRAWN = 5_000
Requests = Callable[[], Iterator[bytes]]


class Data(Struct, frozen=True):
    """What is in the database: ids and drafts to ask for, and two people who ask."""

    ids: list[uuid.UUID]
    services: list[str]
    drafts: list[bytes]
    reader: str
    writer: str
    account: uuid.UUID


class Server(Struct, frozen=True):
    """One of those that are compared."""

    name: str
    at: str
    pid: int


class Task(Struct, frozen=True):
    """What is asked of whom; the answers must have this status."""

    name: str
    of: tuple[str, ...]
    requests: list[bytes]
    status: int = 200


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="./run bench api", description=__doc__.split("\n")[0])
    parser.add_argument("--needs", type=int, default=100_000)
    parser.add_argument("--offerings", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", nargs="+", default=[])
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
        data = await _fill(url, given)
        product = stack.enter_context(_product(url, directory))
        others = [
            stack.enter_context(_peer(module, name, url, str(data.account)))
            for module, name in (("peer_fastapi", "fastapi"), ("limit_asgi", "bare"))
        ]
        await _load.idle(product.pid)
        tasks = _tasks(data)
        await _compare([product, *others], tasks)
        # Only now: to compare what they make, they have made some.
        await _load.idle(product.pid)
        _, head, body = await _load.ask(product.at, _load.message("GET", "/v1/needs"))
        page = Path(directory) / "page.json"
        page.write_bytes(body)
        others.append(stack.enter_context(_peer("limit_static", "static", str(page))))
        tasks = [_known(head), *tasks]
        await _rounds({one.name: one for one in (product, *others)}, tasks, given)


async def _fill(url: str, given: argparse.Namespace) -> Data:
    city = _city.City(given.offerings)
    asked = city.asks(given.needs)
    async with databases.in_use(engine.Postgres(url)):
        await migrate.migrate()
        await city.settle()
        await city.post(asked)
        await engine.execute("ANALYZE")
        day = dt.timedelta(days=1)
        reader, writer = [
            await accounts.sign_in(login, town.PASSWORD, day, day)
            for login in ("resident@demo", "secretary@demo")
        ]
        caller = await accounts.caller_of(writer.access_token)
        assert caller
        assert caller.account
    here = city.communities[0].id
    drafts = []
    for _, draft in asked[:200]:
        draft.place_id = here
        known = msgspec.to_builtins(draft)
        drafts.append(msgspec.json.encode({k: v for k, v in known.items() if k not in _UNSAID}))
    return Data(
        [identity for identity, _ in asked],
        sorted({draft.service_type for _, draft in asked}),
        drafts,
        reader.access_token,
        writer.access_token,
        caller.account,
    )


# Fields that the peers do not have.
_UNSAID = ("beneficiary", "consent")


@contextlib.contextmanager
def _product(url: str, directory: str) -> Iterator[Server]:
    env = {"DATABASE_URL": url, "DATA_DIR": directory, "DEMO": "false", "RATE_LIMIT": "1000000"}
    command = [sys.executable, "-m", "api", "serve"]
    # Its log is written, and read by nobody.
    options: dict[str, Any] = {"cwd": servers.ROOT, "stderr": subprocess.DEVNULL}
    with servers.process(command, env={**os.environ, **env}, **options) as (at, pid):
        yield Server("product", at, pid)


@contextlib.contextmanager
def _peer(module: str, name: str, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-m", f"tests.bench.peers.{module}", *arguments]
    with servers.process(command, env=dict(os.environ), cwd=servers.ROOT) as (at, pid):
        yield Server(name, at, pid)


def _tasks(data: Data) -> list[Task]:
    chance = random.Random(1)
    reading = {"Authorization": f"Bearer {data.reader}"}
    writing = {"Authorization": f"Bearer {data.writer}"}

    def get(path: str, headers: dict[str, str] | None = None) -> bytes:
        return _load.message("GET", path, headers)

    def page() -> str:
        cursor = base64.urlsafe_b64encode(chance.choice(data.ids).bytes).rstrip(b"=").decode()
        return f"/v1/needs?service_type={chance.choice(data.services)}&cursor={cursor}"

    several = range(DRAWN)
    asked = [f"/v1/needs/{chance.choice(data.ids)}" for _ in several]
    words = ["tutoring", "早餐", "repair", "haircut", "日间照料", "clinic"]
    three = ("product", "fastapi", "bare")
    return [
        Task("list", three, [get(page(), reading) for _ in several]),
        Task("get", three, [get(path, reading) for path in asked]),
        Task("hot", (*three, "static"), [get("/v1/needs")]),
        Task("rank", ("product",), [get(f"{path}/matches") for path in asked[:500]]),
        Task("search", ("product",), [get(f"/v1/search?q={word}") for word in _quoted(words)]),
        # Last: it changes what the others answer.
        Task(
            "create",
            three,
            [_load.message("POST", "/v1/needs", writing, draft) for draft in data.drafts],
            201,
        ),
    ]


def _known(head: bytes) -> Task:
    (tag,) = [line[6:] for line in head.decode().split("\r\n") if line.startswith("etag: ")]
    request = _load.message("GET", "/v1/needs", {"If-None-Match": tag})
    return Task("304", ("product", "static"), [request], 304)


def _quoted(words: list[str]) -> list[str]:
    return ["".join(f"%{byte:02X}" for byte in word.encode()) for word in words]


async def _compare(several: list[Server], tasks: list[Task]) -> None:
    """Whether everybody says the same, but for ids and moments of what they just made."""
    for task in tasks:
        asked = [one for one in several if one.name in task.of]
        for request in task.requests[:COMPARED]:
            if len(asked) < 2:
                break
            answers = [_plain(*await _load.ask(one.at, request), task) for one in asked]
            for one, answer in zip(asked, answers, strict=True):
                if answer != answers[0]:
                    raise SystemExit(f"{task.name}: {one.name} says {answer}, not {answers[0]}")
    print(f"{', '.join(one.name for one in several)} answer the same JSON", flush=True)


def _plain(status: bytes, _: bytes, body: bytes, task: Task) -> Any:
    said = msgspec.json.decode(body)
    if task.status == 201 and status == b"201":
        said = {name: said[name] for name in said if name not in ("id", "created_at", "updated_at")}
        # Who works at a place is told for whom it is; the peers know of no such thing.
        said.pop("beneficiary", None)
    return int(status) == task.status, said


async def _rounds(known: dict[str, Server], tasks: list[Task], given: argparse.Namespace) -> None:
    print(
        f"{'what':8}{'who':9}{'a second':>9}{'p50 ms':>9}{'p99 ms':>9}{'cpu us':>8}"
        f"   against fastapi (cpu; p99)   against static (cpu)",
        flush=True,
    )
    for task in tasks:
        if given.only and task.name not in given.only:
            continue
        found: dict[str, list[_load.Round]] = {name: [] for name in task.of}
        # The first round of each warms up.
        for number, name in itertools.product(range(given.rounds + 1), task.of):
            one = known[name]
            random.Random(number).shuffle(task.requests)
            done = await _load.drive(
                one.at,
                one.pid,
                itertools.cycle(task.requests),
                task.status,
                given.seconds if number else given.seconds / 4,
                given.connections,
            )
            if number:
                found[name].append(done)
        _print(task, found)


def _print(task: Task, found: dict[str, list[_load.Round]]) -> None:
    for name, rounds in found.items():
        line = f"{task.name:8}{name:9}{_of(rounds, 'rate'):9,.0f}{_of(rounds, 'p50'):9.2f}"
        line += f"{_of(rounds, 'p99'):9.2f}{_of(rounds, 'cpu'):8.0f}"
        for other in ("fastapi", "static"):
            if name not in ("fastapi", "static") and other in found:
                line += f"   {_times(rounds, found[other], 'rate'):.2f} x {other}"
                cpu, p99 = (_times(found[other], rounds, what) for what in ("cpu", "p99"))
                line += f" (cpu {cpu:.2f} x; p99 {1 / p99:.2f})"
        print(line, flush=True)


def _of(rounds: list[_load.Round], what: str) -> float:
    return median(getattr(one, what) for one in rounds)


def _times(these: list[_load.Round], those: list[_load.Round], what: str) -> float:
    """The median of the ratios, round by round."""
    pairs = zip(these, those, strict=True)
    return median(getattr(a, what) / (getattr(b, what) or 1) for a, b in pairs) or 1.0


if __name__ == "__main__":
    main()
