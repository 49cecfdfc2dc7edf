"""An agreement as money and hours see it: whose place it is, who its partners are, its terms."""

from __future__ import annotations

import datetime as dt
import uuid

from msgspec import Struct

from models import accounts, base, engine, errors, values
from models.agreements import lifecycle, reading
from models.agreements.terms import Money, Terms, unpack

# It has been agreed on, so that something may be owed.
AGREED: tuple[lifecycle.State, ...] = ("active", "suspended", "ended", "completed", "reviewed")


class Deal(Struct, frozen=True, kw_only=True):
    """What was agreed on, and between whom."""

    id: uuid.UUID
    place_id: uuid.UUID
    title: values.Bilingual
    state: lifecycle.State
    starts_on: dt.date
    ends_on: dt.date
    cost: Money | None
    terms: Terms | None
    partners: frozenset[uuid.UUID]


async def read(agreement_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING) -> Deal:
    """One agreement, for the staff of its place and its partners' people; or the not-found
    refusal."""
    where = base.Where()
    where.add("a.id = {}", agreement_id)
    reading.restrict(where, sees, "a.id", "a.place")
    rows = await engine.fetch(f"SELECT * FROM agreement a WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    (row,) = rows
    parties = await engine.rows(
        "SELECT CAST(partner AS text) FROM party WHERE agreement = $1 AND partner IS NOT NULL",
        agreement_id,
    )
    amount = row["cost_amount"]
    return base.record(
        {
            **row,
            "place_id": row["place"],
            "title": values.Bilingual(row["title_zh"], row["title_en"]),
            "cost": Money(amount, row["cost_currency"]) if amount else None,
            "terms": unpack(row["terms"]),
            "partners": [partner for (partner,) in parties],
        },
        Deal,
    )


def require_agreed(deal: Deal) -> None:
    """Refuse an agreement that was never agreed on."""
    if deal.state not in AGREED:
        raise errors.Refusal("wrong_state", has=deal.state, needed=" | ".join(AGREED))
