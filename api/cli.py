"""The command line: serve, migrate, demo, search, work, audit, doctor, settings.

Trouble that the operator can mend is one line that says how, and an exit code that is not 0.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from api import logs, opening, progress
from models import audit, demo, engine, errors, migrate, settings
from search import engine as index

# Of a trail that does not hold at all, so many lines say enough.
FLAWS_SHOWN = 20


def main(argv: list[str]) -> int:
    """Run one command; answers the exit code."""
    given = _parser().parse_args(argv)
    logs.configure()
    logs.hook()
    try:
        code: int = given.command(_options(given), given)
        return code
    except (opening.Trouble, engine.DatabaseUnavailable, index.SearchUnavailable, OSError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1
    except (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError) as error:
        print(f"error: {error}; the user of DATABASE_URL must own the database", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _options(given: argparse.Namespace) -> settings.Settings:
    try:
        return settings.load(
            host=getattr(given, "host", None),
            port=getattr(given, "port", None),
            data=getattr(given, "data", None),
            database_url=getattr(given, "database_url", None),
            demo=False if getattr(given, "no_demo", False) else None,
        )
    except ValueError as error:
        raise opening.Trouble(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run", description="Community Partners")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, function: Callable[[settings.Settings, Any], int], text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=function)
        _common(sub, None)
        return sub

    sub = command("serve", serve, "Migrate, load the demo town on the first start, and serve.")
    sub.add_argument("--host", help=_help("host"))
    sub.add_argument("--port", type=int, help=_help("port"))
    sub.add_argument("--no-demo", action="store_true", help="Start with an empty town.")
    command("migrate", run_migrations, "Bring the database up to date.")
    sub = command("demo", load_demo, "Load the demo town into an empty database.")
    sub.add_argument("--reset", action="store_true", help="Empty a demo database first.")
    sub.add_argument(
        "--city",
        type=_offerings,
        metavar="N",
        help="Instead of the town, a synthetic city of so many offerings.",
    )
    command("work", work, "Carry changes to a Meilisearch server, apart from the API.")
    _add_search(command("search", search, "Look after the search index."))
    sub = command("audit", keep_audit, "Verify the audit trail, or sign where it ends now.")
    sub.add_argument("what", choices=("verify", "sign"))
    sub.add_argument("--progress", action="store_true", help="Show how far it has come.")
    command("doctor", examine, "Say what is configured, what answers, and what is pending.")
    command("settings", print_settings, "Print .env.example.")
    return parser


def _add_search(parser: argparse.ArgumentParser) -> None:
    """What `search` can be followed by."""
    commands = parser.add_subparsers(required=True, metavar="WHAT", dest="what")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        # They come after these words, too; absent there, those before the words count.
        _common(one, argparse.SUPPRESS)
        return one

    command("setup", "Make the keys for a Meilisearch server and print them.")
    command("status", "Say what the index holds and what is on its way.")
    sub = command("verify", "Compare the index with the database, by id and version.")
    sub.add_argument("--mend", action="store_true", help="Have what differs carried again.")
    command("rebuild", "Build the index anew and swap it in.")
    sub = command("dead-letters", "List the changes that the index cannot take.")
    sub.add_argument("--retry", action="store_true", help="Have all of them tried again.")


def _common(parser: argparse.ArgumentParser, default: str | None) -> None:
    path, url = _help("data"), _help("database_url")
    parser.add_argument("--data", type=Path, metavar="DIR", default=default, help=path)
    parser.add_argument("--database-url", metavar="URL", default=default, help=url)


def _offerings(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= demo.MOST):
        raise argparse.ArgumentTypeError(f"a number of offerings from 1 to {demo.MOST}")
    return int(text)


def _help(name: str) -> str:
    return next(
        f"{s.help} [{s.variable}]".replace("%", "%%") for s in settings.SETTINGS if s.name == name
    )


def serve(options: settings.Settings, _: Any) -> int:
    """Migrate, load the demo town on the first start, and serve until stopped."""
    # As in `__main__.py`. Loaded here, as in the commands below: that takes longer than most of
    # them run.
    gc.disable()
    from api import serving

    gc.freeze()
    gc.enable()
    return serving.serve(options)


def run_migrations(options: settings.Settings, _: Any) -> int:
    """Bring the database up to date, under its lock."""

    async def run() -> int:
        async with opening.opened(options):
            return await migrate.migrate()

    opening.make_directory(options.data)
    count = asyncio.run(run())
    print(f"{count} migrations run." if count else "Nothing to migrate.")
    return 0


def load_demo(options: settings.Settings, given: Any) -> int:
    """Load the demo town, or with --city a synthetic city; with --reset, empty a demo database
    first."""
    if options.in_production:
        raise opening.Trouble(
            "the demo's password is known to everybody; MODE=development has a demo"
        )

    async def run() -> None:
        async with opening.opened(options):
            await migrate.migrate()
            if given.reset:
                try:
                    await demo.reset()
                except errors.Refusal:
                    raise opening.Trouble(
                        "there are accounts that are not of the demo town; nothing was deleted"
                    ) from None
            if not await demo.wanted():
                raise opening.Trouble(
                    "the database is not empty; use an empty one, or demo --reset"
                )
            if given.city:
                with progress.shown("Settling the city") as report:
                    await demo.settle(given.city, report)
            else:
                with progress.shown("Loading the demo town") as report:
                    await demo.load(report)

    opening.make_directory(options.data)
    asyncio.run(run())
    what = f"A city of {given.city:,} offerings" if given.city else "The demo town"
    print(f"{what} is there. Password {demo.PASSWORD}: {', '.join(demo.LOGINS)}")
    return 0


def work(options: settings.Settings, _: Any) -> int:
    """Carry the outbox to the Meilisearch server until stopped."""
    if not options.meili_url:
        raise opening.Trouble(
            "the embedded index lives in the server process, which keeps it itself;"
            " set MEILI_URL to run a worker apart"
        )
    if options.database.startswith("sqlite"):
        raise opening.Trouble("on SQLite `serve` does this itself; a worker apart needs PostgreSQL")

    from api import standby, worker
    from models.engine import ending

    async def run(target: index.SearchEngine) -> int:
        keeper = worker.Worker(target)
        alone = standby.run_alone(options.database, keeper.run, keeper.ring)
        told, working = asyncio.Event(), asyncio.ensure_future(alone)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        stopping = asyncio.ensure_future(told.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await ending.ended(working, stopping)
        if not working.cancelled():
            working.result()
        return 0

    return asyncio.run(opening.with_index(options, run))


def search(options: settings.Settings, given: Any) -> int:
    """Look after the search index."""
    from api import searching

    return searching.run(options, given)


def keep_audit(options: settings.Settings, given: Any) -> int:
    """Verify the audit trail or sign it; the exit code is 1 when something does not hold."""

    async def run() -> int:
        async with opening.opened(options, exclusive=False):
            if await migrate.pending():
                raise opening.Trouble("the database is not up to date; run `python -m api migrate`")
            if given.what == "sign":
                return await _sign(key)
            if not given.progress:
                return await _verify(key, None)
            with progress.shown("Verifying") as report:
                return await _verify(key, report)

    try:
        key = settings.signing_key(options)
    except ValueError as error:
        raise opening.Trouble(str(error)) from None
    return asyncio.run(run())


async def _sign(key: bytes) -> int:
    head = await audit.sign(key)
    print(f"Signed row {head.seq}, {head.hash}." if head else "Nothing new to sign.")
    return 0


async def _verify(key: bytes, report: Callable[[int, int], None] | None) -> int:
    walk, flaws = audit.Verification(key), 0
    async for flaw in walk.flaws(report):
        flaws += 1
        if flaws <= FLAWS_SHOWN:
            print(f"row {flaw.seq} {flaw.what}")
    looked_at = f"{walk.links} rows and {walk.heads} signatures"
    if not flaws:
        print(f"The audit trail holds: {looked_at}.")
        return 0
    shown = f" (the first {FLAWS_SHOWN} are above)" if flaws > FLAWS_SHOWN else ""
    print(f"The audit trail does not hold: {flaws} flaws{shown} in {looked_at}.")
    return 1


def examine(options: settings.Settings, _: Any) -> int:
    """Print the doctor's findings; the exit code is 1 when something does not answer."""
    from api import doctor

    return asyncio.run(doctor.examine(options))


def print_settings(_: settings.Settings, __: Any) -> int:
    """Print `.env.example`."""
    print(settings.env_example(), end="")
    return 0
