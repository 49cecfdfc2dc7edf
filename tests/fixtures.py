"""Fixtures: every test that touches data runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
from msgspec import Struct

from api import logs, worker
from models import base, engine, migrate
from search import engine as search
from search import sync
from tests import clocks, databases, meilisearch, memory, postgres, towns
from tests.api import contract

# A busy machine makes no test wrong. CI tries the same cases each time, so that no change is
# refused for one that it has nothing to do with; everybody else tries new ones.
hypothesis.settings.register_profile(
    "untimed",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("untimed")
# As the program logs, so do the tests.
logs.configure(terminal=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server of our own for the whole run."""
    with postgres.server() as server:
        yield server


@pytest.fixture(scope="session")
def fake_server() -> Iterator[meilisearch.Server]:
    """The stand-in for a Meilisearch server, for the whole run."""
    with meilisearch.server("fake") as server:
        yield server


@pytest.fixture(scope="session")
def real_server() -> Iterator[meilisearch.Server]:
    """A real Meilisearch server for the whole run; skips where there is none."""
    with meilisearch.server("real") as server:
        yield server


@pytest.fixture(scope="session", params=meilisearch.KINDS)
def meili_server(request: pytest.FixtureRequest) -> meilisearch.Server:
    """Each of the two."""
    server: meilisearch.Server = request.getfixturevalue(f"{request.param}_server")
    return server


class Template(Struct):
    """A database to copy: migrated only, or with the setting of `tests/towns.py` and the embedded
    engine's index of it."""

    where: str
    setting: towns.Setting | None
    index: Path | None = None


@pytest.fixture(scope="session")
async def templates(
    postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Template]:
    """One template per engine and name."""
    directory = tmp_path_factory.mktemp("template")
    lite = [str(directory / f"{name}.sqlite") for name in ("migrated", "settled")]
    await postgres_server.create_database("migrated")
    for url in (f"sqlite:///{lite[0]}", postgres_server.url("migrated")):
        async with databases.in_use(engine.open_engine(url)):
            await migrate.migrate()
    made = {
        ("sqlite", "migrated"): Template(lite[0], None),
        ("postgres", "migrated"): Template("migrated", None),
    }
    shutil.copy(*lite)
    await postgres_server.create_database("settled", "migrated")
    for kind, where, url in (
        ("sqlite", lite[1], f"sqlite:///{lite[1]}"),
        ("postgres", "settled", postgres_server.url("settled")),
    ):
        async with databases.in_use(engine.open_engine(url)):
            setting, index = await towns.settle(), directory / kind
            await _index(index)
            made[kind, "settled"] = Template(where, setting, index)
    contract.plain_app()
    # Hundreds of thousands of objects that stay: the collector is not to look at them each time.
    gc.collect()
    gc.freeze()
    return made


async def _index(directory: Path) -> None:
    """Carry the database in use to an index of its own."""
    target = search.open_engine(directory)
    await sync.rebuild(target)
    while await sync.drain(target):
        pass
    await target.close()


@contextlib.asynccontextmanager
async def copied(kind: str, template: Template, server: postgres.Server) -> AsyncIterator[str]:
    """The address of a copy of a template, on `sqlite` or `postgres`."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(dir=memory.directory()) as directory:
            shutil.copy(template.where, f"{directory}/test.sqlite")
            yield f"sqlite:///{directory}/test.sqlite"
        return
    database = f"test_{uuid.uuid4().hex}"
    await server.create_database(database, template.where)
    try:
        yield server.url(database)
    finally:
        await server.drop_database(database)


@contextlib.asynccontextmanager
async def a_database(
    kind: str, template: Template, server: postgres.Server
) -> AsyncIterator[engine.Engine]:
    """A copy of a template in use, on `sqlite` or `postgres`."""
    async with (
        copied(kind, template, server) as url,
        databases.in_use(engine.open_engine(url)) as opened,
    ):
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
async def db(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], Template],
    postgres_server: postgres.Server,
) -> AsyncIterator[engine.Engine]:
    """A migrated database in use, empty but for the taxonomy; once per engine."""
    template = templates[request.param, "migrated"]
    async with a_database(request.param, template, postgres_server) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
async def settled(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], Template],
    postgres_server: postgres.Server,
) -> AsyncIterator[towns.Setting]:
    """A database with the setting in use, and nothing running on it; once per engine."""
    template = templates[request.param, "settled"]
    assert template.setting
    async with a_database(request.param, template, postgres_server):
        yield template.setting


@pytest.fixture(params=["sqlite", "postgres"])
async def town(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], Template],
    postgres_server: postgres.Server,
    tmp_path: Path,
) -> AsyncIterator[towns.Town]:
    """The whole application on a copy of the setting; once per engine."""
    async with a_town(request.param, templates, postgres_server, tmp_path) as opened:
        yield opened


@contextlib.asynccontextmanager
async def a_town(
    kind: str,
    templates: dict[tuple[str, str], Template],
    server: postgres.Server,
    directory: Path,
    **environment: str,
) -> AsyncIterator[towns.Town]:
    """The whole application on a copy of the setting, on `sqlite` or `postgres`."""
    template = templates[kind, "settled"]
    assert template.setting
    assert template.index
    shutil.copytree(template.index, directory / "data" / "index", copy_function=shutil.copyfile)
    async with (
        copied(kind, template, server) as url,
        towns.running_town(url, directory, template.setting, **environment) as opened,
    ):
        yield opened


@contextlib.asynccontextmanager
async def a_searching_town(
    server: meilisearch.Server, templates: dict[tuple[str, str], Template], directory: Path
) -> AsyncIterator[towns.Town]:
    """The whole application on SQLite, searching on a server; the file stays in the directory."""
    template = templates["sqlite", "settled"]
    assert template.setting
    shutil.copy(template.where, directory / "test.sqlite")
    url = f"sqlite:///{directory / 'test.sqlite'}"
    more = {"MEILI_URL": server.url, "MEILI_KEY": await server.key()}
    async with towns.running_town(url, directory, template.setting, **more) as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> clocks.Clock:
    """Time stands still, and passes when the test says so; what is due then, the test does."""
    standing = clocks.Clock()
    monkeypatch.setattr(base, "clock", standing.read)
    monkeypatch.setattr(worker, "TICK_S", 3600.0)
    return standing


@pytest.fixture
def march(clock: clocks.Clock) -> clocks.Clock:
    """The last noon of February 2027, in Chongqing."""
    clock.stand("2027-02-28T12:00+08:00")
    return clock
