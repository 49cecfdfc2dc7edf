"""The commands `search setup | status | verify | rebuild | dead-letters`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from api import opening, progress, standby
from models import migrate, outbox, settings
from search import comparing, sync
from search import engine as index

# Of many differences or dead letters, so many lines say enough.
SHOWN = 20


def run(options: settings.Settings, given: Any) -> int:
    """Run one of the commands; answers the exit code."""
    commands: dict[str, Callable[[settings.Settings, Any], int]] = {
        "setup": _set_up,
        "status": _status,
        "verify": _verify,
        "rebuild": _rebuild,
        "dead-letters": _dead_letters,
    }
    return commands[given.what](options, given)


def _set_up(options: settings.Settings, _: Any) -> int:
    """Print the lines for `.env`. The master key makes keys, so only this command ever sees it."""
    master_key = os.environ.get("MEILI_MASTER_KEY", "")
    if not (options.meili_url and master_key):
        raise opening.Trouble(
            "set MEILI_URL and MEILI_MASTER_KEY: the keys are made on that server"
        )
    # Only here: it brings HTTP clients that no other command has to load.
    from search import meili

    keys = asyncio.run(meili.make_keys(options.meili_url, master_key))
    print(f"MEILI_KEY={keys.ours}\nMEILI_TOKEN_KEY={keys.tokens}")
    return 0


def _status(options: settings.Settings, _: Any) -> int:
    """The exit code is 1 when the index does not answer or is not complete."""

    async def look(target: index.SearchEngine) -> int:
        health = await target.health()
        print(f"engine        {options.meili_url or options.data / 'index'}")
        print(f"documents     {health.documents}{', incomplete' if health.empty else ''}")
        print(f"pending       {health.pending} tasks of the index")
        waiting, dead = await outbox.counts()
        print(f"outbox        {waiting} changes, the oldest {await sync.lag():.1f} s ago")
        print(f"dead letters  {dead}")
        return 1 if health.empty else 0

    return asyncio.run(_beside(options, look))


def _verify(options: settings.Settings, given: Any) -> int:
    """The exit code is 1 when something differs, unless it is being mended."""

    async def look(target: index.SearchEngine) -> int:
        with progress.shown("Comparing") as report:
            if given.mend:
                found = await comparing.mend(target, report)
            else:
                found = await comparing.differences(target, report)
        for one in found[:SHOWN]:
            print(f"{one.id}  database {_version(one.in_database)}, index {_version(one.in_index)}")
        if not found:
            print("The index has what the database says.")
            return 0
        more = f" (the first {SHOWN} are above)" if len(found) > SHOWN else ""
        then = "are carried again" if given.mend else "differ"
        print(f"{len(found)} documents {then}{more}.")
        return 0 if given.mend else 1

    return asyncio.run(_beside(options, look))


def _version(version: int | None) -> str:
    return "has none" if version is None else f"version {version}"


def _rebuild(options: settings.Settings, _: Any) -> int:
    """Build the search index anew beside the old one and swap it in."""

    async def build(target: index.SearchEngine) -> int:
        with progress.shown("Indexing") as report:
            return await sync.rebuild(target, report)

    async def alone(target: index.SearchEngine) -> int:
        async with standby.lock(options.database, wait=False):
            return await build(target)

    on_a_server = options.meili_url and not options.database.startswith("sqlite")
    try:
        count = asyncio.run(opening.with_index(options, alone if on_a_server else build))
    except standby.Taken:
        raise opening.Trouble(
            "a worker keeps this index, and builds it anew by itself when that is needed;"
            " stop `work` to do it by hand"
        ) from None
    print(f"{count} documents indexed.")
    return 0


def _dead_letters(options: settings.Settings, given: Any) -> int:
    """The exit code is 1 when there are some, unless they are tried again."""

    async def look() -> int:
        async with opening.opened(options, exclusive=False):
            await _check_migrated()
            if given.retry:
                print(f"{await outbox.revive()} changes are tried again.")
                return 0
            found = await outbox.letters()
            for one in found[:SHOWN]:
                print(
                    f"{one.failed_at:%Y-%m-%dT%H:%M:%SZ}  {one.topic} {one.subject}: {one.detail}"
                )
            print(f"{len(found)} dead letters.")
            return 1 if found else 0

    return asyncio.run(look())


async def _beside(
    options: settings.Settings, look: Callable[[index.SearchEngine], Awaitable[int]]
) -> int:
    """With the database beside a running server, and the index if it can be opened too: the
    embedded one belongs to one process."""
    async with opening.opened(options, exclusive=False):
        await _check_migrated()
        directory = options.data / "index"
        if not options.meili_url and not directory.exists():
            raise opening.Trouble("there is no index yet: the first start builds it")
        target = index.open_engine(directory, options.meili_url, options.meili_key)
        try:
            return await look(target)
        finally:
            await target.close()


async def _check_migrated() -> None:
    if await migrate.pending():
        raise opening.Trouble("the database is not up to date; run `python -m api migrate`")
