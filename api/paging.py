"""Keyset pages: an opaque cursor that names the last row seen, newest first."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from models import errors

T = TypeVar("T")

Limit = Annotated[
    int,
    QueryParameter(name="limit", ge=1, le=100, description="Items on a page, 1 to 100."),
]
Cursor = Annotated[
    str | None,
    QueryParameter(name="cursor", max_length=64, description="`next` of the page before."),
]
Slug = Annotated[str | None, QueryParameter(pattern=r"^[a-z0-9_-]{1,64}\Z")]
Fields = Annotated[
    str | None,
    QueryParameter(
        name="fields",
        max_length=500,
        description="Comma-separated names of the fields to answer; `id` is always there.",
    ),
]


class Page(msgspec.Struct, Generic[T]):
    """One page of a list; `next` is null on the last one."""

    items: list[T]
    next: str | None


def after(cursor: str | None) -> uuid.UUID | None:
    """The id of the last row seen. Refuses what is not a cursor of ours."""
    if cursor is None:
        return None
    try:
        return uuid.UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (ValueError, binascii.Error):
        raise errors.Refusal("invalid", errors.FieldError("cursor", "bad_cursor")) from None


def page(
    items: list[Any], limit: int, mark: Callable[[Any], uuid.UUID] = attrgetter("id")
) -> Page[Any]:
    """A page from `limit` + 1 rows: the extra one only says that there is more."""
    more = len(items) > limit
    items = items[:limit]
    return Page(items, _cursor(mark(items[-1])) if more else None)


def _cursor(last: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).rstrip(b"=").decode()
