"""The application with a Meilisearch server: who carries changes to it, and what happens when it
stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from models import settings
from search import meili
from tests import meilisearch, postgres, towns
from tests.towns import Town, a_need, a_space

ROOT = Path(__file__).parents[2]
Templates = dict[tuple[str, str], Any]


@pytest.fixture(params=meilisearch.KINDS)
def own(request: pytest.FixtureRequest) -> Iterator[meilisearch.OwnServer]:
    """A server of this test's own, to be stopped and started."""
    with meilisearch.own_server(request.param) as server:
        yield server


@pytest.fixture
async def town(
    own: meilisearch.OwnServer, templates: Templates, tmp_path: Path
) -> AsyncIterator[Town]:
    """The application on SQLite, searching on the server."""
    template = templates["sqlite", "settled"]
    shutil.copy(template.where, tmp_path / "test.sqlite")
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    async with towns.running_town(
        url, tmp_path, template.setting, MEILI_URL=own.url, MEILI_KEY=await own.key()
    ) as opened:
        yield opened


@pytest.fixture
async def database(templates: Templates, postgres_server: postgres.Server) -> AsyncIterator[str]:
    """The URL of a copy of the setting on PostgreSQL."""
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name, templates["postgres", "settled"].where)
    yield postgres_server.url(name)
    await postgres_server.drop_database(name)


async def _found(town: Town, words: str) -> set[str]:
    found = await town.get(f"/v1/search?q={words}&match=all&kind=space&kind=need")
    return {item["title"]["en"] for item in found["items"]}


async def _until_found(town: Town, words: str, titles: set[str]) -> None:
    async with asyncio.timeout(30):
        while await _found(town, words) != titles:
            await asyncio.sleep(0.05)


async def test_on_sqlite_the_serving_process_carries_changes_to_the_server(town: Town) -> None:
    hall = a_space(town, title={"zh": "长者食堂大厅", "en": "Senior cafeteria hall"})
    made = await town.make("/v1/offerings", hall, "partner_staff")
    await town.make("/v1/needs", a_need(town))
    await town.indexed()
    assert await _found(town, "cafetria") == {"Senior cafeteria hall"}
    assert await _found(town, "者食") == {"Senior cafeteria hall"}
    assert await _found(town, "dawn") == {"A breakfast point at dawn"}
    title = {"zh": "大厅", "en": "Lighthouse"}
    await town.change(f"/v1/offerings/{made['id']}", {"title": title}, "partner_staff")
    await town.indexed()
    assert await _found(town, "cafeteria") == set()
    assert await _found(town, "lighthouse") == {"Lighthouse"}
    # What is not public is found by those who may see it, here as there.
    await town.make(f"/v1/partners/{town.partner}/suspend", {"reason": "safety"})
    await town.indexed()
    assert await _found(town, "lighthouse") == set()
    found = await town.get("/v1/search?q=lighthouse", "secretary")
    assert found["total"] == 1


async def test_while_the_server_is_down_search_says_so_and_everything_else_goes_on(
    town: Town, own: meilisearch.OwnServer
) -> None:
    await town.make("/v1/needs", a_need(town))
    await town.indexed()
    own.stop()
    answer = await town.as_("anonymous", "GET", "/v1/search?q=dawn")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "search_unavailable"
    assert int(answer.headers["retry-after"]) > 0
    await town.make("/v1/needs", a_need(town, title={"zh": "灯塔", "en": "A lighthouse"}))
    assert (await town.get("/v1/needs"))["items"][0]["title"]["en"] == "A lighthouse"
    own.start()
    await town.indexed()
    assert await _found(town, "lighthouse") == {"A lighthouse"}
    assert await _found(town, "dawn") == {"A breakfast point at dawn"}


async def test_a_server_that_lost_everything_is_filled_again(
    town: Town, own: meilisearch.OwnServer
) -> None:
    await town.make("/v1/needs", a_need(town))
    await town.indexed()
    target = town.app.state.engine
    await target._main.drop()
    await _until_there(town)
    await _until_found(town, "dawn", {"A breakfast point at dawn"})


