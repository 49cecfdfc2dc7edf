"""Production refuses what is not safe in public, all at once; development asks for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api import doctor, start_up
from models import demo, engine, migrate, settings
from models.engine.postgres import POOL_SIZE
from search import engine as index
from tests import databases, fixtures, postgres, servers

SECRET = "5f0c1d8e7a9b4c3d2e6f8091a2b3c4d5"
SAFE = {"MODE": "production", "SECRET_KEY": SECRET, "DEMO": "false"}


def _environment(**change: str) -> dict[str, str]:
    ours = {setting.variable for setting in settings.SETTINGS}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONPATH": str(servers.ROOT), "PORT": "0", **change}


def _run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        cwd=cwd,
        env=_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
    )


def _refusals(**environment: str) -> list[str]:
    return settings.refusals(settings.load({**SAFE, **environment}))


# The settings


def test_safe_settings_are_not_refused() -> None:
    assert _refusals() == []
    assert (
        _refusals(
            DATABASE_URL="postgres://u:p@host/name",
            MEILI_URL="http://search:7700",
            MEILI_KEY="key",
            WEB_CONCURRENCY="4",
            CORS_ORIGINS="https://town.example, http://localhost:3000",
            TRUSTED_PROXIES="10.0.0.0/8, 2001:db8::1",
            PYTHONASYNCIODEBUG="0",
        )
        == []
    )


@pytest.mark.parametrize(
    ("environment", "says", "mend"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is missing", "openssl rand -hex 32"),
        ({"SECRET_KEY": SECRET[:31]}, "SECRET_KEY is too short", "32 or more random"),
        ({"SECRET_KEY": "changeme" * 8}, "too plain", "32 or more random"),
        ({"DEBUG": "1"}, "debug mode is on", "unset DEBUG"),
        ({"LITESTAR_DEBUG": "true"}, "debug mode is on", "unset LITESTAR_DEBUG"),
        ({"PYTHONASYNCIODEBUG": "1"}, "debug mode is on", "unset PYTHONASYNCIODEBUG"),
        ({"CORS_ORIGINS": "*"}, "CORS_ORIGINS=*", "name the origins"),
        ({"DEMO": "true"}, "DEMO is true", "set DEMO=false"),
        (
            {"WEB_CONCURRENCY": "2", "MEILI_URL": "http://search:7700", "MEILI_KEY": "key"},
            "SQLite serves one process, and WEB_CONCURRENCY is 2",
            "set WEB_CONCURRENCY=1, or DATABASE_URL",
        ),
        (
            {"WEB_CONCURRENCY": "2", "DATABASE_URL": "postgres://host/name"},
            "the embedded index serves one process",
            "or MEILI_URL",
        ),
        ({"MEILI_URL": "http://search:7700"}, "without MEILI_KEY", "set MEILI_KEY"),
    ],
)
def test_each_danger_is_one_line_that_says_the_mend(
    environment: dict[str, str], says: str, mend: str
) -> None:
    (line,) = _refusals(**environment)
    assert says in line
    assert mend in line
    assert "\n" not in line


def test_the_secret_itself_is_never_repeated() -> None:
    assert SECRET[:31] not in "".join(_refusals(SECRET_KEY=SECRET[:31]))


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"MODE": "staging"}, "MODE: Invalid enum value"),
        ({"RATE_LIMIT": "-1"}, "RATE_LIMIT: must be 0 or more"),
        ({"RATE_LIMIT": "nan"}, "RATE_LIMIT"),
        ({"RATE_LIMIT": "many"}, "RATE_LIMIT: Expected `float`"),
        ({"TRUSTED_PROXIES": "*"}, "TRUSTED_PROXIES: '*' does not appear to be"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES: 10.0.0.1/8 has host bits set"),
        ({"TRUSTED_PROXIES": "proxy"}, "TRUSTED_PROXIES: 'proxy' does not appear to be"),
        ({"CORS_ORIGINS": "town.example"}, "CORS_ORIGINS: 'town.example' is not like https:"),
        ({"CORS_ORIGINS": "https://*.example"}, "CORS_ORIGINS: 'https://"),
        ({"CORS_ORIGINS": "https://town.example/"}, "CORS_ORIGINS: 'https://town.example/'"),
        ({"CORS_ORIGINS": "null"}, "CORS_ORIGINS: 'null'"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z_]+: ") as refused:
        settings.load(environment)
    assert str(refused.value).startswith(says)


# The key


def test_development_makes_a_key_of_its_own_for_the_owners_eyes_and_keeps_it(
    tmp_path: Path,
) -> None:
    options = settings.load({}, data=tmp_path / "data")
    key = settings.signing_key(options)
    assert len(key) == 64
    path = tmp_path / "data" / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert settings.signing_key(options) == key
    assert [entry.name for entry in path.parent.iterdir()] == ["secret.key"]
    # It goes along to production as it is.
    moved = settings.load({**SAFE, "SECRET_KEY": path.read_text()})
    assert settings.refusals(moved) == []
    assert settings.signing_key(moved) == key


def test_processes_that_start_together_have_the_same_key(tmp_path: Path) -> None:
    options = settings.load({}, data=tmp_path)
    keys: list[bytes] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        keys.append(settings.signing_key(options))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_production_never_makes_a_key(tmp_path: Path) -> None:
    options = settings.load({"MODE": "production"}, data=tmp_path)
    with pytest.raises(ValueError, match="SECRET_KEY is missing"):
        settings.signing_key(options)
    assert list(tmp_path.iterdir()) == []


# The database


@pytest.fixture(params=["sqlite", "postgres"])
async def empty_database(
    request: pytest.FixtureRequest, postgres_server: postgres.Server, tmp_path: Path
) -> AsyncIterator[str]:
    """The address of a database in which nothing is, not even tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'town.sqlite'}"
        return
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name)
    try:
        yield postgres_server.url(name)
    finally:
        await postgres_server.drop_database(name)


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncIterator[None]:
    async with databases.in_use(engine.open_engine(url)):
        yield


