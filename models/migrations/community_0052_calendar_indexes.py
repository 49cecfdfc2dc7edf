"""Indexes of calendars and of what outside calendars keep busy."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T18:51:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "calendar indexes"

INDEXES = (
    "CREATE INDEX busy_time_offering ON busy_time (offering, ends)",
    "CREATE UNIQUE INDEX feed_token ON feed (token_hash)",
    "CREATE INDEX feed_account ON feed (account, id)",
)


async def forwards() -> MigrationManager:
    """Create every index."""
    manager = MigrationManager(
        migration_id=ID, app_name="community", description=DESCRIPTION
    )

    async def run() -> None:
        for statement in INDEXES:
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
