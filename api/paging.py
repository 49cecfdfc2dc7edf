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
_LAST_NUMBER = 2**63 - 1

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


def numbered(row: Any) -> uuid.UUID:
    """The number of a row that has no id (`seq`), as cursors carry it."""
    return uuid.UUID(int=row.seq)


def number(cursor: str | None) -> int | None:
    """The number of the last row seen, for lists of rows that are numbered."""
    mark = after(cursor)
    if mark is not None and mark.int > _LAST_NUMBER:
        raise errors.Refusal("invalid", errors.FieldError("cursor", "bad_cursor"))
    return None if mark is None else mark.int


def page(
    items: list[Any], limit: int, mark: Callable[[Any], uuid.UUID] = attrgetter("id")
) -> Page[Any]:
    """A page from `limit` + 1 rows: the extra one only says that there is more."""
    more = len(items) > limit
    items = items[:limit]
    return Page(items, _cursor(mark(items[-1])) if more else None)


def _cursor(last: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).rstrip(b"=").decode()
