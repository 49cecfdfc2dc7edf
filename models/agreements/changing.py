"""What happens to an agreement between yes and its end: pauses, newcomers, early ends; and time."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from typing import Any, Literal

from msgspec import structs

from models import base, bookings, engine, errors, needs
from models.agreements import (
    answering,
    enrolments,
    filling,
    lifecycle,
    postings,
    proposing,
    reading,
    steps,
)
from models.agreements.proposing import Member
from models.agreements.records import AgreementRecord, StepDraft
from models.agreements.steps import Actor, Held
from models.agreements.terms import handed_on, unpack

log = logging.getLogger(__name__)

# After a member is swapped in what is proposed, they have so long to answer.
ANSWER_WITHIN = "P7D"
# Agreements that one tick moves, each in a transaction of its own.
_AT_ONCE = 200


async def withdraw(agreement: AgreementRecord, body: StepDraft, actor: Actor) -> AgreementRecord:
    """Take a proposal back."""
    return await _step(agreement, "withdraw", body, actor)


async def suspend(agreement: AgreementRecord, body: StepDraft, actor: Actor) -> AgreementRecord:
    """Pause: nothing takes place, and the times stay booked."""
    return await _step(agreement, "suspend", body, actor)


async def resume(agreement: AgreementRecord, body: StepDraft, actor: Actor) -> AgreementRecord:
    """Go on. What fell into the pause did not take place."""
    return await _step(agreement, "resume", body, actor)


async def end(agreement: AgreementRecord, body: StepDraft, actor: Actor) -> AgreementRecord:
    """End early: what has been stays on record, what is left is given back."""
    return await _step(agreement, "end", body, actor)


async def swap(
    agreement: AgreementRecord, body: StepDraft, actor: Actor, member: Member
) -> AgreementRecord:
    """Ask another member instead of the commitment named. Of what is only proposed they take the
    place at once; of what is active, once they say yes. Refuses when the time to answer is over."""
    async with engine.unit_of_work() as work:
        held = await steps.hold(agreement.id)
        transition = steps.allowed(held, "swap", body, actor)
        answering.refuse_late(held)
        before = replaced(held.commitments, body.commitment_id)
        before_party = base.as_id(before["party"])
        for rival in _asked_for(held, before):
            await answering.settle(rival, "left")
            await answering.leave_if_idle(held, base.as_id(rival["party"]))
        if held.state not in lifecycle.LIVE:
            await answering.settle(before, "left")
            await answering.leave_if_idle(held, before_party)
        party = await _party_of(held, member.partner)
        newcomer = structs.replace(member, seat=before["seat"])
        made = await proposing.commit(held.id, party, newcomer, base.as_id(before["id"]))
        if held.state not in lifecycle.LIVE and held.party(before_party)["answer"] == "left":
            await _hand_on(held, base.as_id(before["partner"]), member.partner)
        if transition.leads_to == "proposed":
            await more_time(held)
            for one in held.commitments:
                if one["status"] == "proposed":
                    await answering.tell_proposal(work, held, one, "proposed")
        await steps.enter(
            work, held, transition.leads_to, "swap", actor=actor, party=party, commitment=made
        )
        return await reading.read(agreement.id)


def replaced(commitments: list[dict[str, Any]], wanted: uuid.UUID | None) -> dict[str, Any]:
    """The commitment that is to be given to another. Refuses one that is not there, holds no role,
    or was given up for another before."""
    for one in commitments:
        rivals = (other["status"] for other in _rivals(commitments, one))
        if base.as_id(one["id"]) == wanted and one["offering"] and "live" not in rivals:
            return one
    raise errors.refuse_field(
        "commitment_id", "unknown_reference", what="commitment", value=str(wanted)
    )


async def gone(
    column: Literal["partner", "offering", "need"],
    subject: uuid.UUID,
    reason: str,
    *,
    spares_live: bool = False,
) -> None:
    """A partner or an offering is no longer there, or a need no longer asked: what is proposed with
    it is over, and what is active goes on without it if anybody is left, paused until a newcomer
    is found if it gave anything yet; with `spares_live` that is refused (`in_use`)."""
    for agreement in await reading.open_of(column, subject):
        async with engine.unit_of_work() as work:
            held = await steps.hold(agreement.id)
            state: lifecycle.State
            if held.state not in lifecycle.OPEN:
                # It was declined, or over, while this waited for the lock.
                continue
            if spares_live and held.state in lifecycle.LIVE:
                # It was accepted while this waited for the lock.
                await reading.refuse_live(column, subject)
            if held.state == "proposed":
                state = "withdrawn" if column == "need" else "declined"
                await _leave_off(work, held, state, "gone", None, reason)
                continue
            if column == "need":
                await _over(work, held, "ended", "gone", None, reason=reason)
                continue
            theirs = [
                one
                for one in held.commitments
                if one["status"] in ("proposed", "live")
                and one[column]
                and base.as_id(one[column]) == subject
            ]
            await needs.hold(held.need)
            state = "suspended" if any(one["status"] == "live" for one in theirs) else held.state
            await _left(held, theirs)
            for party in {base.as_id(one["party"]) for one in theirs}:
                if held.party(party)["answer"] == "left":
                    await postings.over(held.id, base.as_id(held.party(party)["partner"]))
            if any(one["offering"] for one in held.live()):
                await steps.enter(work, held, state, "gone", reason=reason)
            else:
                await _over(work, held, "ended", "gone", None, reason=reason)


async def call_off(
    column: Literal["partner", "offering", "need"], subject: uuid.UUID, reason: str
) -> None:
    """What is proposed to a partner that leaves, or with an offering or for a need that is taken
    back, is over. Refuses (`in_use`) while an agreement stands on it: that is ended first.

    To be called in the transaction that takes it back, before and after: agreements are locked
    before what they stand on, and one that was accepted meanwhile is seen the second time.
    """
    await reading.refuse_live(column, subject)
    await gone(column, subject, reason, spares_live=True)


async def tick() -> int:
    """Do what time does: move every agreement that is due, each in a transaction of its own, at
    the moment when it was due. Answers how many were moved.

    One that fails is logged and tried again at the next tick; the others do not wait for it.
    """
    due = await engine.rows(
        "SELECT id FROM agreement WHERE due_at IS NOT NULL AND due_at <= $1"
        f" ORDER BY due_at, id LIMIT {_AT_ONCE}",
        base.now(),
    )
    moved = 0
    for (agreement_id,) in due:
        try:
            moved += await _elapse(base.as_id(agreement_id))
        except Exception:
            log.exception("an agreement that is due was not moved")
    return moved


async def _elapse(agreement_id: uuid.UUID) -> bool:
    async with engine.unit_of_work() as work:
        held = await steps.hold(agreement_id)
        at = held.row["due_at"] and base.moment(held.row["due_at"])
        if at is None or at > held.moment:
            return False
        name = held.row["due"]
        transition = lifecycle.find(name, held.state)
        assert transition, f"{name} from {held.state}"
        if name == "lapse":
            await _leave_off(work, held, transition.leads_to, name, at, None)
        elif name == "give_up":
            await _over(work, held, transition.leads_to, name, at)
        else:
            if name == "complete":
                # Nobody is asked any more, and what fell into a pause did not take place.
                await _skip(held)
                await _left(held, [one for one in held.commitments if one["status"] == "proposed"])
            await steps.enter(work, held, transition.leads_to, name, at=at)
        return True


async def _step(
    agreement: AgreementRecord, name: lifecycle.Step, body: StepDraft, actor: Actor
) -> AgreementRecord:
    async with engine.unit_of_work() as work:
        held = await steps.hold(agreement.id)
        transition = steps.allowed(held, name, body, actor)
        said: dict[str, Any] = {"reason": body.reason, "note": body.note or "", "actor": actor}
        if name == "end":
            await _over(work, held, transition.leads_to, name, None, **said)
        elif name == "withdraw":
            await _leave_off(work, held, transition.leads_to, name, None, body.reason, actor)
        else:
            if name == "resume":
                await _skip(held)
            await steps.enter(work, held, transition.leads_to, name, **said)
            if name == "resume":
                await enrolments.fill_up(work, await needs.hold(held.need))
        return await reading.read(agreement.id)


async def _leave_off(
    work: engine.Work,
    held: Held,
    state: lifecycle.State,
    transition: str,
    at: dt.datetime | None,
    reason: str | None,
    actor: Actor | None = None,
) -> None:
    """What was proposed comes to nothing; what a plan proposed with it stands no longer."""
    for one in held.commitments:
        if one["status"] == "proposed":
            status = "withdrawn" if state == "withdrawn" else "lapsed"
            await answering.tell_proposal(work, held, one, status)
    await steps.enter(work, held, state, transition, at=at, reason=reason, actor=actor)


async def _over(
    work: engine.Work,
    held: Held,
    state: lifecycle.State,
    transition: str,
    at: dt.datetime | None,
    **said: Any,
) -> None:
    """Before its time: the future is given back, the past stays."""
    await _skip(held)
    await engine.execute(
        "UPDATE occurrence SET status = 'cancelled', version = version + 1, updated_at = $1"
        " WHERE agreement = $2 AND status = 'planned' AND starts >= $3",
        held.moment,
        held.id,
        held.minute,
    )
    await postings.over(held.id)
    need = await needs.hold(held.need)
    shares = answering.shares_of(held, ("live",))
    await _left(held, held.commitments, keep_seats=True)
    await filling.give_back(need.id, shares)
    await steps.enter(work, held, state, transition, at=at, **said)
    await enrolments.unseat(work, held.id, need.id)


async def _left(held: Held, theirs: list[dict[str, Any]], *, keep_seats: bool = False) -> None:
    """Commitments are given up: what is booked for them is free, and so are their seats."""
    for one in theirs:
        if one["status"] == "live":
            await bookings.give_back_times(base.as_id(one["id"]), held.minute)
            if one["role"] and not keep_seats:
                await filling.give_back(held.need, {one["role"]: 1})
        if one["status"] in ("proposed", "live"):
            await answering.settle(one, "left")
    for party in {base.as_id(one["party"]) for one in theirs}:
        await answering.leave_if_idle(held, party)


async def _skip(held: Held) -> None:
    """What should have begun during a pause did not take place."""
    if held.state == "suspended":
        await engine.execute(
            "UPDATE occurrence SET status = 'cancelled', version = version + 1, updated_at = $1"
            " WHERE agreement = $2 AND status = 'planned' AND starts >= $3 AND starts < $4",
            held.moment,
            held.id,
            bookings.minute(base.moment(held.row["state_since"])),
            held.minute,
        )


def _asked_for(held: Held, before: dict[str, Any]) -> list[dict[str, Any]]:
    """Newcomers that were asked to take the same seat before."""
    return [one for one in _rivals(held.commitments, before) if one["status"] == "proposed"]


def _rivals(commitments: list[dict[str, Any]], one: dict[str, Any]) -> list[dict[str, Any]]:
    """The other commitments for the same seat."""
    seat = one["role"], one["seat"]
    return [
        other
        for other in commitments
        if (other["role"], other["seat"]) == seat and other is not one
    ]


async def _party_of(held: Held, partner: uuid.UUID) -> uuid.UUID:
    """The party of a partner, who is asked (again)."""
    for one in held.parties:
        if one["partner"] and base.as_id(one["partner"]) == partner:
            await engine.execute("UPDATE party SET answer = 'pending' WHERE id = $1", one["id"])
            return base.as_id(one["id"])
    return await proposing.join(held.id, partner)


async def _hand_on(held: Held, before: uuid.UUID, after: uuid.UUID) -> None:
    """What was proposed to one partner is proposed to another, on the same terms."""
    terms = unpack(held.row["terms"])
    if terms is not None:
        await engine.execute(
            "UPDATE agreement SET terms = $1 WHERE id = $2",
            base.pack(handed_on(terms, before, after)),
            held.id,
        )


async def more_time(held: Held) -> None:
    """Who is asked anew has as long to answer as who is asked for the first time."""
    until = held.moment + lifecycle.period(ANSWER_WITHIN)
    if base.moment(held.row["respond_by"]) < until:
        held.row["respond_by"] = until
        await engine.execute("UPDATE agreement SET respond_by = $1 WHERE id = $2", until, held.id)
