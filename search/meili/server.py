"""The server over HTTP: every call has a time-out, and every trouble is a SearchUnavailable.

Searches and documents go through httpx, over aiohttp because its own transport takes four times as
long, and without httpx's client, which looks for cookies, redirects and passwords. What is asked
once in a while (indexes, settings, keys) goes through the official client: it is synchronous and
its objects are not safe in threads, so each call makes one and runs in a thread.
"""

from __future__ import annotations

import asyncio
import functools
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import aiohttp
import httpx
import meilisearch
import msgspec
import pydantic
from httpx_aiohttp import AiohttpTransport
from meilisearch import errors
from meilisearch.models.task import TaskInfo
from msgspec import Struct, field

from search.engine import SearchUnavailable
from search.meili.breaker import Breaker

T = TypeVar("T")

CALL_S = 5.0  # a search, or asking how a task is doing
ADMIN_S = 10  # what the official client does
UPLOAD_S = 30.0
WAIT_S = 600.0  # for one task to end, those before it included
_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.2
# The server closes idle connections after 5 s; one that is being closed must not be used again.
_LIMITS = httpx.Limits(max_connections=32, keepalive_expiry=2.0)
_TIMEOUTS = {"timeout": httpx.Timeout(UPLOAD_S, connect=2.0, pool=2.0).as_dict()}
_JSON = {"Content-Type": "application/json"}
_LINES = {"Content-Type": "application/x-ndjson"}
# It has no time for us now; any other answer shows that it is well.
_BUSY = (429, 500, 502, 503, 504)


class Trouble(Struct, frozen=True):
    """What the server says of a request or a task that failed."""

    message: str = ""
    code: str = ""
    type: str = ""


class Answered(SearchUnavailable):
    """The server answered, but not with what it was asked for; `code` is its own word for why."""

    def __init__(self, status: int, trouble: Trouble) -> None:
        super().__init__(f"Meilisearch answered {status} {trouble.code}: {trouble.message}")
        self.code = trouble.code


class _Queued(Struct, frozen=True):
    task: int = field(name="taskUid")


class Task(Struct, frozen=True):
    """A write on the server's queue."""

    status: Literal["enqueued", "processing", "succeeded", "failed", "canceled"]
    error: Trouble | None = None


