"""Answers: ETags and 304, If-Match, sparse fields, and POSTs that happen once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request, Response
from litestar.types import Receive, Scope, Send

from api import paging, requests
from models import answers, engine, errors

CSV = "text/csv"
T = TypeVar("T")
_KEY = re.compile(r"^[\x21-\x7e]{1,200}\Z")
# What an answer depends on beside its address; caches between us and the caller must know.
_VARY = "Accept-Language, Authorization"


class Ready(Response[bytes]):
    """An answer whose body is bytes already, sent as it is: the framework would look at all of it
    once more. None of ours sets cookies, or does anything afterwards."""

    def to_asgi_response(self, *_: Any, status_code: int | None = None, **__: Any) -> Any:
        """What sends it; `status_code` is the handler's own."""
        status = self.status_code or status_code or 200
        headers = [
            (name.lower().encode(), text.encode("latin-1")) for name, text in self.headers.items()
        ]
        if status != 304:
            kind = str(self.media_type)
            if kind.startswith("text/"):
                kind += "; charset=utf-8"
            headers.append((b"content-type", kind.encode()))
            headers.append((b"content-length", b"%d" % len(self.content)))
        return _Sent(status, headers, self.content)


class _Sent:
    """The two messages of an answer."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._status, self._headers, self._body = status, headers, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        await send(
            {"type": "http.response.start", "status": self._status, "headers": self._headers}
        )
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


def fields_of(record: type[msgspec.Struct], wanted: str | None) -> frozenset[str] | None:
    """The `fields=` parameter as names; None for all. Refuses names the record does not have."""
    if not wanted:
        return None
    names = [name.strip() for name in wanted.split(",")]
    unknown = [name for name in names if name not in record.__struct_fields__]
    if unknown:
        raise errors.Refusal(
            "invalid",
            errors.FieldError(
                "fields", "wrong_format", {"needed": " | ".join(record.__struct_fields__)}
            ),
        )
    return frozenset(names)


def sparse(value: Any, names: frozenset[str] | None) -> Any:
    """A record with only the named fields; `id` always stays, what is not disclosed never shows."""
    if names is None:
        return value
    chosen = {name: getattr(value, name) for name in value.__struct_fields__ if name in names}
    shown = {name: field for name, field in chosen.items() if field is not msgspec.UNSET}
    return {"id": value.id, **shown}


def etag(version: int) -> str:
    """The strong ETag of a record's version."""
    return f'"{version}"'


def shown(
    request: Request[Any, Any, Any], value: T, *, tag: str | None = None, status: int = 200
) -> Response[T]:
    """The answer to a GET, or 304 when the caller already has it.

    `tag` is the record's own ETag; without one (lists, matches) it is a hash of the body.
    """
    body = msgspec.json.encode(value)
    return cast(Response[T], text(request, body, "application/json", tag=tag, status=status))


def text(
    request: Request[Any, Any, Any],
    body: bytes,
    media_type: str,
    *,
    tag: str | None = None,
    status: int = 200,
) -> Response[bytes]:
    """The same for a text of any kind."""
    tag = tag or f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Vary": _VARY, "Cache-Control": "private, no-cache"}
    known = requests.header(request, b"if-none-match") or ""
    if tag in (item.strip().removeprefix("W/") for item in known.split(",")) or known == "*":
        return Ready(content=b"", status_code=304, headers=headers, media_type=media_type)
    return Ready(content=body, status_code=status, headers=headers, media_type=media_type)


def listed(
    request: Request[Any, Any, Any], found: list[Any], limit: int, names: frozenset[str] | None
) -> Response[Any]:
    """One page of a list, from `limit` + 1 records."""
    page = paging.page(found, limit)
    page.items = [sparse(item, names) for item in page.items]
    return shown(request, page)


def plain(value: T) -> Response[T]:
    """The answer to a POST that keeps nothing."""
    return _made(value, None, 200)


def wants_table(request: Request[Any, Any, Any]) -> bool:
    """Whether the caller would rather have a table for spreadsheets."""
    return request.accept.best_match(["application/json", CSV], default="application/json") == CSV


def table(content: bytes, name: str) -> Response[Any]:
    """The answer to a GET as a CSV file of that name."""
    return Response(
        content,
        media_type=CSV,
        headers={
            "Cache-Control": "private, no-store",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Vary": "Accept, Authorization",
        },
    )


def changed(value: T) -> Response[T]:
    """The answer to a PATCH or DELETE: the record as it is now, with its new ETag."""
    return _made(value, None, 200)


def require_match(request: Request[Any, Any, Any], version: int) -> None:
    """Refuse a change without If-Match (428), or of a version that is no longer there (412)."""
    given = requests.header(request, b"if-match")
    if given is None:
        raise errors.Refusal("if_match_required")
    if given.strip() != "*" and etag(version) not in (tag.strip() for tag in given.split(",")):
        raise errors.Refusal("stale")


async def once(
    request: Request[Any, Any, Any],
    effect: Callable[[], Awaitable[T]],
    location: Callable[[T], str] | None = None,
    status: int = 201,
) -> Response[T]:
    """Run a POST's effect in one unit of work; with an Idempotency-Key, at most once per key.

    The stored answer is written in the same transaction as the effect. What is refused is rolled
    back together with the claim on its key, so that a corrected request may use it again.
    """
    key = requests.header(request, b"idempotency-key")
    if key is not None and not _KEY.match(key):
        raise errors.Refusal(
            "invalid",
            errors.FieldError(
                "Idempotency-Key", "wrong_format", {"needed": "1 to 200 visible ASCII characters"}
            ),
        )
    caller = request.user.account
    if key is None or caller is None:
        return _made(await effect(), location, status)
    route = f"{request.method} {request.scope['path']}"[:200]
    digest = hashlib.sha256(await request.body()).hexdigest()
    async with engine.unit_of_work():
        before = await answers.claim(str(caller), route, key, digest)
        if before:
            return cast(
                Response[T],
                Response(
                    content=before.body.encode(),
                    status_code=before.status,
                    headers=before.headers,
                    media_type="application/json",
                ),
            )
        made = _made(await effect(), location, status)
        await answers.keep(
            str(caller),
            route,
            key,
            answers.Kept(status, dict(made.headers), cast(bytes, made.content).decode()),
        )
    return made


def _made(value: T, location: Callable[[T], str] | None, status: int) -> Response[T]:
    headers = {"Location": location(value)} if location else {}
    version = getattr(value, "version", None)
    if version is not None:
        headers["ETag"] = etag(version)
    return cast(
        Response[T],
        Ready(
            content=msgspec.json.encode(value),
            status_code=status,
            headers=headers,
            media_type="application/json",
        ),
    )
