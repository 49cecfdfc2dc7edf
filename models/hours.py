"""The time bank: hours that people have given, up to a cap to spend, and above it to give away.

A balance has three ledger accounts, in minutes: `person:<account>` may be spent; what was earned
above the cap lies on `person:<account>:gift` and can only be given away; `person:<account>:owed` is
below zero where more was taken back than was left. Hours come from `hours:<place>` and go back
there when they are spent. The row in `hours` is the same balance under a lock.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from piccolo.columns import UUID, Integer, Timestamptz
from piccolo.table import Table

from models import base, engine, errors, ledger, places

# As time banks have it: 1,500 hours may be saved up to be spent, the rest is for others.
CAP = 1_500 * 60
Kind = Literal[
    "hours_earned", "hours_taken_back", "hours_donated", "hours_spent", "hours_left_behind"
]
Minutes = Annotated[int, Meta(ge=1, le=10_000_000, description="whole minutes")]


class Hours(Table):
    """The balance of an account in minutes; whoever changes it holds this row's lock."""

    id = UUID(primary_key=True)
    account = UUID(null=False)
    spendable = Integer(null=False)
    gift = Integer(null=False)
    owed = Integer(null=False)
    updated_at = Timestamptz(null=False)


class Balance(Struct, frozen=True):
    """Minutes to spend (0 to `CAP`), minutes to give away, and minutes owed. None is below zero,
    and whoever owes has nothing else."""

    spendable: int = 0
    gift: int = 0
    owed: int = 0


class Donation(Struct, forbid_unknown_fields=True, kw_only=True):
    """Minutes for another person, or for the fund of a place: one of the two."""

    minutes: Minutes
    account_id: uuid.UUID | None = None
    place_id: uuid.UUID | None = None

    def __post_init__(self) -> None:
        if (self.account_id is None) == (self.place_id is None):
            raise ValueError("account_id: this or place_id, and not both")


class Spending(Struct, forbid_unknown_fields=True, kw_only=True):
    """Minutes for a place of one's own in a service."""

    minutes: Minutes
    enrolment_id: uuid.UUID


class BalanceEntry(Struct, kw_only=True):
    """What one transfer has changed: minutes to spend, to give away, and owed. `subject` is the
    occurrence they were earned at, or the enrolment they were spent on."""

    id: uuid.UUID
    kind: Kind
    at: dt.datetime
    spendable: int
    donate_only: int
    owed: int
    subject: uuid.UUID | None


class BalanceRecord(Struct, kw_only=True):
    """A balance in minutes: at most `cap` of them may be spent, `donate_only` can only be given
    away, `owed` is taken from what is earned next."""

    spendable: int
    donate_only: int
    owed: int
    cap: int = CAP


def earn(before: Balance, minutes: int) -> Balance:
    """Add minutes: first to what is owed, then up to the cap, and the rest to give away."""
    paid = min(before.owed, minutes)
    kept = min(CAP - before.spendable, minutes - paid)
    return Balance(before.spendable + kept, before.gift + minutes - paid - kept, before.owed - paid)


def spend(before: Balance, minutes: int) -> Balance | None:
    """Take minutes of those that may be spent; None where there are not as many."""
    if minutes > before.spendable:
        return None
    return Balance(before.spendable - minutes, before.gift, before.owed)


def donate(before: Balance, minutes: int) -> Balance | None:
    """Take minutes to give away, first those that are good for nothing else; None where there are
    not as many."""
    if minutes > before.spendable + before.gift:
        return None
    gift = min(before.gift, minutes)
    return Balance(before.spendable - (minutes - gift), before.gift - gift, before.owed)


def take_back(before: Balance, minutes: int) -> Balance:
    """Take minutes that were never earned; what is no longer there is owed."""
    there = min(minutes, before.spendable + before.gift)
    left = donate(before, there)
    assert left is not None
    return Balance(left.spendable, left.gift, left.owed + minutes - there)


