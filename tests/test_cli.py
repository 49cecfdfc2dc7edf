"""The program as an operator runs it: real processes, real HTTP, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
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
        self.data = directory / "data"
        self._stderr = directory / "stderr"
        self.said = self.next_line()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.said)
        assert found, self.said + self.stderr
        self.port = int(found[1])
        self.client = httpx.Client(base_url=found[0], timeout=30)

    def next_line(self) -> str:
        """One more line of what it prints; empty when it has ended."""
        assert self.running.stdout
        return self.running.stdout.readline()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def found(self, words: str, *, at_least: int = 1) -> list[Any]:
        """What a search finds, once the index has seen every change."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            page = self.get(f"/v1/search?q={words}")
            if page["lag_s"] == 0 and page["total"] >= at_least:
                return list(page["items"])
            time.sleep(0.1)
        raise AssertionError(f"{words}: fewer than {at_least}")

    def connection(self, sent: bytes = b"") -> socket.socket:
        """A connection on which this has been sent, and nothing read."""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        opened.sendall(sent)
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
        # uvicorn shows where a request was when it had to be cut off; nothing else has a trace.
        assert "Traceback" not in server.stderr or "shutdown exceeded" in server.stderr
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


Ended = subprocess.CompletedProcess[str]


def _run(*arguments: str, cwd: Path, **environment: str) -> Ended:
    """One command, to its end."""
    return _end(_begin(*arguments, cwd=cwd, **environment))


