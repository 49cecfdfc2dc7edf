"""Signing in and out."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from litestar import Controller, Request, delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta, Struct

from api import auth
from models import accounts, settings


class Credentials(Struct, forbid_unknown_fields=True):
    """Login and password."""

    login: Annotated[str, Meta(min_length=1, max_length=200)]
    password: Annotated[str, Meta(min_length=1, max_length=1000)]


class Refresh(Struct, forbid_unknown_fields=True):
    """A refresh token, good for one use."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=200)]


class SessionController(Controller):
    """Opaque bearer tokens: a short-lived one to call with, a longer one to renew it."""

    path = "/v1/sessions"
    tags = ("sessions",)

    @post(operation_id="sign_in", summary="Sign in", status_code=201)
    async def sign_in(
        self, data: JSONBody[Credentials], options: NamedDependency[settings.Settings]
    ) -> accounts.Session:
        """Exchange login and password for an access and a refresh token."""
        return await accounts.sign_in(data.login, data.password, *_lives(options))

    @post("/refresh", operation_id="renew_session", summary="Renew a session", status_code=201)
    async def renew(
        self, data: JSONBody[Refresh], options: NamedDependency[settings.Settings]
    ) -> accounts.Session:
        """Exchange a refresh token, once, for a new pair. A second use ends the whole sign-in."""
        return await accounts.renew(data.refresh_token, *_lives(options))

    @get("/current", operation_id="current_session", summary="Who am I", guards=[auth.signed_in])
    async def current(self, request: Request[accounts.Caller, Any, State]) -> accounts.Caller:
        """The account behind the token, and the roles that hold now."""
        return request.user

    @delete("/current", operation_id="sign_out", summary="Sign out", guards=[auth.signed_in])
    async def sign_out(self, request: Request[accounts.Caller, Any, State]) -> None:
        """End this sign-in on all its tokens at once."""
        await accounts.sign_out(request.auth)


def _lives(options: settings.Settings) -> tuple[dt.timedelta, dt.timedelta]:
    return dt.timedelta(minutes=options.access_minutes), dt.timedelta(days=options.refresh_days)
