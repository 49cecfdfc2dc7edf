"""Service contracts: milestones are assessed by an inspector and by those served, and paid for only
as far as they were approved.

Assessments are only added: of an inspector's the last counts, of each account's score the last.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from piccolo.columns import UUID, BigInt, ForeignKey, Integer, SmallInt, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import base, engine, errors, ledger, outbox, values
from models.agreements import deals, terms
from models.agreements.tables import Agreement

MilestoneState = Literal["unassessed", "withheld", "approved", "paid"]


class Milestone(Table):
    """A milestone of a contract that holds, in minor units: what it costs, what of it may be paid,
    what was paid. Whoever assesses or pays holds its row."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    name = Varchar(length=64, null=False)
    amount = BigInt(null=False)
    approved = BigInt(null=False)
    paid = BigInt(null=False)
    version = Integer(null=False)
    updated_at = Timestamptz(null=False)


class Assessment(Table):
    """What somebody found: an inspector the share that may be paid, one of those served 1 to 5."""

    id = UUID(primary_key=True)
    milestone = ForeignKey(Milestone, null=False)
    account = UUID(null=False)
    kind = Varchar(length=16, null=False)
    approved_bp = Integer(null=True, default=None)
    score = SmallInt(null=True, default=None)
    note = Text(null=False, default="")
    at = Timestamptz(null=False)


class Inspection(Struct, forbid_unknown_fields=True, kw_only=True):
    """The share of a milestone that may be paid, in basis points: 10000 passed, 0 failed."""

    approved_bp: Annotated[int, Meta(ge=0, le=terms.WHOLE_BP)]
    note: values.Prose = ""


class Score(Struct, forbid_unknown_fields=True, kw_only=True):
    """How good it was for one of those served: 1 to 5."""

    score: Annotated[int, Meta(ge=1, le=5)]
    note: values.Prose = ""


class ScoreRecord(Struct, kw_only=True):
    """The score that an account has given."""

    agreement_id: uuid.UUID
    milestone: str
    score: int
    note: str
    at: dt.datetime


class Payment(Struct, forbid_unknown_fields=True, kw_only=True):
    """Minor units, in the currency of the contract."""

    amount: terms.Cents


class MilestoneRecord(Struct, kw_only=True):
    """A milestone: what it costs, may be paid and was paid; what the inspector approved, and how
    many of those served gave how many points in all.

    `withheld`: it was inspected, and nothing may be paid.
    """

    id: uuid.UUID
    agreement_id: uuid.UUID
    partner_id: uuid.UUID
    name: str
    lot: values.Bilingual
    title: values.Bilingual
    due_on: dt.date | None
    currency: str
    amount: int
    approved: int
    paid: int
    state: MilestoneState
    inspected_bp: int | None
    inspected_by: uuid.UUID | None
    inspection_note: str
    scores: int
    scores_needed: int
    points: int
    version: int


class _Found(Struct):
    """What stands of the assessments of a milestone: the last inspection, each account's score."""

    inspection: dict[str, Any] | None = None
    scores: dict[str, int] = {}


async def begin(agreement: uuid.UUID, contract: terms.Contract) -> None:
    """A contract holds from now on. Inside the unit of work that makes it so."""
    for milestone in contract.milestones:
        await Milestone.insert(
            Milestone(
                id=base.new_id(),
                agreement=agreement,
                name=milestone.name,
                amount=milestone.amount,
                approved=0,
                paid=0,
                version=1,
                updated_at=base.now(),
            )
        )


async def inspect(
    deal: deals.Deal, name: str, inspection: Inspection, by: uuid.UUID
) -> MilestoneRecord:
    """An inspector says what share of a milestone may be paid; the last word counts."""
    async with engine.unit_of_work() as work:
        row = await _held(deal, name)
        await _add(row, by, "inspection", inspection.note, approved_bp=inspection.approved_bp)
        await _approve(work, deal, row, "milestone.inspected")
        return await read(deal, name)


async def score(deal: deals.Deal, name: str, given: Score, by: uuid.UUID) -> ScoreRecord:
    """One of those served says how good it was; given again, the last score counts. Refuses (not
    found) whoever has neither enrolled nor is named in the contract."""
    contract = require_contract(deal)
    if by not in contract.assessors and not await _is_served(deal.id, by):
        raise errors.not_found()
    async with engine.unit_of_work() as work:
        row = await _held(deal, name)
        at = await _add(row, by, "score", given.note, score=given.score)
        await _approve(work, deal, row, "milestone.scored")
    return ScoreRecord(
        agreement_id=deal.id, milestone=name, score=given.score, note=given.note, at=at
    )


async def pay(deal: deals.Deal, name: str, payment: Payment) -> MilestoneRecord:
    """Pay for a milestone. Refuses (`not_approved`) more than is approved and not yet paid."""
    contract = require_contract(deal)
    _require_milestone(contract, name)
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE milestone SET paid = paid + $1, version = version + 1, updated_at = $2"
            " WHERE agreement = $3 AND name = $4 AND paid + $1 <= approved RETURNING id",
            payment.amount,
            base.now(),
            deal.id,
            name,
        )
        if not rows:
            there = await read(deal, name)
            left = max(there.approved - there.paid, 0)
            raise errors.refuse_field("amount", "not_approved", left=left, state=there.state)
        await ledger.transfer(
            "milestone_paid",
            [
                ledger.Line(f"budget:{deal.place_id}", contract.currency, -payment.amount),
                ledger.Line(f"partner:{contract.partner_id}", contract.currency, payment.amount),
            ],
            place=deal.place_id,
            partner=contract.partner_id,
            subject=deal.id,
        )
        await outbox.append(
            work,
            "milestone.changed",
            base.as_id(rows[0]["id"]),
            place=deal.place_id,
            action="milestone.paid",
            amount=payment.amount,
        )
        return await read(deal, name)


