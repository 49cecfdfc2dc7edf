"""How much a caller may ask in a minute, and the headers that say what is left.

Four budgets, each counted on its own for each caller: an account, a service key, or where there
is neither an address. GCRA: one number per caller and budget, the moment when it will be full
again, so that what was used comes back evenly and not all at once at the turn of a minute.
"""

from __future__ import annotations

import functools
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Literal

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from models import errors

Name = Literal["read", "write", "search", "sign-in"]

PER_MINUTE: dict[Name, int] = {"read": 1200, "write": 240, "search": 300, "sign-in": 30}
WINDOW_S = 60
# What costs more than reading or writing a row: a password's hash, or a walk over the whole index.
OPERATIONS: dict[str, Name] = {
    "sign_in": "sign-in",
    "register_account": "sign-in",
    "accept_invitation": "sign-in",
    "change_password": "sign-in",
    "search": "search",
    "match_need": "search",
    "match_offering": "search",
    "bundle_need": "search",
    "preview_need": "search",
    "replay_snapshot": "search",
    "what_if": "search",
    "why_not_in_plan": "search",
    "propose_plan": "search",
    "report_coverage": "search",
    "report_exclusions": "search",
    "report_fairness": "search",
}
# For whoever watches over the service: if these were refused, it would be taken for dead.
FREE = frozenset({"livez", "metrics", "readyz"})
# Beyond so many callers the one not seen for longest is forgotten, and has a full budget again.
CALLERS = 50_000

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_SECOND = 1_000_000_000


class Taken(Struct, frozen=True):
    """What one request has taken. `wait` is 0 when it may go on, else seconds until it may."""

    wait: int
    headers: list[tuple[bytes, bytes]]


class _Budget(Struct, frozen=True):
    name: bytes
    limit: int
    interval: int  # nanoseconds until one request comes back
    policy: list[tuple[bytes, bytes]]


class Limiter:
    """The budgets of one process. `scale` multiplies them all."""

    def __init__(self, scale: float, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._full_at: OrderedDict[Hashable, int] = OrderedDict()
        self._budgets = {name: _budget(name, scale) for name in PER_MINUTE}

    def take(self, name: Name, caller: Hashable) -> Taken:
        """One request of this caller. What is refused takes nothing."""
        budget, now, key = self._budgets[name], self._clock(), (name, caller)
        before = max(self._full_at.get(key, 0), now)
        missing = before + budget.interval - now
        over = missing - budget.interval * budget.limit
        if over > 0:
            self._full_at.move_to_end(key)
            return Taken(-(-over // _SECOND), _headers(budget, before - now))
        self._full_at[key] = now + missing
        self._full_at.move_to_end(key)
        if len(self._full_at) > CALLERS:
            self._full_at.popitem(last=False)
        return Taken(0, _headers(budget, missing))


def _budget(name: Name, scale: float) -> _Budget:
    limit = max(1, round(PER_MINUTE[name] * scale))
    policy = b'"%b";q=%d;w=%d' % (name.encode(), limit, WINDOW_S)
    return _Budget(
        name.encode(),
        limit,
        WINDOW_S * _SECOND // limit,
        [(b"ratelimit-policy", policy), (b"ratelimit-limit", b"%d" % limit)],
    )


def _headers(budget: _Budget, missing: int) -> list[tuple[bytes, bytes]]:
    """The fields of the IETF draft, and the three that clients knew before it."""
    left = budget.limit - -(-missing // budget.interval)
    reset = -(-missing // _SECOND)
    return [
        *budget.policy,
        (b"ratelimit", b'"%b";r=%d;t=%d' % (budget.name, left, reset)),
        (b"ratelimit-remaining", b"%d" % left),
        (b"ratelimit-reset", b"%d" % reset),
    ]


class Meter(ASGIMiddleware):
    """Take each request from its caller's budget, once it is known who calls."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass on, or refuse with 429."""
        operation = getattr(scope["route_handler"], "operation_id", None) or ""
        if operation in FREE:
            scope["state"]["taken"] = None
        else:
            is_read = scope["method"] in _READS  # type: ignore[typeddict-item]  # HTTP only
            name = OPERATIONS.get(operation) or ("read" if is_read else "write")
            # A sign-in is of nobody yet, whatever token came with it.
            caller = address(scope) if name == "sign-in" else _caller(scope)
            scope["state"]["taken"] = taken = self._limiter.take(name, caller)
            if taken.wait:
                raise refusal(taken)
        await next_app(scope, receive, send)


def refusal(taken: Taken) -> errors.Refusal:
    """The 429 for a budget that is used up."""
    headers = {"Retry-After": str(taken.wait)}
    return errors.Refusal("too_many_requests", headers=headers, seconds=taken.wait)


def _caller(scope: Scope) -> Hashable:
    user = scope["user"]
    if user.scopes is not None:
        # A key has the account of whoever made it, whose own budget it must not use up.
        return hash(scope["auth"])
    return user.account or address(scope)


def address(scope: Scope) -> str:
    """Where a request comes from, as far as its sender cannot choose it."""
    return address_of(scope.get("client"))


def address_of(client: tuple[str, int] | None) -> str:
    """The same for the host and port of whoever is connected."""
    return _network(client[0]) if client else "local"


@functools.lru_cache(maxsize=4096)
def _network(host: str) -> str:
    """The address itself, or of an IPv6 address the network: a household has 2^64 of them."""
    if ":" not in host:
        return host
    try:
        found = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))
