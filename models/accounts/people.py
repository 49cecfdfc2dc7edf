"""Accounts: opening, changing, banning."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from models import audit, base, engine, errors, places, values
from models.accounts import limits, logins, operators, passwords, roles, sessions
from models.accounts.callers import LIVE, Caller
from models.accounts.tables import Account

Password = Annotated[str, Meta(min_length=10, max_length=1000)]
Status = Literal["active", "banned", "erased"]


class AccountDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a resident states to open an account: `login` is an e-mail address or phone number."""

    login: values.Line
    password: Password
    display_name: values.Line
    home_place_id: uuid.UUID | None = None


class AccountChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What its owner may change of an account."""

    display_name: values.Line | UnsetType = UNSET


class AccountRecord(Struct, kw_only=True):
    """An account as its owner reads it."""

    id: uuid.UUID
    login: str
    display_name: str
    status: Status
    home_place_id: uuid.UUID | None
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


class Standing(Struct, frozen=True, kw_only=True):
    """Whether an account may be used: what is told of it to those who ban."""

    id: uuid.UUID
    status: Status
    version: int


async def register(
    login: str, password: str, display_name: str, home_place: uuid.UUID | None = None
) -> uuid.UUID:
    """Open an account, with the role of a resident at its home. Refuses a login that is taken."""
    folded = logins.required(login)
    return await open_account(folded, await passwords.hashed(password), display_name, home_place)


async def open_account(
    login: str, password_hash: str, display_name: str, home_place: uuid.UUID | None = None
) -> uuid.UUID:
    """The same in one transaction, for a folded login and a password that is hashed already."""
    account, moment = base.new_id(), base.now()
    async with engine.unit_of_work():
        if home_place:
            await base.refer("home_place_id", places.Place, home_place)
        opened = await engine.fetch(
            "INSERT INTO account (id, login, password_hash, display_name, status, home_place,"
            " version, created_at, updated_at) VALUES ($1, $2, $3, $4, 'active', $5, 1, $6, $6)"
            " ON CONFLICT (login) DO NOTHING RETURNING id",
            account,
            login,
            password_hash,
            display_name,
            home_place,
            moment,
        )
        if not opened:
            raise errors.refuse_field("login", "taken", value=login)
        await audit.append("account.opened", account, place=home_place)
        if home_place:
            await roles.grant(account, "resident", place=home_place)
    return account


async def read_account(account: uuid.UUID) -> AccountRecord:
    """One account, or the not-found refusal."""
    rows = await engine.fetch(
        "SELECT *, home_place AS home_place_id FROM account WHERE id = $1", account
    )
    if not rows:
        raise errors.not_found()
    return base.record(rows[0], AccountRecord)


async def change_account(account: AccountRecord, change: AccountChange) -> AccountRecord:
    """Apply a change. The caller holds the version it read (If-Match)."""
    async with engine.unit_of_work():
        await base.update(Account, account, base.given(change))
        await audit.append("account.changed", account.id, place=account.home_place_id)
        return await read_account(account.id)


async def change_password(account: uuid.UUID, old: str, new: str, token: str) -> None:
    """Set a new password and end every sign-in but that of `token`.

    Refuses a wrong old one, which counts as a failed sign-in.
    """
    rows = await engine.fetch("SELECT login, password_hash FROM account WHERE id = $1", account)
    login, expected = rows[0]["login"], rows[0]["password_hash"]
    attempt = await limits.count(login, None)
    if not await passwords.verify(expected, old):
        raise errors.refuse_field("old", "wrong_password")
    hashed = await passwords.hashed(new)
    async with engine.unit_of_work():
        if not await sessions.hold(account, expected):
            raise errors.Refusal("conflict")
        await limits.forgive(attempt)
        await engine.execute(
            "UPDATE account SET password_hash = $1, version = version + 1, updated_at = $2"
            " WHERE id = $3",
            hashed,
            base.now(),
            account,
        )
        await sessions.end_others(account, token)
        await audit.append("account.password_changed", account)


async def ban(account: uuid.UUID) -> Standing:
    """End every sign-in of the account and the roles it has lent, from the next request on. Refuses
    to ban the last operator."""
    async with engine.unit_of_work():
        await operators.keep_one(account)
        standing = await _turn(account, "active", "banned")
        await engine.execute("DELETE FROM token WHERE account = $1", account)
        await roles.end_lent_by(account)
        return standing


async def unban(account: uuid.UUID) -> Standing:
    """Let the account sign in again, with the roles that it still holds."""
    async with engine.unit_of_work():
        return await _turn(account, "banned", "active")


async def _turn(account: uuid.UUID, starts: Status, leads_to: Status) -> Standing:
    rows = await engine.fetch(
        "UPDATE account SET status = $1, version = version + 1, updated_at = $2"
        " WHERE id = $3 AND status = $4 RETURNING id, status, version, home_place",
        leads_to,
        base.now(),
        account,
        starts,
    )
    if not rows:
        known = await read_account(account)
        raise errors.Refusal("wrong_state", has=known.status, needed=starts)
    home = rows[0]["home_place"]
    action = "account.banned" if leads_to == "banned" else "account.unbanned"
    await audit.append(action, account, place=home and base.as_id(home))
    return base.record(rows[0], Standing)


async def may_ban(caller: Caller, account: uuid.UUID) -> bool:
    """Operators may ban everybody; an officer those whose home and every role lie in the own
    places, and other officers only strictly below."""
    if caller.is_operator:
        return True
    mine = caller.places_as({"officer"})
    held = await _standpoints(account)
    for name, place in held:
        lineage = await places.ancestors(place) if place else []
        if not mine.intersection(lineage[1:] if name == "officer" else lineage):
            return False
    return bool(held)


async def _standpoints(account: uuid.UUID) -> list[tuple[str, uuid.UUID | None]]:
    """Each role that holds, and the home, with its place; a partner's people stand at the
    partner's place."""
    rows: list[tuple[Any, ...]] = await engine.rows(
        "SELECT r.name, coalesce(r.place, p.place) FROM role r"
        f" LEFT JOIN partner p ON p.id = r.partner WHERE r.account = $1 AND {LIVE.format('$2')}"
        " UNION SELECT 'home', home_place FROM account WHERE id = $1 AND home_place IS NOT NULL",
        account,
        base.now(),
    )
    return [(name, place and base.as_id(place)) for name, place in rows]
