"""Yes and no. The last yes takes everything at once, or nothing."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from models import base, bookings, engine, errors, kin, needs, outbox, values
from models.agreements import enrolments, filling, lifecycle, postings, reading, steps
from models.agreements.filling import PLACES
from models.agreements.records import AgreementRecord, StepDraft
from models.agreements.steps import Actor, Held
from models.agreements.tables import Intake, Occurrence

# Of these a beneficiary takes a place.
_SERVES = ("service", "goods")


async def accept(agreement: AgreementRecord, body: StepDraft, actor: Actor) -> AgreementRecord:
    """Say yes for the parties that the actor speaks for and that have not answered.

    With `places` a partner serves fewer people than it was asked to. Refuses when nobody of theirs
    is asked, when the time to answer is over, and with the last yes whatever booking refuses.
    """
    async with engine.unit_of_work() as work:
        held = await steps.hold(agreement.id)
        steps.allowed(held, "accept", body, actor)
        refuse_late(held)
        asked = _asked(held, body, actor)
        if body.places is not None:
            await _serve_fewer(held, asked, body.places)
        await _answer(held, asked, actor, "accepted")
        if held.state == "proposed":
            await conclude(work, held, actor, asked[0]["id"])
        else:
            for party in asked:
                await _take_over(work, held, party, actor)
        return await reading.read(agreement.id)


async def decline(agreement: AgreementRecord, body: StepDraft, actor: Actor) -> AgreementRecord:
    """Say no for a party, with a reason that is counted. What is proposed is over with it; an
    agreement that is active goes on without its newcomer."""
    async with engine.unit_of_work() as work:
        held = await steps.hold(agreement.id)
        steps.allowed(held, "decline", body, actor)
        await _say_no(work, held, _asked(held, body, actor), actor, body)
        return await reading.read(agreement.id)


async def conclude(
    work: engine.Work, held: Held, actor: Actor, party: uuid.UUID | str | None
) -> None:
    """Begin, if nobody is left to answer."""
    who = None if party is None else base.as_id(party)
    if any(one["answer"] == "pending" for one in held.parties):
        if who is not None:
            await steps.enter(work, held, "proposed", "accept", actor=actor, party=who)
        return
    need = await needs.hold(held.need)
    if need.status not in ("open", "closed"):
        raise errors.Refusal("wrong_state", has=f"need {need.status}", needed="need open")
    await _hold_partners(held)
    await filling.take(need, shares_of(held))
    gives = [one for one in held.commitments if one["status"] == "proposed"]
    when = await _book(held, gives, actor)
    await _plan(held, when)
    await engine.execute(
        "UPDATE commitment SET status = 'live', live_from = $1"
        " WHERE agreement = $2 AND status = 'proposed'",
        held.moment,
        held.id,
    )
    for one in gives:
        await tell_proposal(work, held, one, "accepted")
    await Intake.insert(
        Intake(id=base.new_id(), agreement=held.id, places=held.row["places"], taken=0)
    )
    await steps.enter(work, held, "active", "accept", actor=actor, party=who)
    await postings.activated(held.id)
    if await filling.is_full(need):
        await needs.close(need.id)
    await enrolments.move_up(work, need.id)


async def _hold_partners(held: Held) -> None:
    """None of the partners leaves until the end of the transaction. Refuses with one that has."""
    ids = sorted({base.as_id(one["partner"]) for one in held.parties if one["partner"]})
    if not ids:
        return
    # On SQLite the transaction itself keeps everybody else out.
    lock = " FOR SHARE" if engine.current().dialect == "postgres" else ""
    rows = await engine.rows(
        f"SELECT status FROM partner WHERE id IN ({base.placeholders(len(ids))}) ORDER BY id{lock}",
        *ids,
    )
    if any(status == "exited" for (status,) in rows):
        raise errors.Refusal("wrong_state", has="partner exited", needed="partner admitted")


def shares_of(held: Held, status: tuple[str, ...] = ("proposed", "live")) -> Counter[str]:
    """What an agreement takes of its need: a seat for each member in a role, and its places."""
    shares: Counter[str] = Counter(
        one["role"] for one in held.commitments if one["role"] and one["status"] in status
    )
    if held.row["places"]:
        shares[PLACES] = held.row["places"]
    return shares


async def book(held: Held, one: dict[str, Any], actor: Actor) -> tuple[tuple[int, int], ...]:
    """Book what is left of a commitment's times; answers them."""
    left = tuple(time for time in reading.times_of(one["times"]) if time[0] >= held.minute)
    if left:
        await bookings.book_times(
            base.as_id(one["offering"]),
            left,
            one["quantity"] if one["kind"] in _SERVES else 1,
            need=held.need,
            commitment=base.as_id(one["id"]),
            booked_by=actor.account,
        )
    return left


