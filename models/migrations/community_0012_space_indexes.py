"""Indexes of spaces, pools and groups, and what keeps their history and ledger as they are."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T18:11:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "space indexes"

INDEXES = (
    "CREATE UNIQUE INDEX space_offering ON space (offering)",
    "CREATE INDEX space_parent ON space (parent)",
    "CREATE UNIQUE INDEX space_kin_offering ON space_kin (offering, relative)",
    "CREATE INDEX space_kin_relative ON space_kin (relative)",
    "CREATE INDEX condition_change_offering ON condition_change (offering, id)",
    "CREATE UNIQUE INDEX pool_entry_offering ON pool_entry (offering, number)",
    "CREATE UNIQUE INDEX membership_partner ON membership (partner, account)",
    "CREATE INDEX membership_account ON membership (account)",
    "CREATE INDEX booking_booked_for ON booking (booked_for, id)",
    "CREATE INDEX booking_series ON booking (series)",
)

# Append-only whoever connects, as the audit trail is; and the capacity of a pool is what the last
# row of its ledger says.
LAST = "SELECT capacity_after FROM pool_entry WHERE offering = NEW.id ORDER BY number DESC LIMIT 1"
APPEND_ONLY = ("condition_change", "pool_entry")
RULES = {
    "postgres": (
        *(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            for table in APPEND_ONLY
        ),
        "CREATE FUNCTION refuse_capacity() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" DECLARE said integer; BEGIN {LAST.replace(' FROM', ' INTO said FROM')};"
        " IF FOUND AND NEW.capacity IS DISTINCT FROM said THEN"
        " RAISE EXCEPTION 'the capacity of a pool changes through its ledger'"
        " USING ERRCODE = '23001'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER offering_capacity BEFORE UPDATE OF capacity ON offering FOR EACH ROW"
        " WHEN (NEW.capacity IS DISTINCT FROM OLD.capacity) EXECUTE FUNCTION refuse_capacity()",
    ),
    "sqlite": (
        *(
            f"CREATE TRIGGER {table}_no_{name} BEFORE {event} BEGIN"
            f" SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table in APPEND_ONLY
            for name, event in (
                ("update", f"UPDATE ON {table}"),
                ("delete", f"DELETE ON {table}"),
                # INSERT OR REPLACE deletes without asking the trigger above.
                (
                    "replace",
                    f"INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)",
                ),
            )
        ),
        "CREATE TRIGGER offering_capacity BEFORE UPDATE OF capacity ON offering"
        f" WHEN NEW.capacity IS NOT OLD.capacity AND NEW.capacity IS NOT ({LAST})"
        " AND EXISTS (SELECT 1 FROM pool_entry WHERE offering = NEW.id)"
        " BEGIN SELECT RAISE(ABORT, 'the capacity of a pool changes through its ledger'); END",
    ),
}


async def forwards() -> MigrationManager:
    """Create every index, and what keeps history and ledger as they are."""
    manager = MigrationManager(
        migration_id=ID, app_name="community", description=DESCRIPTION
    )

    async def run() -> None:
        for statement in (*INDEXES, *RULES[engine.current().dialect]):
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
