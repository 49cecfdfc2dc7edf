"""What is kept is answered at once, over a socket, as the application would have answered."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from api import heads, logs
from models.engine import changes
from tests import fixtures, postgres
from tests.towns import Town, a_need

PAGE = b"GET /v1/needs HTTP/1.1\r\nhost: town\r\n\r\n"
# Of each answer its own.
OWN = (b"date", b"x-request-id", b"ratelimit", b"ratelimit-remaining", b"ratelimit-reset")


class Served:
    """A town behind a port."""

    def __init__(self, town: Town) -> None:
        self.town, self.state, self.tasks = town, ServerState(), 0
        self.state.default_headers = [(b"date", b"today")]
        self.port = 0

    async def say(self, *requests: bytes) -> list[tuple[bytes, dict[bytes, bytes], bytes]]:
        """The answers to requests that are sent together, as status, headers and body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"".join(requests))
        async with asyncio.timeout(20):
            answers = [await _answer(reader, request) for request in requests]
        writer.close()
        return answers

    async def kept(self, *requests: bytes) -> list[tuple[bytes, dict[bytes, bytes], bytes]]:
        """The same for what nobody is to make a task for."""
        before = self.tasks
        answers = [(await self.say(request))[0] for request in requests]
        assert self.tasks == before
        return answers


async def _answer(
    reader: asyncio.StreamReader, request: bytes
) -> tuple[bytes, dict[bytes, bytes], bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).rstrip().split(b"\r\n")
    pairs = [line.partition(b": ") for line in lines]
    headers = {name: value for name, _, value in pairs}
    assert len(headers) == len(pairs)
    is_bare = request.startswith(b"HEAD") or b" 304 " in first
    length = 0 if is_bare else int(headers[b"content-length"])
    return first[9:12], headers, await reader.readexactly(length)


def _get(path: str = "/v1/needs", version: str = "1.1", method: str = "GET", **more: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items()]
    return f"{method} {path} HTTP/{version}\r\nhost: town\r\n{''.join(lines)}\r\n".encode()


@contextlib.asynccontextmanager
async def _serving(town: Town) -> AsyncIterator[Served]:
    served = Served(town)

    class Counting(heads.BoundedHeads):
        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            served.tasks += 1
            super()._start_asgi_task(cycle, app)

    config = Config(town.app, access_log=False, log_config=None, proxy_headers=False)
    server = await asyncio.get_running_loop().create_server(
        lambda: Counting(config, served.state, {}), "127.0.0.1", 0
    )
    served.port = server.sockets[0].getsockname()[1]
    yield served
    server.close()


