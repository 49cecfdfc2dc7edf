"""uvicorn's HTTP protocol, with an end to how much may come before a body.

The fast parser collects whatever it is sent: without this, one connection with a header that never
ends takes all the memory there is.
"""

from __future__ import annotations

from api import at_once

# The address and all headers of a request, in bytes. Tokens and cookies fit many times over.
MAX_HEAD = 32 * 1024
MAX_HEADERS = 100

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class HeadTooLarge(Exception):
    """Raised inside of the parser, which then stops."""


class BoundedHeads(at_once.AtOnce):
    """Closes a connection with 431 when the head of a request grows beyond its limits."""

    _is_in_head = True
    _head = _came = _uncertain = 0

    def data_received(self, data: bytes) -> None:
        """Parse; then count what belongs to a head that has not ended yet."""
        self._came = len(data)
        super().data_received(data)
        # A header that goes on and on is not told of by the parser before its end.
        if self._is_in_head:
            self._head += self._came
            if self._head - self._uncertain > MAX_HEAD:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A new request on this connection."""
        super().on_message_begin()
        self._is_in_head, self._head = True, 0
        # Of what came together with its beginning, some may have been of others before it.
        self._uncertain = self._came

    def on_headers_complete(self) -> None:
        """The head is whole: nothing of an excessive one gets to the application."""
        self._is_in_head = False
        # It is no larger than all that came since it began, which need not be added up.
        may_be_large = self._head + self._came > MAX_HEAD
        if len(self.headers) > MAX_HEADERS or (may_be_large and self._size() > MAX_HEAD):
            self._head = MAX_HEAD + 1
            raise HeadTooLarge
        super().on_headers_complete()

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser has stopped."""
        if self._head <= MAX_HEAD:
            super().send_400_response(msg)
        elif not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()
