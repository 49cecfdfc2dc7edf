"""The supervisor of a Meilisearch for tests: `python meilisearch_process.py PROGRAM`.

It answers one line of JSON when the server answers, and one for each line of its own standard
input: `stop` or `start`. When that ends, and so when the tests die, the server is killed and its
files are deleted. Knows nothing of the project, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests import memory

MISSING = (
    "NO MEILISEARCH: put the program `meilisearch` (1.41 or newer) on the PATH, or set"
    " MEILI_TEST_URL and MEILI_TEST_KEY; nothing was tried on a real server"
)
MASTER_KEY = "a-master-key-for-tests-only"
START_S = 30.0
_PORT_TRIES = 5


def _supervise(program: str) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    directory = Path(tempfile.mkdtemp(prefix="meilisearch-", dir=memory.directory()))
    running: subprocess.Popen[bytes] | None = None
    port = 0
    try:
        try:
            running, port = _started(program, directory)
            _reply(url=f"http://127.0.0.1:{port}")
            for line in sys.stdin:
                if line == "stop\n":
                    _stop(running)
                else:
                    running, port = _started(program, directory, port)
                _reply(url=f"http://127.0.0.1:{port}")
        except (OSError, RuntimeError) as problem:
            _reply(problem=str(problem))
    finally:
        if running is not None:
            _stop(running)
        shutil.rmtree(directory, ignore_errors=True)


def _reply(**answer: str) -> None:
    print(json.dumps(answer), flush=True)


def _started(program: str, directory: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], int]:
    log = directory / "log"
    for _ in range(1 if port else _PORT_TRIES):
        tried = port or _free_port()
        arguments = [
            *("--http-addr", f"127.0.0.1:{tried}"),
            *("--db-path", str(directory / "data")),
            *("--dump-dir", str(directory / "dumps")),
            *("--snapshot-dir", str(directory / "snapshots")),
            *("--max-indexing-threads", "1"),
            # By default two thirds of all memory, and it clears a part of that for each task.
            *("--max-indexing-memory", "32MiB"),
            *("--log-level", "WARN"),
        ]
        running = subprocess.Popen(
            [program, *arguments],
            cwd=directory,
            env={
                "MEILI_MASTER_KEY": MASTER_KEY,
                "MEILI_NO_ANALYTICS": "true",
                "MEILI_ENV": "development",
                "HOME": str(directory),
            },
            stdin=subprocess.DEVNULL,
            stdout=log.open("ab"),
            stderr=subprocess.STDOUT,
        )
        if _answers(running, tried):
            return running, tried
        _stop(running)
    raise RuntimeError(log.read_text(errors="replace")[-2000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(running: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while running.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            opener.open(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return running.poll() is None
        time.sleep(0.02)
    return False


def _stop(running: subprocess.Popen[bytes]) -> None:
    if running.poll() is None:
        running.kill()
        running.wait()


if __name__ == "__main__":
    _supervise(sys.argv[1])
