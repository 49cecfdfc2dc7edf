"""The one migration history, run under a lock, all of it or nothing."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from piccolo.apps.migrations.tables import Migration

from models import engine, services

APP = "community"
FOLDER = Path(__file__).parent / "migrations"
# Any number will do, as long as every version of the program takes the same one.
_LOCK = 7_226_100_701
_ID = re.compile(r'^ID = "(.+)"$', re.MULTILINE)


async def migrate() -> int:
    """Bring the database up to date and install the taxonomy; answers how many migrations ran.

    Several processes may start at once: PostgreSQL's advisory lock lets one work and the others
    wait and find nothing to do. On SQLite the write transaction itself is that lock.
    """
    async with engine.unit_of_work():
        if engine.current().dialect == "postgres":
            # Waiting for another process to migrate may take longer than any query should.
            await engine.execute("SET LOCAL statement_timeout = 0")
            await engine.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        waiting = len(await pending())
        if waiting:
            # Not at the top: it brings a code formatter, and most starts have nothing to migrate.
            from piccolo.apps.migrations.commands.forwards import ForwardsMigrationManager

            manager = ForwardsMigrationManager(APP)
            # Piccolo prints its progress; ours is said by the command that called.
            with contextlib.redirect_stdout(io.StringIO()), _import_path():
                await manager.run()
        await services.install()
    return waiting


async def pending() -> list[str]:
    """The ids of migrations that have not run on this database."""
    ran: list[str] = []
    if await Migration.table_exists():
        ran = await Migration.get_migrations_which_ran(APP)
    return sorted(_known(FOLDER) - set(ran))


@functools.cache
def _known(folder: Path) -> frozenset[str]:
    """The ids in the files, by their text: Piccolo would import all of them at every start."""
    texts = (path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    return frozenset(found[1] for text in texts if (found := _ID.search(text)))


@contextlib.contextmanager
def _import_path() -> Iterator[None]:
    """Piccolo puts the migrations folder on sys.path for good; take it off again."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before
