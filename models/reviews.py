"""Reviews: what the sides of an agreement say of each other once it is over.

Nobody reads the other side's before both have written, or the time to write is over. What the
community says of a partner then counts for the offerings the partner served with.
"""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import uuid
from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta, Struct
from piccolo.columns import UUID, ForeignKey, Integer, Text, Timestamptz
from piccolo.table import Table

from models import accounts, agreements, base, engine, errors, outbox, reliability
from models.agreements import lifecycle, steps

log = logging.getLogger(__name__)

# In these an agreement is reviewed, for as long as its sides have after it is completed.
STATES: tuple[lifecycle.State, ...] = ("completed", "ended")
WITHIN = lifecycle.period(
    next(t.after for t in lifecycle.TRANSITIONS if t.name == "close_reviews" and t.after)
)
# So many are shown in one round; the next one comes in seconds.
_ROUND = 500
Stars = Annotated[int, Meta(ge=1, le=5)]


class Review(Table):
    """What one side says of another; nobody else reads it before `shown_at`."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(agreements.Agreement, null=False)
    # The sides: who says it, and of whom.
    author = ForeignKey(agreements.Party, null=False)
    about = ForeignKey(agreements.Party, null=False)
    stars = Integer(null=False)
    text = Text(null=False, default="")
    written_by = UUID(null=False)
    written_at = Timestamptz(null=False)
    # When it is shown whatever the others do.
    due_at = Timestamptz(null=False)
    shown_at = Timestamptz(null=True, default=None)


class ReviewDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """Stars, and a text, of another party of the agreement. `party_id` says for which party you
    speak, where you speak for several."""

    about: uuid.UUID
    stars: Stars
    text: Annotated[
        str,
        Meta(max_length=1000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]*\Z"),
    ] = ""
    party_id: uuid.UUID | None = None


class ReviewRecord(Struct, kw_only=True):
    """A review, for the parties and the staff of the place. Until `shown_at` is set only its own
    side reads it."""

    id: uuid.UUID
    agreement_id: uuid.UUID
    author: uuid.UUID
    about: uuid.UUID
    stars: int
    text: str
    written_by: uuid.UUID
    written_at: dt.datetime
    due_at: dt.datetime
    shown_at: dt.datetime | None


async def write(
    agreement: agreements.AgreementRecord, draft: ReviewDraft, actor: agreements.Actor
) -> ReviewRecord:
    """Say what one side thinks of another. Where the other has said it too, both are shown; with
    the last one of an agreement, its reviews are closed.

    Refuses before the agreement is over and later than 7 days after, a second time, and of whom
    has taken no part or is oneself.
    """
    review_id = base.new_id()
    async with engine.unit_of_work() as work:
        held = await steps.hold(agreement.id)
        since = base.moment(held.row["state_since"])
        if held.state not in STATES or held.moment >= since + WITHIN:
            has = "reviewed" if held.state in STATES else held.state
            raise errors.Refusal("wrong_state", has=has, needed=" | ".join(STATES))
        author, about = _sides(held, draft, actor)
        before = await _of(held.id)
        if any(_pair(row) == (author, about) for row in before):
            raise errors.Refusal("wrong_state", has="reviewed", needed="not reviewed yet")
        await Review.insert(
            Review(
                id=review_id,
                agreement=held.id,
                author=author,
                about=about,
                stars=draft.stars,
                text=draft.text,
                written_by=actor.account,
                written_at=held.moment,
                due_at=since + WITHIN,
            )
        )
        await outbox.append(
            work, "review.changed", review_id, place=held.place, action="review.written"
        )
        answer = next((row for row in before if _pair(row) == (about, author)), None)
        if answer:
            for one in (base.as_id(answer["id"]), review_id):
                await _show(work, one)
        if held.state == "completed" and _is_last(held, [*map(_pair, before), (author, about)]):
            await steps.enter(work, held, "reviewed", "close_reviews", actor=actor)
        return await _read(review_id)


async def browse(
    agreement: agreements.AgreementRecord,
    actor: agreements.Actor,
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
) -> list[ReviewRecord]:
    """Up to `limit` reviews of an agreement, newest first: those that are shown, and one's own
    side's."""
    where = base.Where()
    where.add("v.agreement = {}", agreement.id)
    agreements.restrict(where, sees, "a.id", "a.place")
    mine = [
        party.id
        for party in agreement.parties
        if (actor.decides if party.partner_id is None else party.partner_id in actor.partners)
    ]
    own = f" OR v.author IN ({where.values(mine)})" if mine else ""
    where.add(f"(v.shown_at IS NOT NULL{own})")
    where.page("v.id", after)
    rows = await engine.fetch(
        "SELECT v.* FROM review v JOIN agreement a ON a.id = v.agreement"
        f" WHERE {where} ORDER BY v.id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [_shape(row) for row in rows]


async def tick() -> int:
    """Show what nobody has answered in time; answers how many."""
    due = await engine.rows(
        "SELECT id FROM review WHERE shown_at IS NULL AND due_at <= $1"
        f" ORDER BY due_at, id LIMIT {_ROUND}",
        base.now(),
    )
    shown = 0
    for (review,) in due:
        try:
            async with engine.unit_of_work() as work:
                shown += await _show(work, base.as_id(review))
        except Exception:
            log.exception("a review that is due was not shown")
    return shown


async def forget(account: uuid.UUID, partners: Iterable[uuid.UUID]) -> None:
    """A person is forgotten: what they have written, and what was written of them, is gone; the
    stars stay."""
    where = base.Where()
    mine = f"written_by = {where.value(account)}"
    gone = where.values(partners)
    theirs = f" OR about IN (SELECT id FROM party WHERE partner IN ({gone}))" if gone else ""
    await engine.execute(f"UPDATE review SET text = '' WHERE {mine}{theirs}", *where.args)


async def _show(work: engine.Work, review: uuid.UUID) -> bool:
    """Show a review to everybody whom the agreement concerns, and count its stars; once."""
    rows = await engine.fetch(
        "UPDATE review SET shown_at = $1 WHERE id = $2 AND shown_at IS NULL RETURNING *",
        base.now(),
        review,
    )
    if not rows:
        return False
    (row,) = rows
    served = await engine.rows(
        "SELECT DISTINCT c.offering FROM commitment c JOIN party y ON y.id = $1"
        " WHERE y.partner IS NULL AND c.party = $2 AND c.offering IS NOT NULL"
        " AND c.live_from IS NOT NULL ORDER BY c.offering",
        row["author"],
        row["about"],
    )
    for (offering,) in served:
        await reliability.count_rating(work, base.as_id(offering), row["stars"])
    ((place,),) = await engine.rows("SELECT place FROM agreement WHERE id = $1", row["agreement"])
    await outbox.append(
        work, "review.changed", review, place=base.as_id(place), action="review.shown"
    )
    return True


def _sides(
    held: steps.Held, draft: ReviewDraft, actor: agreements.Actor
) -> tuple[uuid.UUID, uuid.UUID]:
    """Who speaks, and of whom."""
    took_part = {base.as_id(party["id"]): party for party in _took_part(held)}
    if draft.about not in took_part:
        raise errors.refuse_field(
            "about", "unknown_reference", what="party", value=str(draft.about)
        )
    speaks = [
        party
        for party, row in took_part.items()
        if party != draft.about and actor.answers_for(row) and draft.party_id in (None, party)
    ]
    if not speaks:
        raise errors.refuse_field(
            "party_id" if draft.party_id else "about",
            "unknown_reference",
            what="party",
            value=str(draft.party_id or draft.about),
        )
    if len(speaks) > 1:
        raise errors.refuse_field("party_id", "required")
    return speaks[0], draft.about


def _took_part(held: steps.Held) -> list[dict[str, Any]]:
    """The community, and every partner that has given something, also who has left since."""
    gave = {str(one["party"]) for one in held.commitments if one["live_from"]}
    return [one for one in held.parties if one["partner"] is None or str(one["id"]) in gave]


def _is_last(held: steps.Held, said: list[tuple[uuid.UUID, uuid.UUID]]) -> bool:
    """Whether the community and each partner that stayed have spoken of each other. Partners may
    speak of partners; nobody waits for that."""
    there = [one for one in _took_part(held) if one["answer"] != "left"]
    community = [base.as_id(one["id"]) for one in there if one["partner"] is None]
    theirs = [base.as_id(one["id"]) for one in there if one["partner"]]
    asked = itertools.product(community, theirs)
    return all((one, other) in said and (other, one) in said for one, other in asked)


def _pair(row: dict[str, Any]) -> tuple[uuid.UUID, uuid.UUID]:
    return base.as_id(row["author"]), base.as_id(row["about"])


async def _of(agreement: uuid.UUID) -> list[dict[str, Any]]:
    return await engine.fetch(
        "SELECT id, author, about FROM review WHERE agreement = $1 ORDER BY id", agreement
    )


async def _read(review: uuid.UUID) -> ReviewRecord:
    (row,) = await engine.fetch("SELECT * FROM review WHERE id = $1", review)
    return _shape(row)


def _shape(row: dict[str, Any]) -> ReviewRecord:
    return base.record({**row, "agreement_id": row["agreement"]}, ReviewRecord)
