"""The program as an operator runs it: real processes, real HTTP, real signals."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models import demo, settings
from tests import postgres

ROOT = Path(__file__).parent.parent
STOPS_WITHIN_S = 10.0


class Server:
    """A running `serve`; `said` is what it printed before it answered."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.running = subprocess.Popen(
            _command("serve", "--port", "0", "--data", str(directory / "data"), *arguments),
            cwd=directory,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=(directory / "stderr").open("w"),
            text=True,
        )
        self._stderr = directory / "stderr"
        self.said = self._line()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.said)
        assert found, self.said + self.stderr
        self.port = int(found[1])
        self.client = httpx.Client(base_url=found[0], timeout=30)

    def _line(self) -> str:
        assert self.running.stdout
        return self.running.stdout.readline()

    def greeting(self) -> str:
        """The second line: the demo accounts. There is one only with the demo."""
        return self._line()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def found(self, words: str, *, at_least: int = 1) -> list[Any]:
        """What a search finds, once the index has caught up."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            page = self.get(f"/v1/search?q={words}")
            if page["total"] >= at_least:
                return list(page["items"])
            time.sleep(0.1)
        raise AssertionError(f"{words}: fewer than {at_least}")

    def raw(self, text: str) -> socket.socket:
        """A connection on which this has been sent, and nothing read."""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        opened.sendall(text.replace("\n", "\r\n").encode())
        return opened

    def stop(self, number: int) -> int:
        """Send a signal and answer the exit code, which must come in time."""
        began = time.monotonic()
        self.running.send_signal(number)
        code = self.running.wait(timeout=30)
        assert time.monotonic() - began < STOPS_WITHIN_S
        self.client.close()
        return code


@contextlib.contextmanager
def _served(directory: Path, *arguments: str) -> Iterator[Server]:
    directory.mkdir(exist_ok=True)
    server = Server(directory, *arguments)
    try:
        yield server
        if server.running.poll() is None:
            assert server.stop(signal.SIGTERM) == 0, server.stderr
        assert "Traceback" not in server.stderr
    finally:
        server.running.kill()
        server.running.wait()
        assert server.running.stdout
        server.running.stdout.close()


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "api", *arguments]


def _environment(**change: str) -> dict[str, str]:
    """Ours, without the settings that a developer may have in theirs."""
    ours = {setting.variable for setting in settings.SETTINGS}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONPATH": str(ROOT), **change}


def _run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*arguments),
        cwd=cwd,
        env=_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    """One line on stderr that says the mend, nothing on stdout, and no success."""
    assert done.returncode not in (0, None), done.stdout
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert re.search(says, line), line


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the demo town in `data`, made by `demo`."""
    directory = tmp_path_factory.mktemp("filled")
    done = _run("demo", "--data", "data", cwd=directory)
    assert done.returncode == 0, done.stderr
    assert f"Password {demo.PASSWORD}" in done.stdout
    lines = done.stderr.splitlines()
    assert all(re.fullmatch(r"Loading the demo town: \d+ of \d+", line) for line in lines)
    return directory


@pytest.fixture
def copied(filled: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    shutil.copytree(filled / "data", tmp_path / "data")
    return tmp_path


@pytest.fixture(scope="module")
def served(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a copy of the demo town, for tests that leave it as it is."""
    directory = tmp_path_factory.mktemp("served")
    shutil.copytree(filled / "data", directory / "data")
    with _served(directory) as server:
        yield server


def _a_need(server: Server, title: str = "Breakfast at dawn") -> dict[str, Any]:
    qiaobei = next(
        place
        for place in server.get("/v1/places?kind=community&limit=100")["items"]
        if place["slug"] == "qiaobei"
    )
    return {
        "service_type": "breakfast_point",
        "place_id": qiaobei["id"],
        "title": {"zh": "清晨早餐", "en": title},
        "radius_m": 1000,
        "windows": [{"days": [1, 2, 3], "start": "07:00", "end": "08:00"}],
        "min_coverage": 0.1,
        "slots": [{"role": "cook", "kind": "merchant"}],
    }


def _post_a_need(server: Server, title: str) -> None:
    who = {"login": "secretary@demo", "password": demo.PASSWORD}
    token = server.client.post("/v1/sessions", json=who).json()["access_token"]
    answer = server.client.post(
        "/v1/needs",
        json=_a_need(server, title),
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": uuid.uuid4().hex},
    )
    assert answer.status_code == 201, answer.text


# Serve


def test_the_first_start_loads_the_town_and_the_second_keeps_every_change(tmp_path: Path) -> None:
    with _served(tmp_path) as server:
        # The address is told when it answers: nobody has to try again.
        assert server.get("/readyz") == {"status": "ok", "database": "ok"}
        assert f"http://127.0.0.1:{server.port}/docs" in server.said
        greeting = server.greeting()
        assert demo.PASSWORD in greeting
        assert all(login in greeting for login in demo.LOGINS)
        assert "Loading the demo town" in server.stderr
        server.found("breakfast")
        _post_a_need(server, "A breakfast nobody else wants")
        before = server.get("/v1/search?page_size=0")["total"]
        # A connection that is kept alive, and one that never asked anything, hold nobody up.
        with server.raw(""):
            assert server.stop(signal.SIGINT) == 0
    with _served(tmp_path) as server:
        assert "Loading" not in server.stderr
        titles = [hit["title"]["en"] for hit in server.found("nobody else wants")]
        assert "A breakfast nobody else wants" in titles
        assert server.get("/v1/search?page_size=0")["total"] == before + ("1" not in str(before))


def test_no_demo_starts_an_empty_town_and_prints_no_accounts(tmp_path: Path) -> None:
    with _served(tmp_path, "--no-demo") as server:
        assert server.get("/v1/places")["items"] == []
        assert server.get("/v1/search")["total"] == 0
        server.stop(signal.SIGTERM)
        assert server.greeting() == ""
