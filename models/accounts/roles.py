"""Roles: who gives them to whom, lends them, and takes them back."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated

from msgspec import Meta, Struct

from models import audit, base, engine, errors, places
from models.accounts import operators, sessions
from models.accounts.callers import DECIDERS, LIVE, Caller, RoleName, Visibility
from models.accounts.tables import Account, Role

# Roles that anchor an account somewhere in the tree, and the kinds of place they are held at.
_ANYWHERE = frozenset(places.KINDS)
_KINDS: dict[str, frozenset[str]] = {
    "officer": frozenset({"municipality", "district", "subdistrict"}),
    "secretary": frozenset({"community"}),
    "grid_worker": frozenset({"community", "grid", "building"}),
}
_YEARS = range(2000, 2200)
Moment = Annotated[dt.datetime, Meta(tz=True)]


class RoleDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """A role to give: at a place, or (partner_staff) for a partner; operators have neither."""

    account_id: uuid.UUID
    role: RoleName
    place_id: uuid.UUID | None = None
    partner_id: uuid.UUID | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None

    def __post_init__(self) -> None:
        check_seat(self.role, self.place_id, self.partner_id)
        check_moment("valid_from", self.valid_from)
        check_moment("valid_to", self.valid_to)


class Delegation(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who is lent a role, and until when."""

    account_id: uuid.UUID
    valid_to: Moment

    def __post_init__(self) -> None:
        check_moment("valid_to", self.valid_to)


class RoleRecord(Struct, frozen=True, kw_only=True):
    """A role of an account. `delegated_from` is the role that this one was lent from."""

    id: uuid.UUID
    account_id: uuid.UUID
    role: RoleName
    place_id: uuid.UUID | None
    partner_id: uuid.UUID | None
    valid_from: dt.datetime
    valid_to: dt.datetime | None
    granted_by: uuid.UUID | None
    delegated_from: uuid.UUID | None


_RECORD = (
    "SELECT id, account AS account_id, name AS role, place AS place_id, partner AS partner_id,"
    " valid_from, valid_to, granted_by, delegated_from FROM role"
)


def check_seat(role: str, place: uuid.UUID | None, partner: uuid.UUID | None) -> None:
    """Refuse (ValueError, for a struct) a role without its place or partner, or with another's."""
    if (partner is not None) != (role == "partner_staff"):
        raise ValueError("partner_id: the partner of a partner_staff, of no other role")
    if (place is not None) == (role in ("partner_staff", "operator")):
        raise ValueError("place_id: the place of every role but partner_staff and operator")


def check_moment(field: str, moment: dt.datetime | None) -> None:
    """Refuse (ValueError) a time that some database or time zone cannot hold."""
    if moment is not None and moment.year not in _YEARS:
        raise ValueError(f"{field}: a time between 2000 and 2199")


async def grant(
    account: uuid.UUID,
    name: RoleName,
    *,
    place: uuid.UUID | None = None,
    partner: uuid.UUID | None = None,
    by: uuid.UUID | None = None,
    valid_to: dt.datetime | None = None,
) -> None:
    """Give an account a role from now on, asking nobody."""
    draft = RoleDraft(
        account_id=account, role=name, place_id=place, partner_id=partner, valid_to=valid_to
    )
    async with engine.unit_of_work():
        await _insert(draft, by)


async def may_grant(
    giver: Caller, role: str, place: uuid.UUID | None, partner: uuid.UUID | None
) -> bool:
    """Operators give every role; officers within their places, other officers only strictly
    below; secretaries within their community what is no office; partners' people their own."""
    if giver.is_operator:
        return True
    if role == "partner_staff":
        return partner in giver.partners
    if place is None:
        return False
    lineage = await places.ancestors(place)
    if role == "officer":
        return bool(giver.places_as({"officer"}).intersection(lineage[1:]))
    offices = frozenset({"officer"}) if role == "secretary" else DECIDERS
    return bool(giver.places_as(offices).intersection(lineage))


async def give(draft: RoleDraft, by: uuid.UUID) -> RoleRecord:
    """Give a role. Refuses unknown references, a place of the wrong kind, a role that the account
    holds already, and dates that end before they begin."""
    await base.refer("account_id", Account, draft.account_id)
    await refer_seat(draft.role, draft.place_id, draft.partner_id)
    begins = draft.valid_from or base.now()
    if draft.valid_to and draft.valid_to <= max(begins, base.now()):
        raise errors.refuse_field("valid_to", "wrong_format", needed="after valid_from and now")
    async with engine.unit_of_work():
        return await read_role(await _insert(draft, by))


async def refer_seat(role: str, place: uuid.UUID | None, partner: uuid.UUID | None) -> None:
    """Refuse a place or partner that does not exist, and a place where nobody has this role."""
    if partner and not await engine.fetch("SELECT 1 FROM partner WHERE id = $1", partner):
        raise errors.refuse_field(
            "partner_id", "unknown_reference", what="partner", value=str(partner)
        )
    if place:
        await base.refer("place_id", places.Place, place)
        kinds = _KINDS.get(role, _ANYWHERE)
        if (await places.read(place)).kind not in kinds:
            raise errors.refuse_field(
                "place_id", "wrong_seat", role=role, needed=", ".join(sorted(kinds))
            )


