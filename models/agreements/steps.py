"""What every step of an agreement's life has in common: the lock, the state, the event."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from msgspec import Struct

from models import base, bookings, engine, errors, outbox
from models.agreements import lifecycle
from models.agreements.records import StepDraft
from models.agreements.tables import AgreementEvent


class Actor(Struct, frozen=True):
    """Who takes a step: an account, whether it decides for the need's place, and the partners it
    acts for."""

    account: uuid.UUID
    decides: bool
    partners: frozenset[uuid.UUID] = frozenset()
    # An operator answers for whichever party they name.
    answers_for_all: bool = False
    # The version that they have read, and mean.
    has_read: int | None = None

    def answers_for(self, party: dict[str, Any]) -> bool:
        """Whether this actor speaks for a party."""
        if party["partner"] is None:
            return self.decides
        return self.answers_for_all or base.as_id(party["partner"]) in self.partners


class Held(Struct):
    """An agreement whose row is locked until the end of the transaction, as it is now."""

    id: uuid.UUID
    row: dict[str, Any]
    parties: list[dict[str, Any]]
    commitments: list[dict[str, Any]]
    moment: dt.datetime

    @property
    def state(self) -> lifecycle.State:
        """Where it stands."""
        state: lifecycle.State = self.row["state"]
        return state

    @property
    def need(self) -> uuid.UUID:
        """The need it is for."""
        return base.as_id(self.row["need"])

    @property
    def place(self) -> uuid.UUID:
        """The need's place."""
        return base.as_id(self.row["place"])

    @property
    def minute(self) -> int:
        """The moment, in UTC minutes, rounded up: what begins earlier has begun."""
        return bookings.minute(self.moment - dt.timedelta(microseconds=1)) + 1

    def of_party(self, party: uuid.UUID) -> list[dict[str, Any]]:
        """The commitments of a party that are asked for or stand."""
        return [
            one
            for one in self.commitments
            if base.as_id(one["party"]) == party and one["status"] in ("proposed", "live")
        ]

    def live(self) -> list[dict[str, Any]]:
        """The commitments that stand."""
        return [one for one in self.commitments if one["status"] == "live"]

    def party(self, party: uuid.UUID) -> dict[str, Any]:
        """One of its parties."""
        return next(one for one in self.parties if base.as_id(one["id"]) == party)


async def hold(agreement_id: uuid.UUID) -> Held:
    """Lock an agreement and read it anew: whoever comes at the same moment waits and sees what
    this step leaves behind."""
    moment = base.now()
    rows = await engine.fetch(
        "UPDATE agreement SET version = version + 1, updated_at = $1 WHERE id = $2 RETURNING *",
        moment,
        agreement_id,
    )
    if not rows:
        raise errors.not_found()
    parties = await engine.fetch(
        "SELECT * FROM party WHERE agreement = $1 ORDER BY id", agreement_id
    )
    commitments = await engine.fetch(
        "SELECT * FROM commitment WHERE agreement = $1 ORDER BY id", agreement_id
    )
    return Held(agreement_id, rows[0], parties, commitments, moment)


def allowed(held: Held, name: str, body: StepDraft, actor: Actor) -> lifecycle.Transition:
    """The transition of that name from where the agreement stands, if this actor may take it and
    sends what it takes; and it is still what they have read, if they said what that was."""
    # Holding it has counted once.
    if actor.has_read is not None and held.row["version"] != actor.has_read + 1:
        raise errors.Refusal("stale")
    transition = lifecycle.find(name, held.state)
    if transition is None:
        needed = " | ".join(lifecycle.starts_of(name))
        raise errors.Refusal("wrong_state", has=held.state, needed=needed)
    parties = [one for one in held.parties if one["answer"] != "left" and actor.answers_for(one)]
    if not (
        ("decider" in transition.by and actor.decides) or ("party" in transition.by and parties)
    ):
        roles = {"decider": "secretary, officer, operator", "party": "partner_staff"}
        raise errors.Refusal("forbidden", roles=", ".join(roles[who] for who in transition.by))
    for field in body.__struct_fields__:
        given = getattr(body, field) is not None
        if given and field not in transition.takes:
            raise errors.refuse_field(field, "unknown_field")
        if not given and field in transition.needs:
            raise errors.refuse_field(field, "required")
    return transition


async def enter(
    work: engine.Work,
    held: Held,
    state: lifecycle.State,
    transition: str,
    *,
    actor: Actor | None = None,
    at: dt.datetime | None = None,
    party: uuid.UUID | None = None,
    commitment: uuid.UUID | None = None,
    reason: str | None = None,
    note: str = "",
) -> None:
    """Write where an agreement stands now, what time does next, the event and its outbox row."""
    moment, was = at or held.moment, held.state
    since = moment if state != was else base.moment(held.row["state_since"])
    due = lifecycle.due(
        state,
        {
            "respond_by": base.moment(held.row["respond_by"]),
            "state_since": since,
            "last_ends": bookings.moment_of(held.row["last_ends"]),
        },
    )
    held.row |= {"state": state, "state_since": since}
    await engine.execute(
        "UPDATE agreement SET state = $1, state_since = $2, due = $3, due_at = $4 WHERE id = $5",
        state,
        since,
        due.name if due else None,
        due.at if due else None,
        held.id,
    )
    await AgreementEvent.insert(
        AgreementEvent(
            id=base.new_id(),
            agreement=held.id,
            at=moment,
            transition=transition,
            was=was,
            state=state,
            actor=actor.account if actor else None,
            party=party,
            commitment=commitment,
            reason=reason,
            note=note,
        )
    )
    detail = {"reason": reason} if reason else {}
    await outbox.append(
        work,
        "agreement.changed",
        held.id,
        place=held.place,
        action=f"agreement.{transition}",
        was=was,
        state=state,
        **detail,
    )
