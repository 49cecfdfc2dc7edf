"""What an agreement does to the ledger when it begins to hold, and when it ends early.

`agreement:<id>:cost` begins with the cost as a debt; what is pledged, in kind or in cash, pays of
it. What is left below zero is the gap.
"""

from __future__ import annotations

import uuid

from models import accounts, base, bookings, engine, ledger
from models.agreements import arrears, contracts, deals, terms

# The cost, and each kind of pledge.
_KINDS = ("cost", "pledge_cash", "pledge_in_kind", "pledge_goods")
_AT_MOST = 100


async def activated(agreement_id: uuid.UUID) -> None:
    """An agreement holds: its cost and its pledges are posted, its rent and its contract begin.

    Called once, inside the unit of work in which the last party accepts.
    """
    deal = await deals.read(agreement_id)
    if deal.cost:
        await _post(deal, "cost", None, deal.cost, f"agreement:{deal.id}:value", gives=False)
    for partner, kind, amount, currency in await engine.rows(
        "SELECT partner, kind, value_amount, value_currency FROM commitment WHERE agreement = $1"
        " AND status = 'live' AND offering IS NULL AND value_amount IS NOT NULL ORDER BY id",
        agreement_id,
    ):
        giver = base.as_id(partner) if partner else None
        account = f"partner:{giver}" if giver else f"budget:{deal.place_id}"
        await _post(deal, f"pledge_{kind}", giver, terms.Money(amount, currency), account)
    if deal.terms and deal.terms.rent:
        await arrears.begin(deal, deal.terms.rent)
    if deal.terms and deal.terms.contract:
        await contracts.begin(deal.id, deal.terms.contract)


async def over(agreement_id: uuid.UUID, partner: uuid.UUID | None = None) -> None:
    """An agreement ends before its time, or one partner leaves it: of the cost and the pledges (of
    that partner), what was not delivered is posted back.

    Inside the unit of work that makes it so. Delivered is the share of its minutes that took place
    until now; of an agreement without times, the share of its days.
    """
    deal = await deals.read(agreement_id)
    weights = await _undelivered(deal)
    known = await engine.rows(
        "SELECT CAST(reverses AS text) FROM transfer WHERE subject = $1 AND reverses IS NOT NULL",
        agreement_id,
    )
    returned = {identity for (identity,) in known}
    for kind in _KINDS:
        for posted in await ledger.browse(
            accounts.EVERYTHING, after=None, limit=_AT_MOST, subject=agreement_id, kind=kind
        ):
            theirs = partner is None or posted.partner_id == partner
            if theirs and posted.reverses is None and str(posted.id) not in returned:
                await _return(posted, weights)


async def _post(
    deal: deals.Deal,
    kind: str,
    partner: uuid.UUID | None,
    value: terms.Money,
    account: str,
    *,
    gives: bool = True,
) -> None:
    amount = value.amount if gives else -value.amount
    await ledger.transfer(
        kind,
        [
            ledger.Line(f"agreement:{deal.id}:cost", value.currency, amount),
            ledger.Line(account, value.currency, -amount),
        ],
        place=deal.place_id,
        partner=partner,
        subject=deal.id,
    )


async def _return(posted: ledger.TransferRecord, weights: tuple[int, int]) -> None:
    """Post back the part of a transfer that the first weight stands for."""
    lines = []
    for entry in posted.entries:
        part, _ = terms.shares(abs(entry.amount), weights)
        amount = -part if entry.amount > 0 else part
        lines.append(ledger.Line(entry.account, entry.unit, amount))
    if any(line.amount for line in lines):
        await ledger.transfer(
            posted.kind,
            lines,
            place=posted.place_id,
            partner=posted.partner_id,
            subject=posted.subject,
            reverses=posted.id,
        )


async def _undelivered(deal: deals.Deal) -> tuple[int, int]:
    """How much of an agreement has not taken place until now, and how much has."""
    now = bookings.minute(base.now())
    times = await engine.rows(
        "SELECT starts, ends, status FROM occurrence WHERE agreement = $1", deal.id
    )
    if times:
        whole = sum(ends - starts for starts, ends, _ in times)
        done = sum(
            ends - starts
            for starts, ends, status in times
            if starts < now and status not in ("cancelled", "missed")
        )
    else:
        today = terms.day_of(base.now(), await arrears.zone_of(deal.place_id))
        whole = (deal.ends_on - deal.starts_on).days + 1
        done = min(max((today - deal.starts_on).days, 0), whole)
    return whole - done, done
