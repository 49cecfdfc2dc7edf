"""Enrolments: places of a service for people, and the line of those who wait for one.

Whoever comes when every place is taken waits, and moves up by themselves, in the order in which
they came, in the same transaction that frees a place or adds one.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from models import accounts, base, engine, errors, needs, outbox
from models.agreements import filling, reading
from models.agreements.tables import Enrolment

EnrolmentStatus = Literal["enrolled", "waitlisted", "cancelled"]
_HAS_PLACE = (
    "FROM intake i JOIN agreement a ON a.id = i.agreement"
    " WHERE a.need = $1 AND a.state = 'active' AND i.taken < i.places"
)


class EnrolmentDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom you enrol beside yourself: a first name, so that two children are two. Empty is you."""

    label: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]*\Z")] = ""


class EnrolmentRecord(Struct, kw_only=True):
    """A place, or a place in the line: `ahead` counts those who wait before. For whoever has
    enrolled, the staff of the place and who serves them."""

    id: uuid.UUID
    need_id: uuid.UUID
    place_id: uuid.UUID
    agreement_id: uuid.UUID | None
    account_id: uuid.UUID
    label: str
    status: EnrolmentStatus
    ahead: int | None
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


class PlacesRecord(Struct, kw_only=True):
    """The places of a need: asked for, promised by active agreements, still missing; and of those
    promised how many are taken, and how many people wait."""

    need_id: uuid.UUID
    wanted: int
    promised: int
    remaining: int
    enrolled: int
    waiting: int


async def enrol(need_id: uuid.UUID, draft: EnrolmentDraft, account: uuid.UUID) -> EnrolmentRecord:
    """Take a place, or stand in line. Refuses a need that is for somebody at home or names no
    number of people, and a second place for the same person."""
    enrolment_id, moment = base.new_id(), base.now()
    try:
        async with engine.unit_of_work() as work:
            need = await _for_everybody(need_id)
            if await _there(need_id, account, draft.label):
                raise errors.Refusal("taken", field="label", value=draft.label or "-")
            # Whoever frees a place meanwhile sees who waits, or is seen.
            await filling.hold(need)
            need = await _for_everybody(need_id)
            agreement = await _take(need_id)
            await Enrolment.insert(
                Enrolment(
                    id=enrolment_id,
                    need=need_id,
                    place=need.place_id,
                    agreement=agreement,
                    account=account,
                    label=draft.label,
                    status="enrolled" if agreement else "waitlisted",
                    version=1,
                    created_at=moment,
                    updated_at=moment,
                )
            )
            action = "enrolment.made" if agreement else "enrolment.waits"
            await outbox.append(
                work, "enrolment.changed", enrolment_id, place=need.place_id, action=action
            )
            return await read(enrolment_id)
    except engine.CONFLICTS:
        raise errors.Refusal("conflict") from None


async def cancel(enrolment: EnrolmentRecord) -> EnrolmentRecord:
    """Give a place, or a place in the line, back; who waits moves up."""
    async with engine.unit_of_work() as work:
        await filling.hold(await needs.read(enrolment.need_id))
        rows = await engine.fetch(
            "UPDATE enrolment SET status = 'cancelled', label = '', version = version + 1,"
            " updated_at = $1 WHERE id = $2 AND status <> 'cancelled' RETURNING agreement",
            base.now(),
            enrolment.id,
        )
        if not rows:
            needed = "enrolled | waitlisted"
            raise errors.Refusal("wrong_state", has="cancelled", needed=needed)
        if rows[0]["agreement"]:
            await engine.execute(
                "UPDATE intake SET taken = taken - 1 WHERE agreement = $1",
                rows[0]["agreement"],
            )
        await outbox.append(
            work,
            "enrolment.changed",
            enrolment.id,
            place=enrolment.place_id,
            action="enrolment.cancelled",
        )
        await move_up(work, enrolment.need_id)
        return await read(enrolment.id)


async def fill_up(work: engine.Work, need: needs.NeedRecord) -> None:
    """What was given back during a pause is there again, for those who wait."""
    await filling.hold(need)
    await move_up(work, need.id)


async def move_up(work: engine.Work, need_id: uuid.UUID) -> None:
    """Seat those who wait, first come, first served, as long as there are places. The places of
    the need are held (`filling.hold`, or taken or given back) until the end of the transaction."""
    while True:
        waiting = await engine.rows(
            "SELECT id, place FROM enrolment WHERE need = $1 AND status = 'waitlisted'"
            " ORDER BY id LIMIT 1",
            need_id,
        )
        agreement = await _take(need_id) if waiting else None
        if agreement is None:
            return
        ((first, place),) = waiting
        await engine.execute(
            "UPDATE enrolment SET status = 'enrolled', agreement = $1, version = version + 1,"
            " updated_at = $2 WHERE id = $3",
            agreement,
            base.now(),
            first,
        )
        await outbox.append(
            work,
            "enrolment.changed",
            base.as_id(first),
            place=base.as_id(place),
            action="enrolment.moved_up",
        )


async def send_home(need: needs.NeedRecord) -> None:
    """The need is withdrawn: nobody waits for it any more."""
    async with engine.unit_of_work() as work:
        await filling.hold(need)
        rows = await engine.rows(
            "UPDATE enrolment SET status = 'cancelled', label = '', version = version + 1,"
            " updated_at = $1 WHERE need = $2 AND status = 'waitlisted' RETURNING id",
            base.now(),
            need.id,
        )
        for (enrolment,) in rows:
            await outbox.append(
                work,
                "enrolment.changed",
                base.as_id(enrolment),
                place=need.place_id,
                action="enrolment.cancelled",
            )


