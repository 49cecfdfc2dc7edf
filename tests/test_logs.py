"""What is logged, and that nothing is which somebody wrote."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from litestar.routes import HTTPRoute

from api import logs
from models import engine, errors
from tests.towns import PASSWORD, Town, a_need, an_offering

ROOT = Path(__file__).parent.parent
# What people write, as it looks: none of it may ever be seen in a log.
PHONE = "13912345678"
NAME = "欧阳金丝雀"
NUMBER = "500105194901013417"
TOKEN = "canary-token-Zx81q"
SECRET = "canary-secret-9Kp2w"
CANARIES = (PHONE, NAME, NUMBER, TOKEN, SECRET)
LATIN = (PHONE, NUMBER, TOKEN, SECRET)


def _lines(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def _assert_clean(said: str) -> None:
    for canary in CANARIES:
        # Also as JSON, an address or Python would write it.
        for spelling in {canary, ascii(canary)[1:-1], str(httpx.QueryParams({"": canary}))[1:]}:
            assert spelling not in said, spelling


@pytest.fixture
def everything_logged() -> Iterator[None]:
    """Libraries say all they have to say, down to the smallest."""
    root = logging.getLogger()
    before, root.level = root.level, logging.DEBUG
    yield
    root.level = before


# One line


async def test_every_request_is_one_line_without_its_address(
    town: Town, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    await town.as_(
        "secretary", "GET", f"/v1/needs?cursor={TOKEN}", headers={"X-Request-Id": "abc-1"}
    )
    await asyncio.sleep(0)
    (line,) = [line for line in _lines(capfd.readouterr().err) if line["event"] == "request"]
    assert line.pop("ms") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "abc-1",
        "method": "GET",
        "route": "/v1/needs",
        "status": 400,
        "caller": "person",
    }


@pytest.mark.parametrize(
    ("method", "path", "logged"),
    [
        ("GET", "/v1/needs/00000000-0000-7000-8000-000000000000", ("GET", "/v1/needs/{need_id}")),
        ("GET", f"/v1/{TOKEN}", ("GET", "none")),
        (TOKEN, "/v1/needs", ("other", "none")),
        ("PUT", "/v1/needs", ("PUT", "none")),
    ],
)
async def test_the_route_is_logged_and_never_the_path(
    town: Town, capfd: pytest.CaptureFixture[str], method: str, path: str, logged: tuple[str, str]
) -> None:
    capfd.readouterr()
    await town.as_("anonymous", method, path)
    await asyncio.sleep(0)
    said = capfd.readouterr().err
    (line,) = _lines(said)
    shown = line["method"], re.sub(r"\{\w+", "{need_id", line["route"])
    assert shown == logged or (shown[0], "none") == logged
    assert line["caller"] == "anonymous"
    _assert_clean(said)


def test_what_is_not_on_the_list_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger()
    log.warning("something.happened", phone=PHONE, status=200, seconds=1.5, body={"name": NAME})
    log.warning(f"a call from {PHONE}", status=NAME, route="x" * 201, id="two\nlines")
    log.warning("something.happened %s", TOKEN, method=[SECRET], topic={"a": NUMBER})
    first, second, third = _lines(capfd.readouterr().err)
    assert first.keys() == {"timestamp", "level", "event", "status", "seconds"}
    assert second.keys() == third.keys() == {"timestamp", "level", "event"}
    assert (second["event"], third["event"]) == ("unnamed", "unnamed")


def test_whatever_the_program_says_in_a_line_is_on_the_list() -> None:
    said = {
        (path.name, keyword.arg)
        for folder in ("api", "models", "search")
        for path in (ROOT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and re.match(r"log\.[a-z]+\(", ast.unparse(call))
        for keyword in call.keywords
    }
    assert ("worker.py", "hash") in said, "calls are found"
    assert {(name, field) for name, field in said if field not in logs.FIELDS} <= {
        (name, "exc_info") for name, _ in said
    }


def test_an_exception_is_its_type_and_our_own_frames(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        try:
            raise KeyError(PHONE)
        except KeyError:
            errors.refuse_field(NAME, TOKEN)
    except KeyError:
        structlog.get_logger().exception("request.failed")
    said = capfd.readouterr().err
    (line,) = _lines(said)
    assert line["error"] == "KeyError"
    assert [frame.split(":")[0::2] for frame in line["frames"]] == [
        ["models/errors.py", "refuse_field"]
    ]
    assert line["causes"] == ["KeyError"]
    _assert_clean(said)


def test_of_a_group_of_exceptions_every_type_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    group = ExceptionGroup(PHONE, [ValueError(NAME), ExceptionGroup(TOKEN, [OSError(SECRET)])])
    structlog.get_logger().error("worker.waiting", exc_info=group)
    said = capfd.readouterr().err
    assert _lines(said)[0]["causes"] == ["ValueError", "ExceptionGroup", "OSError"]
    _assert_clean(said)


@pytest.mark.usefixtures("everything_logged")
def test_what_a_library_logs_is_where_and_not_what(capfd: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("a.library")
    library.info("GET https://host/?phone=%s", PHONE)
    library.log(27, f"a level of its own, and {NAME}")
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        library.exception("%s", TOKEN, extra={"status": NUMBER})
    said = capfd.readouterr().err
    first, second, third = _lines(said)
    assert first.keys() == {"timestamp", "level", "event", "library", "at"}
    assert (first["event"], first["library"], second["level"]) == (
        "library",
        "a.library",
        "info",
    )
    assert first["at"].startswith("tests/test_logs.py:")
    assert third["error"] == "RuntimeError"
    _assert_clean(said)


async def test_a_task_that_nobody_waited_for_is_logged_without_its_words(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def fail() -> None:
        raise RuntimeError(PHONE)

    context = {"message": f"never retrieved {TOKEN}", "exception": RuntimeError(PHONE)}
    asyncio.get_running_loop().default_exception_handler(context)
    said = capfd.readouterr().err
    assert _lines(said)[0]["error"] == "RuntimeError"
    _assert_clean(said)


def test_a_program_or_thread_that_dies_says_where_and_not_why(
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = (
        "import threading, sys; from api import logs; logs.configure(); logs.hook()\n"
        f"def fail(): raise ValueError('{PHONE}')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "class Last:\n  def __del__(self): fail()\n"
        "Last()\n"
        "fail()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    lines = _lines(done.stderr)
    assert [line["event"] for line in lines] == ["thread.died", "cleanup.failed", "program.died"]
    assert {line["error"] for line in lines} == {"ValueError"}
    assert len(done.stderr.splitlines()) == 3
    _assert_clean(done.stderr)


async def test_lines_that_could_not_be_written_once_do_not_silence_the_next_ones(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with monkeypatch.context() as broken:
        broken.setattr(sys, "stderr", Broken())
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        logs.request("first", "GET", "/v1/needs", 200, 1.0, "anonymous")
        await asyncio.sleep(0)
        asyncio.get_running_loop().set_exception_handler(None)
    logs.request("second", "GET", "/v1/needs", 200, 1.0, "anonymous")
    await asyncio.sleep(0)
    assert [line["request_id"] for line in _lines(capfd.readouterr().err)] == ["second"]


def test_on_a_terminal_lines_are_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(terminal=True)
    try:
        structlog.get_logger().warning("worker.waiting", seconds=2, phone=PHONE)
    finally:
        logs.configure(terminal=False)
    said = capfd.readouterr().err
    assert "worker.waiting" in said
    assert not said.startswith("{")
    _assert_clean(said)


async def test_lines_keep_their_order_and_those_of_one_turn_are_written_together(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for number in range(3):
        logs.request(f"a{number}", "GET", "/v1/needs", 200, 1.5, "person")
    assert capfd.readouterr().err == ""
    structlog.get_logger().warning("worker.waiting", seconds=2)
    logs.request("a3", "GET", "/v1/needs", 200, 1.5, "person")
    await asyncio.sleep(0)
    said = _lines(capfd.readouterr().err)
    assert [line.get("request_id") for line in said] == ["a0", "a1", "a2", None, "a3"]


def test_a_line_costs_little(capfd: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger()
    fields = {"request_id": "0" * 32, "method": "GET", "route": "/v1/needs", "status": 200}

    def hundred() -> float:
        began = time.perf_counter()
        for _ in range(100):
            log.info("request", **fields, ms=1.25, caller="person")
        return (time.perf_counter() - began) / 100

    # Ten times what it takes, so that a busy machine does not matter.
    assert min(hundred() for _ in range(20)) < 150e-6


# Canaries


def _addresses(town: Town) -> Iterator[tuple[str, str]]:
    """Every method of every route, with canaries in the address."""
    for route in town.app.routes:
        if isinstance(route, HTTPRoute):
            path = re.sub(r"\{\w+:uuid\}", town.community, route.path)
            for method in sorted(route.methods - {"OPTIONS"}):
                for canary in (TOKEN, NAME, "breakfast_point"):
                    yield method, re.sub(r"\{[^}]+\}", canary, path)


def _bodies(town: Town) -> list[Any]:
    written = {
        "title": {"zh": NAME, "en": PHONE},
        "description": {"zh": NUMBER, "en": SECRET},
        "name": {"zh": NAME, "en": PHONE},
        "display_name": NAME,
        "contact_name": NAME,
        "contact_phone": PHONE,
        "login": PHONE,
        "password": SECRET,
        "token": TOKEN,
        "refresh_token": TOKEN,
        "number": NUMBER,
        "reason": NAME,
        PHONE: NAME,
    }
    return [
        written,
        [PHONE, NAME],
        {"login": PHONE, "password": SECRET},
        {"refresh_token": TOKEN},
        a_need(town, title=written["title"], description=written["description"]),
        an_offering(town, title=written["title"], description=written["description"]),
        {"items": [an_offering(town, title=written["title"], contact_phone=PHONE)]},
    ]


async def _push(town: Town, who: str, seen: set[int]) -> None:
    """Send canaries to every address, in every place of a request."""
    headers = {
        "User-Agent": PHONE,
        "Cookie": f"session={TOKEN}",
        "Referer": f"https://town.example/?phone={PHONE}",
        "X-Forwarded-For": NUMBER,
        "X-Request-Id": f"{TOKEN} {PHONE}",
        "Accept-Language": SECRET,
        "If-Match": f'"{TOKEN}"',
        "If-None-Match": f'"{TOKEN}"',
    }
    bodies = _bodies(town)
    query = {"q": NAME, "phone": PHONE, NUMBER: TOKEN, "cursor": SECRET}
    for number, (method, path) in enumerate(_addresses(town)):
        key = {"Idempotency-Key": f"{SECRET}-{number}"}
        if method == "GET":
            asked = {"params": query} if number % 2 else {}
            answers = [await town.as_(who, method, path, headers=headers, **asked)]
        else:
            answers = [
                await town.as_(who, method, path, headers=headers | key, json=body)
                for body in (bodies if number % 3 == 2 else bodies[:1])
            ]
            text = headers | {"Content-Type": "application/json"}
            cut = json.dumps(bodies[0]).encode()[:-1]
            answers.append(await town.as_(who, method, path, headers=text, content=cut))
        seen.update(answer.status_code for answer in answers)


@pytest.mark.usefixtures("everything_logged")
async def test_nothing_that_anybody_sends_anywhere_is_in_the_log(
    town: Town, capfd: pytest.CaptureFixture[str]
) -> None:
    # The canaries are in the database too, so that what reads them has them at hand.
    made = await town.make("/v1/offerings", _bodies(town)[5], who="partner_staff")
    assert made["title"]["zh"] == NAME
    seen: set[int] = set()
    await _push(town, "operator", seen)
    town.tokens[TOKEN] = TOKEN
    await town.as_(TOKEN, "GET", "/v1/needs")
    sign_in = {"login": "resident@test", "password": PASSWORD}
    session = await town.as_("anonymous", "POST", "/v1/sessions", json=sign_in)
    await asyncio.sleep(0)
    out, said = capfd.readouterr()
    assert seen >= {200, 400, 404}
    assert 500 not in seen
    assert {line.get("caller") for line in _lines(said)} >= {"person", "anonymous"}
    _assert_clean(out + said)
    for given in (PASSWORD, session.json()["access_token"], *town.tokens.values()):
        assert given not in out + said
    assert len([line for line in _lines(said) if line["event"] == "request"]) > 100


@pytest.mark.usefixtures("everything_logged")
async def test_nothing_is_in_the_log_when_everything_fails(
    town: Town, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(sql: str, *args: Any) -> Any:
        local = (PHONE, NAME, *args)
        raise RuntimeError(f"{sql} with {local} for {TOKEN}") from KeyError(SECRET)

    for name in ("fetch", "rows", "execute", "unit_of_work"):
        monkeypatch.setattr(engine, name, lambda *args: broken(str(args)))
    seen: set[int] = set()
    await _push(town, "anonymous", seen)
    await town.as_("secretary", "POST", "/v1/needs", json=_bodies(town)[4])
    monkeypatch.undo()
    out, said = capfd.readouterr()
    assert 500 in seen
    _assert_clean(out + said)
    failed = [line for line in _lines(said) if line["event"] == "request.failed"]
    assert failed
    assert all(line["causes"][0] == "KeyError" and line["frames"] for line in failed)
    assert any(line["frames"][0].startswith("api/") for line in failed)
