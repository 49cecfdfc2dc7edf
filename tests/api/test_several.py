"""Several server processes on one PostgreSQL, as their callers meet them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Struct

from models import engine
from tests import databases, fixtures, postgres, servers, towns

# How late another process may be. It is a few ms where a machine has nothing else to do.
LATE_S = 2.0
# The program, except that what it keeps does not become too old by itself.
_SERVE = """
import sys
from api import cli
from models.engine import changes
changes.KEPT_S = 3600.0
sys.exit(cli.main(["serve"]))
"""


class Two(Struct):
    """Two servers of one town: each with a client, and who may sign in."""

    one: httpx.AsyncClient
    other: httpx.AsyncClient
    setting: towns.Setting

    def headers(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.setting.tokens[who]}"}


@pytest.fixture
async def two(
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    tmp_path: Path,
) -> AsyncIterator[Two]:
    template = templates["postgres", "settled"]
    assert template.setting
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(
            fixtures.copied("postgres", template, postgres_server)
        )
        env = {**os.environ, "DATABASE_URL": url, "DEMO": "false", "RATE_LIMIT": "0"}
        options: dict[str, Any] = {"cwd": servers.ROOT, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-c", _SERVE]

        async def start(name: str) -> httpx.AsyncClient:
            own = {"WEB_CONCURRENCY": "2", "DATA_DIR": str(tmp_path / name)}
            server = servers.running(command, env=env | own, **options)
            at = await asyncio.to_thread(stack.enter_context, server)
            return await stack.enter_async_context(httpx.AsyncClient(base_url=at, timeout=30))

        clients = await asyncio.gather(start("one"), start("other"))
        # For what is done to the database itself.
        await stack.enter_async_context(databases.in_use(engine.Postgres(url)))
        yield Two(clients[0], clients[1], template.setting)


async def _a_need(two: Two, **change: Any) -> str:
    body = {
        "service_type": "breakfast_point",
        "place_id": str(two.setting.community),
        "title": {"zh": "早餐", "en": "Breakfast"},
        "windows": [towns.mornings()],
        "slots": [{"role": "cook", "kind": "merchant"}],
        **change,
    }
    answer = await two.one.post("/v1/needs", json=body, headers=two.headers("secretary"))
    assert answer.status_code == 201, answer.text
    return f"/v1/needs/{answer.json()['id']}"


async def _soon(holds: Callable[[], Awaitable[bool]]) -> None:
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() < began + LATE_S
        await asyncio.sleep(0.01)


async def test_neither_of_two_servers_keeps_what_the_other_has_ended(two: Two) -> None:
    await _ends(two)
    await _storm(two)


async def _ends(two: Two) -> None:
    """What is withdrawn, signed out or banned at one server is so at the other a moment later."""
    path = await _a_need(two)
    signed = {"login": "resident@test", "password": towns.PASSWORD}
    answer = await two.one.post("/v1/sessions", json=signed)
    mine = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def status(address: str, headers: dict[str, str] | None = None) -> int:
        return (await two.other.get(address, headers=headers)).status_code

    # All of this is kept by the other one now.
    for _ in range(2):
        assert await status(path) == 200
        assert await status("/v1/needs", mine) == 200
        assert await status("/v1/needs", two.headers("volunteer")) == 200
    secretary = two.headers("secretary")
    assert (await two.one.delete(path, headers={**secretary, "If-Match": "*"})).status_code == 200

    async def withdrawn() -> bool:
        return await status(path) == 404

    await _soon(withdrawn)
    assert (await two.one.delete("/v1/sessions/current", headers=mine)).status_code == 204

    async def signed_out() -> bool:
        return await status("/v1/needs", mine) == 401

    await _soon(signed_out)
    ban = f"/v1/accounts/{two.setting.accounts['volunteer']}/ban"
    answer = await two.one.post(ban, headers=two.headers("operator"))
    assert answer.status_code == 200, answer.text

    async def banned() -> bool:
        return await status("/v1/needs", two.headers("volunteer")) == 401

    await _soon(banned)


async def _storm(two: Two) -> None:
    """Both write and both are read; whoever asks a while after a write was acknowledged gets it,
    or what came later, from either."""
    paths = [await _a_need(two, beneficiaries=1) for _ in range(2)]
    written: dict[str, list[tuple[float, int]]] = {path: [(0.0, 1)] for path in paths}
    over = False

    async def reader(client: httpx.AsyncClient, path: str) -> int:
        reads = 0
        while not over:
            began = time.monotonic()
            least = max(number for at, number in written[path] if at <= began - LATE_S)
            assert (await client.get(path)).json()["beneficiaries"] >= least
            reads += 1
        return reads

    async def writer(client: httpx.AsyncClient, path: str) -> None:
        headers = {**two.headers("secretary"), "If-Match": "*"}
        ends = time.monotonic() + 2
        # A busy machine takes longer for as many.
        while time.monotonic() < ends or len(written[path]) <= 20:
            number = written[path][-1][1] + 1
            answer = await client.patch(path, json={"beneficiaries": number}, headers=headers)
            assert answer.status_code == 200, answer.text
            written[path].append((time.monotonic(), number))

    clients = (two.one, two.other)
    reading = [asyncio.create_task(reader(client, path)) for client in clients for path in paths]
    await asyncio.gather(*map(writer, clients, paths))
    await asyncio.sleep(LATE_S)
    over = True
    assert all(reads > 20 for reads in await asyncio.gather(*reading))
    for client in clients:
        for path in paths:
            said = (await client.get(path)).json()["beneficiaries"]
            assert said == written[path][-1][1] > 20
