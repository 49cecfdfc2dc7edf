"""Revenue shares: of what a partner earned in a month, the agreed part goes to the community fund.

A month is stated once. What was stated wrongly is reversed, and stated anew.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from msgspec import Struct
from piccolo.columns import UUID, BigInt, Date, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.table import Table

from models import base, engine, errors, ledger, outbox, values
from models.agreements import arrears, deals, terms
from models.agreements.tables import Agreement
from models.partners import Partner
from models.places import Place


class Revenue(Table):
    """What a partner earned with an agreement in a month, and what of it the fund got."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    partner = ForeignKey(Partner, null=False)
    place = ForeignKey(Place, null=False)
    fund_place = ForeignKey(Place, null=False)
    month = Date(null=False)
    amount = BigInt(null=False)
    currency = Varchar(length=3, null=False)
    share_bp = Integer(null=False)
    fund_amount = BigInt(null=False)
    transfer = UUID(null=False)
    reversal = UUID(null=True, default=None)
    stated_by = UUID(null=False)
    stated_at = Timestamptz(null=False)
    reversed_at = Timestamptz(null=True, default=None)


class RevenueDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What the partner earned in a month, in all: minor units."""

    month: terms.Month
    amount: values.Money
    currency: values.Currency = "CNY"


class RevenueRecord(Struct, kw_only=True):
    """What was earned in a month, and the part of it that went to the fund of `fund_place_id`.
    `transfer_id` and `reversal_id` are of the ledger; one that is reversed counts no more."""

    id: uuid.UUID
    agreement_id: uuid.UUID
    partner_id: uuid.UUID
    fund_place_id: uuid.UUID
    month: terms.Month
    amount: int
    currency: str
    share_bp: int
    fund_amount: int
    transfer_id: uuid.UUID
    reversal_id: uuid.UUID | None
    stated_by: uuid.UUID
    stated_at: dt.datetime
    reversed_at: dt.datetime | None


class Balance(Struct, kw_only=True):
    """What a fund holds of a currency: what came in less what went out, in minor units."""

    currency: str
    came_in: int
    went_out: int
    amount: int


class FundRecord(Struct, kw_only=True):
    """The fund of a place."""

    place_id: uuid.UUID
    balances: list[Balance]


async def state(deal: deals.Deal, draft: RevenueDraft, by: uuid.UUID) -> RevenueRecord:
    """State what was earned in a month, and give the fund its part.

    Refuses an agreement without a revenue share or that was never agreed on, a month that is none
    of its months or has not begun, and (`taken`) one that has been stated.
    """
    share = deal.terms.revenue_share if deal.terms else None
    if share is None:
        raise errors.not_found()
    deals.require_agreed(deal)
    month = await _month(deal, draft.month)
    fund_place = await fund_of(deal.place_id)
    fund = terms.fund_part(draft.amount, share.share_bp)
    revenue_id = base.new_id()
    try:
        async with engine.unit_of_work() as work:
            transfer = await ledger.transfer(
                "revenue_share",
                [
                    ledger.Line(f"agreement:{deal.id}:revenue", draft.currency, -draft.amount),
                    ledger.Line(f"partner:{share.partner_id}", draft.currency, draft.amount - fund),
                    ledger.Line(f"fund:{fund_place}", draft.currency, fund),
                ],
                place=deal.place_id,
                partner=share.partner_id,
                subject=deal.id,
            )
            await Revenue.insert(
                Revenue(
                    id=revenue_id,
                    agreement=deal.id,
                    partner=share.partner_id,
                    place=deal.place_id,
                    fund_place=fund_place,
                    month=month,
                    amount=draft.amount,
                    currency=draft.currency,
                    share_bp=share.share_bp,
                    fund_amount=fund,
                    transfer=transfer,
                    stated_by=by,
                    stated_at=base.now(),
                )
            )
            await outbox.append(
                work,
                "revenue.changed",
                revenue_id,
                place=deal.place_id,
                action="revenue.stated",
                month=draft.month,
            )
            return await _read(deal.id, revenue_id)
    except engine.CONFLICTS:
        raise errors.refuse_field("month", "taken", value=draft.month) from None


async def reverse(deal: deals.Deal, revenue_id: uuid.UUID) -> RevenueRecord:
    """A month was stated wrongly: what the fund got is taken back, and the month may be stated
    anew. Refuses one that is reversed."""
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE revenue SET reversed_at = $1 WHERE id = $2 AND agreement = $3"
            " AND reversal IS NULL RETURNING transfer",
            base.now(),
            revenue_id,
            deal.id,
        )
        if not rows:
            await _read(deal.id, revenue_id)
            raise errors.Refusal("wrong_state", has="reversed", needed="not reversed")
        reversal = await ledger.reverse(base.as_id(rows[0]["transfer"]))
        await engine.execute("UPDATE revenue SET reversal = $1 WHERE id = $2", reversal, revenue_id)
        await outbox.append(
            work,
            "revenue.changed",
            revenue_id,
            place=deal.place_id,
            action="revenue.reversed",
        )
        return await _read(deal.id, revenue_id)


async def browse(deal: deals.Deal, *, after: uuid.UUID | None, limit: int) -> list[RevenueRecord]:
    """Up to `limit` statements of an agreement, newest first."""
    where = base.Where()
    where.add("agreement = {}", deal.id)
    where.page("id", after)
    rows = await engine.fetch(
        f"SELECT * FROM revenue WHERE {where} ORDER BY id DESC LIMIT {int(limit)}", *where.args
    )
    return [_shape(row) for row in rows]


async def fund(place: uuid.UUID) -> FundRecord:
    """What the fund of a place holds, by currency."""
    rows = await engine.fetch(
        "SELECT unit AS currency,"
        " CAST(SUM(CASE WHEN amount > 0 THEN amount ELSE 0 END) AS bigint) AS came_in,"
        " CAST(-SUM(CASE WHEN amount < 0 THEN amount ELSE 0 END) AS bigint) AS went_out,"
        " CAST(SUM(amount) AS bigint) AS amount"
        " FROM entry WHERE account = $1 GROUP BY unit ORDER BY unit",
        f"fund:{place}",
    )
    return FundRecord(place_id=place, balances=[base.record(row, Balance) for row in rows])


async def fund_of(place: uuid.UUID) -> uuid.UUID:
    """The place whose fund a place pays into: its community; above communities, itself."""
    rows = await engine.rows(
        "SELECT c.ancestor FROM place_closure c JOIN place p ON p.id = c.ancestor"
        " WHERE c.descendant = $1 AND p.kind = 'community'",
        place,
    )
    return base.as_id(rows[0][0]) if rows else place


async def _month(deal: deals.Deal, text: str) -> dt.date:
    month = terms.parse_month(text)
    now = terms.month_of(base.now(), await arrears.zone_of(deal.place_id))
    first, last = deal.starts_on.replace(day=1), min(deal.ends_on.replace(day=1), now)
    if not first <= month <= last:
        needed = f"{first:%Y-%m} … {last:%Y-%m}"
        raise errors.refuse_field("month", "out_of_range", needed=needed)
    return month


async def _read(agreement: uuid.UUID, revenue_id: uuid.UUID) -> RevenueRecord:
    rows = await engine.fetch(
        "SELECT * FROM revenue WHERE id = $1 AND agreement = $2", revenue_id, agreement
    )
    if not rows:
        raise errors.not_found()
    return _shape(rows[0])


def _shape(row: dict[str, Any]) -> RevenueRecord:
    return base.record(
        {
            **row,
            "agreement_id": row["agreement"],
            "partner_id": row["partner"],
            "fund_place_id": row["fund_place"],
            "month": f"{row['month']}"[:7],
            "transfer_id": row["transfer"],
            "reversal_id": row["reversal"],
        },
        RevenueRecord,
    )