@pytest.fixture
async def served(town: Town, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """With a need, and its page kept for as long as a test takes."""
    monkeypatch.setattr(changes, "KEPT_S", 60)
    await town.make("/v1/needs", a_need(town))
    async with _serving(town) as opened:
        await opened.say(PAGE)
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
async def limited(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Served]:
    """The same with 12 reads a minute, behind a proxy that is trusted."""
    monkeypatch.setattr(changes, "KEPT_S", 60)
    more = {"RATE_LIMIT": "0.01", "TRUSTED_PROXIES": "127.0.0.1"}
    async with (
        fixtures.a_town(request.param, templates, postgres_server, tmp_path, **more) as town,
        _serving(town) as opened,
    ):
        yield opened


def _common(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    assert headers.keys() >= {b"date", b"x-request-id"}
    return {name: value for name, value in headers.items() if name not in OWN}


async def test_a_kept_page_is_what_the_application_says(served: Served) -> None:
    # Somebody who sends a body is answered by the application, from what it keeps, too.
    body = b"GET /v1/needs HTTP/1.1\r\nhost: town\r\ncontent-length: 2\r\n\r\n{}"
    before = served.tasks
    ((status, headers, page),) = await served.say(body)
    assert served.tasks == before + 1
    tag = headers[b"etag"].decode()
    ((unchanged, bare, _),) = await served.say(
        body.replace(b"\r\n\r\n", b"\r\nif-none-match: *\r\n\r\n")
    )
    assert (status, unchanged) == (b"200", b"304")
    (found,) = await served.kept(PAGE)
    assert (found[0], _common(found[1]), found[2]) == (b"200", _common(headers), page)
    for tags in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        (known,) = await served.kept(_get(if_none_match=tags))
        assert (known[0], _common(known[1]), known[2]) == (b"304", _common(bare), b"")
    ((status, _, again),) = await served.kept(_get(if_none_match='"other"'))
    assert (status, again) == (b"200", page)


@pytest.mark.parametrize(
    "request_",
    [
        _get(method="HEAD"),
        _get(connection="close"),
        _get(version="1.0"),
        _get(expect="100-continue", content_length="0"),
        _get(connection="upgrade", upgrade="h2c"),
        _get(cookie="a=b"),
        _get("/v1/needs?limit=7"),
        _get(transfer_encoding="chunked") + b"1\r\nx\r\n0\r\n\r\n",
    ],
)
async def test_whatever_is_not_plain_is_left_to_the_application(
    served: Served, request_: bytes
) -> None:
    before = served.tasks
    ((status, _, _),) = await served.say(request_)
    assert served.tasks == before + 1
    assert status in (b"200", b"405")
    await served.kept(PAGE)


async def test_requests_that_are_sent_together_are_answered_in_their_order(served: Served) -> None:
    paths = ["/v1/nothing", "/v1/needs", "/v1/needs", "/v1/needs?limit=3", "/v1/needs"]
    sent = [_get(path, x_request_id=f"n{number}") for number, path in enumerate(paths * 5)]
    answers = await served.say(*sent)
    assert [headers[b"x-request-id"] for _, headers, _ in answers] == [
        b"n%d" % number for number in range(25)
    ]
    assert [status for status, _, _ in answers] == [b"404", b"200", b"200", b"200", b"200"] * 5
    # One of them at once; the others as ever, so that nobody else waits for all of them.
    before = served.tasks
    assert {status for status, _, _ in await served.say(*[PAGE] * 10)} == {b"200"}
    assert served.tasks == before + 9


async def test_a_request_that_comes_in_pieces_is_answered_once_it_is_whole(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    for _ in range(2):
        for at in range(0, len(PAGE), 7):
            writer.write(PAGE[at : at + 7])
            await writer.drain()
            await asyncio.sleep(0.001)
        assert (await _answer(reader, PAGE))[0] == b"200"
    writer.close()


async def test_who_does_not_read_is_not_written_to_for_ever(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(PAGE)
    while not served.state.connections:
        await asyncio.sleep(0.01)
    (connection,) = served.state.connections
    async with asyncio.timeout(20):
        while not connection.flow.write_paused:  # type: ignore[union-attr]
            writer.write(PAGE)
            await asyncio.sleep(0)
    for _ in range(300):
        writer.write(PAGE)
        await asyncio.sleep(0.002)
    transport = connection.transport
    assert transport is not None
    assert transport.get_write_buffer_size() < 200_000
    await served.kept(PAGE)
    writer.transport.abort()


async def test_an_answer_waits_until_those_before_it_are_taken(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(PAGE)
    await _answer(reader, PAGE)
    (connection,) = served.state.connections
    connection.pause_writing()
    before = served.tasks
    writer.write(PAGE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readuntil(b"\r\n"), 0.1)
    assert served.tasks == before + 1
    connection.resume_writing()
    async with asyncio.timeout(5):
        assert (await _answer(reader, PAGE))[0] == b"200"
    writer.close()


async def test_a_connection_that_rests_is_closed_and_one_that_is_busy_is_not(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(PAGE)
    await _answer(reader, PAGE)
    (connection,) = served.state.connections
    left = connection._timer.when() - connection.loop.time()  # type: ignore[union-attr]
    assert 0 < left <= connection.timeout_keep_alive  # type: ignore[union-attr]
    for _ in range(5):
        connection._rests_since -= 0.6 * connection.timeout_keep_alive  # type: ignore[union-attr]
        connection._ring()  # type: ignore[union-attr]
        writer.write(PAGE)
        await _answer(reader, PAGE)
    connection._rests_since -= connection.timeout_keep_alive  # type: ignore[union-attr]
    connection._ring()  # type: ignore[union-attr]
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    assert not served.state.connections
    writer.close()


async def test_a_write_is_seen_by_the_very_next_answer(served: Served) -> None:
    need = served.town
    made = (await need.get("/v1/needs"))["items"][0]
    for people in range(60, 70):
        await need.change(f"/v1/needs/{made['id']}", {"beneficiaries": people})
        ((_, _, page),) = await served.say(PAGE)
        assert b'"beneficiaries":%d' % people in page
        assert (await served.kept(PAGE))[0][2] == page


async def test_a_harmless_request_id_is_said_again_and_no_other(served: Served) -> None:
    said = [
        answer[1][b"x-request-id"]
        for answer in await served.kept(
            _get(x_request_id="mine-1.a_b"), _get(x_request_id="a b"), _get(x_request_id="a" * 65)
        )
    ]
    assert said[0] == b"mine-1.a_b"
    assert all(re.fullmatch(rb"[0-9a-f]{32}", name) for name in said[1:])


async def test_each_answer_is_counted_and_has_its_line(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[Any, ...]] = []
    monkeypatch.setattr(logs, "request", lambda *fields: lines.append(fields))
    requests = served.town.app.state.metrics.requests
    key = ("GET", "/v1/needs", 2)
    before, all_before = sum(requests._counted[key][:-1]), served.state.total_requests
    await served.kept(_get(x_request_id="one"), _get(x_request_id="two"))
    assert sum(requests._counted[key][:-1]) == before + 2
    assert served.state.total_requests == all_before + 2
    assert [(*line[:4], line[5]) for line in lines] == [
        (name, "GET", "/v1/needs", 200, "anonymous") for name in ("one", "two")
    ]


async def test_both_ways_take_from_one_budget_until_it_is_used_up(limited: Served) -> None:
    def left(answer: tuple[bytes, dict[bytes, bytes], bytes]) -> bytes:
        assert answer[1][b"ratelimit-policy"] == b'"read";q=12;w=60'
        return answer[1][b"ratelimit-remaining"]

    first = (await limited.say(PAGE))[0]
    slow = _get(content_length="0")
    several = [(await limited.kept(PAGE))[0], (await limited.say(slow))[0]]
    several += await limited.kept(*[PAGE] * 9)
    assert [left(answer) for answer in (first, *several)] == [b"%d" % n for n in range(11, -1, -1)]
    ((status, headers, _),) = await limited.say(PAGE)
    assert (status, left((status, headers, b""))) == (b"429", b"0")
    assert headers[b"cache-control"] == b"no-store"


async def test_behind_a_proxy_each_address_has_a_budget_of_its_own(limited: Served) -> None:
    await limited.say(PAGE)
    left = [
        int(answer[1][b"ratelimit-remaining"])
        for address in ("203.0.113.1", "203.0.113.2:5", "198.51.100.7, 203.0.113.1", "2001:db8::1")
        for answer in await limited.kept(_get(x_forwarded_for=address))
    ]
    assert left == [11, 11, 10, 11]
    several = PAGE[:-2] + b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n"
    # Which of two says it is for uvicorn to know.
    before = limited.tasks
    ((_, headers, _),) = await limited.say(several)
    assert limited.tasks == before + 1
    assert headers[b"ratelimit-remaining"] == b"9"


async def test_a_server_that_stops_closes_what_rests(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(PAGE)
    await _answer(reader, PAGE)
    (connection,) = served.state.connections
    connection.shutdown()
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
