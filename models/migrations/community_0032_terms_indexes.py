"""Indexes of terms, their accounts, and tasks."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T18:31:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "terms indexes"

INDEXES = (
    "CREATE UNIQUE INDEX rent_account_agreement ON rent_account (agreement)",
    "CREATE INDEX rent_account_due ON rent_account (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX rent_account_short ON rent_account (agreement) WHERE outstanding > 0",
    # A month is closed once, an occurrence counted once, a mistake taken back once.
    "CREATE UNIQUE INDEX rent_month_month ON rent_month (agreement, month)",
    "CREATE UNIQUE INDEX service_hours_occurrence ON service_hours (occurrence)"
    " WHERE occurrence IS NOT NULL",
    "CREATE UNIQUE INDEX service_hours_reverses ON service_hours (reverses)"
    " WHERE reverses IS NOT NULL",
    "CREATE INDEX service_hours_month ON service_hours (agreement, month)",
    # What was earned in a month is stated once, until that is reversed.
    "CREATE UNIQUE INDEX revenue_month ON revenue (agreement, month) WHERE reversed_at IS NULL",
    "CREATE INDEX revenue_agreement ON revenue (agreement, id)",
    "CREATE UNIQUE INDEX milestone_name ON milestone (agreement, name)",
    "CREATE INDEX assessment_milestone ON assessment (milestone, id)",
    "CREATE INDEX assessment_account ON assessment (account)",
    # Of one kind there is one open task for each subject.
    "CREATE UNIQUE INDEX task_open ON task (kind, subject) WHERE status = 'open'",
    "CREATE INDEX task_place ON task (place, id)",
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
