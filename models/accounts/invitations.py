"""Invitations: a role for whoever holds the token, once."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated

from msgspec import Meta, Struct

from models import audit, base, engine, errors, values
from models.accounts import logins, passwords, people, roles
from models.accounts.callers import RoleName, Visibility, holder
from models.accounts.tables import Invitation

LIFE = dt.timedelta(days=7)


class InvitationDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """The role to offer; `valid_to` is when that role will end."""

    role: RoleName
    place_id: uuid.UUID | None = None
    partner_id: uuid.UUID | None = None
    valid_to: roles.Moment | None = None

    def __post_init__(self) -> None:
        roles.check_seat(self.role, self.place_id, self.partner_id)
        roles.check_moment("valid_to", self.valid_to)


class Invited(Struct, frozen=True, kw_only=True):
    """An invitation as it is shown, once: hand the token to whom it is for."""

    id: uuid.UUID
    token: str
    role: RoleName
    place_id: uuid.UUID | None
    partner_id: uuid.UUID | None
    valid_to: dt.datetime | None
    expires_at: dt.datetime


class InvitationRecord(Struct, frozen=True, kw_only=True):
    """An invitation as it is listed, without its token. `valid_to` is when its role will end."""

    id: uuid.UUID
    role: RoleName
    place_id: uuid.UUID | None
    partner_id: uuid.UUID | None
    valid_to: dt.datetime | None
    invited_by: uuid.UUID
    expires_at: dt.datetime
    accepted_by: uuid.UUID | None
    accepted_at: dt.datetime | None


class Acceptance(Struct, forbid_unknown_fields=True, kw_only=True):
    """The token; and whoever has no account yet opens one with the rest."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]
    login: values.Line | None = None
    password: people.Password | None = None
    display_name: values.Line | None = None


class Newcomer(Struct, frozen=True):
    """What opens an account on the way: a folded login and a hashed password."""

    login: str
    password_hash: str
    display_name: str


async def invite(draft: InvitationDraft, by: uuid.UUID) -> Invited:
    """Offer a role for seven days. Refuses what giving it would refuse."""
    await roles.refer_seat(draft.role, draft.place_id, draft.partner_id)
    moment = base.now()
    if draft.valid_to and draft.valid_to <= moment:
        raise errors.refuse_field("valid_to", "wrong_format", needed="in the future")
    invited = Invited(
        id=base.new_id(),
        token=passwords.new_token(),
        role=draft.role,
        place_id=draft.place_id,
        partner_id=draft.partner_id,
        valid_to=draft.valid_to,
        expires_at=moment + LIFE,
    )
    async with engine.unit_of_work():
        await Invitation.insert(
            Invitation(
                id=invited.id,
                token_hash=passwords.digest(invited.token),
                role=draft.role,
                place=draft.place_id,
                partner=draft.partner_id,
                role_valid_to=draft.valid_to,
                invited_by=by,
                expires_at=invited.expires_at,
            )
        )
        await audit.append("invitation.made", invited.id, place=draft.place_id)
    return invited


async def browse_invitations(
    sees: Visibility,
    me: uuid.UUID,
    *,
    after: uuid.UUID | None = None,
    limit: int,
    invitation_id: uuid.UUID | None = None,
) -> list[InvitationRecord]:
    """Up to `limit` invitations, newest first, taken up and expired ones too: the own, and those to
    roles at the caller's places and of the caller's partners."""
    where = base.Where()
    if not sees.everything:
        own = f"invited_by = {where.value(me)}"
        sees.restrict(where, public=own, place="place", partner="partner")
    if invitation_id:
        where.add("id = {}", invitation_id)
    where.page("id", after)
    rows = await engine.fetch(
        "SELECT id, role, place AS place_id, partner AS partner_id, role_valid_to AS valid_to,"
        f" invited_by, expires_at, accepted_by, accepted_at FROM invitation WHERE {where}"
        f" ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [base.record(row, InvitationRecord) for row in rows]


async def withdraw_invitation(invitation: InvitationRecord) -> None:
    """Take an invitation back: its token is good for nothing. Refuses one that was accepted."""
    async with engine.unit_of_work():
        gone = await engine.fetch(
            "DELETE FROM invitation WHERE id = $1 AND accepted_at IS NULL RETURNING id",
            invitation.id,
        )
        if not gone:
            raise errors.Refusal("wrong_state", has="accepted", needed="open")
        await audit.append("invitation.withdrawn", invitation.id, place=invitation.place_id)


async def newcomer(acceptance: Acceptance) -> Newcomer:
    """The account that an anonymous acceptance opens. Refuses missing fields, and first of all a
    token that is good for nothing: hashing a password is dear."""
    given = (acceptance.login, acceptance.password, acceptance.display_name)
    missing = [
        errors.FieldError(name, "required")
        for name, value in zip(("login", "password", "display_name"), given, strict=True)
        if value is None
    ]
    if missing:
        raise errors.Refusal("invalid", *missing)
    folded = logins.required(acceptance.login or "")
    still_open = await engine.fetch(
        "SELECT 1 FROM invitation"
        " WHERE token_hash = $1 AND accepted_at IS NULL AND expires_at > $2",
        passwords.digest(acceptance.token),
        base.now(),
    )
    if not still_open:
        raise errors.Refusal("invitation_over")
    hashed = await passwords.hashed(acceptance.password or "")
    return Newcomer(folded, hashed, acceptance.display_name or "")


async def accept(token: str, who: uuid.UUID | Newcomer) -> roles.RoleRecord:
    """Take up an invitation, once, for an account or a newcomer.

    Refuses alike (`invitation_over`) a token that is unknown, used or expired, and one whose
    sender may no longer give that role.
    """
    async with engine.unit_of_work():
        account = (
            await people.open_account(who.login, who.password_hash, who.display_name)
            if isinstance(who, Newcomer)
            else who
        )
        rows = await engine.fetch(
            "UPDATE invitation SET accepted_by = $1, accepted_at = $2"
            " WHERE token_hash = $3 AND accepted_at IS NULL AND expires_at > $2"
            " AND (role_valid_to IS NULL OR role_valid_to > $2) RETURNING *",
            account,
            base.now(),
            passwords.digest(token),
        )
        if not rows:
            raise errors.Refusal("invitation_over")
        offered = rows[0]
        place, partner = offered["place"], offered["partner"]
        draft = roles.RoleDraft(
            account_id=account,
            role=offered["role"],
            place_id=place and base.as_id(place),
            partner_id=partner and base.as_id(partner),
            valid_to=offered["role_valid_to"] and base.moment(offered["role_valid_to"]),
        )
        sender = base.as_id(offered["invited_by"])
        if not await roles.may_grant(
            await holder(sender), draft.role, draft.place_id, draft.partner_id
        ):
            raise errors.Refusal("invitation_over")
        return await roles.give(draft, sender)
