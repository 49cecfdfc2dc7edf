"""The program as a process of its own, on a free port: `with servers.started(directory) as it:`"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Docker and systemd kill after 10 s.
GRACE_S = 10


@contextlib.contextmanager
def started(
    data: Path, *arguments: str, command: Sequence[str] = (sys.executable, "-m", "api", "serve")
) -> Iterator[str]:
    """Start it and answer its address; at the end it must stop in time, with exit code 0."""
    # Tests ask more in a minute than anybody may.
    env = {**os.environ, "DATA_DIR": str(data), "RATE_LIMIT": "0"}
    with running([*command, *arguments], cwd=ROOT, env=env) as at:
        yield at


@contextlib.contextmanager
def running(command: Sequence[str], *, env: dict[str, str], **options: Any) -> Iterator[str]:
    """The same for a command that says where it is in its first line."""
    with process(command, env=env, **options) as (at, _):
        yield at


@contextlib.contextmanager
def process(
    command: Sequence[str], *, env: dict[str, str], **options: Any
) -> Iterator[tuple[str, int]]:
    """The same, with the number of the process."""
    env = {"PORT": "0", **env}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, **options) as server:
        try:
            assert server.stdout
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found, "the server said no address"
            yield found[0], server.pid
            server.terminate()
            assert server.wait(timeout=GRACE_S) == 0
        finally:
            server.kill()
