"""A cheap HTTP/1.1 client: it keeps so many connections busy and notes how long each answer took.

Some 20 µs a request, so that the server is what is measured and not the client.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from msgspec import Struct


class Round(Struct, frozen=True):
    """What one server did in one round. Times in ms, the processor's in µs a request (0 where the
    system does not tell)."""

    requests: int
    seconds: float
    p50: float
    p99: float
    cpu: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def message(
    method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def drive(
    address: str, pid: int, requests: Iterator[bytes], status: int, seconds: float, width: int
) -> Round:
    """Send requests for so long over `width` connections; every answer must have this status."""
    url, loop = urlsplit(address), asyncio.get_running_loop()
    assert url.hostname
    hand = _Hand(requests, b"%d" % status)
    made = [
        await loop.create_connection(lambda: _Connection(hand), url.hostname, url.port)
        for _ in range(width)
    ]
    before, began = cpu_of(pid), time.perf_counter()
    hand.ends = began + seconds
    for _, connection in made:
        connection.next()
    await asyncio.gather(*(connection.done for _, connection in made))
    took, spent = time.perf_counter() - began, cpu_of(pid) - before
    for transport, _ in made:
        transport.close()
    times = sorted(hand.times)
    return Round(
        len(times),
        took,
        times[len(times) // 2] * 1000,
        times[min(len(times) - 1, len(times) * 99 // 100)] * 1000,
        spent / len(times) * 1e6,
    )


async def ask(address: str, request: bytes) -> tuple[bytes, bytes, bytes]:
    """One request: status, head and body of the answer."""
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(_length(head))
    writer.close()
    return head[9:12], head, body


async def idle(pid: int) -> None:
    """Wait until a server does nothing any more (an index is filled after the start)."""
    calm = 0
    while calm < 3:
        before = cpu_of(pid)
        await asyncio.sleep(0.3)
        calm = calm + 1 if cpu_of(pid) - before < 0.03 else 0


class _Hand:
    def __init__(self, requests: Iterator[bytes], status: bytes) -> None:
        self.requests, self.status = requests, status
        self.ends = 0.0
        self.times: list[float] = []


class _Connection(asyncio.Protocol):
    def __init__(self, hand: _Hand) -> None:
        self._hand = hand
        self._got, self._missing = b"", 0
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are what asyncio says, but of no class of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def next(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._hand.ends:
            self.done.set_result(None)
            return
        self._transport.write(next(self._hand.requests))

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._got += data
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            if self._got[9:12] != self._hand.status:
                self.connection_lost(RuntimeError(f"answered {self._got[:2000]!r}"))
                return
            self._missing = end + 4 + _length(self._got) - len(self._got)
            self._got = b""
        if self._missing <= 0:
            self._hand.times.append(time.perf_counter() - self._sent)
            self.next()

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(problem or ConnectionError("the server hung up"))


def _length(head: bytes) -> int:
    at = head.find(b"content-length: ")
    if at < 0:
        if head[9:12] != b"304":
            raise RuntimeError(f"an answer without its length: {head[:500]!r}")
        return 0
    return int(head[at + 16 : head.index(b"\r", at)])


def cpu_of(pid: int) -> float:
    """Seconds of the processor that a process has used, in all its threads."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
