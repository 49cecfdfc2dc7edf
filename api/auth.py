"""Token -> Caller, on every request; the guards that endpoints name."""

from __future__ import annotations

import re
import uuid
from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.requests import StrictRequest
from models import accounts, errors

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}\Z")


class Identify(ASGIMiddleware):
    """Give every request its id and its caller before anything else looks at it.

    The id is the caller's own `X-Request-Id` when that is harmless, and goes back with the
    answer. A token that is not valid is refused here, also on public reads: a caller who thinks
    to be signed in must not get an anonymous answer.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Fill `scope` and pass on."""
        sent = dict(scope["headers"])
        scope["state"]["request_id"] = known = request_id(sent)
        scheme, _, token = sent.get(b"authorization", b"").decode("latin-1").partition(" ")
        scope["user"], scope["auth"] = accounts.ANONYMOUS, None
        if scheme:
            caller = await accounts.caller_of(token.strip()) if scheme.lower() == "bearer" else None
            if caller is None:
                raise errors.Refusal("unauthenticated", headers=challenge("invalid_token"))
            scope["user"], scope["auth"] = caller, token.strip()
        await next_app(scope, receive, _echoing(send, known))


def request_id(headers: dict[bytes, bytes]) -> str:
    """The caller's own request id when it is harmless, else a new one."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.match(given) else uuid.uuid4().hex


def _echoing(send: Send, known: str) -> Send:
    header = (b"x-request-id", known.encode())

    async def echo(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], header]
        await send(message)

    return echo


def challenge(error: str = "") -> dict[str, str]:
    """The WWW-Authenticate header of RFC 6750."""
    return {"WWW-Authenticate": f'Bearer error="{error}"' if error else "Bearer"}


async def signed_in(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: the caller has signed in."""
    if connection.scope["user"].account is None:
        raise errors.Refusal("unauthenticated", headers=challenge())


def account_of(request: StrictRequest) -> uuid.UUID:
    """The account of a signed-in caller."""
    account = request.user.account
    if account is None:
        raise errors.Refusal("unauthenticated", headers=challenge())
    return account


def found(there: bool) -> None:
    """Refuse with not-found unless `there`."""
    if not there:
        raise errors.not_found()
