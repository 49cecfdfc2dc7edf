"""Our Request: strict JSON of the right content type, and no query parameter nobody knows."""

from __future__ import annotations

import itertools
import re
from array import array
from types import NoneType
from typing import Any, get_args, get_origin

from litestar import Request, Response
from litestar.datastructures import State
from litestar.routes import HTTPRoute
from litestar.types import Empty

from api import decoding
from models import accounts, errors

# Longer than any filter of ours; a list of a hundred ids belongs in a body.
MAX_QUERY = 4096
# Our own types nest six deep.
MAX_DEPTH = 64

# A text, or what begins like one and never ends: it always matches, so no body makes it search on.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS = b"[]{}"
# Steps down and up, as signed bytes.
_STEPS = bytes.maketrans(_BRACKETS, b"\x01\xff\x01\xff")
_ALL_OTHERS = bytes(set(range(256)) - set(_BRACKETS))


class StrictRequest(Request[accounts.Caller, str | None, State]):
    """Decodes a body straight into the type its handler declares.

    Litestar's own decoding takes `"1"` for 1 and any content type for JSON, which would let a
    page of another origin post as text/plain.
    """

    async def json(self) -> Any:
        """The body as the handler's type. Refuses another content type with 415."""
        if self._json is not Empty:
            return self._json
        if self.content_type[0] != "application/json":
            raise errors.Refusal("unsupported_media_type", needed="application/json")
        field = self.route_handler.parsed_data_field
        body = await self.body()
        refuse_deep(body)
        self._json = decoding.decode(body, field.annotation if field else dict)
        return self._json


def header(request: Request[Any, Any, Any], name: bytes) -> str | None:
    """What a header says, the first of this name; None without one. For one or two of them: the
    framework's `headers` makes texts of all, which is a thirtieth of a small answer's time."""
    for field, value in request.scope["headers"]:
        if field == name:
            return value.decode("latin-1")
    return None


def refuse_deep(body: bytes) -> None:
    """Refuse JSON that nests deeper than MAX_DEPTH, before anything is made of it.

    Most bodies have fewer brackets than that in all, which is quickly seen; in the others those
    inside of texts are left out, and the rest is summed up.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    steps = array("b", _STRINGS.sub(b"", body).translate(_STEPS, _ALL_OTHERS))
    if max(itertools.accumulate(steps), default=0) > MAX_DEPTH:
        raise errors.Refusal("malformed", reason="nested too deeply")


async def known_query(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Before each handler: refuse a query parameter that the endpoint does not have, and `null`
    for one that is no text. An OPTIONS is answered here.

    A misspelt filter would otherwise quietly answer everything, and so would `within=null`, which
    the framework takes for a parameter that was left out.
    """
    if request.method == "OPTIONS":
        return _methods(request)
    if request.scope["query_string"]:
        _check_query(request)
    return None


def _methods(request: Request[Any, Any, Any]) -> Response[None]:
    """The methods of an address: the framework's own answer names those of one handler."""
    address = request.scope["path_template"]
    methods = {
        str(method)
        for route in request.app.routes
        if isinstance(route, HTTPRoute) and route.path_format == address
        for method in route.methods
    }
    return Response(None, status_code=204, headers={"Allow": ", ".join(sorted(methods))})


def _check_query(request: Request[Any, Any, Any]) -> None:
    if len(request.scope["query_string"]) > MAX_QUERY:
        raise errors.Refusal("query_too_long", limit=MAX_QUERY)
    handler = request.route_handler
    known: dict[str, bool] | None = handler.opt.get("_query")
    if known is None:
        parameters = handler.parsed_fn_signature.parameters
        known = {
            (getattr(p.kwarg_definition, "name", None) or name): _takes_null(p.annotation)
            for name, p in parameters.items()
        }
        handler.opt["_query"] = known
    wrong = []
    for name, value in sorted(request.query_params.multi_items()):
        if name not in known:
            wrong.append(errors.FieldError(name[:64], "unknown_field"))
        elif known[name] and value.lower() == "null":
            has = {"needed": "a value", "has": "null"}
            wrong.append(errors.FieldError(name, "wrong_type", has))
    if wrong:
        raise errors.Refusal("invalid", *wrong)


def _takes_null(kind: Any) -> bool:
    """Whether msgspec reads the text `null` as None: for every optional type but texts and lists,
    which keep it."""
    members = get_args(kind)
    return NoneType in members and not any(m is str or get_origin(m) is list for m in members)
