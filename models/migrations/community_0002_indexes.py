"""Indexes and uniqueness, as raw SQL that SQLite and PostgreSQL both accept; triggers, apart."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-21T23:10:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "indexes"

STATEMENTS = (
    "CREATE UNIQUE INDEX place_slug ON place (slug)",
    "CREATE INDEX place_parent ON place (parent)",
    "CREATE UNIQUE INDEX place_closure_pair ON place_closure (ancestor, descendant)",
    "CREATE INDEX place_closure_up ON place_closure (descendant, depth)",
    "CREATE UNIQUE INDEX account_login ON account (login)",
    "CREATE INDEX role_account ON role (account)",
    "CREATE UNIQUE INDEX token_hash ON token (token_hash)",
    "CREATE INDEX token_family ON token (family)",
    "CREATE INDEX token_account ON token (account)",
    "CREATE INDEX token_expiry ON token (expires_at)",
    "CREATE UNIQUE INDEX invitation_token ON invitation (token_hash)",
    "CREATE UNIQUE INDEX service_key_hash ON service_key (key_hash)",
    "CREATE UNIQUE INDEX sign_in_failure_window ON sign_in_failure (subject, window_start)",
    "CREATE INDEX sign_in_failure_age ON sign_in_failure (window_start)",
    "CREATE INDEX service_key_place ON service_key (place)",
    "CREATE INDEX service_key_partner ON service_key (partner)",
    "CREATE INDEX role_delegated ON role (delegated_from)",
    "CREATE INDEX role_place ON role (place)",
    "CREATE INDEX role_partner ON role (partner)",
    "CREATE INDEX audit_place ON audit (place, seq)",
    "CREATE INDEX audit_subject ON audit (subject, seq)",
    "CREATE INDEX audit_actor ON audit (actor, seq)",
    "CREATE INDEX audit_action ON audit (action, seq)",
    "CREATE UNIQUE INDEX audit_head_seq ON audit_head (seq)",
    "CREATE INDEX partner_place ON partner (place, id)",
    "CREATE INDEX partner_public_place ON partner (public_place, id)",
    "CREATE INDEX partner_owner ON partner (owner_place)",
    "CREATE INDEX credential_partner ON credential (partner)",
    "CREATE INDEX credential_offering ON credential (offering)",
    "CREATE UNIQUE INDEX blocked_partner_pair ON blocked_partner (place, partner)",
    "CREATE INDEX blocked_partner_partner ON blocked_partner (partner)",
    "CREATE INDEX offering_partner ON offering (partner, id)",
    "CREATE INDEX offering_place ON offering (place, id)",
    "CREATE INDEX offering_public_place ON offering (public_place, id)",
    "CREATE INDEX offering_cell ON offering (kind, cell)",
    "CREATE UNIQUE INDEX offering_service_pair ON offering_service (offering, service_type)",
    "CREATE INDEX offering_service_cell ON offering_service (service_type, kind, cell, offering)",
    "CREATE UNIQUE INDEX service_record_pair ON service_record (place, offering)",
    "CREATE INDEX service_record_offering ON service_record (offering)",
    "CREATE INDEX need_place ON need (place, id)",
    "CREATE INDEX need_public_place ON need (public_place, id)",
    "CREATE INDEX need_service ON need (service_type, status, id)",
    "CREATE INDEX need_posted_by ON need (posted_by)",
    "CREATE INDEX consent_need ON consent (need)",
    "CREATE INDEX snapshot_need ON snapshot (need)",
    "CREATE UNIQUE INDEX answer_key ON answer (caller, route, key)",
    "CREATE INDEX answer_age ON answer (created_at)",
)

# The audit trail is append-only in the database itself, whoever connects.
AUDIT = {
    "postgres": (
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '23001'; END $$",
        # Where the chain ends, for whoever holds the lock until the end of the transaction. Each
        # statement of a volatile function sees what was committed when it began: the second one
        # sees what others wrote while the first one waited.
        "CREATE FUNCTION audit_end(key bigint) RETURNS TABLE (seq bigint, hash varchar)"
        " LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM pg_advisory_xact_lock(key);"
        " RETURN QUERY SELECT a.seq, a.hash FROM audit a ORDER BY a.seq DESC LIMIT 1; END $$",
        *(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            for table in ("audit", "audit_head")
        ),
    ),
    "sqlite": tuple(
        f"CREATE TRIGGER {table}_no_{name} BEFORE {event} BEGIN"
        f" SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table, key in (("audit", "seq"), ("audit_head", "id"))
        for name, event in (
            ("update", f"UPDATE ON {table}"),
            ("delete", f"DELETE ON {table}"),
            # INSERT OR REPLACE deletes without asking the trigger above.
            (
                "replace",
                f"INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})",
            ),
        )
    ),
}


async def forwards() -> MigrationManager:
    """Create every index, and what keeps the audit trail as it is."""
    manager = MigrationManager(
        migration_id=ID, app_name="community", description=DESCRIPTION
    )

    async def run() -> None:
        for statement in (*STATEMENTS, *AUDIT[engine.current().dialect]):
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
