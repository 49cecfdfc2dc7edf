"""Proposing an agreement to its parties. Nothing is taken yet: that is for the last yes."""

from __future__ import annotations

import datetime as dt
import uuid

from msgspec import Struct

from models import base, bookings, engine, needs
from models.agreements import answering, reading, steps
from models.agreements.records import GIVES, AgreementRecord, PledgeDraft
from models.agreements.tables import Agreement, Commitment, Party
from models.agreements.terms import Money, Terms, check


class Member(Struct, frozen=True, kw_only=True):
    """An offering asked to take a seat, at these UTC minutes. The score is in hundredths."""

    role: str
    seat: int
    offering: uuid.UUID
    partner: uuid.UUID
    kind: str
    quantity: int
    times: tuple[tuple[int, int], ...]
    score: int | None = None
    snapshot: str | None = None
    proposal: uuid.UUID | None = None


class Proposing(Struct, frozen=True, kw_only=True):
    """What is proposed: checked by whoever made it of a draft or a plan."""

    need: needs.NeedRecord
    starts_on: dt.date
    ends_on: dt.date
    respond_by: dt.datetime
    places: int
    members: tuple[Member, ...]
    pledges: tuple[PledgeDraft, ...] = ()
    cost: Money | None = None
    terms: Terms | None = None
    plan: uuid.UUID | None = None


async def propose(
    what: Proposing, account: uuid.UUID, for_partner: uuid.UUID | None = None
) -> AgreementRecord:
    """Propose an agreement. Who proposes has accepted: the community, or the partner named.

    With nobody left to ask it is active at once, and refused as the last yes would be. Refuses
    terms for a partner who is not asked.
    """
    check(what.terms, _partners(what))
    agreement_id, moment = base.new_id(), base.now()
    ends = [end for member in what.members for _, end in member.times]
    # What is only money lasts as long as its dates.
    last = max(ends, default=bookings.minute(_day_after(what.ends_on)))
    (public,) = (await needs.public_places_of([what.need.id])).values()
    async with engine.unit_of_work() as work:
        await Agreement.insert(
            Agreement(
                id=agreement_id,
                need=what.need.id,
                place=what.need.place_id,
                public_place=public,
                plan=what.plan,
                title_zh=what.need.title.zh,
                title_en=what.need.title.en,
                service_type=what.need.service_type,
                state="proposed",
                state_since=moment,
                starts_on=what.starts_on,
                ends_on=what.ends_on,
                last_ends=last,
                respond_by=what.respond_by,
                places=what.places,
                cost_amount=what.cost.amount if what.cost else None,
                cost_currency=what.cost.currency if what.cost else None,
                terms=base.pack(what.terms),
                proposed_by=account,
                version=0,
                created_at=moment,
                updated_at=moment,
            )
        )
        parties = await _ask(agreement_id, what, account, for_partner, moment)
        for member in what.members:
            await commit(agreement_id, parties[member.partner], member)
        for pledge in what.pledges:
            await _pledge(agreement_id, parties[pledge.partner_id], pledge)
        held = await steps.hold(agreement_id)
        actor = steps.Actor(account, for_partner is None)
        await steps.enter(work, held, "proposed", "propose", actor=actor)
        await answering.conclude(work, held, actor, None)
        return await reading.read(agreement_id)


async def commit(
    agreement: uuid.UUID,
    party: uuid.UUID,
    member: Member,
    replaces: uuid.UUID | None = None,
) -> uuid.UUID:
    """Ask a member; answers the id of what is asked."""
    commitment_id = base.new_id()
    await Commitment.insert(
        Commitment(
            id=commitment_id,
            agreement=agreement,
            party=party,
            partner=member.partner,
            offering=member.offering,
            role=member.role,
            seat=member.seat,
            kind=GIVES[member.kind],
            quantity=member.quantity,
            times=base.pack(member.times),
            score=member.score,
            snapshot=member.snapshot,
            proposal=member.proposal,
            replaces=replaces,
            status="proposed",
        )
    )
    return commitment_id


async def join(agreement: uuid.UUID, partner: uuid.UUID | None) -> uuid.UUID:
    """A party more, who has not answered; answers its id."""
    party_id = base.new_id()
    await Party.insert(Party(id=party_id, agreement=agreement, partner=partner, answer="pending"))
    return party_id


async def _ask(
    agreement: uuid.UUID,
    what: Proposing,
    account: uuid.UUID,
    for_partner: uuid.UUID | None,
    moment: dt.datetime,
) -> dict[uuid.UUID | None, uuid.UUID]:
    """Every party once, the community first; who proposes has said yes."""
    found = {partner: await join(agreement, partner) for partner in _partners(what)}
    await engine.execute(
        "UPDATE party SET answer = 'accepted', answered_by = $1, answered_at = $2 WHERE id = $3",
        account,
        moment,
        found[for_partner],
    )
    return found


def _partners(what: Proposing) -> list[uuid.UUID | None]:
    """Every party once: the community (None), then the partners."""
    partners: dict[uuid.UUID | None, None] = {None: None}
    partners |= {member.partner: None for member in what.members}
    partners |= {pledge.partner_id: None for pledge in what.pledges}
    return list(partners)


async def _pledge(agreement: uuid.UUID, party: uuid.UUID, pledge: PledgeDraft) -> None:
    await Commitment.insert(
        Commitment(
            id=base.new_id(),
            agreement=agreement,
            party=party,
            partner=pledge.partner_id,
            kind=pledge.kind,
            quantity=1,
            value_amount=pledge.value.amount,
            value_currency=pledge.value.currency,
            description_zh=pledge.description.zh,
            description_en=pledge.description.en,
            status="proposed",
        )
    )


def _day_after(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(days=1)
