"""Indexes and uniqueness, as raw SQL that SQLite and PostgreSQL both accept."""

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
    "CREATE UNIQUE INDEX invitation_token ON invitation (token_hash)",
    "CREATE UNIQUE INDEX service_key_hash ON service_key (key_hash)",
    "CREATE UNIQUE INDEX sign_in_failure_window ON sign_in_failure (subject, window_start)",
    "CREATE INDEX role_place ON role (place)",
    "CREATE INDEX role_partner ON role (partner)",
    "CREATE INDEX audit_place ON audit (place, seq)",
    "CREATE INDEX audit_subject ON audit (subject, seq)",
    "CREATE INDEX audit_actor ON audit (actor, seq)",
    "CREATE INDEX partner_place ON partner (place, id)",
    "CREATE INDEX partner_owner ON partner (owner_place)",
    "CREATE INDEX credential_partner ON credential (partner)",
    "CREATE INDEX credential_offering ON credential (offering)",
    "CREATE UNIQUE INDEX blocked_partner_pair ON blocked_partner (place, partner)",
    "CREATE INDEX blocked_partner_partner ON blocked_partner (partner)",
    "CREATE INDEX offering_partner ON offering (partner, id)",
    "CREATE INDEX offering_place ON offering (place, id)",
    "CREATE INDEX offering_cell ON offering (kind, cell)",
    "CREATE UNIQUE INDEX offering_service_pair ON offering_service (offering, service_type)",
    "CREATE INDEX offering_service_cell ON offering_service (service_type, kind, cell, offering)",
    "CREATE UNIQUE INDEX service_record_pair ON service_record (place, offering)",
    "CREATE INDEX service_record_offering ON service_record (offering)",
    "CREATE INDEX need_place ON need (place, id)",
    "CREATE INDEX need_service ON need (service_type, status, id)",
    "CREATE INDEX need_posted_by ON need (posted_by)",
    "CREATE INDEX consent_need ON consent (need)",
    "CREATE INDEX snapshot_need ON snapshot (need)",
    "CREATE UNIQUE INDEX answer_key ON answer (caller, route, key)",
    "CREATE INDEX answer_age ON answer (created_at)",
)


async def forwards() -> MigrationManager:
    """Create every index."""
    manager = MigrationManager(
        migration_id=ID, app_name="community", description=DESCRIPTION
    )

    async def run() -> None:
        for statement in STATEMENTS:
            await engine.execute(statement)

    manager.add_raw(run)
    return manager
