"""Accounts, and signing in and out."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from api import answers, auth, limits
from api.requests import StrictRequest
from models import accounts, errors, people, settings

OFFICERS = frozenset({"officer"})


class Credentials(Struct, forbid_unknown_fields=True):
    """Login and password."""

    login: Annotated[str, Meta(min_length=1, max_length=200)]
    password: Annotated[str, Meta(min_length=1, max_length=1000)]


class Refresh(Struct, forbid_unknown_fields=True):
    """A refresh token, good for one use."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=200)]


class PasswordChange(Struct, forbid_unknown_fields=True):
    """The present password and the one to come."""

    old: Annotated[str, Meta(min_length=1, max_length=1000)]
    new: accounts.Password


class SessionController(Controller):
    """Opaque bearer tokens: a short-lived one to call with, a longer one to renew it."""

    path = "/v1/sessions"
    tags = ("sessions",)

    @post(operation_id="sign_in", summary="Sign in", status_code=201)
    async def sign_in(
        self,
        request: StrictRequest,
        data: JSONBody[Credentials],
        options: NamedDependency[settings.Settings],
    ) -> accounts.Session:
        """Exchange login and password for an access and a refresh token. After 10 failures of a
        login, or 50 from one address, within 15 minutes: 429."""
        address = limits.address(request.scope)
        return await accounts.sign_in(data.login, data.password, *_lives(options), address)

    @post("/refresh", operation_id="renew_session", summary="Renew a session", status_code=201)
    async def renew(
        self, data: JSONBody[Refresh], options: NamedDependency[settings.Settings]
    ) -> accounts.Session:
        """Exchange a refresh token, once, for a new pair; within 30 seconds once more, when the
        answer was lost. A later use ends the whole sign-in."""
        return await accounts.renew(data.refresh_token, *_lives(options))

    @get("/current", operation_id="current_session", summary="Who am I", signed_in=True)
    async def current(self, request: StrictRequest) -> accounts.Caller:
        """The account behind the token, and the roles that hold now."""
        return request.user

    @delete("/current", operation_id="sign_out", summary="Sign out", signed_in=True)
    async def sign_out(self, request: StrictRequest) -> None:
        """End this sign-in on all its tokens at once."""
        await accounts.sign_out(auth.token_of(request))


class AccountController(Controller):
    """People who sign in. Passwords are never part of a kept answer: no Idempotency-Key here."""

    path = "/v1/accounts"
    tags = ("accounts",)

    @post(operation_id="register_account", summary="Open an account", status_code=201)
    async def register(self, data: JSONBody[accounts.AccountDraft]) -> accounts.AccountRecord:
        """Open an account as a resident, of the home place if one is named."""
        account = await accounts.register(
            data.login, data.password, data.display_name, data.home_place_id
        )
        return await accounts.read_account(account)

    @get("/current", operation_id="get_account", summary="My account", signed_in=True)
    async def read(self, request: StrictRequest) -> Response[accounts.AccountRecord]:
        """The own account."""
        account = await accounts.read_account(auth.account_of(request))
        return answers.shown(request, account, tag=answers.etag(account.version))

    @patch(
        "/current",
        operation_id="change_account",
        summary="Change my account",
        signed_in=True,
    )
    async def change(
        self, request: StrictRequest, data: JSONBody[accounts.AccountChange]
    ) -> Response[accounts.AccountRecord]:
        """Change the own account. Needs If-Match."""
        account = await accounts.read_account(auth.account_of(request))
        answers.require_match(request, account.version)
        return answers.changed(await accounts.change_account(account, data))

    @delete("/current", operation_id="erase_account", summary="Forget me", signed_in=True)
    async def erase(self, request: StrictRequest, data: JSONBody[people.Erasure]) -> None:
        """Erase the account: sign-ins, roles, keys, and what was offered or asked for as a
        resident. The audit trail keeps ids alone. It cannot be undone, and the last operator
        cannot do it."""
        await people.erase(auth.account_of(request), data.password)

    @post(
        "/current/password",
        operation_id="change_password",
        summary="Change my password",
        status_code=204,
        signed_in=True,
    )
    async def change_password(self, request: StrictRequest, data: JSONBody[PasswordChange]) -> None:
        """Set a new password; every other sign-in ends."""
        await accounts.change_password(
            auth.account_of(request), data.old, data.new, auth.token_of(request)
        )

    @post(
        "/{account_id:uuid}/ban",
        operation_id="ban_account",
        summary="Ban an account",
        status_code=200,
        signed_in=True,
    )
    async def ban(
        self, request: StrictRequest, account_id: FromPath[uuid.UUID]
    ) -> Response[accounts.Standing]:
        """End every sign-in of the account, and the roles it lent, from the next request on; other
        server processes follow within a second. Officers ban whoever stands within their places,
        operators everybody but the last of themselves."""
        await _require_authority(request, account_id)
        return await answers.once(request, lambda: accounts.ban(account_id), status=200)

    @post(
        "/{account_id:uuid}/unban",
        operation_id="unban_account",
        summary="Lift a ban",
        status_code=200,
        signed_in=True,
    )
    async def unban(
        self, request: StrictRequest, account_id: FromPath[uuid.UUID]
    ) -> Response[accounts.Standing]:
        """Let the account sign in again, with the roles that it still holds."""
        await _require_authority(request, account_id)
        return await answers.once(request, lambda: accounts.unban(account_id), status=200)


async def _require_authority(request: StrictRequest, account: uuid.UUID) -> None:
    """Only officers learn whether there is such an account, and only within their places."""
    await accounts.require(request.user, OFFICERS, place_lineage=request.user.places_as(OFFICERS))
    if not await accounts.may_ban(request.user, account):
        raise errors.not_found()


def _lives(options: settings.Settings) -> tuple[dt.timedelta, dt.timedelta]:
    return dt.timedelta(minutes=options.access_minutes), dt.timedelta(days=options.refresh_days)
