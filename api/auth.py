"""Token or service key -> Caller, on every request; what endpoints ask of it before they begin."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Awaitable
from typing import Any

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from api import requests
from api.requests import StrictRequest
from models import accounts, audit, errors

# What a service key may do, by the tag of the route: read it with the scope `read`, write it with
# the scope named here. What is in neither table is for people: accounts, sessions, roles,
# invitations, keys, and whatever comes next until somebody decides.
KEY_READS = frozenset(
    {
        "places",
        "service types",
        "partners",
        "offerings",
        "spaces",
        "pools",
        "calendars",
        "needs",
        "matches",
        "search",
    }
)
KEY_WRITES: dict[str, accounts.KeyScope] = {
    "partners": "partners",
    "offerings": "offerings",
    "spaces": "offerings",
    "pools": "offerings",
    "calendars": "offerings",
    "needs": "needs",
}
# These keep nothing, so they count as reading.
_READING_POSTS = frozenset({"make_search_token", "preview_need"})
# What a person must stand for: verifying what they have seen, admitting a partner, having a
# reason to see a contact.
_FOR_PEOPLE = frozenset(
    {
        "exit_partner",
        "move_partner",
        "reject_partner",
        "reveal_contact",
        "suspend_partner",
        "verify_offering_credential",
        "verify_partner_credential",
    }
)
# Where the token of a monitoring system is good.
METRICS = "/metrics"
# These tell nobody anything, so a key needs no scope for them; the documentation has no tag.
_FOR_ALL = frozenset({"problems", "signatures", "health"})


class Identify(ASGIMiddleware):
    """Give every request its caller before anything else looks at it.

    A token that is not valid is refused here, also on public reads: a caller who thinks to be
    signed in must not get an anonymous answer.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Fill `scope` and pass on."""
        sent = dict(scope["headers"])
        scheme, _, token = sent.get(b"authorization", b"").decode("latin-1").partition(" ")
        scope["user"], scope["auth"] = accounts.ANONYMOUS, None
        if scheme:
            is_bearer = scheme.lower() == "bearer"
            if is_bearer and _watches(scope, token.strip()):
                # Without asking the database: who watches over it must hear that it is down.
                caller: accounts.Caller | None = accounts.ANONYMOUS
            else:
                caller = await _caller(token.strip()) if is_bearer else None
            if caller is None:
                raise errors.Refusal("unauthenticated", headers=challenge("invalid_token"))
            scope["user"], scope["auth"] = caller, token.strip()
        acting = audit.actor.set(scope["user"].account)
        try:
            await next_app(scope, receive, send)
        finally:
            audit.actor.reset(acting)


async def _caller(token: str) -> accounts.Caller | None:
    if token.startswith(accounts.MARK):
        return await accounts.caller_of_key(token)
    return await accounts.caller_of(token)


def challenge(error: str = "") -> dict[str, str]:
    """The WWW-Authenticate header of RFC 6750."""
    return {"WWW-Authenticate": f'Bearer error="{error}"' if error else "Bearer"}


async def before(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Before each handler: whoever has not signed in, where the handler says `signed_in=True`, what
    a service key may not, and what no handler knows, is refused.

    Not guards: for each of those the framework copies the whole handler.
    """
    if request.user.account is None and needs_account(request.route_handler):
        raise errors.Refusal("unauthenticated", headers=challenge())
    if request.user.scopes is not None:
        _within_scopes(request.route_handler, request.user.scopes)
    return await requests.known_query(request)


def _within_scopes(handler: BaseRouteHandler, scopes: tuple[accounts.KeyScope, ...]) -> None:
    """A service key does what its scopes say, and no more."""
    tags = handler.resolve_tags() if isinstance(handler, HTTPRouteHandler) else []
    if not tags or tags[0] in _FOR_ALL:
        return
    name = getattr(handler, "operation_id", None)
    reads = getattr(handler, "http_methods", None) == {"GET"} or name in _READING_POSTS
    if reads:
        needed = "read" if tags[0] in KEY_READS else None
    else:
        needed = None if name in _FOR_PEOPLE else KEY_WRITES.get(tags[0])
    if needed not in scopes:
        raise errors.Refusal("key_scope", scope=needed or "-")


def _watches(scope: Scope, token: str) -> bool:
    """Whether this is the token of a monitoring system, at the one address that it opens."""
    if scope.get("path_template") != METRICS:
        return False
    known: str = scope["litestar_app"].state.options.metrics_token
    return bool(known) and hmac.compare_digest(token.encode(), known.encode())


async def watching(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: an operator, or a monitoring system with the token that the settings name."""
    if not _watches(connection.scope, connection.scope["auth"] or ""):
        await accounts.require(connection.scope["user"], frozenset())


def needs_account(handler: BaseRouteHandler) -> bool:
    """Whether only who has signed in may call it."""
    return bool(handler.opt.get("signed_in"))


def account_of(request: StrictRequest) -> uuid.UUID:
    """The account of a signed-in caller."""
    account = request.user.account
    if account is None:
        raise errors.Refusal("unauthenticated", headers=challenge())
    return account


def token_of(request: StrictRequest) -> str:
    """The access token of a signed-in caller."""
    if request.auth is None:
        raise errors.Refusal("unauthenticated", headers=challenge())
    return request.auth


def found(there: bool) -> None:
    """Refuse with not-found unless `there`."""
    if not there:
        raise errors.not_found()


async def referred(field: str, what: str, subject: uuid.UUID, reading: Awaitable[object]) -> None:
    """Refuse a body's reference to what the caller does not see, naming the field that holds it.
    `reading` reads it with the caller's eyes."""
    try:
        await reading
    except errors.Refusal:
        raise errors.refuse_field(
            field, "unknown_reference", what=what, value=str(subject)
        ) from None