async def read(deal: deals.Deal, name: str) -> MilestoneRecord:
    """One milestone of a contract that holds. Refuses (not found) any other."""
    found = [one for one in await browse(deal) if one.name == name]
    if not found:
        raise errors.not_found()
    return found[0]


async def browse(deal: deals.Deal) -> list[MilestoneRecord]:
    """The milestones of a contract that holds, lot by lot. Refuses (not found) an agreement
    without a contract."""
    contract = require_contract(deal)
    rows = await engine.fetch("SELECT * FROM milestone WHERE agreement = $1", deal.id)
    by_name = {row["name"]: row for row in rows}
    found = await _found("SELECT id FROM milestone WHERE agreement = $1", deal.id)
    return [
        _record(deal, contract, lot, milestone, row, found.get(str(row["id"]), _Found()))
        for lot in contract.lots
        for milestone in lot.milestones
        if (row := by_name.get(milestone.name))
    ]


def require_contract(deal: deals.Deal) -> terms.Contract:
    """The contract of an agreement. Refuses (not found) one that has none."""
    contract = deal.terms.contract if deal.terms else None
    if contract is None:
        raise errors.not_found()
    return contract


async def forget(account: uuid.UUID) -> None:
    """A person is forgotten: what they found still counts, what they wrote of it is gone."""
    await engine.execute("UPDATE assessment SET note = '' WHERE account = $1", account)


async def _held(deal: deals.Deal, name: str) -> dict[str, Any]:
    """A milestone that nobody else assesses or pays until the end of the transaction."""
    _require_milestone(require_contract(deal), name)
    rows = await engine.fetch(
        "UPDATE milestone SET version = version + 1, updated_at = $1"
        " WHERE agreement = $2 AND name = $3 RETURNING *",
        base.now(),
        deal.id,
        name,
    )
    if not rows:
        raise errors.not_found()
    return rows[0]


async def _add(
    row: dict[str, Any],
    account: uuid.UUID,
    kind: str,
    note: str,
    *,
    approved_bp: int | None = None,
    score: int | None = None,
) -> dt.datetime:
    at = base.now()
    await Assessment.insert(
        Assessment(
            id=base.new_id(),
            milestone=base.as_id(row["id"]),
            account=account,
            kind=kind,
            note=note,
            approved_bp=approved_bp,
            score=score,
            at=at,
        )
    )
    return at


async def _approve(work: engine.Work, deal: deals.Deal, row: dict[str, Any], action: str) -> None:
    """Write what may be paid now."""
    contract = require_contract(deal)
    milestone = _require_milestone(contract, row["name"])
    found = (await _found("$1", base.as_id(row["id"])))[str(row["id"])]
    inspected = found.inspection["approved_bp"] if found.inspection else None
    approved = terms.approved(contract, milestone, inspected, list(found.scores.values()))
    await engine.execute("UPDATE milestone SET approved = $1 WHERE id = $2", approved, row["id"])
    await outbox.append(
        work,
        "milestone.changed",
        base.as_id(row["id"]),
        place=deal.place_id,
        action=action,
        approved=approved,
    )


async def _found(which: str, value: uuid.UUID) -> dict[str, _Found]:
    """What stands of the assessments of the milestones that a query of one parameter names."""
    found: dict[str, _Found] = {}
    for row in await engine.fetch(
        f"SELECT * FROM assessment WHERE milestone IN ({which}) ORDER BY id", value
    ):
        one = found.setdefault(str(row["milestone"]), _Found())
        if row["kind"] == "inspection":
            one.inspection = row
        else:
            one.scores[str(row["account"])] = row["score"]
    return found


def _require_milestone(contract: terms.Contract, name: str) -> terms.MilestoneTerms:
    found = [one for one in contract.milestones if one.name == name]
    if not found:
        raise errors.not_found()
    return found[0]


async def _is_served(agreement: uuid.UUID, account: uuid.UUID) -> bool:
    return bool(
        await engine.rows(
            "SELECT 1 FROM enrolment WHERE agreement = $1 AND account = $2 AND status = 'enrolled'",
            agreement,
            account,
        )
    )


def _record(
    deal: deals.Deal,
    contract: terms.Contract,
    lot: terms.Lot,
    milestone: terms.MilestoneTerms,
    row: dict[str, Any],
    found: _Found,
) -> MilestoneRecord:
    inspection = found.inspection
    state: MilestoneState = "unassessed"
    if row["paid"] >= row["amount"]:
        state = "paid"
    elif row["approved"] > 0:
        state = "approved"
    elif inspection:
        state = "withheld"
    return MilestoneRecord(
        id=base.as_id(row["id"]),
        agreement_id=deal.id,
        partner_id=contract.partner_id,
        name=milestone.name,
        lot=lot.title,
        title=milestone.title,
        due_on=milestone.due_on,
        currency=contract.currency,
        amount=row["amount"],
        approved=row["approved"],
        paid=row["paid"],
        state=state,
        inspected_bp=inspection["approved_bp"] if inspection else None,
        inspected_by=base.as_id(inspection["account"]) if inspection else None,
        inspection_note=inspection["note"] if inspection else "",
        scores=len(found.scores),
        scores_needed=contract.scores_needed,
        points=sum(found.scores.values()),
        version=row["version"],
    )
