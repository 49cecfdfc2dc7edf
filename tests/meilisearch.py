"""Meilisearch servers for the tests, `fake` and `real`: on a free port, gone with the tests.

    with meilisearch.server(kind) as running:
        async with meilisearch.engine(running) as opened: …
    with meilisearch.own_server(kind) as running:
        running.stop(); running.start()       # the same address, the same documents

The fake is `tests/meilisearch_fake`. For the real one the program `meilisearch` is taken from the
PATH; a supervisor runs it in a directory of its own and ends it with the tests, however they end.
With MEILI_TEST_URL and MEILI_TEST_KEY (its master key) set, that server is used instead; it is
never stopped, so tests that have to stop one still need the program. Where there is neither, the
tests of the real one are skipped, and the summary of the run says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from search import meili
from tests import meilisearch_process
from tests.meilisearch_fake import Fake

KINDS = ("fake", "real")

STOP_S = 30.0


class Server:
    """A running server with its master key."""

    def __init__(self, url: str, master_key: str) -> None:
        self.url, self.master_key = url, master_key

    async def key(self) -> str:
        """The least key that works."""
        return (await meili.make_keys(self.url, self.master_key)).ours


class FakeServer(Server):
    """The stand-in; `fake.state` is where its troubles are made."""

    def __init__(self) -> None:
        self.fake = Fake(meilisearch_process.MASTER_KEY)
        super().__init__(self.fake.url, meilisearch_process.MASTER_KEY)

    def stop(self) -> None:
        """Ends the server at once; its documents stay."""
        self.fake.stop()

    def start(self) -> None:
        """Starts it again at the same address."""
        self.fake.start()


class RealServer(Server):
    """One that the tests may stop and start again."""

    def __init__(self, supervisor: subprocess.Popen[str]) -> None:
        self._supervisor = supervisor
        super().__init__(self._answer(), meilisearch_process.MASTER_KEY)

    def stop(self) -> None:
        """Ends the server at once; its documents stay."""
        self._say("stop")

    def start(self) -> None:
        """Starts it again at the same address."""
        assert self._say("start") == self.url

    def _say(self, what: str) -> str:
        assert self._supervisor.stdin
        self._supervisor.stdin.write(f"{what}\n")
        self._supervisor.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._supervisor.stdout
        answer = json.loads(self._supervisor.stdout.readline() or '{"problem": "it died"}')
        if "problem" in answer:
            raise RuntimeError(f"Meilisearch did not start: {answer['problem']}")
        return str(answer["url"])


OwnServer = FakeServer | RealServer


@contextlib.contextmanager
def server(kind: str) -> Iterator[Server]:
    """A server for the length of the block; the real one is that of MEILI_TEST_URL, if set."""
    given = os.environ.get("MEILI_TEST_URL")
    if given and kind == "real":
        yield Server(given, os.environ.get("MEILI_TEST_KEY", ""))
        return
    with own_server(kind) as started:
        yield started


@contextlib.contextmanager
def own_server(kind: str) -> Iterator[OwnServer]:
    """A server of our own; skips the test where the program of the real one is not installed."""
    if kind == "fake":
        fake = FakeServer()
        try:
            yield fake
        finally:
            fake.stop()
        return
    program = shutil.which("meilisearch")
    if program is None:
        pytest.skip(meilisearch_process.MISSING)
    supervisor = subprocess.Popen(
        [sys.executable, "-S", "-m", meilisearch_process.__name__, program],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C goes to the tests; they end, and the supervisor after them.
        start_new_session=True,
    )
    assert supervisor.stdin
    assert supervisor.stdout
    try:
        yield RealServer(supervisor)
    finally:
        supervisor.stdin.close()
        supervisor.wait(timeout=STOP_S)
        supervisor.stdout.close()


@contextlib.asynccontextmanager
async def engine(on: Server) -> AsyncIterator[meili.Meili]:
    """An engine with an index of its own, which is deleted at the end."""
    name = f"{meili.INDEX}_test_{uuid.uuid4().hex}"
    opened = meili.Meili(on.url, await on.key(), name)
    try:
        yield opened
    finally:
        await opened.close()
        for index in (name, f"{name}_next"):
            _delete(f"{on.url}/indexes/{index}", on.master_key)


def _delete(url: str, key: str) -> None:
    request = urllib.request.Request(
        url, method="DELETE", headers={"Authorization": f"Bearer {key}"}
    )
    with contextlib.suppress(urllib.error.URLError):
        urllib.request.urlopen(request, timeout=10).close()
