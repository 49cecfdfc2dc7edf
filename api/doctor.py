"""The doctor: what is configured, what answers, what is pending, what production would refuse."""

from __future__ import annotations

import platform
import urllib.parse

from api import start_up
from models import engine, migrate, settings
from search import engine as index
from search import sync


async def examine(options: settings.Settings) -> int:
    """Print one line per finding; answers 1 when something does not answer, else 0.

    In production also 1 when a start would be refused. Looks only: a database that is not there
    yet is not made.
    """
    print(f"python       {platform.python_version()}")
    for setting in settings.SETTINGS:
        value = getattr(options, setting.name)
        shown = ",".join(value) if setting.many else str(value)
        print(f"setting      {setting.variable}={'(set)' if setting.secret and shown else shown}")
    refused = await start_up.refusals(options)
    found = await _database(options)
    for line in refused:
        print(f"production   {'refused' if options.in_production else 'would be refused'}: {line}")
    return 1 if options.in_production and refused else found


async def _database(options: settings.Settings) -> int:
    print(f"database     {masked(options.database)}")
    try:
        database = engine.open_engine(options.database, exclusive=False)
    except ValueError as error:
        print(f"database     does not answer: {error}")
        return 1
    try:
        if start_up.is_missing(database):
            print(f"database     is not there: {start_up.MIGRATE}")
            return 1
        await database.start()
        engine.use(database)
        print(f"database     {database.dialect} answers")
        return await _migrations() or await _index(options)
    except engine.DatabaseUnavailable as error:
        print(f"database     does not answer: {error}")
        return 1
    finally:
        await database.close()


async def _migrations() -> int:
    pending = await migrate.pending()
    if pending:
        print(f"migrations   {len(pending)} pending: {start_up.MIGRATE}")
        return 1
    print("migrations   none pending")
    waiting = await engine.fetch("SELECT count(*) AS n FROM outbox")
    print(f"outbox       {waiting[0]['n']} changes not yet in the index ({await sync.lag():.0f} s)")
    return 0


async def _index(options: settings.Settings) -> int:
    directory = options.data / "index"
    if not options.meili_url and not directory.exists():
        print("index        is not there yet: the first start builds it")
        return 0
    try:
        opened = index.open_engine(directory, options.meili_url, options.meili_key)
    except index.SearchUnavailable as error:
        # The embedded index belongs to one process, and that is the server.
        print(f"index        in use: {error}")
        return 0
    try:
        health = await opened.health()
        print(f"index        {health.documents} documents{', incomplete' if health.empty else ''}")
        return 0
    except index.SearchUnavailable as error:
        print(f"index        does not answer: {error}")
        return 1
    finally:
        await opened.close()


def masked(url: str) -> str:
    """A database's address without its password; of what is no address only the kind."""
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        return url
    try:
        parts = urllib.parse.urlsplit(url)
        where = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
    except ValueError:
        return f"{scheme}://..."
    return f"{scheme}://{parts.username}:***@{where}" if parts.username else f"{scheme}://{where}"
