"""Indexes of saved searches, notices and questions: each object is told of once, each caller
counted once a day."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T19:01:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "indexes of saved searches"

INDEXES = (
    "CREATE INDEX saved_search_account ON saved_search (account, id)",
    "CREATE UNIQUE INDEX notice_once ON notice (account, topic, subject)",
    "CREATE INDEX notice_account ON notice (account, id)",
    "CREATE INDEX notice_saved_search ON notice (saved_search)",
    "CREATE UNIQUE INDEX recent_query_once ON recent_query (account, words)",
    "CREATE UNIQUE INDEX asked_query_once ON asked_query (community, day, words, caller)",
    "CREATE UNIQUE INDEX popular_query_once ON popular_query (community, day, words)",
    # What is booked out at one moment, in the whole city.
    "CREATE INDEX booking_ends ON booking (ends, starts)",
)


async def forwards() -> MigrationManager:
    """Create every index."""
    manager = MigrationManager(migration_id=ID, app_name="community", description=DESCRIPTION)

    async def run() -> None:
        for statement in INDEXES:
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