async def credit(
    account: uuid.UUID, minutes: int, *, place: uuid.UUID, partner: uuid.UUID, subject: uuid.UUID
) -> uuid.UUID:
    """Post minutes that an account has given at an occurrence; answers the transfer."""
    async with engine.unit_of_work():
        before = await _locked(account)
        lines = await _move(account, before, earn(before, minutes))
        return await ledger.transfer(
            "hours_earned",
            [ledger.Line(f"hours:{place}", ledger.MINUTE, -minutes), *lines],
            place=place,
            partner=partner,
            subject=subject,
        )


async def uncredit(account: uuid.UUID, minutes: int, transfer: uuid.UUID) -> uuid.UUID:
    """Take back what a transfer has credited; both stay."""
    async with engine.unit_of_work():
        made = await ledger.read(transfer)
        before = await _locked(account)
        lines = await _move(account, before, take_back(before, minutes))
        return await ledger.transfer(
            "hours_taken_back",
            [ledger.Line(f"hours:{made.place_id}", ledger.MINUTE, minutes), *lines],
            place=made.place_id,
            partner=made.partner_id,
            subject=made.subject,
            reverses=made.id,
        )


async def give(account: uuid.UUID, donation: Donation) -> BalanceRecord:
    """Give minutes away. Refuses more than there are, oneself, and whom there is not."""
    async with engine.unit_of_work():
        to = donation.account_id
        if to is not None:
            await _refuse_receiver(account, to)
        before, theirs = await _both(account, to)
        after = donate(before, donation.minutes)
        if after is None:
            raise errors.Refusal("too_few_hours", left=before.spendable + before.gift)
        lines = await _move(account, before, after)
        if to is not None and theirs is not None:
            lines += await _move(to, theirs, earn(theirs, donation.minutes))
            place = await _latest_place(account)
        else:
            assert donation.place_id is not None
            place = donation.place_id
            await base.refer("place_id", places.Place, place)
            lines.append(ledger.Line(f"fund:{place}", ledger.MINUTE, donation.minutes))
        await ledger.transfer("hours_donated", lines, place=place)
        return await of(account)


async def pay(account: uuid.UUID, spending: Spending) -> BalanceRecord:
    """Spend minutes on a place of one's own in a service. Refuses more than may be spent, and an
    enrolment that is somebody else's or has no place yet."""
    rows = await engine.rows(
        "SELECT place FROM enrolment WHERE id = $1 AND account = $2 AND agreement IS NOT NULL"
        " AND status <> 'cancelled'",
        spending.enrolment_id,
        account,
    )
    if not rows:
        raise errors.refuse_field(
            "enrolment_id", "unknown_reference", what="enrolment", value=str(spending.enrolment_id)
        )
    place = base.as_id(rows[0][0])
    async with engine.unit_of_work():
        before = await _locked(account)
        after = spend(before, spending.minutes)
        if after is None:
            raise errors.Refusal("too_few_hours", left=before.spendable)
        lines = await _move(account, before, after)
        lines.append(ledger.Line(f"hours:{place}", ledger.MINUTE, spending.minutes))
        await ledger.transfer("hours_spent", lines, place=place, subject=spending.enrolment_id)
        return await of(account)


async def leave_behind(account: uuid.UUID) -> None:
    """A person is forgotten: what is left goes to the fund of the place where it last changed."""
    async with engine.unit_of_work():
        before = await _locked(account)
        left = before.spendable + before.gift
        if left:
            lines = await _move(account, before, Balance())
            place = await _latest_place(account)
            lines.append(ledger.Line(f"fund:{place}", ledger.MINUTE, left))
            await ledger.transfer("hours_left_behind", lines, place=place)
        await engine.execute("DELETE FROM hours WHERE account = $1", account)


