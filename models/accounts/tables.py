"""The tables of people: accounts, roles, and everything that is kept only as its hash."""

from __future__ import annotations

from piccolo.columns import UUID, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models.places import Place


class Account(Table):
    """A person who signs in."""

    id = UUID(primary_key=True)
    login = Varchar(length=200, null=False)
    password_hash = Varchar(length=200, null=False, secret=True)
    display_name = Varchar(length=200, null=False)
    status = Varchar(length=16, null=False)
    home_place = ForeignKey(Place, null=True, default=None)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


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
    """Failed sign-ins of one login or one address (their hash) within one minute."""

    id = UUID(primary_key=True)
    subject = Varchar(length=64, null=False)
    window_start = Timestamptz(null=False)
    failures = Integer(null=False)
