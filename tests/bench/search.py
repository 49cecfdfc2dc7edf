"""How long it takes to search, over HTTP too, and to keep the index as the database is.

    ./run bench search [--documents 50000] [--queries 400] [--fresh 40] [--normal 15]

A synthetic city. `bare` is the engine alone, `endpoint` the same questions through the application,
called as a server calls it: ratios are of processor time, so that other work counts for little.
`static` answers a ready-made body through the same application; `stub` asks a search server that
answers at once, from another process; what httpx takes for such a call by itself is said too.
`first` are texts asked for the first time of a new index, `again` those asked before, `others`
texts asked for the first time after these, all in processor time. `fresh` is from a commit until a
search finds it, of so many, at 10 writes a second. A rebuild goes on under 50 writes a second, and
its searches are compared with the same ones under the same writes without it, `normal` seconds
before and after it; `lost` is what the index then has otherwise than the database.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import logging
import random
import resource
import shutil
import tempfile
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import structlog
from httpx_aiohttp import AiohttpTransport
from litestar import Litestar, Response, get
from msgspec import Struct, json

from api import app as application
from api import worker
from models import base, engine, migrate, outbox, settings
from search import comparing, meili, pinyin, sync
from search import engine as index
from search.meili import entries, writing
from tests import databases, meilisearch, memory
from tests.bench import _city

EVERYONE = index.Scope()
PAGE = 20
_CITY_OF = {"real": 10_000, "fake": 400}  # offerings


class Figures(Struct):
    """What was measured, by name; milliseconds, ratios, counts."""

    rows: dict[str, float] = {}

    def note(self, name: str, value: float, unit: str = "") -> None:
        self.rows[name] = value
        print(f"{name:52}{value:>12,.2f} {unit}", flush=True)


def main(argv: list[str] | None = None) -> Figures:
    parser = argparse.ArgumentParser(prog="./run bench search", description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--fresh", type=int, default=40)
    parser.add_argument("--normal", type=float, default=15, help="seconds around the rebuild")
    given = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    figures = Figures()
    asyncio.run(_measure(figures, given))
    return figures


async def _measure(figures: Figures, given: argparse.Namespace) -> None:
    queries = given.queries
    with tempfile.TemporaryDirectory(dir=memory.directory()) as directory:
        url = f"sqlite:///{directory}/bench.sqlite"
        async with databases.in_use(engine.open_engine(url)):
            await migrate.migrate()
            await _city.City(given.documents).settle()
            # As in a server: the dictionary is there, and what stays is not looked at again.
            await pinyin.ready()
            gc.collect()
            gc.freeze()
            building = await _builders(figures)
            everything = await _texts(2 * queries)
            texts, others = everything[:queries], everything[queries:]
            target = index.open_engine(Path(directory) / "index")
            await _embedded(figures, target, building, texts, others)
            async with _at_work(target):
                _times(figures, "fresh, embedded", await _freshness(target, given.fresh))
            await _rebuild_under_writes(figures, target, texts, given.normal)
            await target.close()
        await _endpoints(figures, url, Path(directory), texts)
        await _server(figures, Path(directory), given.documents, given.fresh)


async def _builders(figures: Figures) -> float:
    """What we do for a document before any engine has it, and its parts; answers the microseconds
    of a document that any engine takes."""
    reading: list[float] = []
    entering: list[float] = []
    began, count, database = time.process_time(), 0, engine.current()
    fetch, rows = _clocked(database.fetch, reading), _clocked(database.rows, reading)
    with mock.patch.multiple(database, fetch=fetch, rows=rows):
        async for _, build, ids in sync.everything():
            ops = await build(ids)
            before = time.process_time()
            writing.writes(ops)
            entering.append(time.process_time() - before)
            count += len(ops)
    spent = time.process_time() - began
    figures.note("documents a second for a server, our side", count / spent)
    building = spent - sum(reading) - sum(entering)
    for name, part in (
        ("reading rows", sum(reading)),
        ("building documents", building),
        ("analysis for the server", sum(entering)),
    ):
        figures.note(f"of a document, {name}", part / count * 1e6, "µs")
    return (sum(reading) + building) / count * 1e6


def _clocked(
    call: Callable[..., Awaitable[Any]], spent: list[float]
) -> Callable[..., Awaitable[Any]]:
    """The same call, its processor time noted."""

    async def timed(*args: Any) -> Any:
        began = time.process_time()
        found = await call(*args)
        spent.append(time.process_time() - began)
        return found

    return timed


async def _texts(count: int) -> list[str]:
    """Whole words, beginnings, typos, one to four Chinese characters, two words; each once."""
    chance = random.Random(1)
    rows = await engine.rows("SELECT title_zh, title_en FROM offering ORDER BY id LIMIT 5000")
    texts: dict[str, None] = {}
    while len(texts) < count:
        chinese, english = chance.choice(rows)
        word = chance.choice(english.split())
        start, size = chance.randrange(len(chinese)), chance.randint(1, 4)
        cut = chance.randrange(1, max(len(word), 2))
        kinds = (
            word,
            word[:cut],
            word[:cut] + word[cut + 1 :],
            chinese[start : start + size],
            f"{word} {chance.choice(english.split())}",
            chinese,
        )
        texts[chance.choice(kinds)] = None
    return list(texts)


async def _embedded(
    figures: Figures,
    target: index.SearchEngine,
    building: float,
    texts: list[str],
    others: list[str],
) -> None:
    before = _resident()
    began = time.process_time()
    count = await sync.rebuild(target)
    spent = time.process_time() - began
    figures.note("documents a second, embedded, index included", count / spent)
    figures.note("of a document, writing the embedded index", spent / count * 1e6 - building, "µs")
    gc.collect()
    figures.note("memory for a document, embedded", (_resident() - before) * 1024 / count, "kB")
    gc.freeze()
    for name, asked in (("first", texts), ("again", texts), ("others", others)):
        times = [await _timed(target, text, time.process_time) for text in asked]
        _times(figures, f"embedded, {name}", times)


async def _server(figures: Figures, directory: Path, documents: int, fresh: int) -> None:
    """Freshness over a server, in a city of its own: Meilisearch itself where it is on the PATH,
    otherwise the stand-in, which is no measure of speed and would take minutes for many."""
    kind = "real" if shutil.which("meilisearch") else "fake"
    size = min(documents, _CITY_OF[kind])
    url = f"sqlite:///{directory}/server.sqlite"
    with meilisearch.own_server(kind) as server:
        target = meili.Meili(server.url, await server.key())
        async with databases.in_use(engine.open_engine(url)):
            await migrate.migrate()
            await _city.City(size).settle()
            await engine.execute("DELETE FROM outbox")
            await sync.rebuild(target)
            async with _at_work(target):
                times = await _freshness(target, fresh)
        await target.close()
    _times(figures, f"fresh, {kind} server, {size:,} offerings", times)


@contextlib.asynccontextmanager
async def _at_work(target: index.SearchEngine) -> AsyncIterator[None]:
    working = worker.Worker(target)
    await working.start()
    try:
        while (await target.health()).empty or await engine.fetch("SELECT 1 FROM outbox LIMIT 1"):
            await asyncio.sleep(0.01)
        yield
    finally:
        await working.stop()


async def _freshness(target: index.SearchEngine, count: int) -> list[float]:
    ids = [base.as_id(id) for (id,) in await engine.rows("SELECT id FROM offering LIMIT 50")]
    times = []
    for number in range(count):
        word = f"fresh{number:04}"
        began = time.perf_counter()
        await _change(ids[number % len(ids)], word)
        written = time.perf_counter()
        query = index.Query(text=f"{word} ", page_size=1, statuses=())
        while not (await target.search(query, index.Scope(everything=True))).total:
            await asyncio.sleep(0.001)
        times.append((time.perf_counter() - written) * 1000)
        await asyncio.sleep(max(0.1 - (time.perf_counter() - began), 0))
    return times


async def _change(id: Any, word: str) -> None:
    async with engine.unit_of_work() as work:
        await engine.execute(
            "UPDATE offering SET title_en = $1, version = version + 1 WHERE id = $2", word, id
        )
        await outbox.announce(work, sync.OFFERING, id)


async def _rebuild_under_writes(
    figures: Figures, target: index.SearchEngine, texts: list[str], seconds: float
) -> None:
    """The same searches under the same writes: half of the normal ones before, half after it."""
    ids = [base.as_id(id) for (id,) in await engine.rows("SELECT id FROM offering LIMIT 500")]

    async def write() -> None:
        for number in itertools.count():
            ends = time.perf_counter() + 0.02
            await _change(ids[number % len(ids)], f"again{number:05}")
            await asyncio.sleep(max(ends - time.perf_counter(), 0))

    async def search(doing: asyncio.Task[Any]) -> list[float]:
        times = []
        while not doing.done():
            for text in texts[:50]:
                times.append(await _timed(target, text))
        await doing
        return times

    async with _at_work(target):
        writing_on = asyncio.create_task(write())
        normal = await search(asyncio.create_task(asyncio.sleep(seconds)))
        during = await search(asyncio.create_task(sync.rebuild(target)))
        normal += await search(asyncio.create_task(asyncio.sleep(seconds)))
        writing_on.cancel()
        while await engine.fetch("SELECT 1 FROM outbox LIMIT 1"):
            await asyncio.sleep(0.01)
    figures.note(
        "lost in a rebuild under 50 writes a second", len(await comparing.differences(target))
    )
    for name, times in (("without", normal), ("during", during)):
        _times(figures, f"50 writes a second, {name} a rebuild", times)
    figures.note("search p99 during it", _share(during, 99) / _share(normal, 99), "x of without")


async def _timed(
    target: index.SearchEngine, text: str, clock: Callable[[], float] = time.perf_counter
) -> float:
    query = index.Query(text=text, facets=("kind",), page_size=PAGE)
    began = clock()
    await target.search(query, EVERYONE)
    return (clock() - began) * 1000


async def _endpoints(figures: Figures, url: str, directory: Path, texts: list[str]) -> None:
    async with _application(url, directory) as app:
        await _at_rest(app)
        target: index.SearchEngine = app.state.engine
        for text in texts:
            await _ask(app, text)  # so that both of what follows know every text
        bare = await _processor(texts, lambda text: _timed(target, text))
        endpoint = await _processor(texts, lambda text: _ask(app, text))
        figures.note("endpoint, processor time", endpoint, "ms")
        figures.note("endpoint over the bare engine", endpoint / bare, "x")
        body = await _ask(app, texts[0])
    async with _stub() as address, _application(url, directory, MEILI_URL=address) as app:
        ready = get("/static", media_type="application/json")(_static(body))
        app.register(ready)
        stubbed = await _processor(texts, lambda text: _ask(app, text))
        static = await _processor(texts, lambda _: _call(app, "/static", ""))
        figures.note("endpoint over a server, processor time", stubbed, "ms")
        figures.note("the same over a static endpoint", stubbed / static, "x")
        async with httpx.AsyncClient(transport=AiohttpTransport()) as client:
            alone = await _processor(texts, lambda _: client.post(address, content=b"{}"))
        figures.note("a call of the HTTP client over a static endpoint", alone / static, "x")


def _static(body: bytes) -> Callable[[], Awaitable[Response[bytes]]]:
    async def static() -> Response[bytes]:
        return Response(content=body, media_type="application/json")

    return static


@contextlib.asynccontextmanager
async def _application(url: str, directory: Path, **environment: str) -> AsyncIterator[Litestar]:
    options = settings.load(environment, database_url=url, data=directory, rate_limit=0, demo=False)
    app = application.create_app(options)
    async with app.lifespan():
        yield app


async def _at_rest(app: Litestar) -> None:
    while (await app.state.engine.health()).empty:
        await asyncio.sleep(0.05)


async def _ask(app: Litestar, text: str) -> bytes:
    return await _call(app, "/v1/search", f"q={urllib.parse.quote(text)}&facet=kind")


async def _call(app: Litestar, path: str, query: str) -> bytes:
    """One request, without a client and a socket in between."""
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message
        parts.append(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"town"), (b"accept", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("town", 80),
        "state": {},
        "extensions": {},
    }
    await app(scope, receive, send)  # type: ignore[arg-type]  # a scope as a server makes it
    return b"".join(parts)


async def _processor(
    texts: Sequence[str], call: Callable[[str], Awaitable[object]], rounds: int = 3
) -> float:
    """Milliseconds of processor time for one; the best of some rounds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        for text in texts:
            await call(text)
        found.append((time.process_time() - began) * 1000 / len(texts))
    return min(found)


