"""Other terms, as long as not everybody has accepted."""

from __future__ import annotations

from msgspec import Struct

from models import base, engine, errors
from models.agreements import changing, reading, steps
from models.agreements.records import AgreementRecord
from models.agreements.steps import Actor
from models.agreements.terms import Terms, check


class TermsDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """The terms from now on; null for none."""

    terms: Terms | None


async def change_terms(
    agreement: AgreementRecord, draft: TermsDraft, actor: Actor
) -> AgreementRecord:
    """Propose other terms, for one of the parties. That party has accepted them; every other is
    asked again, and has a week more to answer.

    Refuses (`stale`) what somebody has changed meanwhile, what is not just proposed, whoever
    answers for no party, and terms for a partner who is none.
    """
    async with engine.unit_of_work() as work:
        held = await steps.hold(agreement.id)
        if held.row["version"] != agreement.version + 1:
            raise errors.Refusal("stale")
        if held.state != "proposed" or base.moment(held.row["respond_by"]) <= held.moment:
            has = "lapsed" if held.state == "proposed" else held.state
            raise errors.Refusal("wrong_state", has=has, needed="proposed")
        there = [one for one in held.parties if one["answer"] != "left"]
        own = [one for one in there if actor.answers_for(one)]
        if not own:
            raise errors.Refusal("forbidden", roles="secretary, officer, operator, partner_staff")
        # Who answers for all changes the terms for the community.
        own = own[:1] if actor.answers_for_all else own
        check(draft.terms, [one["partner"] and base.as_id(one["partner"]) for one in there])
        await engine.execute(
            "UPDATE agreement SET terms = $1 WHERE id = $2", base.pack(draft.terms), held.id
        )
        for one in there:
            accepts = one in own
            await engine.execute(
                "UPDATE party SET answer = $1, answered_by = $2, answered_at = $3 WHERE id = $4",
                "accepted" if accepts else "pending",
                actor.account if accepts else None,
                held.moment if accepts else None,
                one["id"],
            )
        await changing.more_time(held)
        party = base.as_id(own[0]["id"])
        await steps.enter(work, held, "proposed", "terms", actor=actor, party=party)
        return await reading.read(agreement.id)