async def unseat(work: engine.Work, agreement: uuid.UUID, need_id: uuid.UUID) -> None:
    """An agreement is over before its time: whom it served goes to another, or to the head of the
    line, where they stand by when they came."""
    await engine.execute("UPDATE intake SET taken = 0, places = 0 WHERE agreement = $1", agreement)
    rows = await engine.rows(
        "UPDATE enrolment SET status = 'waitlisted', agreement = NULL, version = version + 1,"
        " updated_at = $1 WHERE agreement = $2 AND status = 'enrolled' RETURNING id, place",
        base.now(),
        agreement,
    )
    for enrolment, place in rows:
        await outbox.append(
            work,
            "enrolment.changed",
            base.as_id(enrolment),
            place=base.as_id(place),
            action="enrolment.waits",
        )
    await move_up(work, need_id)


async def places_of(need_id: uuid.UUID) -> PlacesRecord:
    """The places of a need that is for everybody."""
    need = await _for_everybody(need_id)
    fill = (await filling.of(need))[filling.PLACES]
    ((enrolled, waiting),) = await engine.rows(
        "SELECT COALESCE(SUM(CASE WHEN status = 'enrolled' THEN 1 ELSE 0 END), 0),"
        " COALESCE(SUM(CASE WHEN status = 'waitlisted' THEN 1 ELSE 0 END), 0)"
        " FROM enrolment WHERE need = $1",
        need_id,
    )
    return PlacesRecord(
        need_id=need_id,
        wanted=fill.wanted,
        promised=fill.taken,
        remaining=max(fill.wanted - fill.taken, 0),
        enrolled=enrolled,
        waiting=waiting,
    )


async def read(
    enrolment_id: uuid.UUID,
    sees: accounts.Visibility = accounts.EVERYTHING,
    account: uuid.UUID | None = None,
) -> EnrolmentRecord:
    """One enrolment, or the not-found refusal: for a missing one and a hidden one alike. An
    account reads its own."""
    where = base.Where()
    where.add("e.id = {}", enrolment_id)
    restrict(where, sees, account)
    return (await _shape(await engine.fetch(_SELECT.format(where), *where.args)))[0]


async def browse(
    sees: accounts.Visibility,
    account: uuid.UUID,
    *,
    after: uuid.UUID | None,
    limit: int,
    need: uuid.UUID | None = None,
    status: str | None = None,
) -> list[EnrolmentRecord]:
    """Up to `limit` enrolments of an account, and those that the caller may see, newest first."""
    where = base.Where()
    restrict(where, sees, account)
    if need:
        where.add("e.need = {}", need)
    if status:
        where.add("e.status = {}", status)
    where.page("e.id", after)
    sql = _SELECT.format(where) + f" ORDER BY e.id DESC LIMIT {int(limit)}"
    rows = await engine.fetch(sql, *where.args)
    return await _shape(rows) if rows else []


_SELECT = (
    "SELECT e.*, CASE WHEN e.status = 'waitlisted' THEN (SELECT count(*) FROM enrolment w"
    " WHERE w.need = e.need AND w.status = 'waitlisted' AND w.id < e.id) END AS ahead"
    " FROM enrolment e WHERE {}"
)


def restrict(where: base.Where, sees: accounts.Visibility, account: uuid.UUID | None) -> None:
    """Only an account's own, and those of agreements that the caller may see."""
    if sees.everything:
        return
    own = where.value(account)
    inner = base.Where()
    inner.args = where.args
    reading.restrict(inner, sees, "e.agreement", "e.place")
    where.add(f"(e.account = {own} OR {inner})")


async def _shape(rows: list[dict[str, Any]]) -> list[EnrolmentRecord]:
    if not rows:
        raise errors.not_found()
    return [
        base.record(
            {
                **row,
                "need_id": row["need"],
                "place_id": row["place"],
                "agreement_id": row["agreement"],
                "account_id": row["account"],
            },
            EnrolmentRecord,
        )
        for row in rows
    ]


async def _take(need_id: uuid.UUID) -> uuid.UUID | None:
    """Take a place of an active agreement of the need; None when there is none."""
    rows = await engine.rows(
        f"UPDATE intake SET taken = taken + 1 WHERE id = (SELECT i.id {_HAS_PLACE}"
        " ORDER BY a.id LIMIT 1) AND taken < places RETURNING agreement",
        need_id,
    )
    return base.as_id(rows[0][0]) if rows else None


async def _there(need_id: uuid.UUID, account: uuid.UUID, label: str) -> bool:
    return bool(
        await engine.rows(
            "SELECT 1 FROM enrolment WHERE need = $1 AND account = $2 AND label = $3"
            " AND status <> 'cancelled'",
            need_id,
            account,
            label,
        )
    )


async def _for_everybody(need_id: uuid.UUID) -> needs.NeedRecord:
    """A need whose places are for whoever comes: also one that is filled, and so no longer on the
    list of what is asked for."""
    rows = await engine.rows(
        f"SELECT {needs.COLUMNS} FROM need WHERE id = $1 AND status IN ('open', 'closed')"
        " AND beneficiary = 'community'",
        need_id,
    )
    if not rows:
        raise errors.not_found()
    need = needs.shape(rows[0])
    if not need.beneficiaries:
        raise errors.Refusal("wrong_state", has="no places", needed="beneficiaries")
    return need