async def settle(one: dict[str, Any], status: str) -> None:
    """A commitment is proposed or stands no longer."""
    one["status"] = status
    await engine.execute(
        "UPDATE commitment SET status = $1, left_at = $2 WHERE id = $3",
        status,
        base.now(),
        one["id"],
    )


def refuse_late(held: Held) -> None:
    """The clock may not have come round yet: who is late is late all the same."""
    if held.state == "proposed" and base.moment(held.row["respond_by"]) <= held.moment:
        raise errors.Refusal("wrong_state", has="lapsed", needed="proposed")


def _asked(held: Held, body: StepDraft, actor: Actor) -> list[dict[str, Any]]:
    """The parties that the actor answers for, and that have not answered."""
    theirs = [
        one
        for one in held.parties
        if one["answer"] != "left"
        and (body.party_id is None or base.as_id(one["id"]) == body.party_id)
        and actor.answers_for(one)
    ]
    if not theirs:
        what = {"what": "party", "value": str(body.party_id)}
        raise errors.refuse_field("party_id", "unknown_reference", **what)
    pending = [one for one in theirs if one["answer"] == "pending"]
    if not pending:
        raise errors.Refusal("wrong_state", has=theirs[0]["answer"], needed="pending")
    # An operator speaks for all of them, but for one at a time.
    return pending[:1] if actor.answers_for_all else pending


async def _answer(
    held: Held,
    parties: Iterable[dict[str, Any]],
    actor: Actor,
    answer: str,
    body: StepDraft | None = None,
) -> None:
    for one in parties:
        one["answer"] = answer
        await engine.execute(
            "UPDATE party SET answer = $1, answered_by = $2, answered_at = $3,"
            " decline_reason = $4, decline_note = $5 WHERE id = $6",
            answer,
            actor.account,
            held.moment,
            body.reason if body else one["decline_reason"],
            (body.note or "") if body else one["decline_note"],
            one["id"],
        )
        if body:
            one |= {"decline_reason": body.reason, "decline_note": body.note or ""}


async def _serve_fewer(held: Held, asked: list[dict[str, Any]], places: int) -> None:
    """A partner says yes to fewer places than it was asked for."""
    if asked[0]["partner"] is None:
        raise errors.refuse_field("places", "unknown_field")
    if places > held.row["places"]:
        needed = f"at most {held.row['places']}"
        raise errors.refuse_field("places", "out_of_range", needed=needed)
    held.row["places"] = places
    await engine.execute("UPDATE agreement SET places = $1 WHERE id = $2", places, held.id)
    for party in asked:
        for one in held.of_party(base.as_id(party["id"])):
            if one["kind"] in _SERVES and one["offering"] and one["quantity"] > places:
                one["quantity"] = places
                await engine.execute(
                    "UPDATE commitment SET quantity = $1 WHERE id = $2", places, one["id"]
                )


async def _book(held: Held, gives: list[dict[str, Any]], actor: Actor) -> list[tuple[int, int]]:
    """Book everything that is asked for, in the order of the offerings, which every other caller
    keeps to: two who wait for each other would wait for ever."""
    found: list[tuple[int, int]] = []
    timed = [one for one in gives if one["offering"]]
    await kin.lock_tops([base.as_id(one["offering"]) for one in timed])
    for one in sorted(timed, key=_offering):
        found += await book(held, one, actor)
    if timed and not found:
        raise errors.Refusal("wrong_state", has="all its times are over", needed="a time to come")
    return found


async def _plan(held: Held, when: list[tuple[int, int]]) -> None:
    """One occurrence for each time at which anybody is asked for; shifts that touch are one."""
    rows = [
        {
            "id": base.new_id(),
            "agreement": held.id,
            "starts": starts,
            "ends": ends,
            "status": "planned",
            "version": 1,
            "updated_at": held.moment,
        }
        for starts, ends in joined(when)
    ]
    await base.insert_all(Occurrence, rows)


def _offering(one: dict[str, Any]) -> str:
    return str(one["offering"])


