"""Signing in, renewing and signing out; and the caller behind a token, on every request."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Literal

from msgspec import Struct

from models import audit, base, engine, errors
from models.accounts import limits, logins, passwords
from models.accounts.callers import Caller, RoleGrant
from models.accounts.tables import Token

# An answer can be lost on its way: for so long the same refresh token renews once more.
GRACE = dt.timedelta(seconds=30)


class Session(Struct, frozen=True):
    """What a sign-in answers. `expires_in` counts seconds of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - RFC 6750's name of the scheme


class _Held(Struct, frozen=True):
    """A role that holds, or will."""

    role: RoleGrant
    valid_from: dt.datetime
    valid_to: dt.datetime | None

    def holds(self, moment: dt.datetime) -> bool:
        """The rule of `LIVE`."""
        return self.valid_from <= moment and (self.valid_to is None or self.valid_to > moment)


class _Signed(Struct, frozen=True):
    """Whom a token stands for: whatever the time is, so that it may be kept for a while."""

    account: uuid.UUID
    expires_at: dt.datetime
    roles: tuple[_Held, ...]

    def at(self, moment: dt.datetime) -> Caller:
        """The caller with the roles that hold at that moment."""
        return Caller(self.account, tuple(held.role for held in self.roles if held.holds(moment)))


async def sign_in(
    login: str,
    password: str,
    access: dt.timedelta,
    refresh: dt.timedelta,
    address: str | None = None,
) -> Session:
    """Exchange login and password for tokens. An unknown login takes as long as a known one.

    Refuses after too many failures of the login or from the address (`too_many_attempts`).
    """
    folded = logins.fold(login)
    attempt = await limits.count(folded or login, address)
    rows = await engine.fetch(
        "SELECT id, password_hash FROM account WHERE login = $1 AND status = 'active'",
        folded or "",
    )
    expected = rows[0]["password_hash"] if rows else None
    if not await passwords.verify(expected, password):
        raise errors.Refusal("wrong_login")
    account = base.as_id(rows[0]["id"])
    async with engine.unit_of_work():
        # The password may have changed, or its owner been banned, while it was being verified.
        if not await hold(account, expected):
            raise errors.Refusal("wrong_login")
        await limits.forgive(attempt)
        session = await _issue(account, base.new_id(), access, refresh)
        await audit.append("session.opened", account)
    await limits.sweep("token", "expires_at", base.now())
    return session


async def renew(token: str, access: dt.timedelta, refresh: dt.timedelta) -> Session:
    """Exchange a refresh token for a new pair, once (and within 30 s again, for a lost answer):
    a later use ends that whole sign-in."""
    async with engine.unit_of_work():
        known = await engine.fetch(
            "SELECT id, account, family FROM token"
            " WHERE token_hash = $1 AND kind = 'refresh' AND expires_at > $2",
            passwords.digest(token),
            base.now(),
        )
        session = await _renewed(known[0], access, refresh) if known else None
    # After the commit: ending the family must outlive this refusal.
    if session is None:
        raise errors.Refusal("unauthenticated", headers={"WWW-Authenticate": "Bearer"})
    return session


async def _renewed(
    known: dict[str, Any], access: dt.timedelta, refresh: dt.timedelta
) -> Session | None:
    account, moment = base.as_id(known["account"]), base.now()
    if not await hold(account):
        return None
    # Read only now: whoever held the account before may have used or ended it.
    rows = await engine.fetch("SELECT used_at FROM token WHERE id = $1", known["id"])
    if not rows:
        return None
    used = rows[0]["used_at"]
    if used is None:
        await engine.execute("UPDATE token SET used_at = $1 WHERE id = $2", moment, known["id"])
    elif moment - base.moment(used) > GRACE:
        await engine.execute("DELETE FROM token WHERE family = $1", known["family"])
        await audit.append("session.reused", account)
        return None
    return await _issue(account, base.as_id(known["family"]), access, refresh)


async def sign_out(token: str) -> None:
    """End the sign-in that this access token belongs to, on all its tokens at once."""
    async with engine.unit_of_work():
        rows = await engine.fetch(
            "SELECT account, family FROM token WHERE token_hash = $1", passwords.digest(token)
        )
        for row in rows:
            account = base.as_id(row["account"])
            await hold(account)
            await engine.execute("DELETE FROM token WHERE family = $1", row["family"])
            await audit.append("session.closed", account)


async def end_others(account: uuid.UUID, token: str) -> None:
    """End every sign-in of the account but the one of this access token."""
    rows = await engine.fetch(
        "SELECT family FROM token WHERE token_hash = $1", passwords.digest(token)
    )
    where = base.Where()
    where.add("account = {}", account)
    for row in rows:
        where.add("family <> {}", row["family"])
    await engine.execute(f"DELETE FROM token WHERE {where}", *where.args)


async def hold(account: uuid.UUID, password_hash: str | None = None) -> bool:
    """Lock an active account (still with this password hash) until the unit of work ends.

    Whoever gives or ends its tokens and roles holds it first, so that none is given at the very
    moment when all are being ended. False when it is not active, or the hash is another one.
    """
    where = base.Where()
    where.add("id = {} AND status = 'active'", account)
    if password_hash:
        where.add("password_hash = {}", password_hash)
    return bool(
        await engine.fetch(
            f"UPDATE account SET status = status WHERE {where} RETURNING id", *where.args
        )
    )


_CALLER = (
    "SELECT t.account, t.expires_at, r.name, r.place, r.partner, r.valid_from, r.valid_to"
    " FROM token t JOIN account a ON a.id = t.account AND a.status = 'active'"
    " LEFT JOIN role r ON r.account = t.account AND (r.valid_to IS NULL OR r.valid_to > $2)"
    " WHERE t.token_hash = $1 AND t.kind = 'access'"
)
# Whoever signs out, is banned or loses a role writes one of these.
_callers: engine.Memo[_Signed] = engine.Memo(("token", "account", "role"), 10_000)


async def caller_of(token: str) -> Caller | None:
    """The caller behind an access token, with the roles that hold now; None if it is not valid."""
    digest, moment = passwords.digest(token), base.now()
    signed = await engine.kept(_callers, digest, lambda: _signed(digest, moment))
    if signed is None or signed.expires_at <= moment:
        return None
    return signed.at(moment)


async def _signed(digest: str, moment: dt.datetime) -> _Signed | None:
    rows = await engine.rows(_CALLER, digest, moment)
    if not rows:
        return None
    roles = tuple(
        _Held(
            RoleGrant(name, place and base.as_id(place), partner and base.as_id(partner)),
            base.moment(valid_from),
            valid_to and base.moment(valid_to),
        )
        for _, _, name, place, partner, valid_from, valid_to in rows
        if name
    )
    return _Signed(base.as_id(rows[0][0]), base.moment(rows[0][1]), roles)


async def _issue(
    account: uuid.UUID, family: uuid.UUID, access: dt.timedelta, refresh: dt.timedelta
) -> Session:
    moment = base.now()
    session = Session(
        access_token=passwords.new_token(),
        refresh_token=passwords.new_token(),
        expires_in=int(access.total_seconds()),
    )
    await Token.insert(
        *(
            Token(
                id=base.new_id(),
                account=account,
                family=family,
                kind=kind,
                token_hash=passwords.digest(token),
                expires_at=moment + life,
            )
            for kind, token, life in (
                ("access", session.access_token, access),
                ("refresh", session.refresh_token, refresh),
            )
        )
    )
    return session