async def _until_there(town: Town) -> None:
    async with asyncio.timeout(30):
        while (await town.as_("anonymous", "GET", "/v1/search")).status_code != 200:
            await asyncio.sleep(0.05)


class Program:
    """`python -m api …` with the same database and server as the town."""

    def __init__(self, directory: Path, **environment: str) -> None:
        ours = {setting.variable for setting in settings.SETTINGS}
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        self._environment = {**kept, "DATA_DIR": str(directory / "data"), **environment}
        self._directory = directory

    @contextlib.contextmanager
    def working(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker; what it logs goes to the file of this name."""
        with (self._directory / name).open("wb") as log:
            running = subprocess.Popen(
                [sys.executable, "-m", "api", "work"],
                cwd=ROOT,
                env=self._environment,
                stderr=log,
            )
        try:
            yield running
        finally:
            running.kill()
            running.wait()

    async def has_said(self, name: str, what: str) -> None:
        """Waits until a worker has logged this."""
        async with asyncio.timeout(30):
            while what not in (self._directory / name).read_text():
                await asyncio.sleep(0.05)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "api", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


async def test_on_postgresql_one_worker_carries_changes_and_another_stands_by(
    own: meilisearch.OwnServer, templates: Templates, database: str, tmp_path: Path
) -> None:
    at = {"MEILI_URL": own.url, "MEILI_KEY": await own.key()}
    program = Program(tmp_path, DATABASE_URL=database, **at)
    setting = templates["postgres", "settled"].setting
    async with towns.running_town(database, tmp_path, setting, **at) as town:
        await town.make("/v1/needs", a_need(town))
        # The API only searches, and nobody has made an index yet.
        await asyncio.sleep(0.5)
        answer = await town.as_("anonymous", "GET", "/v1/search?q=dawn")
        assert answer.json()["code"] == "search_unavailable"
        with program.working("first") as first:
            await program.has_said("first", "worker.at_work")
            await town.indexed()
            assert await _found(town, "dawn") == {"A breakfast point at dawn"}
            with program.working("second") as second:
                await program.has_said("second", "worker.standby")
                refused = await asyncio.to_thread(program.run, "search", "rebuild")
                assert refused.returncode == 1
                assert "stop `work` to do it by hand" in refused.stderr
                first.kill()
                title = {"zh": "灯塔", "en": "A lighthouse"}
                await town.make("/v1/needs", a_need(town, title=title))
                await program.has_said("second", "worker.at_work")
                await town.indexed()
                assert await _found(town, "lighthouse") == {"A lighthouse"}
                second.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(second.wait, 10) == 0
        done = await asyncio.to_thread(program.run, "search", "rebuild")
        # With the places and service types.
        held = len(await town.app.state.engine.versions())
        assert (done.returncode, done.stdout) == (0, f"{held} documents indexed.\n"), done.stderr


async def test_search_setup_prints_the_lines_for_the_settings(
    own: meilisearch.OwnServer, tmp_path: Path
) -> None:
    program = Program(tmp_path, MEILI_URL=own.url, MEILI_MASTER_KEY=own.master_key)
    done = program.run("search", "setup")
    keys = await meili.make_keys(own.url, own.master_key)
    assert (done.stdout, done.stderr) == (
        f"MEILI_KEY={keys.ours}\nMEILI_TOKEN_KEY={keys.tokens}\n",
        "",
    )
    assert not (tmp_path / "data").exists()
    wrong = Program(tmp_path, MEILI_URL=own.url, MEILI_MASTER_KEY="not-the-master-key")
    done = wrong.run("search", "setup")
    assert (done.returncode, done.stdout) == (1, "")
    assert "403 invalid_api_key" in done.stderr
    assert "not-the-master-key" not in done.stderr


def test_search_setup_and_work_say_what_they_need(tmp_path: Path) -> None:
    done = Program(tmp_path, MEILI_URL="http://127.0.0.1:1").run("search", "setup")
    assert done.returncode == 1
    assert "set MEILI_URL and MEILI_MASTER_KEY" in done.stderr
    done = Program(tmp_path, MEILI_URL="http://127.0.0.1:1").run("work")
    assert done.returncode == 1
    assert "a worker apart needs PostgreSQL" in done.stderr