def joined(times: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Times, those that overlap or touch made one."""
    found: list[tuple[int, int]] = []
    for starts, ends in sorted(times):
        if found and starts <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        else:
            found.append((starts, ends))
    return found


async def _take_over(work: engine.Work, held: Held, party: dict[str, Any], actor: Actor) -> None:
    """A newcomer takes the place of the member they were asked to replace."""
    party_id = base.as_id(party["id"])
    by_id = {base.as_id(one["id"]): one for one in held.commitments}
    need = await needs.hold(held.need)
    gives = [one for one in held.of_party(party_id) if one["status"] == "proposed"]
    await kin.lock_tops([base.as_id(one["offering"]) for one in gives])
    for one in sorted(gives, key=_offering):
        before = by_id[base.as_id(one["replaces"])]
        if before["status"] == "live":
            await bookings.give_back_times(base.as_id(before["id"]), held.minute)
            await settle(before, "left")
            await leave_if_idle(held, base.as_id(before["party"]))
        else:
            # Its seat was given back when it left.
            await filling.take(need, {one["role"]: 1})
        await book(held, one, actor)
        one["status"] = "live"
        await engine.execute(
            "UPDATE commitment SET status = 'live', live_from = $1 WHERE id = $2",
            held.moment,
            one["id"],
        )
        await steps.enter(
            work,
            held,
            held.state,
            "accept",
            actor=actor,
            party=party_id,
            commitment=base.as_id(one["id"]),
        )
    if await filling.is_full(need):
        await needs.close(need.id)


async def leave_if_idle(held: Held, party: uuid.UUID) -> None:
    """A partner that gives nothing any more is no party any more; one that is asked for nothing
    new goes on with what it has accepted."""
    one, gives = held.party(party), {one["status"] for one in held.of_party(party)}
    if one["partner"] is None:
        return
    if not gives:
        one["answer"] = "left"
    elif gives == {"live"} and one["answer"] == "pending":
        one["answer"] = "accepted"
    await engine.execute("UPDATE party SET answer = $1 WHERE id = $2", one["answer"], party)


async def hold_asking(proposals: Sequence[uuid.UUID]) -> None:
    """Lock the agreements that ask for what plans proposed. To be called before the proposals are
    declined: whoever accepts locks them in that order."""
    if not proposals:
        return
    rows = await engine.rows(
        "SELECT DISTINCT c.agreement FROM commitment c JOIN agreement a ON a.id = c.agreement"
        f" WHERE c.proposal IN ({base.placeholders(len(proposals))}) AND c.status = 'proposed'"
        " AND a.state = 'proposed' ORDER BY c.agreement",
        *proposals,
    )
    for (agreement,) in rows:
        await steps.hold(base.as_id(agreement))


async def seat_declined(
    proposal: uuid.UUID, reason: values.Reason, note: str, account: uuid.UUID
) -> None:
    """A seat that a plan proposed was declined: so is the agreement that asks for it."""
    async with engine.unit_of_work() as work:
        rows = await engine.rows(
            "SELECT c.agreement, c.party FROM commitment c JOIN agreement a ON a.id = c.agreement"
            " WHERE c.proposal = $1 AND c.status = 'proposed' AND a.state = 'proposed'",
            proposal,
        )
        for agreement, party in rows:
            held = await steps.hold(base.as_id(agreement))
            if held.state == "proposed":
                body = StepDraft(reason=reason, note=note)
                await _say_no(
                    work, held, [held.party(base.as_id(party))], Actor(account, False), body
                )


async def _say_no(
    work: engine.Work,
    held: Held,
    asked: list[dict[str, Any]],
    actor: Actor,
    body: StepDraft,
) -> None:
    transition = lifecycle.find("decline", held.state)
    assert transition
    await _answer(held, asked, actor, "declined", body)
    for party in asked:
        party_id = base.as_id(party["id"])
        for one in held.of_party(party_id):
            if one["status"] == "proposed":
                await settle(one, "declined")
                await tell_proposal(work, held, one, "declined", body)
        if held.of_party(party_id) and held.state != "proposed":
            # It goes on giving what it gave before.
            await _answer(held, [party], actor, "accepted")
    if held.state == "proposed":
        for one in held.commitments:
            if one["status"] == "proposed":
                await tell_proposal(work, held, one, "lapsed")
    await steps.enter(
        work,
        held,
        transition.leads_to,
        "decline",
        actor=actor,
        party=base.as_id(asked[0]["id"]),
        reason=body.reason,
        note=body.note or "",
    )


async def tell_proposal(
    work: engine.Work,
    held: Held,
    one: dict[str, Any],
    status: str,
    body: StepDraft | None = None,
) -> None:
    """What a plan proposed goes the way of the commitment that came of it."""
    if not one["proposal"]:
        return
    await engine.execute(
        "UPDATE proposal SET status = $1, decline_reason = COALESCE(decline_reason, $2),"
        " decline_note = $3, version = version + 1, updated_at = $4"
        " WHERE id = $5 AND status IN ('proposed', 'lapsed')",
        status,
        body.reason if body else None,
        (body.note or "") if body else "",
        held.moment,
        one["proposal"],
    )
    await outbox.announce(work, "proposal.changed", base.as_id(one["proposal"]))
