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
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, limits, logs, metrics
from api.requests import StrictRequest
from models import accounts

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}\Z")
# JSON is for programs: nothing in it may be run, framed, guessed at, or told to other sites. An
# answer that is a page brings its own.
SECURITY = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"})
_NOT_YET = object()


class Edge:
    """Wraps the application. `limiter` is None when there are no limits."""

    def __init__(
        self, app: ASGIApp, limiter: limits.Limiter | None, numbers: metrics.Metrics
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


class _Passing:
    """One request on its way through."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, limiter: limits.Limiter | None
    ) -> None:
        self._began = time.perf_counter()
        self._scope, self._receive, self._send, self._limiter = scope, receive, send, limiter
        self._state: dict[str, Any] = scope["state"]
        self._state["request_id"] = self._id = _request_id(scope)
        self._status = 0
        self._is_replaced = False

    async def send(self, message: Message) -> None:
        """Add to the answer what every answer has."""
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            present = {name for name, _ in headers}
            headers += [header for header in SECURITY if header[0] not in present]
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
        """The line in the log, and the request among the numbers: never the address itself, which
        is what somebody wrote."""
        method: str = self._scope["method"]  # type: ignore[typeddict-item]  # HTTP only
        method = method if method in _METHODS else "other"
        route = self._scope.get("path_template") or "none"
        seconds = time.perf_counter() - self._began
        numbers.requests.count(method, route, self._status, seconds)
        logs.request(
            self._id,
            method,
            route,
            self._status,
            round(seconds * 1000, 2),
            _kind(self._scope.get("user")),
        )


def _kind(caller: accounts.Caller | None) -> str:
    if caller is None or caller.account is None:
        return "anonymous"
    return "person" if caller.scopes is None else "service key"


def _request_id(scope: Scope) -> str:
    """The caller's own request id when it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.match(given):
                return given
    # To tell requests apart is all it is for: nobody gains anything by guessing one.
    return f"{random.getrandbits(128):032x}"
