"""uvicorn's HTTP protocol, which answers at once what is kept for everybody.

uvicorn makes a task and a dozen objects for each request, since an application may wait; and it
looks at every header of an answer. What is kept waits for nothing, and most of its headers are
bytes already. Who may get it, and what it says, is in `shared.py` and `edge.py` for both ways; here
is only which requests are so plain that nothing but the answer is wanted.
"""

from __future__ import annotations

import asyncio
from typing import Any

from api import one_write

# With one of these more than a head is sent, or something else than an answer is wanted.
_NOT_PLAIN = frozenset({b"content-length", b"expect", b"transfer-encoding", b"upgrade"})


class AtOnce(one_write.OneWrite):
    """Of what arrives together one request at the most is answered at once: the loop is not held
    for long by somebody who sends thousands, and those who do not read their answers are waited
    for where all others are."""

    _may = False
    # Since when nothing is asked, if what was asked last was answered at once. The timer looks at
    # it when it rings: making one for each answer took as long as making the answer.
    _rests_since: float | None = None
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._ask = self.app.asgi_handler.at_once

    def data_received(self, data: bytes) -> None:
        """What has come over the wire."""
        self._may, self._rests_since = True, None
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        answer = self._answer() if self._may else None
        if answer is None:
            self._rests_since = None
            super().on_headers_complete()
            return
        self._may = False
        self.transport.write(answer)
        self.server_state.total_requests += 1
        self._rests_since = self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self._ring)

    def _answer(self) -> bytes | None:
        """What to say at once, if that is all there is to do, and nothing has to be said first."""
        is_turn = self.cycle is None or self.cycle.response_complete
        if not is_turn or self.flow.write_paused or self.transport.is_closing():
            return None
        parser = self.parser
        if parser.get_method() != b"GET" or parser.get_http_version() != "1.1":
            return None
        fields = dict(self.headers)
        # What is said twice, the ordinary way makes sense of.
        is_odd = len(fields) < len(self.headers) or not _NOT_PLAIN.isdisjoint(fields)
        if is_odd or not parser.should_keep_alive():
            return None
        answer: bytes | None = self._ask(
            self.url, fields, self.client, self.server_state.default_headers
        )
        return answer

    def on_message_complete(self) -> None:
        """Nobody waits for the end of what has been answered at once."""
        if self.cycle is not None:
            super().on_message_complete()

    def _ring(self) -> None:
        """Close the connection if it has rested for as long as it may."""
        self._timer = None
        if self._rests_since is None:
            return
        left = self._rests_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._ring)
        else:
            self.timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
