"""The account of a rent in hours: what is owed when a month is over, what service has paid of it.

The account `agreement:<id>:rent` of the ledger holds the minutes that are still owed; below zero
they were served in advance. A month is owed when it is over on the wall of the place. What was
served pays the oldest debt; while any is left, the staff have a task.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid

from msgspec import Struct
from piccolo.columns import UUID, BigInt, Boolean, Date, ForeignKey, Integer, Text, Timestamptz
from piccolo.table import Table

from models import base, bookings, engine, ledger, outbox, places, tasks, values
from models.agreements import deals, lifecycle, terms
from models.agreements.tables import Agreement
from models.partners import Partner
from models.places import Place

log = logging.getLogger(__name__)

SHORTFALL = "rent_shortfall"
_UNCOUNTED = (
    "o.status = 'served' AND NOT EXISTS (SELECT 1 FROM service_hours s WHERE s.occurrence = o.id)"
)


class RentAccount(Table):
    """The rent of an agreement. Its row is locked by whoever counts or closes a month of it."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    partner = ForeignKey(Partner, null=False)
    place = ForeignKey(Place, null=False)
    minutes_month = Integer(null=False)
    occurrences_count = Boolean(null=False)
    # The first day of the month that is closed next, and when it is over: null once none is left.
    month = Date(null=False)
    due_at = Timestamptz(null=True, default=None)
    # Minutes, as the ledger has them, so that those in arrears are found at once.
    outstanding = BigInt(null=False)


class RentMonth(Table):
    """A month that is over, as it was when it was closed, in minutes. `carried` is what was still
    owed then, of all months so far."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    month = Date(null=False)
    owed = BigInt(null=False)
    served = BigInt(null=False)
    carried = BigInt(null=False)
    closed_at = Timestamptz(null=False)


class ServiceHours(Table):
    """Service that was counted, in the month that was open then: an occurrence, or what the staff
    have recorded. Below zero it was taken back."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    month = Date(null=False)
    occurrence = UUID(null=True, default=None)
    reverses = UUID(null=True, default=None)
    served_on = Date(null=False)
    minutes = Integer(null=False)
    note = Text(null=False, default="")
    recorded_by = UUID(null=True, default=None)
    at = Timestamptz(null=False)


class Account(Struct, kw_only=True):
    """A row of `rent_account`."""

    agreement: uuid.UUID
    partner: uuid.UUID
    place: uuid.UUID
    minutes_month: int
    occurrences_count: bool
    month: dt.date
    due_at: dt.datetime | None
    outstanding: int


class Service(Struct, frozen=True, kw_only=True):
    """Service to count: when, how long, and what it was."""

    served_on: dt.date
    minutes: int
    occurrence: uuid.UUID | None = None
    reverses: uuid.UUID | None = None
    note: str = ""
    recorded_by: uuid.UUID | None = None


async def begin(deal: deals.Deal, rent: terms.Rent) -> None:
    """An agreement with a rent holds from now on. Inside the unit of work that makes it so."""
    month = terms.month_of(base.now(), await zone_of(deal.place_id))
    month = max(month, deal.starts_on.replace(day=1))
    await RentAccount.insert(
        RentAccount(
            id=base.new_id(),
            agreement=deal.id,
            partner=rent.partner_id,
            place=deal.place_id,
            minutes_month=rent.hours_per_month * 60,
            occurrences_count=rent.occurrences_count,
            month=month,
            due_at=terms.month_ends(month, await zone_of(deal.place_id)),
            outstanding=0,
        )
    )


