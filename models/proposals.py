"""Proposals: an offering asked to take a seat of a need, until somebody says no.

Agreements will take over from here; a proposal only stands or is declined, with a reason that can
be counted.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, structs
from piccolo.columns import UUID, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, needs, offerings, outbox, values
from models.partners import Partner
from models.places import Place
from models.plans import Plan

ProposalStatus = Literal["proposed", "accepted", "declined", "lapsed", "withdrawn"]


class Proposal(Table):
    """One seat of a role of a need, and the offering that a plan wants in it."""

    id = UUID(primary_key=True)
    plan = ForeignKey(Plan, null=False)
    need = ForeignKey(needs.Need, null=False)
    # The need's own place: its staff decide.
    place = ForeignKey(Place, null=False)
    role = Varchar(length=64, null=False)
    seat = Integer(null=False)
    offering = ForeignKey(offerings.Offering, null=False)
    partner = ForeignKey(Partner, null=False)
    score = Integer(null=False)
    snapshot = Varchar(length=64, null=False)
    status = Varchar(length=16, null=False)
    decline_reason = Varchar(length=20, null=True, default=None)
    decline_note = Text(null=False, default="")
    made_at = Timestamptz(null=False)
    version = Integer(null=False)
    updated_at = Timestamptz(null=False)


class ProposalRecord(Struct, kw_only=True):
    """A proposal as it is read. `snapshot` is what was compared when it was made."""

    id: uuid.UUID
    plan_id: uuid.UUID
    need_id: uuid.UUID
    place_id: uuid.UUID
    role: str
    seat: int
    offering_id: uuid.UUID
    partner_id: uuid.UUID
    score: float
    snapshot: str
    status: ProposalStatus
    decline_reason: values.Reason | None
    decline_note: str
    made_at: dt.datetime
    version: int


class Decline(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why not, for counting, and a note for whoever reads it."""

    reason: values.Reason
    note: values.Prose = ""


class Seat(Struct, frozen=True):
    """What a plan proposes for one seat; `score` in hundredths of a point."""

    need: uuid.UUID
    place: uuid.UUID
    role: str
    seat: int
    offering: uuid.UUID
    partner: uuid.UUID
    score: int
    snapshot: str


async def make(plan: uuid.UUID, place: uuid.UUID, seats: Sequence[Seat]) -> list[ProposalRecord]:
    """Propose seats of a plan, all in one transaction; answers every proposal of the plan.

    A seat that the plan has proposed before stays as it is.
    """
    moment = base.now()
    async with engine.unit_of_work() as work:
        known = {(p.need_id, p.role, p.seat) for p in await of_plan(plan)}
        fresh = [seat for seat in seats if (seat.need, seat.role, seat.seat) not in known]
        for seat in fresh:
            proposal_id = base.new_id()
            await Proposal.insert(
                Proposal(
                    id=proposal_id,
                    plan=plan,
                    status="proposed",
                    made_at=moment,
                    updated_at=moment,
                    version=1,
                    **structs.asdict(seat),
                )
            )
            await outbox.announce(work, "proposal.changed", proposal_id)
        await outbox.append(
            work, "plan.changed", plan, place=place, action="plan.proposed", proposals=len(fresh)
        )
        return await of_plan(plan)


async def of_plan(plan: uuid.UUID) -> list[ProposalRecord]:
    """Every proposal of a plan, in the order in which they were made."""
    rows = await engine.fetch("SELECT * FROM proposal WHERE plan = $1 ORDER BY id", plan)
    return [shape(row) for row in rows]


async def standing(
    need_ids: Sequence[uuid.UUID], offering_ids: Sequence[uuid.UUID]
) -> list[ProposalRecord]:
    """The proposals that stand, of any of these needs or offerings."""
    where = base.Where()
    clauses = [
        f"{column} IN ({where.values(ids)})"
        for column, ids in (("need", need_ids), ("offering", offering_ids))
        if ids
    ]
    if not clauses:
        return []
    where.add(f"status = 'proposed' AND ({' OR '.join(clauses)})")
    rows = await engine.fetch(f"SELECT * FROM proposal WHERE {where} ORDER BY id", *where.args)
    return [shape(row) for row in rows]


async def read(
    proposal_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> ProposalRecord:
    """One proposal, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("id = {}", proposal_id)
    sees.restrict(where, "1 = 0", "place", "partner")
    rows = await engine.fetch(f"SELECT * FROM proposal WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return shape(rows[0])


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    plan: uuid.UUID | None = None,
    need: uuid.UUID | None = None,
    partner: uuid.UUID | None = None,
    status: str | None = None,
) -> list[ProposalRecord]:
    """Up to `limit` proposals that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, "1 = 0", "place", "partner")
    for column, value in (("plan", plan), ("need", need), ("partner", partner), ("status", status)):
        if value:
            where.add(f"{column} = {{}}", value)
    where.page("id", after)
    rows = await engine.fetch(
        f"SELECT * FROM proposal WHERE {where} ORDER BY id DESC LIMIT {int(limit)}", *where.args
    )
    return [shape(row) for row in rows]


async def shown(
    sees: accounts.Visibility, proposals: Sequence[ProposalRecord]
) -> list[ProposalRecord]:
    """Proposals as these eyes may read them: in which building somebody needs help is for the staff
    of that place, and not yet for the partners who are asked."""
    near = await accounts.inside(sees, [proposal.place_id for proposal in proposals])
    far = [p.need_id for p in proposals if not sees.everything and p.place_id not in near]
    public = await needs.public_places_of(far)
    return [
        structs.replace(proposal, place_id=public.get(proposal.need_id, proposal.place_id))
        for proposal in proposals
    ]


async def decline(proposal: ProposalRecord, why: Decline) -> ProposalRecord:
    """Say no. Refuses a proposal that does not stand."""
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE proposal SET status = 'declined', decline_reason = $1, decline_note = $2,"
            " version = version + 1, updated_at = $3 WHERE id = $4 AND status = 'proposed'"
            " RETURNING *",
            why.reason,
            why.note,
            base.now(),
            proposal.id,
        )
        if not rows:
            has = (await read(proposal.id)).status
            raise errors.Refusal("wrong_state", has=has, needed="proposed")
        await outbox.append(
            work,
            "proposal.changed",
            proposal.id,
            place=proposal.place_id,
            action="proposal.declined",
            reason=why.reason,
        )
        return shape(rows[0])


async def of_partner(partner: uuid.UUID) -> list[ProposalRecord]:
    """Every proposal to a partner that stands, in the order in which they were made."""
    rows = await engine.fetch(
        "SELECT * FROM proposal WHERE partner = $1 AND status = 'proposed' ORDER BY id", partner
    )
    return [shape(row) for row in rows]


async def forget(column: Literal["partner", "need"], subject: uuid.UUID) -> None:
    """A person is forgotten: what is proposed to them, or for what they asked, is declined, and no
    note is left."""
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE proposal SET decline_note = '', status = 'declined',"
            " decline_reason = COALESCE(decline_reason, 'no_longer_needed'),"
            f" version = version + 1, updated_at = $1 WHERE {column} = $2 RETURNING id",
            base.now(),
            subject,
        )
        for row in rows:
            await outbox.announce(work, "proposal.changed", base.as_id(row["id"]))


def shape(row: dict[str, Any]) -> ProposalRecord:
    """A row of `proposal` as a record."""
    return base.record(
        {
            **row,
            "plan_id": row["plan"],
            "need_id": row["need"],
            "place_id": row["place"],
            "offering_id": row["offering"],
            "partner_id": row["partner"],
            "score": row["score"] / 100,
        },
        ProposalRecord,
    )
