"""A server that is killed under its writers loses nothing that it has acknowledged, and one whose
database hangs can be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from api import worker
from tests import fixtures, kills, postgres, servers


@pytest.fixture(scope="module")
def program() -> Iterator[subprocess.Popen[bytes]]:
    """Loaded once for both databases."""
    with kills.loaded() as ready:
        yield ready


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_killed_under_concurrent_writers_it_loses_and_doubles_nothing(
    kind: str,
    program: subprocess.Popen[bytes],
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    tmp_path: Path,
) -> None:
    """The long version is `./run bench races`."""
    template = templates[kind, "settled"]
    assert template.setting
    async with fixtures.copied(kind, template, postgres_server) as url:
        figures = await kills.under_writers(program, url, tmp_path, template.setting, kills=2)
    assert figures.flaws == []
    assert figures.kills == 2
    # Something must have been going on, or this test is worth nothing.
    assert figures.acknowledged > 20
    assert figures.index_s < kills.INDEXED_S


@pytest.mark.skipif(
    "PG_TEST_URL" in os.environ, reason="it signals the processes of a PostgreSQL of its own"
)
async def test_a_stop_ends_in_time_also_when_postgresql_hangs(
    postgres_server: postgres.Server, tmp_path: Path
) -> None:
    """A machine that froze: it answers nothing, and cannot be asked to stop."""
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name)
    url = postgres_server.url(name)
    with (
        contextlib.ExitStack() as hanging,
        servers.started(tmp_path, "--no-demo", "--database-url", url),
    ):
        admin = await asyncpg.connect(url)
        rows = await admin.fetch(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await admin.close()
        assert rows
        for (process,) in rows:
            os.kill(process, signal.SIGSTOP)
            hanging.callback(os.kill, process, signal.SIGCONT)
        # So that its clocks and workers wait for an answer.
        await asyncio.sleep(worker.POLL_S + 0.5)
    await postgres_server.drop_database(name)
