"""Accounts, their roles and tokens, and the one rule of who sees and changes what."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import secrets
import uuid
from collections.abc import Iterable
from typing import Literal

import argon2
from msgspec import Struct
from piccolo.columns import UUID, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import base, engine, errors
from models.places import Place

RoleName = Literal[
    "resident",
    "volunteer",
    "vanguard",
    "partner_staff",
    "grid_worker",
    "secretary",
    "officer",
    "operator",
]
# Who decides for a community, and who also reports from it.
DECIDERS = frozenset({"secretary", "officer"})
STAFF = DECIDERS | {"grid_worker"}

# OWASP's first argon2id recommendation: 46 MiB, one pass, one lane.
_hasher = argon2.PasswordHasher(time_cost=1, memory_cost=46 * 1024, parallelism=1)
# Two at once: more would take 46 MiB each and both cores from everybody else.
_hashing = asyncio.Semaphore(2)
_nobody: list[str] = []


class Account(Table):
    """A person who signs in."""

    id = UUID(primary_key=True)
    login = Varchar(length=200, null=False)
    password_hash = Varchar(length=200, null=False, secret=True)
    display_name = Varchar(length=200, null=False)
    status = Varchar(length=16, null=False)
    home_place = ForeignKey(Place, null=True, default=None)
    created_at = Timestamptz(null=False)


class Role(Table):
    """Account × role × place or partner, with dates. Without an end it holds until revoked."""

    id = UUID(primary_key=True)
    account = ForeignKey(Account, null=False)
    name = Varchar(length=32, null=False)
    place = ForeignKey(Place, null=True, default=None)
    # The partner a partner_staff acts for. Partners stand above accounts in the import order.
    partner = UUID(null=True, default=None)
    valid_from = Timestamptz(null=False)
    valid_to = Timestamptz(null=True, default=None)
    granted_by = ForeignKey(Account, null=True, default=None)
    # The role this one was delegated from: it ends when that one ends.
    delegated_from = UUID(null=True, default=None)


class Token(Table):
    """An access or refresh token, kept as its SHA-256; `family` is one sign-in."""

    id = UUID(primary_key=True)
    account = ForeignKey(Account, null=False)
    family = UUID(null=False)
    kind = Varchar(length=8, null=False)
    token_hash = Varchar(length=64, null=False, secret=True)
    expires_at = Timestamptz(null=False)
    used_at = Timestamptz(null=True, default=None)


class Invitation(Table):
    """An offer of a role to whoever holds its token, kept as its SHA-256; good once."""

    id = UUID(primary_key=True)
    token_hash = Varchar(length=64, null=False, secret=True)
    role = Varchar(length=32, null=False)
    place = ForeignKey(Place, null=True, default=None)
    partner = UUID(null=True, default=None)
    role_valid_to = Timestamptz(null=True, default=None)
    invited_by = ForeignKey(Account, null=False)
    expires_at = Timestamptz(null=False)
    accepted_by = ForeignKey(Account, null=True, default=None)
    accepted_at = Timestamptz(null=True, default=None)


class ServiceKey(Table):
    """A key of a partner system, kept as its SHA-256; `prefix` is what people see of it."""

    id = UUID(primary_key=True)
    prefix = Varchar(length=12, null=False)
    key_hash = Varchar(length=64, null=False, secret=True)
    name = Varchar(length=200, null=False)
    # JSON: the scopes it may use.
    scopes = Text(null=False)
    place = ForeignKey(Place, null=True, default=None)
    partner = UUID(null=True, default=None)
    made_by = ForeignKey(Account, null=False)
    created_at = Timestamptz(null=False)
    expires_at = Timestamptz(null=True, default=None)
    revoked_at = Timestamptz(null=True, default=None)
    last_used_at = Timestamptz(null=True, default=None)


class SignInFailure(Table):
    """Failed sign-ins of one login or one address (their hash) within one window of time."""

    id = UUID(primary_key=True)
    subject = Varchar(length=64, null=False)
    window_start = Timestamptz(null=False)
    failures = Integer(null=False)


class RoleGrant(Struct, frozen=True):
    """A role that holds now: its name, and the place or partner it is for."""

    name: RoleName
    place: uuid.UUID | None = None
    partner: uuid.UUID | None = None


class Caller(Struct, frozen=True):
    """Who is asking: nobody (anonymous) or an account with the roles that hold now."""

    account: uuid.UUID | None = None
    roles: tuple[RoleGrant, ...] = ()

    @property
    def is_operator(self) -> bool:
        """Operators run the system and see everything."""
        return any(role.name == "operator" for role in self.roles)

    def places_as(self, names: Iterable[str]) -> frozenset[uuid.UUID]:
        """The places at which the caller has one of the named roles (each means its subtree)."""
        wanted = set(names)
        return frozenset(role.place for role in self.roles if role.name in wanted and role.place)

    @property
    def partners(self) -> frozenset[uuid.UUID]:
        """The partners the caller acts for."""
        return frozenset(
            role.partner for role in self.roles if role.name == "partner_staff" and role.partner
        )


ANONYMOUS = Caller()


class Session(Struct, frozen=True):
    """What a sign-in answers. `expires_in` counts seconds of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - RFC 6750's name of the scheme


