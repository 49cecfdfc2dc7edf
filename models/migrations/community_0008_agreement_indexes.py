"""Indexes of agreements and of the ledger; what the ledger holds is never changed."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T17:01:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "agreement indexes"

INDEXES = (
    "CREATE INDEX agreement_place ON agreement (place, id)",
    "CREATE INDEX agreement_need ON agreement (need, state)",
    "CREATE INDEX agreement_due ON agreement (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX party_agreement ON party (agreement)",
    "CREATE INDEX party_partner ON party (partner, agreement)",
    "CREATE INDEX commitment_agreement ON commitment (agreement)",
    "CREATE INDEX commitment_offering ON commitment (offering, status)",
    "CREATE INDEX commitment_proposal ON commitment (proposal)",
    "CREATE UNIQUE INDEX occurrence_time ON occurrence (agreement, starts)",
    "CREATE INDEX occurrence_planned ON occurrence (status, ends)",
    "CREATE INDEX agreement_event_agreement ON agreement_event (agreement, id)",
    "CREATE UNIQUE INDEX need_fill_role ON need_fill (need, role)",
    "CREATE UNIQUE INDEX intake_agreement ON intake (agreement)",
    # Nobody stands in one line twice.
    "CREATE UNIQUE INDEX enrolment_person ON enrolment (need, account, label)"
    " WHERE status <> 'cancelled'",
    "CREATE INDEX enrolment_line ON enrolment (need, status, id)",
    "CREATE INDEX enrolment_agreement ON enrolment (agreement)",
    "CREATE INDEX enrolment_account ON enrolment (account, id)",
    "CREATE INDEX enrolment_place ON enrolment (place, id)",
    "CREATE INDEX booking_commitment ON booking (commitment) WHERE commitment IS NOT NULL",
    "CREATE INDEX transfer_place ON transfer (place, id)",
    "CREATE INDEX transfer_subject ON transfer (subject, id)",
    # A transfer is taken back once.
    "CREATE UNIQUE INDEX transfer_reverses ON transfer (reverses) WHERE reverses IS NOT NULL",
    "CREATE INDEX entry_transfer ON entry (transfer)",
    "CREATE INDEX entry_account ON entry (account, unit)",
)

# Capacity is never given twice, whoever writes.
WITHIN = (
    ("need_fill", "taken < 0 OR NEW.taken > NEW.wanted", "taken"),
    ("intake", "taken < 0 OR NEW.taken > NEW.places", "taken"),
)

RULES = {
    "postgres": (
        *(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            for table in ("transfer", "entry")
        ),
        "CREATE FUNCTION refuse_excess() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'more of % than there is', TG_TABLE_NAME USING ERRCODE = '23514'; END $$",
        *(
            f"CREATE TRIGGER {table}_within BEFORE INSERT OR UPDATE OF {column} ON {table}"
            f" FOR EACH ROW WHEN (NEW.{condition}) EXECUTE FUNCTION refuse_excess()"
            for table, condition, column in WITHIN
        ),
    ),
    "sqlite": (
        *(
            f"CREATE TRIGGER {table}_no_{name} BEFORE {event} BEGIN"
            f" SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table in ("transfer", "entry")
            for name, event in (
                ("update", f"UPDATE ON {table}"),
                ("delete", f"DELETE ON {table}"),
                # INSERT OR REPLACE deletes without asking the trigger above.
                (
                    "replace",
                    f"INSERT ON {table} WHEN EXISTS"
                    f" (SELECT 1 FROM {table} WHERE id = NEW.id)",
                ),
            )
        ),
        *(
            f"CREATE TRIGGER {table}_within_{event[:6].lower()} BEFORE {event} ON {table}"
            f" WHEN NEW.{condition} BEGIN"
            f" SELECT RAISE(ABORT, 'more of {table} than there is'); END"
            for table, condition, column in WITHIN
            for event in ("INSERT", f"UPDATE OF {column}")
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
