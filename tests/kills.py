"""A server that is killed again and again while people write: what was acknowledged stays.

Writers send posts over HTTP, each with a key of its own, and repeat what was not answered. After
every kill the server starts again; then the writers hold still while everything acknowledged since
is sent once more, and until the index shows what the database has.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct, field

from models import agreements, bookings, engine, values
from tests import balance, crowds, databases
from tests.servers import ROOT
from tests.towns import Setting

INDEXED_S = 5.0
_COOK = values.Slot(role="cook", kind="merchant", quantity=5)


class Post(Struct):
    """Something that a writer sends, and what was answered in the end."""

    what: str
    key: str
    path: str
    body: dict[str, Any]
    status: int = 0
    made: dict[str, Any] = field(default_factory=dict)


class Figures(Struct):
    """What came of it; `index_s` is the longest from a restart to an index that shows everything,
    `flaws` what was lost, doubled or out of balance."""

    kills: int = 0
    acknowledged: int = 0
    refused: int = 0
    resent: int = 0
    seconds: float = 0.0
    index_s: float = 0.0
    flaws: list[str] = field(default_factory=list)


# Loads the program once, with what it only loads when needed, and puts the application together,
# which is the same for all databases. Every life is a process of its own, and starts from there.
_LOADED = """
import gc, json, os, sys
gc.disable()
import pypinyin
from api import cli, serving
from models import settings
app = serving.create_app(settings.load({"RATE_LIMIT": "0"}))
def create_app(options):
    app.state.options = options
    return app
