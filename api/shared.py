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
from collections.abc import Mapping
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct, field

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
Fields = Mapping[bytes, bytes]
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
    # Its beginning as it goes over the wire, by status; empty until somebody has put it together.
    heads: dict[int, bytes] = field(default_factory=dict)

    def holds(self, known: changes.Changes) -> bool:
        """Whether it would be the same now."""
        return (
            self.read_for is known
            and self.until > time.monotonic()
            and not known.since(self.moment, self.tables)
        )

    def status_for(self, fields: Fields) -> int:
        """304 for somebody who has it already."""
        tags = fields.get(b"if-none-match")
        return 304 if tags and self.status == 200 and _has(tags, self.etag) else self.status

    def headers_for(self, status: int) -> Headers:
        """Of a 304 without those that speak of a body."""
        if status != 304:
            return self.headers
        return [pair for pair in self.headers if not pair[0].startswith(b"content-")]

    def body_for(self, status: int) -> bytes:
        """Of a 304 there is none."""
        return b"" if status == 304 else self.body


class Shared:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: OrderedDict[Key, Answer] = OrderedDict()
        self._asking: dict[Key, asyncio.Future[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if not _is_kept(scope):
            await self._app(scope, receive, send)
            return
        known, fields = engine.current().changes, by_name(list(scope["headers"]))
        key = _key(scope["path"], scope["query_string"], fields, known)
        if key is None:
            await self._app(scope, receive, send)
            return
        answer = self._find(key, known)
        if answer is None and key in self._asking:
            await asyncio.wait([self._asking[key]])
            answer = self._find(key, known)
        if answer is None:
            answer = await self._ask(key, known, scope, receive)
        else:
            scope["path_template"] = answer.route
        status = answer.status_for(fields)
        headers, body = answer.headers_for(status), answer.body_for(status)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def find(self, path: str, query: bytes, fields: Fields) -> Answer | None:
        """What is kept for a GET and still holds."""
        known = engine.current().changes
        key = _key(path, query, fields, known)
        return self._find(key, known) if key else None

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


def by_name(headers: Headers) -> Fields:
    """The headers of a request, those that came more than once as one list (RFC 9110, 5.3)."""
    found = dict(headers)
    if len(found) == len(headers):
        return found
    found.clear()
    for name, value in headers:
        found[name] = found[name] + b", " + value if name in found else value
    return found


def _is_kept(scope: Scope) -> bool:
    is_get = scope["type"] == ScopeType.HTTP and scope["method"] == "GET"
    return is_get and KEPT.fullmatch(scope["path"]) is not None


def _key(path: str, query: bytes, fields: Fields, known: changes.Changes) -> Key | None:
    """What is asked for; None if the answer is not for everybody, or nothing may be kept."""
    if not known.keep or not _PERSONAL.isdisjoint(fields):
        return None
    return path, query, fields.get(b"accept-language", b"")


def _whole(scope: Scope) -> Scope:
    """The request as of somebody who knows no answer yet."""
    scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"if-none-match"]
    return scope


def _has(tags: bytes, etag: bytes) -> bool:
    return tags in (etag, b"*") or etag in (
        tag.strip().removeprefix(b"W/") for tag in tags.split(b",")
    )