async def of(account: uuid.UUID) -> BalanceRecord:
    """What an account has."""
    rows = await engine.rows("SELECT spendable, gift, owed FROM hours WHERE account = $1", account)
    has = Balance(*rows[0]) if rows else Balance()
    return BalanceRecord(spendable=has.spendable, donate_only=has.gift, owed=has.owed)


async def entries(account: uuid.UUID, *, after: uuid.UUID | None, limit: int) -> list[BalanceEntry]:
    """Up to `limit` changes of an account's balance, newest first."""
    names = accounts_of(account)
    where = base.Where()
    where.add(f"e.account IN ({where.values(names)})")
    where.page("e.transfer", after)
    kept, gift, owed = (
        f"CAST(SUM(CASE WHEN e.account = {where.value(name)} THEN e.amount ELSE 0 END) AS bigint)"
        for name in names
    )
    rows = await engine.fetch(
        f"SELECT t.id, t.kind, t.at, t.subject, {kept} AS spendable, {gift} AS donate_only,"
        f" -{owed} AS owed FROM entry e JOIN transfer t ON t.id = e.transfer WHERE {where}"
        f" GROUP BY t.id, t.kind, t.at, t.subject ORDER BY t.id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [base.record(row, BalanceEntry) for row in rows]


async def _locked(account: uuid.UUID) -> Balance:
    """The balance, which nobody else changes until the end of the transaction."""
    ((spendable, gift, owed),) = await engine.rows(
        "INSERT INTO hours (id, account, spendable, gift, owed, updated_at)"
        " VALUES ($1, $2, 0, 0, 0, $3) ON CONFLICT (account)"
        " DO UPDATE SET updated_at = excluded.updated_at RETURNING spendable, gift, owed",
        base.new_id(),
        account,
        base.now(),
    )
    return Balance(spendable, gift, owed)


async def _both(giver: uuid.UUID, receiver: uuid.UUID | None) -> tuple[Balance, Balance | None]:
    """The balances of both, locked in one order whoever gives: two who give to each other at the
    same moment would otherwise wait for each other."""
    found = {}
    for account in sorted({giver, receiver} - {None}, key=str):
        found[account] = await _locked(account)  # type: ignore[arg-type]  # None is left out
    return found[giver], found[receiver] if receiver else None


async def _move(account: uuid.UUID, before: Balance, after: Balance) -> list[ledger.Line]:
    """Write a balance; answers what that changes on its ledger accounts."""
    await engine.execute(
        "UPDATE hours SET spendable = $1, gift = $2, owed = $3 WHERE account = $4",
        after.spendable,
        after.gift,
        after.owed,
        account,
    )
    changes = (
        after.spendable - before.spendable,
        after.gift - before.gift,
        before.owed - after.owed,
    )
    return [
        ledger.Line(name, ledger.MINUTE, change)
        for name, change in zip(accounts_of(account), changes, strict=True)
        if change
    ]


def accounts_of(account: uuid.UUID) -> tuple[str, str, str]:
    """The ledger accounts of a person: to spend, to give away, owed."""
    return f"person:{account}", f"person:{account}:gift", f"person:{account}:owed"


async def _latest_place(account: uuid.UUID) -> uuid.UUID:
    """Where a balance that is not empty last changed."""
    names: Iterable[Any] = accounts_of(account)
    ((place,),) = await engine.rows(
        "SELECT t.place FROM entry e JOIN transfer t ON t.id = e.transfer"
        " WHERE e.account IN ($1, $2, $3) ORDER BY e.id DESC LIMIT 1",
        *names,
    )
    return base.as_id(place)


async def _refuse_receiver(giver: uuid.UUID, receiver: uuid.UUID) -> None:
    rows = await engine.rows(
        "SELECT 1 FROM account WHERE id = $1 AND status = 'active' AND id <> $2", receiver, giver
    )
    if not rows:
        raise errors.refuse_field(
            "account_id", "unknown_reference", what="account", value=str(receiver)
        )
