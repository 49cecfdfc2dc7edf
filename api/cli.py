"""The command line: serve, migrate, demo, search, work, audit, doctor, settings.

Trouble that the operator can mend is one line that says how, and an exit code that is not 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import uvicorn
from litestar import Litestar

from api import doctor, heads, logs, opening, progress, searching, standby, worker
from api.app import create_app
from models import audit, demo, engine, errors, migrate, settings
from search import engine as index

# Of a trail that does not hold at all, so many lines say enough.
FLAWS_SHOWN = 20
# Docker and systemd kill after 10 s: running requests get most of that.
GRACE_S = 8
# Objects made before what is not used any more is looked for. A request makes a thousand: by the
# usual numbers (700, 10, 10) that was a tenth of its time.
COLLECT_AFTER = (10_000, 20, 10)


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
    sub = command("search", searching.run, "Look after the search index.")
    # Their own come after the words too; absent there, those before the words count.
    searching.add_commands(sub, lambda one: _common(one, argparse.SUPPRESS))
    sub = command("audit", keep_audit, "Verify the audit trail, or sign where it ends now.")
    sub.add_argument("what", choices=("verify", "sign"))
    sub.add_argument("--progress", action="store_true", help="Show how far it has come.")
    command("doctor", examine, "Say what is configured, what answers, and what is pending.")
    command("settings", print_settings, "Print .env.example.")
    return parser


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
    """Take the port first, so that a taken one is said before anything else happens."""
    # The first process of a container would not hear of it otherwise until it is killed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.closing(_listen(options.host, options.port)) as listening:
        opening.make_directory(options.data)
        is_demo = asyncio.run(_prepare(options))
        app = create_app(options)
        config = uvicorn.Config(
            app,
            lifespan="off",
            http=heads.BoundedHeads,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            # The application knows which proxies to believe.
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_answer(app, _Server(config), listening, is_demo))
    return 0


async def _answer(app: Litestar, server: _Server, listening: socket.socket, is_demo: bool) -> None:
    """Serve until a signal comes. Trouble at the start is raised here, not logged by uvicorn."""
    with server.capture_signals():
        try:
            async with app.lifespan():
                # What is there now stays; going through it again and again to collect what does
                # not would hold requests up for 50 ms at a time.
                gc.collect()
                gc.freeze()
                gc.set_threshold(*COLLECT_AFTER)
                _greet(listening, is_demo)
                await server.serve(sockets=[listening])
        except BaseExceptionGroup as group:
            # Litestar's event emitter, around everything else, wraps whatever goes wrong in there.
            raise group.exceptions[0] from None


class _Server(uvicorn.Server):
    """uvicorn, but a signal that was obeyed is not raised again: a clean end exits with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    """The port, taken: who connects already waits until the server answers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise opening.Trouble(
            f"cannot listen on {host}:{port} ({getattr(error, 'strerror', error)});"
            " choose another with --port, or stop what listens there"
        ) from None
    return listening


async def _prepare(options: settings.Settings) -> bool:
    """Migrate, fill an empty database with the demo town; answers whether it is a demo.

    In production only look, and refuse what is not safe in public.
    """
    if options.in_production:
        await opening.refuse_unsafe(options)
        return False
    async with opening.opened(options):
        await migrate.migrate()
        if options.demo and await demo.wanted():
            with progress.shown("Loading the demo town") as report:
                await demo.load(report)
        return await demo.present()


def _greet(listening: socket.socket, is_demo: bool) -> None:
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared
    address = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    print(f"Community Partners is at {address}  (API documentation: {address}/docs)")
    if is_demo:
        print(f"Demo accounts, password {demo.PASSWORD}: {', '.join(demo.LOGINS)}")
    sys.stdout.flush()


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

    async def run(target: index.SearchEngine) -> int:
        keeper = worker.Worker(target)
        alone = standby.run_alone(options.database, keeper.run, keeper.ring)
        working = asyncio.ensure_future(alone)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, working.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return 0

    return asyncio.run(opening.with_index(options, run))


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
    return asyncio.run(doctor.examine(options))


def print_settings(_: settings.Settings, __: Any) -> int:
    """Print `.env.example`."""
    print(settings.env_example(), end="")
    return 0