class Visibility(Struct, frozen=True):
    """The scoping rule of a caller, for the database (`restrict`) and the index alike.

    Public rows are everybody's; what is not public belongs to the staff of its place (and of
    everything above) and to the partner's own people; an operator sees all.
    """

    everything: bool = False
    places: frozenset[uuid.UUID] = frozenset()
    partners: frozenset[uuid.UUID] = frozenset()

    def restrict(self, where: base.Where, public: str, place: str, partner: str | None) -> None:
        """Add the rule to a query: `public` is its condition for a public row, the others are the
        columns that name the row's place and partner."""
        if self.everything:
            return
        clauses = [public]
        if self.places:
            clauses.append(
                f"{place} IN (SELECT descendant FROM place_closure"
                f" WHERE ancestor IN ({where.values(sorted(self.places))}))"
            )
        if self.partners and partner:
            clauses.append(f"{partner} IN ({where.values(sorted(self.partners))})")
        where.add(f"({' OR '.join(clauses)})")


# What verbs read with: the program's own eyes. Handlers pass the caller's.
EVERYTHING = Visibility(everything=True)


def visibility(caller: Caller) -> Visibility:
    """The one helper that turns a caller into what they may see."""
    return Visibility(
        everything=caller.is_operator,
        places=caller.places_as(STAFF),
        partners=caller.partners,
    )


