"""The one migration history, run under a lock, all of it or nothing."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator

from piccolo.apps.migrations.commands.forwards import ForwardsMigrationManager
from piccolo.apps.migrations.tables import Migration

from models import engine, piccolo_app, services

# Any number will do, as long as every version of the program takes the same one.
_LOCK = 7_226_100_701


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
            manager = ForwardsMigrationManager(piccolo_app.APP_CONFIG.app_name)
            # Piccolo prints its progress; ours is said by the command that called.
            with contextlib.redirect_stdout(io.StringIO()), _import_path():
                await manager.run()
        await services.install()
    return waiting


async def pending() -> list[str]:
    """The ids of migrations that have not run on this database."""
    manager = ForwardsMigrationManager(piccolo_app.APP_CONFIG.app_name)
    with _import_path():
        known = manager.get_migration_modules(
            piccolo_app.APP_CONFIG.resolved_migrations_folder_path
        )
    ran: list[str] = []
    if await Migration.table_exists():
        ran = await Migration.get_migrations_which_ran(piccolo_app.APP_CONFIG.app_name)
    return sorted(set(known) - set(ran))


@contextlib.contextmanager
def _import_path() -> Iterator[None]:
    """Piccolo puts the migrations folder on sys.path for good; take it off again."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before