def _begin(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Two commands that do not touch each other run at the same time: a start takes seconds."""
    return subprocess.Popen(
        _command(*arguments),
        cwd=cwd,
        env=_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(running: subprocess.Popen[str]) -> Ended:
    out, err = running.communicate(timeout=60)
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


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
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has just loaded the demo town, for tests that leave it as it is."""
    with _served(tmp_path_factory.mktemp("served")) as server:
        # The first request, right after the address was told: nobody has to try again.
        assert server.get("/readyz") == {"status": "ok", "database": "ok"}
        yield server


def _a_need(server: Server, title: str = "Breakfast at dawn") -> dict[str, Any]:
    return {
        "service_type": "breakfast_point",
        "place_id": server.get("/v1/places?slug=qiaobei")["items"][0]["id"],
        "title": {"zh": "清晨早餐", "en": title},
        "radius_m": 1000,
        "windows": [{"days": [1, 2, 3], "start": "07:00", "end": "08:00"}],
        "min_coverage": 0.1,
        "slots": [{"role": "cook", "kind": "merchant"}],
    }


def _token(server: Server) -> str:
    who = {"login": "secretary@demo", "password": demo.PASSWORD}
    return str(server.client.post("/v1/sessions", json=who).json()["access_token"])


def _post_a_need(server: Server, title: str) -> None:
    answer = server.client.post(
        "/v1/needs",
        json=_a_need(server, title),
        headers={
            "Authorization": f"Bearer {_token(server)}",
            "Idempotency-Key": uuid.uuid4().hex,
        },
    )
    assert answer.status_code == 201, answer.text


def _titles(server: Server) -> set[str]:
    return {need["title"]["en"] for need in server.get("/v1/needs?limit=100")["items"]}


def _request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A request as it goes over the wire."""
    lines = (f"{method} {path} HTTP/1.1", "Host: town", "Content-Type: application/json", *headers)
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


# Serving


def test_the_first_start_loads_the_town_and_says_where_it_is_once_it_answers(
    served: Server,
) -> None:
    assert f"http://127.0.0.1:{served.port}/docs" in served.said
    greeting = served.next_line()
    assert demo.PASSWORD in greeting
    assert all(login in greeting for login in demo.LOGINS)
    assert re.search(r"^Loading the demo town: (\d+) of \1$", served.stderr, re.MULTILINE)


def test_a_stranger_searches_and_tries_a_need(served: Server) -> None:
    assert any("早" in str(hit) for hit in served.found("早餐"))
    answer = served.client.post("/v1/needs/preview", json=_a_need(served))
    assert answer.status_code == 200, answer.text
    (slot,) = answer.json()["slots"]
    assert slot["matches"][0]["score"] > 0


def test_no_demo_starts_an_empty_town_and_prints_no_accounts(tmp_path: Path) -> None:
    with _served(tmp_path, "--no-demo") as server:
        assert server.get("/v1/places")["items"] == []
        assert server.get("/v1/search")["total"] == 0
        # A connection that is kept alive, and one that never asked anything, hold nobody up.
        with server.connection():
            assert server.stop(signal.SIGINT) == 0
        assert server.next_line() == ""


def test_what_callers_give_up_holds_no_stop_up_and_the_next_start_has_every_change(
    copied: Path,
) -> None:
    chance = random.Random(300)
    with _served(copied) as server:
        token = f"Authorization: Bearer {_token(server)}"
        body = json.dumps(_a_need(server, "Given up")).encode()
        preview = _request("POST", "/v1/needs/preview?include=excluded", body)
        requests = [
            lambda: _request("POST", "/v1/needs", body, token, f"Idempotency-Key: {uuid.uuid4()}"),
            lambda: preview,
            lambda: _request("GET", "/v1/search?q=breakfast", b"", token),
        ]
        for number in range(300):
            with server.connection(requests[number % 3]()) as cut:
                time.sleep(chance.choice([0, 0, 0.002, 0.01]))
                # A reset instead of an end: what a caller's crash or time-out looks like.
                cut.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        began = time.monotonic()
        _post_a_need(server, "A breakfast nobody else wants")
        assert time.monotonic() - began < 20
        assert "A breakfast nobody else wants" in _titles(server)

        # A request that is still being sent is answered; one that never ends is cut off. The
        # interim answer says that the head was read and that the body is being waited for.
        asked = _request("POST", "/v1/needs/preview?include=excluded", body, "Expect: 100-continue")
        head, sent = asked[: -len(body)], body[:-20]
        with server.connection(head) as running, server.connection(head) as endless:
            for each in (running, endless):
                assert each.recv(100).startswith(b"HTTP/1.1 100")
                each.sendall(sent)
            server.running.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            running.sendall(body[-20:])
            assert running.recv(100).startswith(b"HTTP/1.1 200")
            assert server.stop(signal.SIGTERM) == 0

    with _served(copied) as server:
        assert demo.PASSWORD in server.next_line()
        assert "Loading" not in server.stderr
        assert "A breakfast nobody else wants" in _titles(server)
        found = server.found("nobody else wants")
        assert any(hit["title"]["en"] == "A breakfast nobody else wants" for hit in found)


async def test_the_same_on_postgresql(postgres_server: postgres.Server, tmp_path: Path) -> None:
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name)
    at = ("--database-url", postgres_server.url(name))
    try:
        with _served(tmp_path, *at) as server:
            assert demo.PASSWORD in server.next_line()
            assert server.get("/readyz") == {"status": "ok", "database": "ok"}
            second = _begin("serve", "--port", "0", "--data", "data", *at, cwd=tmp_path)
            doctor = _begin("doctor", "--data", "data", *at, cwd=tmp_path)
            server.found("breakfast")
            _post_a_need(server, "Still there")
            _refused(_end(second), "index is open in another process")
            done = _end(doctor)
            assert done.returncode == 0, done.stdout
            assert "postgres answers" in done.stdout
            assert at[1] not in done.stdout
            assert server.stop(signal.SIGTERM) == 0
    finally:
        await postgres_server.drop_database(name)


# Trouble


def test_a_taken_port_and_a_taken_file_are_said_in_one_line_and_the_first_goes_on(
    served: Server, tmp_path: Path
) -> None:
    at_port = _begin("serve", "--port", str(served.port), "--data", "data", cwd=tmp_path)
    at_file = _begin("serve", "--port", "0", "--data", str(served.data), cwd=tmp_path)
    _refused(_end(at_port), "another with --port, or stop what listens there")
    says = "another process is serving this SQLite file.*stop it first, or use PostgreSQL"
    _refused(_end(at_file), says)
    assert list(tmp_path.iterdir()) == []
    assert served.get("/readyz")["status"] == "ok"


def test_a_data_directory_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o500)
    tmp_path.chmod(0o755)
    # Root may write everywhere. The interpreter may lie where only root can read it, so the
    # program becomes somebody else when it is loaded.
    program = (
        "import os, sys; from api import cli, serving\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--port", "0", "--data", tmp_path / "data"],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    _refused(done, "cannot write to .*data .*; choose another with --data")


def test_a_wrong_setting_is_said_in_one_line(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, str], str]] = [
        ({"DATABASE_URL": "postgres://u:hidden@127.0.0.1:1/x"}, "cannot connect to PostgreSQL"),
        ({"DATABASE_URL": "mysql://u:hidden@127.0.0.1/x"}, "DATABASE_URL must look like sqlite:"),
        ({"PORT": "eighty"}, "PORT: "),
    ]
    begun = [_begin("serve", **{"PORT": "0", **change}, cwd=tmp_path) for change, _ in wrong]
    for running, (_, says) in zip(begun, wrong, strict=True):
        done = _end(running)
        _refused(done, says)
        assert "hidden" not in done.stderr


async def test_a_database_user_without_rights_is_said_in_one_line(
    postgres_server: postgres.Server, tmp_path: Path
) -> None:
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name)
    connection = await asyncpg.connect(postgres_server.url(name))
    try:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'hidden'")
        url = re.sub("://[^@]*@", f"://{name}:hidden@", postgres_server.url(name))
        _refused(_run("migrate", "--database-url", url, cwd=tmp_path), "must own the database")
    finally:
        await connection.execute(f"DROP ROLE {name}")
        await connection.close()
        await postgres_server.drop_database(name)


# The other commands


def test_demo_refuses_a_database_that_is_not_empty(filled: Path) -> None:
    _refused(_run("demo", "--data", "data", cwd=filled), "not empty; use an empty one, or demo --r")


def test_demo_reset_brings_the_same_town_back(copied: Path) -> None:
    path = copied / "data" / "community.sqlite"
    before = _town(path)
    with contextlib.closing(sqlite3.connect(path)) as changed:
        changed.executescript(
            "UPDATE offering SET title_en = 'Something else', capacity = 7;"
            "DELETE FROM service_record; UPDATE account SET display_name = 'Nobody';"
        )
    assert _town(path) != before
    done = _run("demo", "--reset", "--data", "data", cwd=copied)
    assert done.returncode == 0, done.stderr
    assert _town(path) == before


def _town(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the database but ids, hashes and moments, which are new each time."""
    town = {}
    with contextlib.closing(sqlite3.connect(path)) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_schema")]
        for table in ("place", "account", "partner", "credential", "offering", "need"):
            assert table in tables
            columns = [
                name
                for _, name, kind, *_ in opened.execute(f"PRAGMA table_info({table})")
                if kind not in ("UUID", "TIMESTAMPTZ") and name != "password_hash"
            ]
            rows = opened.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            town[table] = sorted(rows, key=repr)
        (served,) = opened.execute("SELECT count(*), sum(times) FROM service_record")
        town["service_record"] = [served]
    return town


def test_migrate_runs_once_and_the_doctor_says_what_is_pending(tmp_path: Path) -> None:
    done = _run("migrate", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[1-9]\d* migrations run.\n", done.stdout)
    done = _run("migrate", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Nothing to migrate.\n")
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "community.sqlite")) as opened:
        opened.execute("DELETE FROM migration WHERE id = (SELECT max(id) FROM migration)")
        opened.commit()
    done = _run("doctor", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 pending: run `python -m api migrate`" in done.stdout


def test_the_doctor_fails_when_there_is_no_database_and_makes_none(tmp_path: Path) -> None:
    nowhere = _begin("doctor", cwd=tmp_path, MEILI_KEY="hidden")
    url = "postgres://u:hidden@127.0.0.1:1/x"
    silent = _begin("doctor", cwd=tmp_path, DATABASE_URL=url)
    for running, says in (
        (nowhere, "is not there.*: run `python -m api migrate`"),
        (silent, "does not answer: cannot connect to PostgreSQL"),
    ):
        done = _end(running)
        assert (done.returncode, done.stderr) == (1, "")
        assert re.search(says, done.stdout), done.stdout
        assert "hidden" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_search_rebuild_prints_plain_lines_and_the_count(copied: Path) -> None:
    done = _run("search", "rebuild", "--data", "data", cwd=copied)
    assert done.returncode == 0, done.stderr
    count = re.fullmatch(r"(\d+) documents indexed.\n", done.stdout)
    assert count
    assert done.stderr.splitlines()[-1] == f"Indexing: {count[1]} of {count[1]}"
    assert all(re.fullmatch(r"Indexing: \d+ of \d+", line) for line in done.stderr.splitlines())
    assert int(count[1]) > 300


def test_work_without_a_meilisearch_server_is_refused(tmp_path: Path) -> None:
    _refused(_run("work", cwd=tmp_path), "set MEILI_URL to run a worker apart")


def test_settings_prints_the_env_example(tmp_path: Path) -> None:
    done = _run("settings", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for setting in settings.SETTINGS:
        assert f"\n# {setting.help}\n{setting.variable}={setting.default}\n" in done.stdout
    example = ROOT / ".env.example"
    if example.exists():
        assert done.stdout == example.read_text()
