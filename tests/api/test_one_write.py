"""Answers in one write are what uvicorn would have said in two."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from litestar.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.one_write import OneWrite

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class Wire(asyncio.Transport):
    """Takes down what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        assert not self.is_closed
        if data:
            self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def _said(kind: type[HttpToolsProtocol], app: Any, requests: bytes = GET) -> Wire:
    """What goes over the wire when these requests come over it."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    state, wire = ServerState(), Wire()
    state.default_headers = [(b"date", b"today")]
    protocol = kind(Config(app, access_log=False, log_config=None), state, {})
    protocol.connection_made(wire)
    protocol.data_received(requests)
    while state.tasks:
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire


def _app(status: int, headers: list[tuple[bytes, bytes]], parts: list[bytes]) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            more = number < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})

    return app


def _answer(body: bytes, *more: tuple[bytes, bytes]) -> Any:
    return _app(200, [(b"content-length", b"%d" % len(body)), *more], [body])


async def test_a_plain_answer_is_one_write() -> None:
    wire = await _said(OneWrite, _answer(b"body", (b"etag", b'"1"')))
    head = b'HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 4\r\netag: "1"\r\n\r\n'
    assert wire.written == [head + b"body"]
    wire = await _said(OneWrite, _app(304, [(b"etag", b'"1"')], [b""]))
    assert wire.written == [b'HTTP/1.1 304 Not Modified\r\ndate: today\r\netag: "1"\r\n\r\n']


async def test_requests_sent_together_are_answered_one_after_the_other() -> None:
    wire = await _said(OneWrite, _answer(b"body"), GET * 3)
    assert len(wire.written) == 3
    assert len(set(wire.written)) == 1


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb: c", b"a\rb", b"a\0"])
async def test_a_header_with_a_line_of_its_own_in_it_is_not_sent(value: bytes) -> None:
    wire = await _said(OneWrite, _answer(b"body", (b"location", value)))
    assert wire.is_closed
    assert wire.written == []


@pytest.mark.parametrize("parts", [[b"body"], [b"bo", b"dy"]])
async def test_no_request_stays_until_garbage_is_looked_for(parts: list[bytes]) -> None:
    class Watched(OneWrite):
        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            cycles.append(weakref.ref(cycle))
            super()._start_asgi_task(cycle, app)

    cycles: list[weakref.ref[Any]] = []
    gc.disable()
    try:
        await _said(Watched, _app(200, [(b"content-length", b"4")], parts))
        await asyncio.sleep(0)
        assert [cycle() for cycle in cycles] == [None]
    finally:
        gc.enable()


async def test_an_application_that_dies_before_the_body_is_answered_for() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    assert b"".join((await _said(OneWrite, app)).written).startswith(b"HTTP/1.1 500 ")


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"content-length", b"Content-Length", b"connection", b"transfer-encoding", b"etag"]
        ),
        st.sampled_from([b"0", b"3", b"4", b"close", b"chunked", b"keep-alive", b'"1"', b"a\tb"]),
    ).filter(lambda pair: pair[0].lower() != b"content-length" or pair[1].isdigit()),
    max_size=3,
)
REQUESTS = st.builds(
    b"%b / HTTP/%b\r\nhost: a\r\n%b\r\n".__mod__,
    st.tuples(
        st.sampled_from([b"GET", b"HEAD", b"POST"]),
        st.sampled_from([b"1.0", b"1.1"]),
        st.sampled_from([b"", b"connection: close\r\n", b"content-length: 0\r\n"]),
    ),
)


@settings(max_examples=1000)
@example(200, [(b"content-length", b"0"), (b"content-length", b"3")], [b"abc"], GET)
@given(
    st.sampled_from([200, 201, 204, 304, 404]),
    HEADERS,
    st.lists(st.sampled_from([b"", b"abc", b"four"]), min_size=1, max_size=2),
    REQUESTS,
)
def test_whatever_is_answered_the_same_bytes_are_sent(
    status: int, headers: list[tuple[bytes, bytes]], parts: list[bytes], request_: bytes
) -> None:
    """Also what an application should not say."""

    async def both() -> None:
        app = _app(status, headers, parts)
        ours, theirs = (
            await _said(OneWrite, app, request_),
            await _said(HttpToolsProtocol, app, request_),
        )
        assert b"".join(ours.written) == b"".join(theirs.written)
        assert ours.is_closed == theirs.is_closed

    asyncio.run(both())