async def _in_database(url: str) -> list[str]:
    return await start_up.refusals(settings.load({**SAFE, "DATABASE_URL": url}))


async def test_production_refuses_a_database_that_is_not_up_to_date(empty_database: str) -> None:
    (line,) = await _in_database(empty_database)
    assert "run `python -m api migrate`" in line
    async with _opened(empty_database):
        await migrate.migrate()
    assert await _in_database(empty_database) == []
    async with _opened(empty_database):
        await engine.execute("DELETE FROM migration WHERE id = (SELECT max(id) FROM migration)")
    (line,) = await _in_database(empty_database)
    assert line == "1 migrations are pending; run `python -m api migrate`"


async def test_production_refuses_a_database_with_the_demo_accounts(empty_database: str) -> None:
    async with _opened(empty_database):
        await migrate.migrate()
        await demo.load()
    (line,) = await _in_database(empty_database)
    assert "demo accounts are in the database" in line


async def test_what_the_settings_and_the_database_have_wrong_is_said_at_once(
    tmp_path: Path,
) -> None:
    options = settings.load({"MODE": "production", "CORS_ORIGINS": "*"}, data=tmp_path / "data")
    found = await start_up.refusals(options)
    assert not options.data.exists()
    assert [line.split()[0] for line in found] == ["SECRET_KEY", "CORS_ORIGINS=*", "DEMO", "there"]


async def test_a_database_that_does_not_answer_is_one_of_the_lines() -> None:
    (line,) = await _in_database("postgres://u:hidden@127.0.0.1:1/x")
    assert "cannot connect to PostgreSQL" in line
    assert "hidden" not in line


async def test_a_server_that_cannot_have_all_its_connections_says_so_and_does_not_start(
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    tmp_path: Path,
) -> None:
    few = f"few_{uuid.uuid4().hex}"
    template = templates["postgres", "migrated"]
    async with fixtures.copied("postgres", template, postgres_server) as url, _opened(url):
        ((owner,),) = await engine.rows("SELECT current_user")
        await engine.execute(
            f"CREATE ROLE {few} LOGIN PASSWORD 'few' CONNECTION LIMIT {POOL_SIZE - 1}"
        )
        try:
            await engine.execute(f'GRANT "{owner}" TO {few}')
            url = re.sub("://[^@]*@", f"://{few}:few@", url)
            refused = await asyncio.to_thread(
                _run, "serve", cwd=tmp_path, DATABASE_URL=url, DEMO="false"
            )
        finally:
            await engine.execute(f"DROP ROLE {few}")
    assert refused.returncode == 1
    assert "too many connections" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


