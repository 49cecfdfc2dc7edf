"""Service keys: what a partner's or community's own system calls with."""

from __future__ import annotations

import datetime as dt
import secrets
import string
import uuid
from typing import Annotated

from msgspec import Meta, Struct

from models import audit, base, engine, errors, values
from models.accounts import passwords, roles
from models.accounts.callers import LIVE, Caller, KeyScope, RoleGrant, Visibility
from models.accounts.tables import ServiceKey

# Every key begins with it, so that secret scanners and people recognise one.
MARK = "cpk_"
_LETTERS = string.ascii_lowercase + string.digits
# `last_used_at` is written at most this often.
_NOTED = dt.timedelta(minutes=1)


class KeyDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """A key for one place or one partner; it may do what its scopes say and no more."""

    name: values.Line
    scopes: Annotated[tuple[KeyScope, ...], Meta(min_length=1, max_length=4)]
    place_id: uuid.UUID | None = None
    partner_id: uuid.UUID | None = None
    expires_at: roles.Moment | None = None

    def __post_init__(self) -> None:
        if (self.place_id is None) == (self.partner_id is None):
            raise ValueError("place_id: either place_id or partner_id")
        roles.check_moment("expires_at", self.expires_at)


class KeyRecord(Struct, frozen=True, kw_only=True):
    """A key as it is listed: of its secret only the prefix is left."""

    id: uuid.UUID
    name: str
    prefix: str
    scopes: tuple[KeyScope, ...]
    place_id: uuid.UUID | None
    partner_id: uuid.UUID | None
    made_by: uuid.UUID
    created_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None


class MadeKey(Struct, frozen=True, kw_only=True):
    """A new key, shown once."""

    key: str
    record: KeyRecord


async def make_key(draft: KeyDraft, by: uuid.UUID) -> MadeKey:
    """Make a key `cpk_<prefix>_<secret>`. Only its hash is kept. Refuses unknown references."""
    # It acts as the people of a partner or the staff of a place, wherever that is.
    await roles.refer_seat("resident", draft.place_id, draft.partner_id)
    moment = base.now()
    if draft.expires_at and draft.expires_at <= moment:
        raise errors.refuse_field("expires_at", "wrong_format", needed="in the future")
    record = KeyRecord(
        id=base.new_id(),
        name=draft.name,
        prefix="".join(secrets.choice(_LETTERS) for _ in range(8)),
        scopes=tuple(sorted(set(draft.scopes))),
        place_id=draft.place_id,
        partner_id=draft.partner_id,
        made_by=by,
        created_at=moment,
        expires_at=draft.expires_at,
        last_used_at=None,
    )
    key = f"{MARK}{record.prefix}_{passwords.new_token()}"
    async with engine.unit_of_work():
        await ServiceKey.insert(
            ServiceKey(
                id=record.id,
                prefix=record.prefix,
                key_hash=passwords.digest(key),
                name=record.name,
                scopes=base.pack(record.scopes),
                place=record.place_id,
                partner=record.partner_id,
                made_by=by,
                created_at=moment,
                expires_at=record.expires_at,
            )
        )
        await audit.append("service_key.made", record.id, place=record.place_id)
    return MadeKey(key=key, record=record)


async def revoke_key(key: KeyRecord) -> None:
    """End a key from the next request on."""
    async with engine.unit_of_work():
        ended = await engine.fetch(
            "UPDATE service_key SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL"
            " RETURNING id",
            base.now(),
            key.id,
        )
        if not ended:
            raise errors.not_found()
        await audit.append("service_key.revoked", key.id, place=key.place_id)


async def browse_keys(
    sees: Visibility,
    *,
    after: uuid.UUID | None = None,
    limit: int,
    key_id: uuid.UUID | None = None,
) -> list[KeyRecord]:
    """Up to `limit` keys that have not been revoked, newest first, of the caller's places and
    partners."""
    where = base.Where()
    where.add("revoked_at IS NULL")
    sees.restrict(where, public="1 = 0", place="place", partner="partner")
    if key_id:
        where.add("id = {}", key_id)
    where.page("id", after)
    rows = await engine.fetch(
        "SELECT id, name, prefix, scopes, place AS place_id, partner AS partner_id, made_by,"
        f" created_at, expires_at, last_used_at FROM service_key WHERE {where}"
        f" ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [
        base.record({**row, "scopes": base.unpack(row["scopes"], tuple)}, KeyRecord) for row in rows
    ]


# A key is good while whoever made it could make it again: a moved person's keys end, too.
_KEY = (
    "SELECT k.id, k.made_by, k.scopes, k.place, k.partner, k.last_used_at FROM service_key k"
    " JOIN account a ON a.id = k.made_by AND a.status = 'active'"
    " WHERE k.key_hash = $1 AND k.revoked_at IS NULL"
    " AND (k.expires_at IS NULL OR k.expires_at > $2)"
    " AND EXISTS (SELECT 1 FROM role r WHERE r.account = k.made_by AND r.delegated_from IS NULL"
    f" AND {LIVE.format('$2')} AND (r.name = 'operator'"
    " OR (r.name = 'partner_staff' AND r.partner = k.partner)"
    " OR (r.name IN ('secretary', 'officer') AND r.place IN"
    " (SELECT ancestor FROM place_closure WHERE descendant = k.place))))"
)


async def caller_of_key(key: str) -> Caller | None:
    """The caller behind a service key: one of its partner's people, or at its place a secretary who
    reads as everybody does, within its scopes; None if it is not valid."""
    moment = base.now()
    rows = await engine.fetch(_KEY, passwords.digest(key), moment)
    if not rows:
        return None
    row = rows[0]
    if row["last_used_at"] is None or base.moment(row["last_used_at"]) <= moment - _NOTED:
        await engine.execute(
            "UPDATE service_key SET last_used_at = $1 WHERE id = $2", moment, row["id"]
        )
    role = (
        RoleGrant("secretary", place=base.as_id(row["place"]))
        if row["place"]
        else RoleGrant("partner_staff", partner=base.as_id(row["partner"]))
    )
    scopes = base.unpack(row["scopes"], tuple[KeyScope, ...])
    return Caller(base.as_id(row["made_by"]), (role,), scopes)
