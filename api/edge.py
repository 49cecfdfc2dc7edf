"""Around the whole application, also where no address matches: what every answer has.

Litestar's middleware sees only requests that found a handler. This wraps everything: the request's
id, the headers that keep a browser from guessing, the limits of those who could not be identified,
the one line in the log, and the numbers for monitoring.
"""

from __future__ import annotations

import random
import re
import time
from typing import Any

from litestar.enums import ScopeType
from litestar.types import Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api import errors, limits, logs, metrics, shared
from api.requests import StrictRequest
from models import accounts

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# JSON is for programs: nothing in it may be run, framed, guessed at, or told to other sites. An
# answer that is a page brings its own.
SECURITY = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"})
_NOT_YET = object()
Client = tuple[str, int]


class Edge:
    """Wraps the application. `limiter` is None when there are no limits."""

    def __init__(
        self, app: shared.Shared, limiter: limits.Limiter | None, numbers: metrics.Metrics
    ) -> None:
        self._app, self._limiter, self._numbers = app, limiter, numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        passing = _Passing(scope, receive, send, self._limiter)
        try:
            await self._app(scope, receive, passing.send)
        finally:
            passing.note(self._numbers)

    def at_once(
        self, url: bytes, fields: shared.Fields, client: Client | None, more: shared.Headers
    ) -> bytes | None:
        """The whole answer to a GET as it goes over the wire, with `more` headers, if it is kept.

        None if it has to be asked for, or refused: then nothing of it has been counted yet.
        """
        began = time.perf_counter()
        path, _, query = url.partition(b"?")
        answer = self._app.find(path.decode("latin-1"), query, fields)
        if answer is None:
            return None
        allowance = b""
        if self._limiter:
            taken = self._limiter.take("read", limits.address_of(client))
            if taken.wait:
                return None
            allowance = _lines(taken.headers)
        status, request_id = answer.status_for(fields), _request_id(fields)
        head = answer.heads.get(status)
        if head is None:
            headers = _secured(answer.headers_for(status))
            head = answer.heads[status] = STATUS_LINE[status] + _lines(headers)
        own = b"x-request-id: %b\r\n" % request_id.encode()
        seconds = time.perf_counter() - began
        _note(self._numbers, seconds, request_id, "GET", answer.route, status, "anonymous")
        return b"".join((head, _lines(more), own, allowance, b"\r\n", answer.body_for(status)))


class Proxies(ProxyHeadersMiddleware):
    """Wraps that where proxies are trusted to say who asks, by uvicorn's rules."""

    def __init__(self, edge: Edge, trusted: list[str]) -> None:
        super().__init__(edge, trusted)  # type: ignore[arg-type]  # ASGI, by its types
        self._edge = edge

    def at_once(
        self, url: bytes, fields: shared.Fields, client: Client | None, more: shared.Headers
    ) -> bytes | None:
        """The same for what is answered at once."""
        said = fields.get(b"x-forwarded-for")
        if said and client and client[0] in self.trusted_hosts:
            host, port = self.trusted_hosts.get_trusted_client_address(said.decode("latin-1"))
            client = (host, port) if host else client
        return self._edge.at_once(url, fields, client, more)


class _Passing:
    """One request on its way through."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, limiter: limits.Limiter | None
    ) -> None:
        self._began = time.perf_counter()
        self._scope, self._receive, self._send, self._limiter = scope, receive, send, limiter
        self._state: dict[str, Any] = scope["state"]
        self._state["request_id"] = self._id = _request_id(shared.by_name(list(scope["headers"])))
        self._status = 0
        self._is_replaced = False

    async def send(self, message: Message) -> None:
        """Add to the answer what every answer has."""
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            headers = _secured(list(message["headers"]))
            headers.append((b"x-request-id", self._id.encode()))
            if self._limiter and not self._count(self._limiter, headers):
                self._is_replaced = True
                await self._refuse()
                return
            message["headers"] = headers
            self._status = message["status"]
        await self._send(message)

    def _count(self, limiter: limits.Limiter, headers: list[tuple[bytes, bytes]]) -> bool:
        """Add the headers of what was taken. What nobody has counted yet, because no handler was
        found or the token was wrong, comes from the address; False when that is used up."""
        taken = self._state.get("taken", _NOT_YET)
        if taken is _NOT_YET:
            taken = self._state["taken"] = limiter.take("read", limits.address(self._scope))
            if taken.wait:
                return False
        if taken:
            headers += taken.headers
        return True

    async def _refuse(self) -> None:
        """Answer 429 in place of what was about to be answered."""
        self._is_replaced = False
        request = StrictRequest(self._scope, self._receive, self._send)
        answer = errors.answer(request, limits.refusal(self._state["taken"]))
        await answer.to_asgi_response(app=None, request=request)(
            self._scope, self._receive, self.send
        )
        self._is_replaced = True

    def note(self, numbers: metrics.Metrics) -> None:
        """Once it has been answered."""
        method: str = self._scope["method"]  # type: ignore[typeddict-item]  # HTTP only
        method = method if method in _METHODS else "other"
        route = self._scope.get("path_template") or "none"
        seconds = time.perf_counter() - self._began
        kind = _kind(self._scope.get("user"))
        _note(numbers, seconds, self._id, method, route, self._status, kind)


def _note(
    numbers: metrics.Metrics,
    seconds: float,
    request_id: str,
    method: str,
    route: str,
    status: int,
    caller: str,
) -> None:
    """The line in the log, and the request among the numbers: never the address itself, which is
    what somebody wrote."""
    numbers.requests.count(method, route, status, seconds)
    logs.request(request_id, method, route, status, round(seconds * 1000, 2), caller)


def _secured(headers: shared.Headers) -> shared.Headers:
    present = {name for name, _ in headers}
    return headers + [header for header in SECURITY if header[0] not in present]


def _lines(headers: shared.Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _kind(caller: accounts.Caller | None) -> str:
    if caller is None or caller.account is None:
        return "anonymous"
    return "person" if caller.scopes is None else "service key"


def _request_id(fields: shared.Fields) -> str:
    """The caller's own request id when it is harmless, else a new one."""
    given = fields.get(b"x-request-id")
    if given and _REQUEST_ID.fullmatch(given):
        return given.decode()
    # To tell requests apart is all it is for: nobody gains anything by guessing one.
    return f"{random.getrandbits(128):032x}"
