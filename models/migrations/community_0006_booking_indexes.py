"""Indexes of bookings, and what keeps them from overlapping in the database itself."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-22T02:34:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "booking indexes"

INDEXES = (
    "CREATE UNIQUE INDEX bookable_offering ON bookable (offering)",
    "CREATE INDEX booking_offering ON booking (offering, ends)",
    "CREATE INDEX booking_place ON booking (place, id)",
    "CREATE INDEX booking_need ON booking (need)",
    "CREATE INDEX booking_unit ON booking (unit, ends)",
    "CREATE INDEX booking_held ON booking (status, held_until)",
)

# No two live bookings of one unit overlap, whoever writes them. The unit's number and the minute
# make one integer: a range of integers needs no extension. 2^30 minutes are two thousand years.
NO_OVERLAP = {
    "postgres": (
        "ALTER TABLE booking ADD CONSTRAINT booking_no_overlap EXCLUDE USING gist"
        " (int8range(unit * 1073741824 + starts, unit * 1073741824 + ends) WITH &&)"
        " WHERE (unit IS NOT NULL AND status IN ('held', 'confirmed'))",
    ),
    "sqlite": tuple(
        f"CREATE TRIGGER booking_no_overlap_{event.lower()} BEFORE {event} ON booking"
        " WHEN NEW.unit IS NOT NULL AND NEW.status IN ('held', 'confirmed') AND EXISTS"
        " (SELECT 1 FROM booking b WHERE b.unit = NEW.unit AND b.id <> NEW.id"
        " AND b.status IN ('held', 'confirmed')"
        " AND b.ends > NEW.starts AND b.starts < NEW.ends)"
        " BEGIN SELECT RAISE(ABORT, 'bookings overlap'); END"
        for event in ("INSERT", "UPDATE")
    ),
}


async def forwards() -> MigrationManager:
    """Create every index, and the rule that no two bookings of a unit overlap."""
    manager = MigrationManager(
        migration_id=ID, app_name="community", description=DESCRIPTION
    )

    async def run() -> None:
        for statement in (*INDEXES, *NO_OVERLAP[engine.current().dialect]):
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
