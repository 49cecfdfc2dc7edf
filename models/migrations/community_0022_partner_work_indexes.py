"""Indexes of the docking register, of trainings and of who owns a partner."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T18:21:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "partner work indexes"

INDEXES = (
    "CREATE INDEX docking_place ON docking (place, id)",
    "CREATE INDEX docking_partner ON docking (partner, id)",
    "CREATE INDEX training_place ON training (place, id)",
    "CREATE INDEX training_skill ON training (skill, id)",
    "CREATE INDEX completion_place ON completion (place, id)",
    "CREATE INDEX completion_partner ON completion (partner, id)",
    "CREATE INDEX completion_training ON completion (training, id)",
    # Nobody completes a training twice on one day, however often it is recorded.
    "CREATE UNIQUE INDEX completion_once ON completion (offering, training, completed_on)"
    " WHERE withdrawn_at IS NULL",
    "CREATE INDEX partner_owner_place ON partner (owner_place, id)",
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
