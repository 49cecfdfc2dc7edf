"""A stand-in for a Meilisearch server: real HTTP on a port of this machine, with its queue.

It keeps to what the server documents, as far as the project uses it: 202 and a task that succeeds
or fails later, keys and tenant tokens, settings, swaps, filters, facets, ranking rules. The same
tests run on a real server where there is one, and that is what keeps it faithful. What a real one
cannot be made to do at will, it does: see `State.faults`, `snapshot` and `forget_tasks`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import ThreadingHTTPServer
from typing import Any

from tests.meilisearch_fake.protocol import Connection
from tests.meilisearch_fake.state import State

__all__ = ["Fake"]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, state: State) -> None:
        self.connections: set[socket.socket] = set()
        handler = type("Handler", (Connection,), {"state": state})
        super().__init__(("127.0.0.1", port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """Ends every connection at once."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Fake:
    """A server in threads of this process. Stopped and started again, it is at the same address
    and has everything it had."""

    def __init__(self, master_key: str) -> None:
        self.state = State(master_key)
        self._port = 0
        self._listener: _Listener | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listens, and goes on with the queue."""
        self._listener = _Listener(self._port, self.state)
        self._port = self._listener.server_address[1]
        serve = self._listener.serve_forever
        threading.Thread(target=serve, args=(0.02,), daemon=True, name="fake-meili").start()
        self.state.start()

    def stop(self) -> None:
        """Ends at once, in the middle of whatever it does. May be called twice."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.cut()
            self._listener.server_close()
            self._listener = None
            self.state.stop()
