"""Indexes of plans and proposals: Piccolo runs raw SQL before it makes the tables of a file."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-22T02:31:29:000000"
VERSION = "1.38.0"
DESCRIPTION = "indexes of plans and proposals"

INDEXES = (
    "CREATE INDEX plan_place ON plan (place, id)",
    "CREATE INDEX plan_status ON plan (status, id)",
    "CREATE INDEX plan_asked_by ON plan (asked_by)",
    "CREATE UNIQUE INDEX proposal_seat ON proposal (plan, need, role, seat)",
    "CREATE INDEX proposal_need ON proposal (need, status)",
    "CREATE INDEX proposal_offering ON proposal (offering, status)",
    "CREATE INDEX proposal_partner ON proposal (partner, id)",
    "CREATE INDEX proposal_place ON proposal (place, id)",
)


async def forwards() -> MigrationManager:
    """Create every index."""
    manager = MigrationManager(migration_id=ID, app_name="community", description=DESCRIPTION)

    async def run() -> None:
        for statement in INDEXES:
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