# The commands


@pytest.mark.parametrize("command", ["serve", "search rebuild"])
def test_a_refused_start_is_a_line_for_each_reason_and_exit_code_1(
    command: str, tmp_path: Path
) -> None:
    done = _run(*command.split(), cwd=tmp_path, MODE="production", LITESTAR_DEBUG="1")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert [line.split()[1] for line in lines] == ["SECRET_KEY", "debug", "DEMO", "there"]
    assert not (tmp_path / "data" / "community.sqlite").exists()


def test_production_starts_after_a_migration_and_not_before(tmp_path: Path) -> None:
    before = _run("serve", cwd=tmp_path, **SAFE)
    assert (before.returncode, len(before.stderr.splitlines())) == (1, 1)
    assert "run `python -m api migrate`" in before.stderr
    assert _run("migrate", cwd=tmp_path, **SAFE).returncode == 0
    command = [sys.executable, "-m", "api", "serve"]
    with servers.running(command, cwd=tmp_path, env=_environment(**SAFE)) as address:
        assert httpx.get(f"{address}/readyz").status_code == 200
        assert httpx.get(f"{address}/v1/places").json()["items"] == []
        assert "ratelimit" in httpx.get(f"{address}/v1/places").headers
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "community.sqlite")) as opened:
        assert opened.execute("SELECT count(*) FROM account").fetchone() == (0,)


def test_production_loads_no_demo(tmp_path: Path) -> None:
    done = _run("demo", cwd=tmp_path, **SAFE)
    assert done.returncode == 1
    assert "MODE=development has a demo" in done.stderr
    assert list(tmp_path.iterdir()) == []


# The doctor


async def test_the_doctor_says_what_production_would_refuse(
    empty_database: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def examined(**environment: str) -> tuple[int, str]:
        options = settings.load(
            {"DATABASE_URL": empty_database, **environment}, data=tmp_path / "data"
        )
        code = await doctor.examine(options)
        return code, capsys.readouterr().out

    code, said = await examined()
    assert code == 1
    assert "run `python -m api migrate`" in said
    async with _opened(empty_database):
        await migrate.migrate()
    code, said = await examined()
    assert code == 0
    assert "production   would be refused: SECRET_KEY is missing" in said
    assert f"database     {doctor.masked(empty_database)}\n" in said
    assert "migrations   none pending" in said
    assert "index        is not there yet" in said
    code, said = await examined(MODE="production", DEMO="false")
    assert code == 1
    assert "production   refused: SECRET_KEY is missing" in said
    code, said = await examined(**SAFE)
    assert (code, "refused" in said) == (0, False)
    assert SECRET not in said


async def test_the_doctor_says_how_the_index_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = settings.load({}, data=tmp_path)
    async with _opened(options.database):
        await migrate.migrate()
    opened = index.open_engine(tmp_path / "index")
    assert await doctor.examine(options) == 0
    assert "index        in use: " in capsys.readouterr().out
    await opened.close()
    assert await doctor.examine(options) == 0
    assert "index        0 documents" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///data/town.sqlite", "sqlite:///data/town.sqlite"),
        ("postgres://u:p%40ss@host:5433/name", "postgres://u:***@host:5433/name"),
        ("postgres://u:p@ss@host/name", "postgres://u:***@host:5432/name"),
        ("postgres://host/name?password=hidden", "postgres://host:5432/name"),
        ("postgres://u:hidden@host:port/name", "postgres://..."),
        ("mysql://u:hidden@host/name", "mysql://u:***@host:5432/name"),
    ],
)
def test_a_database_is_shown_without_its_password(url: str, shown: str) -> None:
    assert doctor.masked(url) == shown
