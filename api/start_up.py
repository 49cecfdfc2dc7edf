"""What production refuses to start with, all of it at once, each with its mend."""

from __future__ import annotations

from pathlib import Path

from models import demo, engine, migrate, settings

MIGRATE = "run `python -m api migrate`"


async def refusals(options: settings.Settings) -> list[str]:
    """One line for each thing that is not safe in public: settings first, then the database.

    Looks only: a database that is not there yet is not made.
    """
    return settings.refusals(options) + await _in_database(options)


async def _in_database(options: settings.Settings) -> list[str]:
    try:
        # Beside a server that may be running: this is also what the doctor asks.
        database = engine.open_engine(options.database, exclusive=False)
    except ValueError as error:
        return [str(error)]
    if is_missing(database):
        return [f"there is no database yet; {MIGRATE}"]
    try:
        await database.start()
        engine.use(database)
        pending = await migrate.pending()
        if pending:
            return [f"{len(pending)} migrations are pending; {MIGRATE}"]
        if await demo.present():
            return [
                "the demo accounts are in the database, and everybody knows their password; set"
                " DATABASE_URL or DATA_DIR to a database without them"
            ]
        return []
    except (engine.DatabaseUnavailable, OSError) as error:
        return [str(error)]
    finally:
        await database.close()


def is_missing(database: engine.Engine) -> bool:
    """Whether this is a SQLite file that nobody has made yet."""
    return isinstance(database, engine.SQLite) and not Path(database.path).exists()
