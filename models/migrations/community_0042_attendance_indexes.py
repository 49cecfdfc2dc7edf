"""Indexes of attendance, hours and reviews; what is closed of attendance is never changed."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T18:41:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "attendance indexes"

INDEXES = (
    "CREATE INDEX attendance_occurrence ON attendance (occurrence, id)",
    "CREATE INDEX attendance_account ON attendance (account, id) WHERE account IS NOT NULL",
    # One person is at one place at a time.
    "CREATE UNIQUE INDEX attendance_here ON attendance (account) WHERE outcome = 'here'",
    # A row is taken back once.
    "CREATE UNIQUE INDEX attendance_reverses ON attendance (reverses) WHERE reverses IS NOT NULL",
    "CREATE UNIQUE INDEX hours_account ON hours (account)",
    "CREATE UNIQUE INDEX review_pair ON review (author, about)",
    "CREATE INDEX review_agreement ON review (agreement, id)",
    "CREATE INDEX review_due ON review (due_at) WHERE shown_at IS NULL",
    "CREATE INDEX review_writer ON review (written_by, id)",
)

# 1,500 hours, in minutes.
WITHIN = (
    "NEW.spendable < 0 OR NEW.spendable > 90000 OR NEW.gift < 0 OR NEW.owed < 0"
)

RULES = {
    "postgres": (
        # An open row is closed once; nothing else of it changes, and none goes.
        "CREATE TRIGGER attendance_closed BEFORE UPDATE ON attendance FOR EACH ROW"
        " WHEN (OLD.outcome <> 'here') EXECUTE FUNCTION refuse_change()",
        "CREATE TRIGGER attendance_stays BEFORE DELETE OR TRUNCATE ON attendance"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
        "CREATE TRIGGER hours_within BEFORE INSERT OR UPDATE ON hours FOR EACH ROW"
        f" WHEN ({WITHIN}) EXECUTE FUNCTION refuse_excess()",
    ),
    "sqlite": (
        "CREATE TRIGGER attendance_closed BEFORE UPDATE ON attendance WHEN OLD.outcome <> 'here'"
        " BEGIN SELECT RAISE(ABORT, 'attendance is append-only'); END",
        *(
            f"CREATE TRIGGER attendance_{name} BEFORE {event} BEGIN"
            " SELECT RAISE(ABORT, 'attendance is append-only'); END"
            for name, event in (
                ("stays", "DELETE ON attendance"),
                # INSERT OR REPLACE deletes without asking the trigger above.
                (
                    "replaced",
                    "INSERT ON attendance WHEN EXISTS"
                    " (SELECT 1 FROM attendance WHERE id = NEW.id)",
                ),
            )
        ),
        *(
            f"CREATE TRIGGER hours_within_{event.lower()} BEFORE {event} ON hours WHEN {WITHIN}"
            " BEGIN SELECT RAISE(ABORT, 'more of hours than there is'); END"
            for event in ("INSERT", "UPDATE")
        ),
    ),
}


async def forwards() -> MigrationManager:
    """Create every index, and the rules that hold whoever writes."""
    manager = MigrationManager(
        migration_id=ID, app_name="community", description=DESCRIPTION
    )

    async def run() -> None:
        for statement in (*INDEXES, *RULES[engine.current().dialect]):
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