async def tick() -> None:
    """Close every month that is over, each in a transaction of its own, and count what has been
    served since where something is still owed. One that fails is logged and tried again."""
    due = await engine.rows(
        "SELECT agreement FROM rent_account WHERE due_at <= $1 ORDER BY due_at", base.now()
    )
    short = await engine.rows(
        "SELECT DISTINCT r.agreement FROM rent_account r JOIN occurrence o"
        " ON o.agreement = r.agreement WHERE r.outstanding > 0 AND r.occurrences_count"
        f" AND o.ends <= $1 AND {_UNCOUNTED}",
        bookings.minute(base.now()),
    )
    for (agreement,) in (*due, *short):
        try:
            while await close_month(base.as_id(agreement)):
                pass
            await _catch_up(base.as_id(agreement))
        except Exception:
            log.exception("the rent of an agreement was not brought up to date")


async def close_month(agreement: uuid.UUID) -> bool:
    """Close the next month of an agreement if it is over, at the moment when it was; answers
    whether it did."""
    async with engine.unit_of_work() as work:
        account = await locked(agreement)
        if account is None or account.due_at is None or account.due_at > base.now():
            return False
        month, ends = account.month, account.due_at
        await _count_occurrences(account, ends)
        held = await held_days(account, base.now())
        owed = terms.owed(account.minutes_month, month, held)
        await _post("rent_due", account, owed, ends)
        served = await counted(agreement, month)
        await RentMonth.insert(
            RentMonth(
                id=base.new_id(),
                agreement=agreement,
                month=month,
                owed=owed,
                served=served,
                carried=account.outstanding,
                closed_at=ends,
            )
        )
        account.month = terms.month_after(month)
        goes_on = await _goes_on(account, held)
        zone = await zone_of(account.place)
        account.due_at = terms.month_ends(account.month, zone) if goes_on else None
        await keep(account)
        if account.outstanding > 0:
            await _raise(account, month, zone)
        await outbox.append(
            work,
            "rent.changed",
            agreement,
            place=account.place,
            action="rent.month_closed",
            month=f"{month:%Y-%m}",
            owed=owed,
            served=served,
            carried=account.outstanding,
        )
        return True


async def locked(agreement: uuid.UUID) -> Account | None:
    """The account of an agreement's rent, which nobody else changes until the end of the
    transaction; None where there is no rent."""
    rows = await engine.fetch(
        "UPDATE rent_account SET outstanding = outstanding WHERE agreement = $1 RETURNING *",
        agreement,
    )
    return base.record(rows[0], Account) if rows else None


async def enter(account: Account, service: Service, at: dt.datetime) -> uuid.UUID:
    """Count service in the month that is open; answers the id of its row. `keep` comes after."""
    row_id = base.new_id()
    await ServiceHours.insert(
        ServiceHours(
            id=row_id,
            agreement=account.agreement,
            month=account.month,
            occurrence=service.occurrence,
            reverses=service.reverses,
            served_on=service.served_on,
            minutes=service.minutes,
            note=service.note,
            recorded_by=service.recorded_by,
            at=at,
        )
    )
    await _post("rent_paid", account, -service.minutes, at)
    return row_id


async def keep(account: Account) -> None:
    """Write where an account stands. A shortfall that has been made up is no task any more."""
    await engine.execute(
        "UPDATE rent_account SET month = $1, due_at = $2, outstanding = $3 WHERE agreement = $4",
        account.month,
        account.due_at,
        account.outstanding,
        account.agreement,
    )
    if account.outstanding <= 0:
        await tasks.settle(SHORTFALL, account.agreement)


async def counted(agreement: uuid.UUID, month: dt.date) -> int:
    """The minutes of service that were counted in a month."""
    ((minutes,),) = await engine.rows(
        "SELECT CAST(COALESCE(SUM(minutes), 0) AS bigint) FROM service_hours"
        " WHERE agreement = $1 AND month = $2",
        agreement,
        month,
    )
    return int(minutes)


