"""Answers for everybody, kept until a table that they were read from is written.

Only of anonymous GETs of a few addresses, whose answers depend on nothing but the database. Whether
one still holds is asked of `models/engine/changes.py`, so that whoever has heard that a write of
this process is done never gets an answer from before it, and of another's only for a moment. Many
who ask for the same at once wait for the first of them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct

from models import engine
from models.engine import changes

KEPT = re.compile(
    r"/v1/(?:needs|places|service-types)(?:/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?"
)
MOST = 512
LARGEST = 256 * 1024
# With one of these it is not for everybody, or not the plain answer.
_PERSONAL = frozenset({b"authorization", b"cookie", b"origin", b"range"})
Headers = list[tuple[bytes, bytes]]
Key = tuple[str, bytes, bytes]


class Answer(Struct, frozen=True):
    """What was answered, and what from and when it was read."""

    status: int
    headers: Headers
    body: bytes
    etag: bytes
    route: str
    read_for: changes.Changes
    moment: int
    tables: frozenset[str]
    until: float

    def holds(self, known: changes.Changes) -> bool:
        """Whether it would be the same now."""
        return (
            self.read_for is known
            and self.until > time.monotonic()
            and not known.since(self.moment, self.tables)
        )


class Shared:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: OrderedDict[Key, Answer] = OrderedDict()
        self._asking: dict[Key, asyncio.Future[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        asked = _asked(scope)
        known = engine.current().changes if asked else None
        if asked is None or known is None or not known.keep:
            await self._app(scope, receive, send)
            return
        key, tags = asked
        answer = self._find(key, known)
        if answer is None and key in self._asking:
            await asyncio.wait([self._asking[key]])
            answer = self._find(key, known)
        if answer is None:
            answer = await self._ask(key, known, scope, receive)
        else:
            scope["path_template"] = answer.route
        if answer.status == 200 and _has(tags, answer.etag):
            headers = [pair for pair in answer.headers if not pair[0].startswith(b"content-")]
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    def _find(self, key: Key, known: changes.Changes) -> Answer | None:
        answer = self._kept.get(key)
        if answer is None or not answer.holds(known):
            return None
        self._kept.move_to_end(key)
        return answer

    async def _ask(
        self, key: Key, known: changes.Changes, scope: Scope, receive: Receive
    ) -> Answer:
        """Ask the application, for whoever else waits, too."""
        first = key not in self._asking
        if first:
            self._asking[key] = asyncio.get_running_loop().create_future()
        until, moment = time.monotonic() + changes.KEPT_S, known.moment()
        tables: set[str] = set()
        noted = changes.reading.set(tables)
        said = _Said()
        try:
            await self._app(_whole(scope), receive, said.send)
            answer = said.answer(scope, known, moment, frozenset(tables), until)
            if answer.status == 200 and len(answer.body) <= LARGEST and answer.holds(known):
                self._kept[key] = answer
                self._kept.move_to_end(key)
                while len(self._kept) > MOST:
                    self._kept.popitem(last=False)
        finally:
            changes.reading.reset(noted)
            if first:
                self._asking.pop(key).set_result(None)
        return answer


class _Said:
    """Takes down what the application sends."""

    def __init__(self) -> None:
        self._status, self._headers, self._parts = 0, list[tuple[bytes, bytes]](), list[bytes]()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            self._parts.append(message["body"])

    def answer(self, scope: Scope, *read: Any) -> Answer:
        """All of it; `read` says what from and when."""
        (etag,) = [value for name, value in self._headers if name == b"etag"] or [b""]
        route = str(scope.get("path_template") or "none")
        return Answer(self._status, self._headers, b"".join(self._parts), etag, route, *read)


def _asked(scope: Scope) -> tuple[Key, bytes] | None:
    """What is asked for, and which answers are known already; None if it is not for everybody."""
    if scope["type"] != ScopeType.HTTP or scope["method"] != "GET":
        return None
    if not KEPT.fullmatch(scope["path"]):
        return None
    language = tags = b""
    for name, value in scope["headers"]:
        if name in _PERSONAL:
            return None
        if name == b"accept-language":
            language = value
        elif name == b"if-none-match":
            tags = tags + b"," + value if tags else value
    return (scope["path"], scope["query_string"], language), tags


def _whole(scope: Scope) -> Scope:
    """The request as of somebody who knows no answer yet."""
    scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"if-none-match"]
    return scope


def _has(tags: bytes, etag: bytes) -> bool:
    if not tags:
        return False
    return tags == b"*" or etag in (tag.strip().removeprefix(b"W/") for tag in tags.split(b","))