async def inside(sees: Visibility, places: Iterable[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Those of the places that lie in the caller's own subtrees."""
    asked = sorted(set(places))
    if not asked or not sees.places:
        return frozenset()
    where = base.Where()
    where.add(f"descendant IN ({where.values(asked)})")
    where.add(f"ancestor IN ({where.values(sorted(sees.places))})")
    rows = await engine.fetch(
        f"SELECT DISTINCT descendant FROM place_closure WHERE {where}", *where.args
    )
    return frozenset(base.as_id(row["descendant"]) for row in rows)


async def require(
    caller: Caller,
    roles: frozenset[str],
    *,
    place_lineage: Iterable[uuid.UUID] = (),
    partner: uuid.UUID | None = None,
) -> None:
    """Refuse unless the caller holds one of `roles` at a place of the lineage, acts for the
    partner, or is an operator. Anonymous callers get 401, the others 403."""
    if caller.account is None:
        raise errors.Refusal("unauthenticated", headers={"WWW-Authenticate": "Bearer"})
    if caller.is_operator or (partner is not None and partner in caller.partners):
        return
    if caller.places_as(roles).intersection(place_lineage):
        return
    needed = sorted(roles | {"operator"} | ({"partner_staff"} if partner else set()))
    raise errors.Refusal("forbidden", roles=", ".join(needed))


async def register(login: str, password: str, display_name: str) -> uuid.UUID:
    """Open an account. Refuses a login that is taken."""
    hashed = await _hash(password)
    async with engine.unit_of_work():
        if await engine.fetch("SELECT 1 FROM account WHERE login = $1", login):
            raise errors.refuse_field("login", "taken", value=login)
        account_id = base.new_id()
        await Account.insert(
            Account(
                id=account_id,
                login=login,
                password_hash=hashed,
                display_name=display_name,
                status="active",
                created_at=base.now(),
            )
        )
        return account_id


async def grant(
    account: uuid.UUID,
    name: RoleName,
    *,
    place: uuid.UUID | None = None,
    partner: uuid.UUID | None = None,
) -> None:
    """Give an account a role from now on."""
    await Role.insert(
        Role(
            id=base.new_id(),
            account=account,
            name=name,
            place=place,
            partner=partner,
            valid_from=base.now(),
        )
    )


async def sign_in(
    login: str, password: str, access: dt.timedelta, refresh: dt.timedelta
) -> Session:
    """Exchange login and password for tokens. An unknown login takes as long as a known one."""
    rows = await engine.fetch(
        "SELECT id, password_hash FROM account WHERE login = $1 AND status = 'active'", login
    )
    expected = rows[0]["password_hash"] if rows else await _hash_of_nobody()
    if not await _verify(expected, password) or not rows:
        raise errors.Refusal("wrong_login")
    async with engine.unit_of_work():
        return await _issue(base.as_id(rows[0]["id"]), base.new_id(), access, refresh)


async def renew(token: str, access: dt.timedelta, refresh: dt.timedelta) -> Session:
    """Exchange a refresh token for a new pair, once: a second use ends that whole sign-in."""
    async with engine.unit_of_work():
        rows = await engine.fetch(
            "SELECT id, account, family, used_at FROM token"
            " WHERE token_hash = $1 AND kind = 'refresh' AND expires_at > $2",
            _digest(token),
            base.now(),
        )
        reused = bool(rows and rows[0]["used_at"])
        if reused:
            await engine.execute("DELETE FROM token WHERE family = $1", rows[0]["family"])
        elif rows:
            await engine.execute(
                "UPDATE token SET used_at = $1 WHERE id = $2", base.now(), rows[0]["id"]
            )
            return await _issue(
                base.as_id(rows[0]["account"]), base.as_id(rows[0]["family"]), access, refresh
            )
    # After the commit: ending the family must outlive this refusal.
    raise errors.Refusal("unauthenticated", headers={"WWW-Authenticate": "Bearer"})


async def sign_out(token: str) -> None:
    """End the sign-in that this access token belongs to, on all its tokens at once."""
    await engine.execute(
        "DELETE FROM token WHERE family IN (SELECT family FROM token WHERE token_hash = $1)",
        _digest(token),
    )


async def caller_of(token: str) -> Caller | None:
    """The caller behind an access token, with the roles that hold now; None if it is not valid."""
    moment = base.now()
    rows = await engine.fetch(
        "SELECT t.account, r.name, r.place, r.partner FROM token t"
        " JOIN account a ON a.id = t.account AND a.status = 'active'"
        " LEFT JOIN role r ON r.account = t.account AND r.valid_from <= $2"
        " AND (r.valid_to IS NULL OR r.valid_to > $2)"
        " WHERE t.token_hash = $1 AND t.kind = 'access' AND t.expires_at > $2",
        _digest(token),
        moment,
    )
    if not rows:
        return None
    roles = tuple(base.record(row, RoleGrant) for row in rows if row["name"])
    return Caller(base.as_id(rows[0]["account"]), roles)


async def _issue(
    account: uuid.UUID, family: uuid.UUID, access: dt.timedelta, refresh: dt.timedelta
) -> Session:
    moment = base.now()
    session = Session(
        access_token=secrets.token_urlsafe(32),
        refresh_token=secrets.token_urlsafe(32),
        expires_in=int(access.total_seconds()),
    )
    await Token.insert(
        *(
            Token(
                id=base.new_id(),
                account=account,
                family=family,
                kind=kind,
                token_hash=_digest(token),
                expires_at=moment + life,
            )
            for kind, token, life in (
                ("access", session.access_token, access),
                ("refresh", session.refresh_token, refresh),
            )
        )
    )
    return session


def _digest(token: str) -> str:
    # Tokens carry 256 random bits, so a plain hash cannot be searched for; no salt is needed.
    return hashlib.sha256(token.encode()).hexdigest()


async def _hash(password: str) -> str:
    async with _hashing:
        return await asyncio.to_thread(_hasher.hash, password)


async def _hash_of_nobody() -> str:
    if not _nobody:
        _nobody.append(await _hash(secrets.token_urlsafe(16)))
    return _nobody[0]


async def _verify(expected: str, password: str) -> bool:
    async with _hashing:
        try:
            return await asyncio.to_thread(_hasher.verify, expected, password)
        except argon2.exceptions.VerificationError:
            return False
