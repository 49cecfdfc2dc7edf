"""Agreements for the tests of what their terms lead to."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from models import bookings, engine, ledger
from tests.towns import Town, a_need, an_offering, mornings

Json = dict[str, Any]


async def proposed(
    town: Town,
    terms: Json | None = None,
    *,
    starts_on: str = "2027-03-01",
    ends_on: str = "2027-08-31",
    partner: str | None = None,
    place: str | None = None,
    **change: Any,
) -> Json:
    """An agreement that the community proposes to Zhou: breakfast on Wednesdays, 06:30 to 09:00."""
    need = a_need(town, windows=[mornings(days=[3])], place_id=place or town.community)
    shop = an_offering(town, partner_id=partner or town.partner)
    body = {
        "need_id": (await town.make("/v1/needs", need, "operator"))["id"],
        "members": [
            {
                "role": "cook",
                "offering_id": (await town.make("/v1/offerings", shop, "operator"))["id"],
            }
        ],
        "starts_on": starts_on,
        "ends_on": ends_on,
        "terms": terms,
        **change,
    }
    made: Json = await town.make("/v1/agreements", body, "secretary" if not place else "operator")
    return made


async def agreed(town: Town, terms: Json | None = None, **change: Any) -> str:
    """The id of an agreement that all have accepted."""
    made = await proposed(town, terms, **change)
    for party in made["parties"]:
        if party["answer"] == "pending":
            path = f"/v1/agreements/{made['id']}/accept"
            made = await town.make(path, {"party_id": party["id"]}, "operator")
    assert made["state"] == "active"
    return str(made["id"])


async def step(town: Town, agreement: str, name: str, who: str = "secretary", **body: Any) -> Json:
    """Take a step of an agreement's life."""
    done: Json = await town.make(f"/v1/agreements/{agreement}/{name}", body, who)
    return done


async def served(agreement: str, *begins: str, status: str = "served") -> None:
    """What begins then has taken place."""
    for one in begins:
        changed = await engine.rows(
            "UPDATE occurrence SET status = $1 WHERE agreement = $2 AND starts = $3 RETURNING id",
            status,
            uuid.UUID(agreement),
            bookings.minute(dt.datetime.fromisoformat(one)),
        )
        assert changed, one


async def held(account: str) -> int:
    """What an account of the ledger holds, in fen."""
    return await ledger.balance(account, "CNY")


async def balanced() -> None:
    """Every transfer of the ledger adds up to nothing, in each of its units."""
    wrong = await engine.rows(
        "SELECT transfer FROM entry GROUP BY transfer, unit HAVING SUM(amount) <> 0"
    )
    assert wrong == []
