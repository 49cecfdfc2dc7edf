"""Serving: the port, the database, the application, and an end that waits for running requests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn
from litestar import Litestar

from api import heads, opening, progress
from api.app import create_app
from models import demo, migrate, settings
from search import engine as index
from search import sync

# Docker and systemd kill after 10 s: running requests get most of that.
GRACE_S = 8
# Objects made before what is not used any more is looked for. A request makes a thousand: by the
# usual numbers (700, 10, 10) that was a tenth of its time.
COLLECT_AFTER = (10_000, 20, 10)


def serve(options: settings.Settings) -> int:
    """Take the port first, so that a taken one is said before anything else happens."""
    # The first process of a container would not hear of it otherwise until it is killed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.closing(_listen(options.host, options.port)) as listening:
        opening.make_directory(options.data)
        is_demo = asyncio.run(_prepare(options))
        app = create_app(options)
        app.state.takes_every_connection = True
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
            if not options.meili_url:
                await _fill_index(options)
        return await demo.present()


async def _fill_index(options: settings.Settings) -> None:
    """Whoever tries it out begins with a search: it must not find an index still to be filled."""
    target = index.open_engine(options.data / "index")
    try:
        await sync.rebuild(target)
    finally:
        await target.close()


def _greet(listening: socket.socket, is_demo: bool) -> None:
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared
    address = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    print(f"Community Partners is at {address}  (API documentation: {address}/docs)")
    if is_demo:
        print(f"Demo accounts, password {demo.PASSWORD}: {', '.join(demo.LOGINS)}")
    sys.stdout.flush()