@contextlib.asynccontextmanager
async def _stub() -> AsyncIterator[str]:
    """A search server in a process of its own that answers every search with the same 20 hits."""
    hit = json.encode({"hits": [_entry() for _ in range(PAGE)], "totalHits": 1000})
    answer = (
        b'{"results":[' + hit.replace(b'"totalHits"', b'"facetDistribution":{},"totalHits"') + b"]}"
    )
    program = (
        "import asyncio,sys\n"
        "answer=sys.stdin.buffer.read()\n"
        "head=b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: '\n"
        "whole=head+str(len(answer)).encode()+b'\\r\\n\\r\\n'+answer\n"
        "class P(asyncio.Protocol):\n"
        "    def connection_made(self,t): self.t=t\n"
        "    def data_received(self,d): self.t.write(whole)\n"
        "async def main():\n"
        "    s=await asyncio.get_running_loop().create_server(P,'127.0.0.1',0)\n"
        "    print(s.sockets[0].getsockname()[1],flush=True)\n"
        "    await s.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    running = await asyncio.create_subprocess_exec(
        "python3", "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert running.stdin
    assert running.stdout
    running.stdin.write(answer)
    running.stdin.close()
    try:
        yield f"http://127.0.0.1:{int(await running.stdout.readline())}"
    finally:
        running.kill()
        await running.wait()


def _entry() -> dict[str, Any]:
    """A hit of ordinary size."""
    entry: dict[str, Any] = dict.fromkeys(entries.TEXTS, "")
    entry |= {"id": str(base.new_id()), "kind": "space", "version": 1, "public": True}
    entry |= {"title_zh": "桥北社区长者食堂", "title_en": "Qiaobei senior cafeteria hall"}
    entry |= {"description_en": "A hall with a kitchen, open to all. " * 5}
    return entry | {"service_names": ["长者食堂", "Senior cafeteria"], "tags": ["kitchen", "ramp"]}


def _times(figures: Figures, name: str, times: list[float]) -> None:
    for share in (50, 99):
        figures.note(f"{name}, p{share}", _share(times, share), "ms")


def _share(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def _resident() -> float:
    """Memory of this process in MB."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
