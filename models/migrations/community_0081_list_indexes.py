"""Indexes of long lists by status, newest first: a page costs what it shows, however many rows of
other statuses lie before it."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T19:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "indexes of lists by status"

INDEXES = (
    "CREATE INDEX need_status ON need (status, id)",
    "CREATE INDEX offering_status ON offering (status, id)",
    "CREATE INDEX partner_status ON partner (status, id)",
)


async def forwards() -> MigrationManager:
    """Create every index."""
    manager = MigrationManager(migration_id=ID, app_name="community", description=DESCRIPTION)

    async def run() -> None:
        for statement in INDEXES:
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