serving.create_app = create_app
gc.freeze()
gc.enable()
for line in sys.stdin:
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        environment, log = json.loads(line)
        os.environ.update(environment)
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)
        sys.exit(cli.main(["serve"]))
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@contextlib.contextmanager
def loaded() -> Iterator[subprocess.Popen[bytes]]:
    """The program, ready to live; for one Server at a time."""
    with subprocess.Popen(
        [sys.executable, "-c", _LOADED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as program:
        yield program


class Server:
    """One server process on a port that stays the same from life to life."""

    def __init__(self, program: subprocess.Popen[bytes], url: str, data: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{port}"
        self.log = data / "server.log"
        self._program = program
        self._environment = {
            "DATABASE_URL": url,
            "DATA_DIR": str(data),
            "DEMO": "false",
            "RATE_LIMIT": "0",
            "PORT": port,
        }
        self._living = 0

    async def start(self) -> None:
        """Start, and wait until it answers."""
        assert self._program.stdin
        self._program.stdin.write(json.dumps((self._environment, str(self.log))).encode() + b"\n")
        self._program.stdin.flush()
        self._living = int(await asyncio.to_thread(self._line))
        line = await asyncio.to_thread(self._line)
        if line == b"gone\n":
            self._living = 0
        assert b"http" in line, f"the server did not start: {self._said()}"

    def kill(self) -> None:
        """With SIGKILL: nothing is put in order."""
        if self._living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._living, signal.SIGKILL)
            while self._line() != b"gone\n":
                pass  # what it had still said
            self._living = 0

    def _line(self) -> bytes:
        assert self._program.stdout
        line = self._program.stdout.readline()
        assert line, f"it ended: {self._said()}"
        return line

    def _said(self) -> str:
        return self.log.read_text()[-2000:] if self.log.exists() else "nothing"


class Town(Struct):
    """What the writers write about."""

    space: uuid.UUID
    shop: uuid.UUID
    helper: uuid.UUID
    served: uuid.UUID
    asking: uuid.UUID
    place: uuid.UUID
    token: str
    monday: dt.datetime


async def settle(setting: Setting) -> Town:
    """A space, a shop with 5 places, a need whose 60 places an agreement promises, and one that
    asks for cooks. For the database in use."""
    scene = await crowds.settle(setting)
    space = await scene.offer("space")
    shop, helper, provider = [await scene.offer("merchant", capacity=c) for c in (5, None, 60)]
    served = await scene.ask(values.Slot(role="cook", kind="merchant"), beneficiaries=60)
    asking = await scene.ask(_COOK)
    member = scene.member(provider, "cook", [scene.time(day) for day in range(5)], 60)
    made = await scene.propose(served, [member], places=60)
    body, actor = agreements.StepDraft(), scene.people_of(provider.partner_id)
    await agreements.accept(made, body, actor)
    monday = bookings.moment_of(scene.begins)
    token = setting.tokens["operator"]
    ids = space.id, shop.id, helper.id, served.id, asking.id
    return Town(*ids, scene.place, token, monday)


class Storm:
    """Writers, and what they were told."""

    def __init__(self, server: Server, url: str, town: Town, seed: int) -> None:
        self.figures = Figures()
        self._server, self._url, self._town = server, url, town
        self._chance = random.Random(seed)
        self._told: list[Post] = []
        self._checked = 0
        self._open = asyncio.Event()
        self._over = False
        headers = {"Authorization": f"Bearer {town.token}"}
        self._client = httpx.AsyncClient(
            base_url=server.address, headers=headers, timeout=httpx.Timeout(10)
        )

    async def rage(self, kills: int, writers: int) -> Figures:
        """Kill so many times under so many writers; then let them finish, and count."""
        began = time.monotonic()
        async with self._client, asyncio.TaskGroup() as group:
            await self._server.start()
            for number in range(writers):
                group.create_task(self._write(f"w{number}"))
            for _ in range(kills):
                self._open.set()
                await self._some_told()
                self._open.clear()
                self._server.kill()
                await self._server.start()
                self.figures.kills += 1
                await self._look()
            self._over = True
            self._open.set()
        async with self._reading():
            await self._count()
        errors = self._server.log.read_bytes().count(b'"level":"error"')
        if errors:
            self.figures.flaws.append(f"{errors} errors in {self._server.log}")
        self.figures.seconds = time.monotonic() - began
        return self.figures

    async def _some_told(self) -> None:
        """A random moment: after so many acknowledgements, on any machine, and a little more."""
        enough = len(self._told) + self._chance.randint(5, 40)
        while len(self._told) < enough:
            await asyncio.sleep(0.002)
        await asyncio.sleep(self._chance.uniform(0, 0.02))

    async def _write(self, name: str) -> None:
        number = 0
        while not self._over:
            number += 1
            await self._one(f"{name}-{number}")

    async def _one(self, key: str) -> None:
        town, chance = self._town, self._chance
        what = chance.choice(["space", "shop", "need", "enrol", "enrol", "cancel", "agree"])
        if what in ("space", "shop"):
            starts = town.monday + dt.timedelta(minutes=15 * chance.randrange(672))
            ends = starts + dt.timedelta(minutes=15 * chance.randint(1, 4))
            body: dict[str, Any] = {"starts_at": starts.isoformat(), "ends_at": ends.isoformat()}
            if what == "shop":
                body["quantity"] = chance.randint(1, 3)
            offering = town.space if what == "space" else town.shop
            await self._send(Post(what, key, f"/v1/offerings/{offering}/bookings", body))
        elif what == "need":
            await self._send(Post(what, key, "/v1/needs", self._need(key)))
        elif what == "enrol":
            path = f"/v1/needs/{town.served}/enrolments"
            await self._send(Post(what, key, path, {"label": key}))
        elif what == "cancel":
            enrolled = [post.made["id"] for post in self._told if post.what == "enrol"]
            if enrolled:
                path = f"/v1/enrolments/{chance.choice(enrolled)}/cancel"
                await self._send(Post(what, key, path, {}))
        else:
            await self._agree(key)

    async def _agree(self, key: str) -> None:
        """Propose, accept, and mostly end: one after the other."""
        day = self._town.monday.date()
        dates = {"starts_on": str(day), "ends_on": str(day + dt.timedelta(days=1))}
        member = {"role": "cook", "offering_id": str(self._town.helper)}
        body = {"need_id": str(self._town.asking), "members": [member], **dates}
        post = await self._send(Post("agree", key, "/v1/agreements", body))
        if post.status != 201:
            return
        path = f"/v1/agreements/{post.made['id']}"
        party = {"party_id": post.made["parties"][1]["id"]}
        accepted = await self._send(Post("accept", f"{key}-a", f"{path}/accept", party))
        if accepted.status == 200 and self._chance.random() < 0.8:
            await self._send(Post("end", f"{key}-e", f"{path}/end", {"reason": "other"}))

    def _need(self, key: str) -> dict[str, Any]:
        return {
            "service_type": "breakfast_point",
            "place_id": str(self._town.place),
            "title": {"zh": key, "en": key},
            "windows": [{"days": [1], "start": "06:30", "end": "09:00"}],
            "slots": [{"role": "cook", "kind": "merchant"}],
        }

    async def _send(self, post: Post) -> Post:
        """Until it is answered; what is over before it was asked for once is not sent."""
        headers = {"Idempotency-Key": post.key}
        while True:
            await self._open.wait()
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.post(post.path, json=post.body, headers=headers)
                if answer.status_code != 503:
                    break
            await asyncio.sleep(0.02)
        post.status = answer.status_code
        if post.status < 300:
            post.made = answer.json()
            self._told.append(post)
        elif post.status == 409:
            self.figures.refused += 1
        else:
            self.figures.flaws.append(f"{post.what}: {post.status} {answer.text[:200]}")
        return post

    async def _look(self) -> None:
        """What was acknowledged before the kill is answered the same; the index is up to date."""
        began = time.monotonic()
        async with self._reading():
            while not await self._index_agrees():
                if time.monotonic() - began > 2 * INDEXED_S:
                    self.figures.flaws.append("the index does not show what the database has")
                    break
                await asyncio.sleep(0.05)
            took = time.monotonic() - began
            self.figures.index_s = max(self.figures.index_s, took)
            self.figures.flaws += await balance.flaws()
        told, self._checked = self._told[self._checked :], len(self._told)
        for post in told:
            headers = {"Idempotency-Key": post.key}
            again = await self._client.post(post.path, json=post.body, headers=headers)
            self.figures.resent += 1
            if (again.status_code, again.json()) != (post.status, post.made):
                self.figures.flaws.append(f"{post.key} was answered anew: {again.text[:200]}")

    async def _index_agrees(self) -> bool:
        rows = await engine.rows("SELECT id FROM need WHERE status = 'open'")
        found: list[str] = []
        page = pages = 1
        while page <= pages:
            query = f"/v1/search?kind=need&page_size=100&page={page}"
            answer = (await self._client.get(query)).json()
            found += [item["id"] for item in answer["items"]]
            page, pages = page + 1, answer["pages"]
        return sorted(found) == sorted(str(need) for (need,) in rows)

    async def _count(self) -> None:
        """Exactly what was acknowledged is there: nothing less, and nothing more."""
        self.figures.acknowledged = len(self._told)
        kept = {
            ("space", "shop"): "SELECT id FROM booking WHERE commitment IS NULL",
            ("need",): "SELECT id FROM need WHERE title_en LIKE 'w%'",
            ("enrol",): "SELECT id FROM enrolment",
            ("cancel",): "SELECT id FROM enrolment WHERE status = 'cancelled'",
            ("agree",): f"SELECT id FROM agreement WHERE need = '{self._town.asking}'",
            ("accept",): "SELECT a.id FROM agreement a JOIN intake i ON i.agreement = a.id"
            f" WHERE a.need = '{self._town.asking}'",
            ("end",): "SELECT id FROM agreement WHERE state = 'ended'",
        }
        for what, sql in kept.items():
            there = {str(identity) for (identity,) in await engine.rows(sql)}
            told = {post.made["id"] for post in self._told if post.what in what}
            for word, several in (("lost", told - there), ("doubled", there - told)):
                if several:
                    self.figures.flaws.append(f"{len(several)} {word}: {' and '.join(what)}")
        self.figures.flaws += await balance.flaws()

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """The server's database, beside it."""
        async with databases.in_use(engine.open_engine(self._url, exclusive=False)):
            yield


async def under_writers(
    program: subprocess.Popen[bytes],
    url: str,
    data: Path,
    setting: Setting,
    *,
    kills: int,
    writers: int = 6,
    seed: int = 1,
) -> Figures:
    """Kill a server on a database with the setting so many times under so many writers."""
    async with databases.in_use(engine.open_engine(url)):
        town = await settle(setting)
    server = Server(program, url, data)
    try:
        return await Storm(server, url, town, seed).rage(kills, writers)
    finally:
        server.kill()
