"""Resident groups: who is a member, and the sessions for which a group books a space.

A group is a partner of the kind `resident_group`; its leaders are the people who act for it. A
space is booked for it by its leaders, who answer for it, by the staff of the space's place, or by
the space's partner; members see when it meets.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct
from piccolo.columns import UUID, ForeignKey, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, bookings, engine, errors, offerings, outbox, values
from models.partners import Partner, PartnerRecord

MemberStatus = Literal["asked", "member", "left"]
GROUP = "resident_group"
# So many sessions may be booked at once: every day of a year.
MAX_SESSIONS = 366
# A group meets in a space; what else there is, is booked one by one.
_MEETS_IN = "space"
_SELECT = f"SELECT {bookings.COLUMNS} FROM booking b JOIN offering o ON o.id = b.offering"


class Membership(Table):
    """An account in a group; one row, whatever became of it."""

    id = UUID(primary_key=True)
    partner = ForeignKey(Partner, null=False)
    account = ForeignKey(accounts.Account, null=False)
    status = Varchar(length=8, null=False)
    asked_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class MembershipRecord(Struct, kw_only=True):
    """Somebody who has asked to be a member, is one, or was."""

    id: uuid.UUID
    group_id: uuid.UUID
    account_id: uuid.UUID
    status: MemberStatus
    asked_at: dt.datetime
    updated_at: dt.datetime


class SeriesDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """When a group wants to meet in a space: weekly windows between two local dates, both
    inclusive."""

    offering_id: uuid.UUID
    windows: Annotated[tuple[values.Window, ...], Meta(min_length=1, max_length=14)]
    first: dt.date
    last: dt.date


class Series(Struct, kw_only=True):
    """Sessions that were booked together, earliest first."""

    id: uuid.UUID
    items: list[bookings.BookingRecord]


async def ask(group: PartnerRecord, account: uuid.UUID) -> MembershipRecord:
    """Ask to become a member. Refuses whoever has asked already or is one."""
    _refuse_other(group)
    moment = base.now()
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "INSERT INTO membership (id, partner, account, status, asked_at, updated_at)"
            " VALUES ($1, $2, $3, 'asked', $4, $4) ON CONFLICT (partner, account) DO UPDATE"
            " SET status = 'asked', asked_at = excluded.asked_at, updated_at = excluded.updated_at"
            " WHERE membership.status = 'left' RETURNING id",
            base.new_id(),
            group.id,
            account,
            moment,
        )
        if not rows:
            has = (await membership(group.id, account)).status
            raise errors.Refusal("wrong_state", has=has, needed="left")
        await _announce(work, group, account, "membership.asked")
        return await membership(group.id, account)


async def admit(group: PartnerRecord, account: uuid.UUID) -> MembershipRecord:
    """Make whoever has asked a member."""
    return await _move(group, account, ("asked",), "member")


async def leave(group: PartnerRecord, account: uuid.UUID) -> MembershipRecord:
    """End a membership, or decline who has asked for one."""
    return await _move(group, account, ("asked", "member"), "left")


async def membership(group_id: uuid.UUID, account: uuid.UUID) -> MembershipRecord:
    """What an account is to a group. Refuses as not found who never asked."""
    rows = await engine.fetch(
        "SELECT m.*, m.partner AS group_id, m.account AS account_id FROM membership m"
        " WHERE m.partner = $1 AND m.account = $2",
        group_id,
        account,
    )
    if not rows:
        raise errors.not_found()
    return base.record(rows[0], MembershipRecord)


async def is_member(group_id: uuid.UUID, account: uuid.UUID) -> bool:
    """Whether an account has been admitted to a group and has not left."""
    rows = await engine.rows(
        "SELECT 1 FROM membership WHERE partner = $1 AND account = $2 AND status = 'member'",
        group_id,
        account,
    )
    return bool(rows)


async def members(
    group_id: uuid.UUID, *, after: uuid.UUID | None, limit: int, status: str | None = None
) -> list[MembershipRecord]:
    """Up to `limit` memberships of a group, the last asked for first."""
    where = base.Where()
    where.add("m.partner = {}", group_id)
    if status:
        where.add("m.status = {}", status)
    where.page("m.id", after)
    rows = await engine.fetch(
        "SELECT m.*, m.partner AS group_id, m.account AS account_id FROM membership m"
        f" WHERE {where} ORDER BY m.id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [base.record(row, MembershipRecord) for row in rows]


async def book(
    group: PartnerRecord,
    offering: offerings.OfferingRecord,
    asked: Sequence[bookings.Time],
    booked_by: uuid.UUID,
) -> Series:
    """Book a space for a group at times that do not overlap, earliest first, at which the caller
    has found it to be open: all of them or, where any is taken, none.

    Refuses a group that is not admitted or is of another community, what is no space, and names
    every booking that is in the way.
    """
    _refuse_other(group)
    if offering.kind != _MEETS_IN:
        raise errors.Refusal("wrong_state", has=offering.kind, needed=_MEETS_IN)
    if not await _share_community(group.place_id, offering.place_id):
        raise errors.Refusal("other_community")
    series = base.new_id()
    async with engine.unit_of_work() as work:
        made = await bookings.take(
            offering, asked, booked_by=booked_by, booked_for=group.id, series=series
        )
        await outbox.append(
            work,
            "booking.changed",
            series,
            place=offering.place_id,
            action="series.booked",
            sessions=len(made),
        )
        return Series(id=series, items=await _of_series(group.id, series))


async def give_up(group: PartnerRecord, series: uuid.UUID) -> Series:
    """Give back what is still to come of a series. Refuses one of which nothing is."""
    async with engine.unit_of_work() as work:
        booked = await _of_series(group.id, series)
        if not booked:
            raise errors.not_found()
        free = await _give_back(series)
        if not free:
            raise errors.Refusal("wrong_state", has="over", needed="held | confirmed")
        await outbox.append(
            work,
            "booking.changed",
            series,
            place=booked[0].place_id,
            action="series.cancelled",
            sessions=free,
        )
        return Series(id=series, items=await _of_series(group.id, series))


async def to_come(
    group: uuid.UUID, *, after: uuid.UUID | None, limit: int
) -> list[bookings.BookingRecord]:
    """Up to `limit` sessions of a resident group that are not over, the last ones booked first."""
    where = base.Where()
    where.add(
        f"b.booked_for = {{}} AND b.ends > {{}} AND {bookings.LIVE}",
        group,
        bookings.minute(base.now()),
    )
    where.page("b.id", after)
    rows = await engine.fetch(
        f"{_SELECT} WHERE {where} ORDER BY b.id DESC LIMIT {int(limit)}", *where.args
    )
    return [bookings.shape(row) for row in rows]


async def _of_series(group: uuid.UUID, series: uuid.UUID) -> list[bookings.BookingRecord]:
    """What a resident group has booked together, earliest first."""
    rows = await engine.fetch(
        f"{_SELECT} WHERE b.booked_for = $1 AND b.series = $2 ORDER BY b.starts",
        group,
        series,
    )
    return [bookings.shape(row) for row in rows]


async def _give_back(series: uuid.UUID) -> int:
    """Cancel what of a series has not begun; answers how many."""
    moment = base.now()
    rows = await engine.rows(
        "UPDATE booking SET status = 'cancelled', held_until = NULL, version = version + 1,"
        " updated_at = $1 WHERE series = $2 AND starts > $3 AND status IN ('held', 'confirmed')"
        " RETURNING id",
        moment,
        series,
        bookings.minute(moment),
    )
    return len(rows)


async def _move(
    group: PartnerRecord,
    account: uuid.UUID,
    before: tuple[MemberStatus, ...],
    status: MemberStatus,
) -> MembershipRecord:
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE membership SET status = $1, updated_at = $2 WHERE partner = $3"
            f" AND account = $4 AND status IN ({base.placeholders(len(before), 5)}) RETURNING id",
            status,
            base.now(),
            group.id,
            account,
            *before,
        )
        found = await membership(group.id, account)
        if not rows:
            raise errors.Refusal("wrong_state", has=found.status, needed=" | ".join(before))
        await _announce(work, group, account, f"membership.{status}")
        return found


async def _announce(
    work: engine.Work, group: PartnerRecord, account: uuid.UUID, action: str
) -> None:
    await outbox.append(
        work,
        "membership.changed",
        group.id,
        place=group.place_id,
        action=action,
        account=str(account),
    )


def _refuse_other(group: PartnerRecord) -> None:
    if group.kind != GROUP:
        raise errors.Refusal("wrong_state", has=group.kind, needed=GROUP)
    if group.status != "admitted":
        raise errors.Refusal("wrong_state", has=group.status, needed="admitted")


async def _share_community(one: uuid.UUID, other: uuid.UUID) -> bool:
    """Whether two places are, or lie in, the same community."""
    rows = await engine.rows(
        "SELECT 1 FROM place_closure a JOIN place_closure b ON b.ancestor = a.ancestor"
        " JOIN place l ON l.id = a.ancestor"
        " WHERE a.descendant = $1 AND b.descendant = $2 AND l.kind = 'community'",
        one,
        other,
    )
    return bool(rows)
