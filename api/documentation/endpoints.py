"""What a handler is, in the words of our conventions: who may call it, what goes in and out."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from litestar import Litestar, Response
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg, PathParameter, QueryParameter
from litestar.routes import HTTPRoute
from litestar.types import Empty
from msgspec import Struct

from api import auth, paging
from api.documentation import tables

METHODS = ("get", "post", "put", "patch", "delete")


class Parameter(Struct, frozen=True):
    """One parameter of an address; `kind` is its type without None."""

    name: str
    place: str
    kind: Any
    limits: ParameterKwarg
    required: bool
    default: Any


class Endpoint(Struct, frozen=True):
    """One method of one address. `body` and `answer` are types; None where there is no JSON."""

    path: str
    method: str
    handler: HTTPRouteHandler
    parameters: tuple[Parameter, ...]
    body: Any
    answer: Any

    @property
    def name(self) -> str:
        """The operation id, which every handler states itself."""
        assert isinstance(self.handler.operation_id, str), f"{self.path} has no operation_id"
        return self.handler.operation_id

    @property
    def tag(self) -> str:
        """The one tag of its controller."""
        return self.handler.resolve_tags()[0]

    @property
    def media_type(self) -> str:
        """What it answers."""
        given = self.handler.media_type
        return (given.value if isinstance(given, MediaType) else given) or MediaType.JSON.value

    @property
    def guarded(self) -> bool:
        """Only for callers who say who they are."""
        return auth.needs_account(self.handler) or auth.watching in self.handler.resolve_guards()

    @property
    def wraps(self) -> bool:
        """It answers through `answers`, which sets headers, and not just a value."""
        return get_origin(self.handler.parsed_return_field.annotation) is Response

    @property
    def conditional(self) -> bool:
        """A read that answers 304 (`answers.shown`, `answers.listed`)."""
        is_json = self.media_type == MediaType.JSON.value
        tagged = is_json or self.name in tables.OTHER_CONDITIONAL
        return self.wraps and tagged and self.method == "get" and self.path.startswith("/v1/")

    @property
    def record(self) -> Any:
        """What it answers, or answers pages of."""
        return get_args(self.answer)[0] if get_origin(self.answer) is paging.Page else self.answer

    @property
    def versioned(self) -> bool:
        """The answer is a record with a version, which is its ETag."""
        return self.wraps and "version" in getattr(self.answer, "__struct_fields__", ())

    @property
    def needs_match(self) -> bool:
        """A change of such a record (`answers.require_match`)."""
        return self.versioned and self.method in ("put", "patch", "delete")

    @property
    def once(self) -> bool:
        """A POST that takes an Idempotency-Key (`answers.once`)."""
        keeps = self.name not in tables.KEEP_NOTHING
        return self.wraps and self.method == "post" and self.guarded and keeps

    @property
    def description(self) -> str:
        """The handler's docstring."""
        return inspect.cleandoc(self.handler.fn.__doc__ or "")


def of(app: Litestar) -> list[Endpoint]:
    """Every documented endpoint, in the order of the tags, then of the addresses."""
    order = {tag: number for number, tag in enumerate(tables.TAGS)}
    found = [
        _endpoint(route.path_format, method.lower(), handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
        if handler.resolve_include_in_schema()
    ]
    return sorted(
        found, key=lambda e: (order.get(e.tag, len(order)), e.path, METHODS.index(e.method))
    )


def _endpoint(path: str, method: str, handler: HTTPRouteHandler) -> Endpoint:
    body = handler.parsed_data_field
    answer = handler.parsed_return_field.annotation
    if get_origin(answer) is Response:
        (answer,) = get_args(answer)
    return Endpoint(
        path,
        method,
        handler,
        tuple(_parameters(handler)),
        body.annotation if body else None,
        None if answer in (None, type(None), bytes) else answer,
    )


def _parameters(handler: HTTPRouteHandler) -> Iterator[Parameter]:
    for name, field in handler.parsed_fn_signature.parameters.items():
        limits = field.kwarg_definition
        if not isinstance(limits, PathParameter | QueryParameter):
            continue
        yield Parameter(
            limits.name or name,
            "path" if isinstance(limits, PathParameter) else "query",
            _without_none(field.annotation),
            limits,
            field.default is Empty and not field.is_optional,
            None if field.default is Empty else field.default,
        )


def _without_none(kind: Any) -> Any:
    """Leaving a parameter out is all that None means in an address."""
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    return Union[tuple(member for member in get_args(kind) if member is not type(None))]  # noqa: UP007
