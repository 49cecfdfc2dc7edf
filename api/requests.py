"""Our Request: strict JSON of the right content type, and no query parameter nobody knows."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.datastructures import State
from litestar.types import Empty

from api import decoding
from models import accounts, errors


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
        self._json = decoding.decode(await self.body(), field.annotation if field else dict)
        return self._json


async def known_query(request: Request[Any, Any, Any]) -> None:
    """Before each handler: refuse a query parameter that the endpoint does not have.

    A misspelt filter would otherwise quietly answer everything.
    """
    if not request.scope["query_string"]:
        return
    handler = request.route_handler
    known = handler.opt.get("_query")
    if known is None:
        parameters = handler.parsed_fn_signature.parameters
        known = frozenset(
            (getattr(p.kwarg_definition, "name", None) or name) for name, p in parameters.items()
        )
        handler.opt["_query"] = known
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise errors.Refusal(
            "invalid", *(errors.FieldError(name[:64], "unknown_field") for name in unknown)
        )
