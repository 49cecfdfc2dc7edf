"""Secret addresses of calendars: whoever knows one reads what the account that made it may see."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Literal

from msgspec import Struct
from piccolo.columns import UUID, ForeignKey, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, audit, base, engine, errors, needs, offerings, places, values
from models.accounts import passwords, sessions
from models.accounts.callers import LIVE

Kind = Literal["account", "offering", "need", "place"]
# An account has at most so many.
MOST = 50
# `last_used_at` is written at most this often.
_NOTED = dt.timedelta(minutes=1)


class Feed(Table):
    """The secret address of a calendar, of which only the hash is kept."""

    id = UUID(primary_key=True)
    account = ForeignKey(accounts.Account, null=False)
    kind = Varchar(length=16, null=False)
    # The account, offering, need or place that it tells of.
    subject = UUID(null=False)
    token_hash = Varchar(length=64, null=False, secret=True)
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=True, default=None)


class CalendarDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a calendar tells of: your own account, or an offering, a need or a place."""

    kind: Kind
    subject_id: uuid.UUID | None = None

    def __post_init__(self) -> None:
        if (self.kind == "account") != (self.subject_id is None):
            raise ValueError("subject_id: for every kind but account")


class CalendarRecord(Struct, frozen=True, kw_only=True):
    """A calendar as it is listed. Its address is shown once."""

    id: uuid.UUID
    kind: Kind
    subject_id: uuid.UUID
    created_at: dt.datetime
    last_used_at: dt.datetime | None


class MadeCalendar(Struct, frozen=True, kw_only=True):
    """A new calendar with its address, for any calendar program."""

    address: str
    record: CalendarRecord


async def make(draft: CalendarDraft, caller: accounts.Caller, root: str) -> MadeCalendar:
    """Make a calendar; its address lies below `root`. Refuses what the caller may not know, and
    more than 50 of one account."""
    assert caller.account
    subject = draft.subject_id or caller.account
    await title(caller, draft.kind, subject)
    token, feed_id, moment = passwords.new_token(), base.new_id(), base.now()
    async with engine.unit_of_work():
        # One at a time for each account, and none for one that is being banned.
        if not await sessions.hold(caller.account):
            raise errors.Refusal("conflict")
        ((there,),) = await engine.rows(
            "SELECT count(*) FROM feed WHERE account = $1", caller.account
        )
        if there >= MOST:
            raise errors.refuse_field(
                "kind", "too_many", count=there + 1, what="calendars", limit=MOST
            )
        await Feed.insert(
            Feed(
                id=feed_id,
                account=caller.account,
                kind=draft.kind,
                subject=subject,
                token_hash=passwords.digest(token),
                created_at=moment,
            )
        )
        await audit.append("calendar.made", feed_id, kind=draft.kind, of=str(subject))
    record = CalendarRecord(
        id=feed_id, kind=draft.kind, subject_id=subject, created_at=moment, last_used_at=None
    )
    return MadeCalendar(address=f"{root}/v1/calendars/{feed_id}/{token}.ics", record=record)


async def revoke(feed: CalendarRecord) -> None:
    """End a calendar's address from the next request on."""
    async with engine.unit_of_work():
        ended = await engine.fetch("DELETE FROM feed WHERE id = $1 RETURNING id", feed.id)
        if not ended:
            raise errors.not_found()
        await audit.append("calendar.revoked", feed.id)


async def browse(
    account: uuid.UUID,
    *,
    after: uuid.UUID | None = None,
    limit: int,
    feed_id: uuid.UUID | None = None,
) -> list[CalendarRecord]:
    """Up to `limit` calendars of the account's own, newest first."""
    where = base.Where()
    where.add("account = {}", account)
    if feed_id:
        where.add("id = {}", feed_id)
    where.page("id", after)
    rows = await engine.fetch(
        "SELECT id, kind, subject AS subject_id, created_at, last_used_at FROM feed"
        f" WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [base.record(row, CalendarRecord) for row in rows]


_READER = (
    "SELECT f.kind, f.subject, f.last_used_at, f.account, r.name, r.place, r.partner FROM feed f"
    " JOIN account a ON a.id = f.account AND a.status = 'active'"
    f" LEFT JOIN role r ON r.account = f.account AND {LIVE.format('$3')}"
    " WHERE f.id = $1 AND f.token_hash = $2"
)


async def reader(feed_id: uuid.UUID, token: str) -> tuple[Kind, uuid.UUID, accounts.Caller]:
    """What an address tells of, and the account that made it with the roles that hold now. Refuses
    (not found) an address that is wrong or revoked, and one of a banned account."""
    moment = base.now()
    rows = await engine.fetch(_READER, feed_id, passwords.digest(token), moment)
    if not rows:
        raise errors.not_found()
    used = rows[0]["last_used_at"]
    if used is None or base.moment(used) <= moment - _NOTED:
        await engine.execute("UPDATE feed SET last_used_at = $1 WHERE id = $2", moment, feed_id)
    roles = tuple(base.record(row, accounts.RoleGrant) for row in rows if row["name"])
    caller = accounts.Caller(base.as_id(rows[0]["account"]), roles)
    return rows[0]["kind"], base.as_id(rows[0]["subject"]), caller


async def title(caller: accounts.Caller, kind: Kind, subject: uuid.UUID) -> values.Bilingual:
    """What a calendar is called. Refuses what the caller may not read a calendar of: asked when it
    is made, and again each time it is read."""
    sees = accounts.visibility(caller)
    if kind == "account":
        if subject != caller.account:
            raise errors.not_found()
        return values.Bilingual("我的社区日程", "My community calendar")
    if kind == "offering":
        offering = await offerings.read(subject, sees)
        await _require_staff(caller, offering.place_id, offering.partner_id)
        return offering.title
    if kind == "need":
        # One that is filled is no longer everybody's, but still of who serves it.
        partner = await _serving(caller, subject)
        need = await needs.read(subject, accounts.EVERYTHING if partner else sees)
        await _require_staff(caller, need.place_id, partner)
        return need.title
    place = await places.read(subject)
    await _require_staff(caller, place.id, None)
    return place.name


async def _require_staff(
    caller: accounts.Caller, place: uuid.UUID, partner: uuid.UUID | None
) -> None:
    lineage = await places.ancestors(place)
    await accounts.require(caller, accounts.STAFF, place_lineage=lineage, partner=partner)


async def _serving(caller: accounts.Caller, need: uuid.UUID) -> uuid.UUID | None:
    """One of the caller's partners that serves a need, or is asked to."""
    if not caller.partners:
        return None
    where = base.Where()
    where.add("a.need = {}", need)
    where.add(f"p.partner IN ({where.values(sorted(caller.partners))})")
    rows = await engine.rows(
        f"SELECT p.partner FROM party p JOIN agreement a ON a.id = p.agreement WHERE {where}"
        " LIMIT 1",
        *where.args,
    )
    return base.as_id(rows[0][0]) if rows else None
