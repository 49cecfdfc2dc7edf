"""Rent in hours, as the staff of the place and the partner see it: month by month, and the hours
that the staff have recorded."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any

from msgspec import Meta, Struct

from models import base, engine, errors, outbox, values
from models.agreements import arrears, deals, terms

# So many recorded hours are shown; the ledger has all.
_SHOWN = 100


class HoursDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """Public-benefit service that somebody has seen: on which day, how many minutes, and what."""

    served_on: dt.date
    minutes: Annotated[int, Meta(ge=1, le=10_000)]
    note: values.Prose = ""


class HoursRecord(Struct, kw_only=True):
    """Service that the staff have recorded, counted in `month`. Below zero it was taken back."""

    id: uuid.UUID
    agreement_id: uuid.UUID
    month: terms.Month
    served_on: dt.date
    minutes: int
    note: str
    reverses: uuid.UUID | None
    recorded_by: uuid.UUID
    at: dt.datetime


class MonthRecord(Struct, kw_only=True):
    """A month of the rent, in minutes. `carried` is what is still owed at its end, of all months
    so far; below zero, what was served in advance. One that is not closed is as it stands now."""

    month: terms.Month
    owed: int
    served: int
    carried: int
    closed_at: dt.datetime | None


class RentRecord(Struct, kw_only=True):
    """The rent of an agreement. `outstanding` minutes are owed for the months that are over, and
    worth so much if an hour has a worth; below zero they were served in advance. `recorded` are
    the last hours that the staff have recorded, newest first."""

    agreement_id: uuid.UUID
    partner_id: uuid.UUID
    minutes_per_month: int
    outstanding: int
    outstanding_worth: terms.Money | None
    next_due_at: dt.datetime | None
    months: list[MonthRecord]
    recorded: list[HoursRecord]


async def read(deal: deals.Deal) -> RentRecord:
    """The rent of an agreement month by month. Refuses (not found) one that has no rent, or has
    not begun."""
    rows = await engine.fetch("SELECT * FROM rent_account WHERE agreement = $1", deal.id)
    if not rows:
        raise errors.not_found()
    account = base.record(rows[0], arrears.Account)
    months = [
        base.record({**row, "month": f"{row['month']}"[:7]}, MonthRecord)
        for row in await engine.fetch(
            "SELECT month, owed, served, carried, closed_at FROM rent_month WHERE agreement = $1"
            " ORDER BY month",
            deal.id,
        )
    ]
    if account.due_at:
        months.append(await _running(account, account.due_at))
    recorded = await engine.fetch(
        "SELECT * FROM service_hours WHERE agreement = $1 AND recorded_by IS NOT NULL"
        f" ORDER BY id DESC LIMIT {_SHOWN}",
        deal.id,
    )
    hour = deal.terms.rent.hour_worth if deal.terms and deal.terms.rent else None
    return RentRecord(
        agreement_id=deal.id,
        partner_id=account.partner,
        minutes_per_month=account.minutes_month,
        outstanding=account.outstanding,
        outstanding_worth=terms.worth(account.outstanding, hour),
        next_due_at=account.due_at,
        months=months,
        recorded=[_hours(row) for row in recorded],
    )


async def record(deal: deals.Deal, draft: HoursDraft, by: uuid.UUID) -> HoursRecord:
    """Count service that somebody has seen. Refuses (not found) an agreement without a rent, and a
    day that is none of its days or still to come."""
    async with engine.unit_of_work() as work:
        account = await _up_to_date(deal.id)
        today = terms.day_of(base.now(), await arrears.zone_of(account.place))
        if not deal.starts_on <= draft.served_on <= today:
            needed = f"{deal.starts_on} … {today}"
            raise errors.refuse_field("served_on", "out_of_range", needed=needed)
        service = arrears.Service(
            served_on=draft.served_on, minutes=draft.minutes, note=draft.note, recorded_by=by
        )
        return await _enter(work, account, service, "rent.hours_recorded")


async def take_back(deal: deals.Deal, hours_id: uuid.UUID, by: uuid.UUID) -> HoursRecord:
    """Recorded hours were a mistake: as many are taken off the month that is open now. Refuses what
    was taken back before."""
    async with engine.unit_of_work() as work:
        account = await _up_to_date(deal.id)
        rows = await engine.fetch(
            "SELECT h.*, (SELECT count(*) FROM service_hours b WHERE b.reverses = h.id) AS again"
            " FROM service_hours h WHERE h.id = $1 AND h.agreement = $2"
            " AND h.recorded_by IS NOT NULL",
            hours_id,
            deal.id,
        )
        if not rows:
            raise errors.not_found()
        before = _hours(rows[0])
        if rows[0]["again"] or before.reverses:
            raise errors.Refusal("wrong_state", has="reversed", needed="not reversed")
        service = arrears.Service(
            served_on=before.served_on, minutes=-before.minutes, reverses=before.id, recorded_by=by
        )
        return await _enter(work, account, service, "rent.hours_taken_back")


async def forget(account: uuid.UUID) -> None:
    """A person is forgotten: the hours they recorded still count, what they wrote is gone."""
    await engine.execute("UPDATE service_hours SET note = '' WHERE recorded_by = $1", account)


async def _up_to_date(agreement: uuid.UUID) -> arrears.Account:
    """The account, locked, with every month closed that is over."""
    while await arrears.close_month(agreement):
        pass
    account = await arrears.locked(agreement)
    if account is None:
        raise errors.not_found()
    return account


async def _enter(
    work: engine.Work, account: arrears.Account, service: arrears.Service, action: str
) -> HoursRecord:
    hours_id = await arrears.enter(account, service, base.now())
    await arrears.keep(account)
    await outbox.append(
        work,
        "rent.changed",
        account.agreement,
        place=account.place,
        action=action,
        minutes=service.minutes,
        outstanding=account.outstanding,
    )
    (row,) = await engine.fetch("SELECT * FROM service_hours WHERE id = $1", hours_id)
    return _hours(row)


async def _running(account: arrears.Account, ends: dt.datetime) -> MonthRecord:
    """The month that is not over, as if nothing more were served in it."""
    more = sum(one.minutes for one in await arrears.uncounted(account, base.now()))
    owed = terms.owed(account.minutes_month, account.month, await arrears.held_days(account, ends))
    return MonthRecord(
        month=f"{account.month:%Y-%m}",
        owed=owed,
        served=await arrears.counted(account.agreement, account.month) + more,
        carried=account.outstanding + owed - more,
        closed_at=None,
    )


def _hours(row: dict[str, Any]) -> HoursRecord:
    month = f"{row['month']}"[:7]
    return base.record({**row, "agreement_id": row["agreement"], "month": month}, HoursRecord)
