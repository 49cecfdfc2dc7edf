"""The doctor: what is configured, what answers, what is pending."""

from __future__ import annotations

import platform
from pathlib import Path

from models import engine, migrate, settings
from search import sync


async def examine(options: settings.Settings) -> int:
    """Print one line per finding; answers 1 when something does not answer, else 0.

    Looks only: a database that is not there yet is not made.
    """
    print(f"python       {platform.python_version()}")
    for setting in settings.SETTINGS:
        value = str(getattr(options, setting.name))
        hidden = "(set)" if setting.secret and value else value
        print(f"setting      {setting.variable}={hidden}")
    database = None
    try:
        database = engine.open_engine(options.database, exclusive=False)
        if isinstance(database, engine.SQLite) and not Path(database.path).exists():
            print(f"database     {database.path} is not there: run `python -m api migrate`")
            return 1
        await database.start()
        engine.use(database)
        return await _database(database.dialect)
    except (engine.DatabaseUnavailable, ValueError) as error:
        print(f"database     does not answer: {error}")
        return 1
    finally:
        if database:
            await database.close()


async def _database(dialect: str) -> int:
    print(f"database     {dialect} answers")
    pending = await migrate.pending()
    if pending:
        print(f"migrations   {len(pending)} pending: run `python -m api migrate`")
        return 1
    print("migrations   none pending")
    waiting = await engine.fetch("SELECT count(*) AS n FROM outbox")
    print(f"outbox       {waiting[0]['n']} changes not yet in the index ({await sync.lag():.0f} s)")
    return 0
