"""The rows of an audit chain made by PostgreSQL itself, in the statement that writes them."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine

ID = "2026-11-27T22:50:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "links of the audit chain"

# What `models/audit.py` does on SQLite, where there is nobody to wait for: take the lock until the
# end of the transaction, find the end of the chain, and follow it. `texts` are the columns of each
# row as JSON, between its number and the hash before it: what `audit.digest` hashes. Each statement
# of a volatile function sees what was committed when it began: the second one sees what others
# wrote while the first one waited.
LINKS = """
CREATE FUNCTION audit_links(
    key bigint, ats timestamptz[], actors uuid[], actions text[], subjects uuid[], places uuid[],
    details text[], texts text[]
) RETURNS SETOF audit LANGUAGE plpgsql VOLATILE AS $$
DECLARE link audit;
BEGIN
    PERFORM pg_advisory_xact_lock(key);
    SELECT a.seq, a.hash INTO link.seq, link.hash FROM audit a ORDER BY a.seq DESC LIMIT 1;
    link.seq := coalesce(link.seq, 0);
    link.hash := coalesce(link.hash, repeat('0', 64));
    FOR n IN 1 .. cardinality(texts) LOOP
        link.seq := link.seq + 1;
        link.at := ats[n];
        link.actor := actors[n];
        link.action := actions[n];
        link.subject := subjects[n];
        link.place := places[n];
        link.detail := details[n];
        link.previous := link.hash;
        link.hash := encode(sha256(convert_to(
            '[' || link.seq || ',' || texts[n] || ',"' || link.previous || '"]', 'UTF8'
        )), 'hex');
        RETURN NEXT link;
    END LOOP;
END $$
"""


async def forwards() -> MigrationManager:
    """Create the function, where it is needed."""
    manager = MigrationManager(
        migration_id=ID, app_name="community", description=DESCRIPTION
    )

    async def run() -> None:
        if engine.current().dialect == "postgres":
            await engine.execute(LINKS)

    manager.add_raw(run)
    return manager