class Server:
    """A connection pool to one server. `key` is empty for a server without a master key."""

    def __init__(self, url: str, key: str) -> None:
        """Connects to nothing yet. Refuses (SearchUnavailable) what is no address or no key."""
        if not (key.isascii() and key.isprintable()):
            raise SearchUnavailable("MEILI_KEY may only hold ASCII characters")
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL:
            address = httpx.URL()
        if address.scheme not in ("http", "https") or not address.host:
            raise SearchUnavailable("MEILI_URL must look like http://host:7700")
        # Compressed answers come in several small packets, of which TCP holds the last one back
        # for 40 ms.
        self._headers = {"Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._transport = AiohttpTransport(
            # Without TLS there is nothing to verify, and the certificates need not be read.
            verify=address.scheme == "https",
            limits=_LIMITS,
            proxy=_proxy(address),
        )
        self.closed = False
        self._url, self._key = str(address).rstrip("/"), key
        self._breaker = Breaker()
        # A request is put together here, and its few addresses once: the client would read the
        # address and mix the headers anew for each.
        self._address = functools.lru_cache(64)(lambda path: httpx.URL(self._url + path))

    @property
    def paused(self) -> bool:
        return self._breaker.is_open

    async def administer(self, work: Callable[[meilisearch.Client], T]) -> T:
        """What this does with the official client, in a thread."""
        self._check()

        def run() -> T:
            return work(meilisearch.Client(self._url, self._key or None, timeout=ADMIN_S))

        try:
            async with asyncio.timeout(2 * ADMIN_S):
                done = await asyncio.to_thread(run)
        except errors.MeilisearchApiError as error:
            self._heard(error.status_code, "")
            trouble = Trouble(error.message, error.code or "", error.type or "")
            raise Answered(error.status_code, trouble) from error
        except (errors.MeilisearchError, OSError, TimeoutError) as error:
            self._breaker.failed()
            raise SearchUnavailable(f"Meilisearch does not answer: {error}") from error
        except (pydantic.ValidationError, ValueError, KeyError, TypeError) as error:
            raise SearchUnavailable("no answer of a Meilisearch server") from error
        self._breaker.succeeded()
        return done

    async def carry_out(
        self, work: Callable[[meilisearch.Client], TaskInfo], but: str = ""
    ) -> None:
        """The same with work that queues a task, which is waited for; see `done`."""
        task = await self.administer(work)
        await self.done(task.task_uid, but)

    async def close(self) -> None:
        """Closes all connections. May be called twice."""
        self.closed = True
        await self._transport.aclose()

    async def ask(
        self, kind: type[T], method: str, path: str, body: object = None, **parameters: Any
    ) -> T:
        """The answer to a request with a JSON body, decoded as this type."""
        content = None if body is None else msgspec.json.encode(body)
        answer = await self._call(method, path, content, _JSON, CALL_S, parameters)
        return _decoded(kind, answer)

    async def queue(self, method: str, path: str, body: object = None) -> int:
        """Puts a change of documents on the server's queue; answers its task."""
        return (await self.ask(_Queued, method, path, body)).task

    async def upload(self, path: str, documents: Sequence[bytes]) -> int:
        """Puts JSON documents on the server's queue; answers their task."""
        content = b"\n".join(documents)
        answer = await self._call("POST", path, content, _LINES, UPLOAD_S, {})
        return _decoded(_Queued, answer).task

    async def outcome(self, task: int) -> Trouble | None:
        """Waits for a task to end: None if it succeeded, else what the server did not take.

        Raises SearchUnavailable if the server forgot or cancelled it, or had trouble of its own.
        """
        pause = _FIRST_LOOK_S
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    seen = await self.ask(Task, "GET", f"/tasks/{task}")
                    if seen.status not in ("enqueued", "processing"):
                        break
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, _LAST_LOOK_S)
        except TimeoutError:
            raise SearchUnavailable(f"task {task} did not end in {WAIT_S:.0f} s") from None
        if seen.status == "succeeded":
            return None
        trouble = seen.error or Trouble(seen.status)
        if trouble.type != "invalid_request":
            raise SearchUnavailable(f"task {task} failed: {trouble.code} {trouble.message}")
        return trouble

    async def done(self, task: int, but: str = "") -> None:
        """Waits for a task that must succeed, or fail with the code `but`."""
        trouble = await self.outcome(task)
        if trouble is not None and trouble.code != but:
            raise SearchUnavailable(f"task {task} failed: {trouble.code} {trouble.message}")

    async def _call(
        self,
        method: str,
        path: str,
        content: bytes | None,
        content_type: dict[str, str],
        seconds: float,
        parameters: dict[str, Any],
    ) -> bytes:
        self._check()
        try:
            async with asyncio.timeout(seconds):
                request = httpx.Request(
                    method,
                    self._address(path),
                    headers=self._headers | (content_type if content is not None else {}),
                    content=content,
                    params=parameters or None,
                    extensions=_TIMEOUTS,
                )
                answer = await self._transport.handle_async_request(request)
                got = await _body(answer)
        except (httpx.HTTPError, aiohttp.ClientError, TimeoutError) as error:
            self._breaker.failed()
            reason = str(error) or type(error).__name__
            raise SearchUnavailable(f"Meilisearch does not answer: {reason}") from error
        except RuntimeError as error:
            if not self.closed:
                raise
            # Closed by somebody else while it was waiting for a connection.
            raise SearchUnavailable("the search engine is closed") from error
        self._heard(answer.status_code, answer.headers.get("retry-after", ""))
        if answer.is_success:
            return got
        raise Answered(answer.status_code, _trouble(got))

    def _check(self) -> None:
        if self.closed:
            raise SearchUnavailable("the search engine is closed")
        self._breaker.check()

    def _heard(self, status: int, retry_after: str) -> None:
        if status in _BUSY:
            # The other form, a date, is of no use between two clocks.
            self._breaker.failed(float(retry_after) if retry_after.isdecimal() else 0.0)
        else:
            self._breaker.succeeded()


async def _body(answer: httpx.Response) -> bytes:
    assert isinstance(answer.stream, httpx.AsyncByteStream)
    try:
        return b"".join([part async for part in answer.stream])
    finally:
        await answer.stream.aclose()


def _proxy(address: httpx.URL) -> httpx.Proxy | None:
    """What the environment says stands between us and this address, as for the official client."""
    url = urllib.request.getproxies().get(address.scheme)
    return httpx.Proxy(url) if url and not urllib.request.proxy_bypass(address.host) else None


def _decoded(kind: type[T], answer: bytes) -> T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.MsgspecError as error:
        raise SearchUnavailable(f"no answer of a Meilisearch server: {error}") from error


def _trouble(content: bytes) -> Trouble:
    try:
        return msgspec.json.decode(content, type=Trouble)
    except msgspec.MsgspecError:
        return Trouble("not in the words of a Meilisearch server")
