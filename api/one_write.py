"""uvicorn's HTTP protocol, which sends an answer that is whole in one go.

uvicorn writes the head and the body one after the other: two calls of the system, which are the
dearest part of sending. And it looks at each header by itself for what may not be in one, which is
seen as well in all of them together.
"""

from __future__ import annotations

from typing import Any

from litestar.types import Message
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

_WITHOUT_BODY = frozenset({204, 304})
# With one of these the connection is not simply used again, or the body not sent as it is.
_UNUSUAL = frozenset({b"connection", b"transfer-encoding"})


class OneWrite(HttpToolsProtocol):
    """Sends the answers that are plain itself; all others are uvicorn's to send."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.send = _Whole(cycle).send  # type: ignore[method-assign,assignment]
        super()._start_asgi_task(cycle, app)


class _Whole:
    """Holds the beginning of an answer back until its body comes."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._send = cycle, cycle.send
        self._start: Any = None

    async def send(self, message: Message) -> None:
        """One message of the application."""
        if message["type"] == "http.response.start" and not self._cycle.response_started:
            # If there is one already, its application has died, and this is uvicorn's word for it.
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            # It refers to the cycle, which would stay until garbage is looked for.
            del self._cycle.send
            if self._is_plain(message) and self._write(start, message):
                return
            await self._send(start)
        await self._send(message)  # type: ignore[arg-type]

    def _is_plain(self, message: Message) -> bool:
        """Whether this is all of a body, for somebody who is there and reads."""
        cycle = self._cycle
        return (
            message["type"] == "http.response.body"
            and not message.get("more_body")
            and cycle.keep_alive
            and cycle.scope["method"] != "HEAD"
            and not cycle.disconnected
            and not cycle.flow.write_paused
        )

    def _write(self, start: Any, message: Any) -> bool:
        """Send it, unless there is something unusual about its head."""
        cycle, status, body = self._cycle, start["status"], message.get("body", b"")
        length: int | None = None
        headers = [*cycle.default_headers, *start.get("headers", ())]
        parts = [STATUS_LINE[status]]
        for written, value in headers:
            name = written.lower()
            if name in _UNUSUAL or (name == b"content-length" and length is not None):
                return False
            if name == b"content-length":
                length = int(value)
            parts += (name, b": ", value, b"\r\n")
        head = b"".join(parts)
        if (
            (length or 0) != len(body)
            or (not body and status not in _WITHOUT_BODY)
            or _is_odd(head, headers)
        ):
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join((head, b"\r\n", body)))
        cycle.message_event.set()
        cycle.on_response()
        return True


def _is_odd(head: bytes, headers: list[Any]) -> bool:
    """Whether a name or a value has a line of its own in it, or ends the text."""
    lines = len(headers) + 1
    return head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head
