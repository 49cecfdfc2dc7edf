"""The database and the index of a command, opened and closed again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from api import start_up
from models import engine, migrate, settings
from search import engine as index


class Trouble(Exception):
    """Something the operator can mend; the text says how."""


def make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Trouble(
            f"cannot write to {directory} ({error.strerror}); choose another with --data"
        ) from None


async def refuse_unsafe(options: settings.Settings) -> None:
    found = await start_up.refusals(options)
    if found:
        raise Trouble("\n".join(found))


@contextlib.asynccontextmanager
async def opened(
    options: settings.Settings, *, exclusive: bool = True
) -> AsyncIterator[engine.Engine]:
    """The database of these settings, in use. `exclusive=False` works beside the server."""
    try:
        database = engine.open_engine(options.database, exclusive=exclusive)
    except ValueError as error:
        raise Trouble(str(error)) from None
    await database.start()
    engine.use(database)
    try:
        yield database
    finally:
        await database.close()


async def with_index(
    options: settings.Settings, run: Callable[[index.SearchEngine], Awaitable[int]]
) -> int:
    make_directory(options.data)
    if options.in_production:
        await refuse_unsafe(options)
    async with opened(options):
        if not options.in_production:
            await migrate.migrate()
        target = index.open_engine(options.data / "index", options.meili_url, options.meili_key)
        try:
            return await run(target)
        finally:
            await target.close()