async def delegate(role: RoleRecord, delegation: Delegation, by: uuid.UUID) -> RoleRecord:
    """Lend the own role. It ends when asked, or with the original if that is sooner.

    Refuses a role that is itself lent, and one that has ended meanwhile.
    """
    if role.delegated_from:
        raise errors.Refusal("lent_role")
    moment = base.now()
    if delegation.valid_to <= moment:
        raise errors.refuse_field("valid_to", "wrong_format", needed="in the future")
    await base.refer("account_id", Account, delegation.account_id)
    async with engine.unit_of_work():
        # Holds the original, so that it is not revoked between this look and the lending.
        rows = await engine.fetch(
            "UPDATE role SET valid_from = valid_from WHERE id = $1 AND valid_from <= $2"
            " AND (valid_to IS NULL OR valid_to > $2) RETURNING valid_to",
            role.id,
            moment,
        )
        if not rows:
            raise errors.not_found()
        end = rows[0]["valid_to"]
        draft = RoleDraft(
            account_id=delegation.account_id,
            role=role.role,
            place_id=role.place_id,
            partner_id=role.partner_id,
            valid_to=min(delegation.valid_to, base.moment(end)) if end else delegation.valid_to,
        )
        return await read_role(await _insert(draft, by, role.id))


async def revoke(role: RoleRecord) -> None:
    """End a role, and all that was lent from it, from the next request on. Refuses to end that of
    the last operator."""
    async with engine.unit_of_work():
        if role.role == "operator":
            await operators.keep_one(role.id)
        if not await _end("id = $2", role.id):
            raise errors.not_found()
        # Its own statement: one that was lent while the first one waited is only seen by now.
        await _end("delegated_from = $2", role.id)
        await audit.append("role.revoked", role.account_id, place=role.place_id, role=str(role.id))


async def end_lent_by(account: uuid.UUID) -> None:
    """End every role that this account has lent."""
    await _end("delegated_from IN (SELECT id FROM role WHERE account = $2)", account)


async def read_role(role_id: uuid.UUID) -> RoleRecord:
    """One role, or the not-found refusal."""
    rows = await engine.fetch(f"{_RECORD} WHERE id = $1", role_id)
    if not rows:
        raise errors.not_found()
    return base.record(rows[0], RoleRecord)


async def browse_roles(
    sees: Visibility,
    me: uuid.UUID,
    *,
    after: uuid.UUID | None = None,
    limit: int,
    role_id: uuid.UUID | None = None,
    place: uuid.UUID | None = None,
    account: uuid.UUID | None = None,
) -> list[RoleRecord]:
    """Up to `limit` roles that have not ended, newest first: the own, those lent from them, those
    of the places and partners that the caller sees, and those of the partners of these places."""
    where = base.Where()
    where.add("(valid_to IS NULL OR valid_to > {})", base.now())
    if not sees.everything:
        mine = where.value(me)
        own = f"account = {mine} OR delegated_from IN (SELECT id FROM role WHERE account = {mine})"
        if near := sees.knows(where, "p.place", None):
            own += f" OR partner IN (SELECT p.id FROM partner p WHERE {near})"
        sees.restrict(where, public=own, place="place", partner="partner")
    if role_id:
        where.add("id = {}", role_id)
    if place:
        where.within("place", place)
    if account:
        where.add("account = {}", account)
    where.page("id", after)
    rows = await engine.fetch(
        f"{_RECORD} WHERE {where} ORDER BY id DESC LIMIT {int(limit)}", *where.args
    )
    return [base.record(row, RoleRecord) for row in rows]


async def _insert(
    draft: RoleDraft, by: uuid.UUID | None, lent_from: uuid.UUID | None = None
) -> uuid.UUID:
    """The row of a new role, unless the account has it already at some time of those dates."""
    role_id, begins = base.new_id(), draft.valid_from or base.now()
    if not await sessions.hold(draft.account_id):
        raise errors.refuse_field(
            "account_id", "unknown_reference", what="account", value=str(draft.account_id)
        )
    if await _held(draft, begins):
        raise errors.Refusal("already_held", role=draft.role)
    await Role.insert(
        Role(
            id=role_id,
            account=draft.account_id,
            name=draft.role,
            place=draft.place_id,
            partner=draft.partner_id,
            valid_from=begins,
            valid_to=draft.valid_to,
            granted_by=by,
            delegated_from=lent_from,
        )
    )
    action = "role.lent" if lent_from else "role.granted"
    await audit.append(action, draft.account_id, place=draft.place_id, role=str(role_id))
    return role_id


async def _held(draft: RoleDraft, begins: dt.datetime) -> bool:
    where = base.Where()
    where.add("account = {} AND name = {}", draft.account_id, draft.role)
    # A second one would outlive the revocation of the first.
    where.add("(valid_to IS NULL OR (valid_to > {} AND valid_to > valid_from))", begins)
    if draft.valid_to:
        where.add("valid_from < {}", draft.valid_to)
    for column, seat in (("place", draft.place_id), ("partner", draft.partner_id)):
        if seat:
            where.add(f"{column} = {{}}", seat)
    return bool(await engine.fetch(f"SELECT 1 FROM role WHERE {where}", *where.args))


async def _end(which: str, subject: uuid.UUID) -> bool:
    return bool(
        await engine.fetch(
            f"UPDATE role SET valid_to = $1 WHERE {which}"
            " AND (valid_to IS NULL OR valid_to > $1) RETURNING id",
            base.now(),
            subject,
        )
    )


async def people_of(partner: uuid.UUID) -> list[uuid.UUID]:
    """The accounts that act for a partner now."""
    rows = await engine.rows(
        "SELECT DISTINCT r.account FROM role r WHERE r.partner = $1 AND r.name = 'partner_staff'"
        f" AND {LIVE.format('$2')} ORDER BY r.account",
        partner,
        base.now(),
    )
    return [base.as_id(account) for (account,) in rows]
