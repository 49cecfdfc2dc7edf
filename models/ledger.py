"""The ledger: money and hours that change hands. Only ever appended to; a mistake is reversed.

A transfer moves amounts between accounts, and each unit of it sums to zero. Accounts are texts:
`partner:<id>`, `person:<account id>`, `fund:<place id>`, `agreement:<id>:cost` …; units are
currencies in minor units (`CNY`) and `minute`.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct
from piccolo.columns import UUID, BigInt, BigSerial, ForeignKey, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, outbox
from models.partners import Partner
from models.places import Place

Unit = Annotated[str, Meta(pattern=r"^([A-Z]{3}|minute)\Z")]
MINUTE = "minute"


class Transfer(Table):
    """One fact of the ledger: what kind it is, and what it is about."""

    id = UUID(primary_key=True)
    kind = Varchar(length=32, null=False)
    # Whose staff read it, and of a partner's whose people too.
    place = ForeignKey(Place, null=False)
    partner = ForeignKey(Partner, null=True, default=None)
    # What it is about: an agreement, an occurrence.
    subject = UUID(null=True, default=None)
    reverses = UUID(null=True, default=None)
    at = Timestamptz(null=False)


class Entry(Table):
    """What a transfer changes on one account."""

    id = BigSerial(primary_key=True)
    transfer = ForeignKey(Transfer, null=False)
    account = Varchar(length=120, null=False)
    unit = Varchar(length=8, null=False)
    amount = BigInt(null=False)


class Line(Struct, frozen=True):
    """A change of one account: minor units of a currency, or minutes; below zero it gives."""

    account: str
    unit: str
    amount: int


class TransferRecord(Struct, kw_only=True):
    """A transfer as its place's staff and its partner's people read it."""

    id: uuid.UUID
    kind: str
    place_id: uuid.UUID
    partner_id: uuid.UUID | None
    subject: uuid.UUID | None
    reverses: uuid.UUID | None
    at: dt.datetime
    entries: tuple[Line, ...]


async def transfer(
    kind: str,
    lines: Sequence[Line],
    *,
    place: uuid.UUID,
    partner: uuid.UUID | None = None,
    subject: uuid.UUID | None = None,
    reverses: uuid.UUID | None = None,
    at: dt.datetime | None = None,
) -> uuid.UUID:
    """Append one balanced transfer. A sum that is not zero is a mistake of ours (ValueError)."""
    sums: Counter[str] = Counter()
    for line in lines:
        sums[line.unit] += line.amount
    if not lines or any(sums.values()):
        raise ValueError(f"a transfer balances: {kind} {dict(sums)}")
    transfer_id = base.new_id()
    async with engine.unit_of_work() as work:
        await Transfer.insert(
            Transfer(
                id=transfer_id,
                kind=kind,
                place=place,
                partner=partner,
                subject=subject,
                reverses=reverses,
                at=at or base.now(),
            )
        )
        for line in lines:
            await engine.execute(
                "INSERT INTO entry (transfer, account, unit, amount) VALUES ($1, $2, $3, $4)",
                transfer_id,
                line.account,
                line.unit,
                line.amount,
            )
        await outbox.append(
            work, "ledger.changed", transfer_id, place=place, action=f"ledger.{kind}"
        )
    return transfer_id


async def reverse(transfer_id: uuid.UUID) -> uuid.UUID:
    """Take a transfer back by its opposite; both stay. Refuses one that was taken back before."""
    async with engine.unit_of_work():
        before = await read(transfer_id)
        opposite = [Line(e.account, e.unit, -e.amount) for e in before.entries]
        try:
            return await transfer(
                before.kind,
                opposite,
                place=before.place_id,
                partner=before.partner_id,
                subject=before.subject,
                reverses=before.id,
            )
        except engine.CONFLICTS:
            raise errors.Refusal("wrong_state", has="reversed", needed="not reversed") from None


async def balance(account: str, unit: str) -> int:
    """What an account holds of a unit."""
    ((total,),) = await engine.rows(
        "SELECT CAST(COALESCE(SUM(amount), 0) AS bigint) FROM entry"
        " WHERE account = $1 AND unit = $2",
        account,
        unit,
    )
    return int(total)


async def read(
    transfer_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> TransferRecord:
    """One transfer, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("id = {}", transfer_id)
    sees.restrict(where, "1 = 0", "place", "partner")
    rows = await engine.fetch(f"SELECT * FROM transfer WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return (await _shape(rows))[0]


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    subject: uuid.UUID | None = None,
    kind: str | None = None,
) -> list[TransferRecord]:
    """Up to `limit` transfers of the caller's own places and partners, newest first."""
    where = base.Where()
    sees.restrict(where, "1 = 0", "place", "partner")
    if subject:
        where.add("subject = {}", subject)
    if kind:
        where.add("kind = {}", kind)
    where.page("id", after)
    return await _shape(
        await engine.fetch(
            f"SELECT * FROM transfer WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",
            *where.args,
        )
    )


async def _shape(rows: Iterable[dict[str, Any]]) -> list[TransferRecord]:
    found = list(rows)
    if not found:
        return []
    lines: dict[str, list[Line]] = {}
    for transfer_id, *line in await engine.rows(
        "SELECT CAST(transfer AS text), account, unit, amount FROM entry"
        f" WHERE transfer IN ({base.placeholders(len(found))}) ORDER BY id",
        *(row["id"] for row in found),
    ):
        lines.setdefault(transfer_id, []).append(Line(*line))
    return [
        base.record(
            {
                **row,
                "place_id": row["place"],
                "partner_id": row["partner"],
                "entries": lines[str(row["id"])],
            },
            TransferRecord,
        )
        for row in found
    ]