async def uncounted(account: Account, until: dt.datetime) -> list[Service]:
    """The occurrences that took place until a moment and have not been counted."""
    if not account.occurrences_count:
        return []
    zone = await zone_of(account.place)
    return [
        Service(
            served_on=terms.day_of(bookings.moment_of(starts), zone),
            minutes=ends - starts,
            occurrence=base.as_id(occurrence),
        )
        for occurrence, starts, ends in await engine.rows(
            "SELECT o.id, o.starts, o.ends FROM occurrence o WHERE o.agreement = $1"
            f" AND o.ends <= $2 AND {_UNCOUNTED} ORDER BY o.starts",
            account.agreement,
            bookings.minute(until),
        )
    ]


async def held_days(account: Account, now: dt.datetime) -> tuple[terms.Span, ...]:
    """The days on which the agreement held for its partner: not while it paused, nor after the
    partner left."""
    ((starts_on, ends_on),) = await engine.rows(
        "SELECT starts_on, ends_on FROM agreement WHERE id = $1", account.agreement
    )
    changes = [
        (base.moment(at), state == "active")
        for at, state in await engine.rows(
            "SELECT at, state FROM agreement_event WHERE agreement = $1 ORDER BY id",
            account.agreement,
        )
    ]
    ((given, left, last),) = await engine.rows(
        "SELECT count(*), count(left_at), max(left_at) FROM commitment"
        " WHERE agreement = $1 AND partner = $2 AND live_from IS NOT NULL",
        account.agreement,
        account.partner,
    )
    if given and given == left:
        over = base.moment(last)
        changes = [change for change in changes if change[0] < over] + [(over, False)]
    within = terms.Span(base.day(starts_on), base.day(ends_on))
    return terms.spans(changes, now, await zone_of(account.place), within)


async def zone_of(place: uuid.UUID) -> str:
    """The time zone of a place."""
    return (await places.timezones([place]))[place]


async def _catch_up(agreement: uuid.UUID) -> None:
    async with engine.unit_of_work() as work:
        account = await locked(agreement)
        if account is None or account.outstanding <= 0:
            return
        before = account.outstanding
        await _count_occurrences(account, base.now())
        if account.outstanding < before:
            await keep(account)
            await outbox.append(
                work,
                "rent.changed",
                agreement,
                place=account.place,
                action="rent.made_up",
                outstanding=account.outstanding,
            )


async def _count_occurrences(account: Account, until: dt.datetime) -> None:
    for service in await uncounted(account, until):
        await enter(account, service, until)


async def _post(kind: str, account: Account, minutes: int, at: dt.datetime) -> None:
    """What the partner owes more, or (below zero) less."""
    account.outstanding += minutes
    if minutes:
        await ledger.transfer(
            kind,
            [
                ledger.Line(f"agreement:{account.agreement}:rent", ledger.MINUTE, minutes),
                ledger.Line(f"partner:{account.partner}", ledger.MINUTE, -minutes),
            ],
            place=account.place,
            partner=account.partner,
            subject=account.agreement,
            at=at,
        )


async def _goes_on(account: Account, held: tuple[terms.Span, ...]) -> bool:
    """Whether anything may be owed for the month that comes next, or a later one."""
    ((state, ends_on),) = await engine.rows(
        "SELECT state, ends_on FROM agreement WHERE id = $1", account.agreement
    )
    may = state in lifecycle.LIVE and base.day(ends_on) >= account.month
    return may or any(span.last >= account.month for span in held)


async def _raise(account: Account, month: dt.date, zone: str) -> None:
    deal = await deals.read(account.agreement)
    hours, minutes = divmod(account.outstanding, 60)
    zh, en = f"{hours} 小时 {minutes} 分钟", f"{hours} h {minutes} min"
    await tasks.raise_(
        SHORTFALL,
        account.agreement,
        place=account.place,
        title=values.Bilingual(
            f"截至 {month:%Y-%m} 欠公益服务 {zh}：{deal.title.zh}"[:200],
            f"Public-benefit service short by {en} after {month:%Y-%m}: {deal.title.en}"[:200],
        ),
        # Until the next month is over there is time to make it up.
        due_at=terms.month_ends(terms.month_after(month), zone),
    )
