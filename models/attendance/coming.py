"""Coming and going, and taking back what was recorded wrongly."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from models import accounts, base, bookings, engine, errors
from models.attendance import closing, marking, reading, rules
from models.attendance.marking import Held
from models.attendance.reading import Expected
from models.attendance.tables import AttendanceRecord, CheckIn, Correction, OccurrenceRecord


async def check_in(occurrence: OccurrenceRecord, draft: CheckIn, by: uuid.UUID) -> OccurrenceRecord:
    """Somebody has come for a commitment; the first one has the occurrence under way.

    Refuses before check-in opens and after the end, who is there already or at another occurrence,
    and an agreement that is not active.
    """
    try:
        async with engine.unit_of_work() as work:
            held = await marking.hold(occurrence.id, ("planned", "under_way"))
            if held.state != "active":
                raise errors.Refusal("wrong_state", has=held.state, needed="active")
            asked = await marking.asked_of(held, draft.commitment_id)
            if not rules.may_come(asked.span, held.minute):
                raise _not_now(asked.span.starts - rules.EARLY, asked.span.ends)
            account = await _whose(asked, draft.account_id, by)
            there = await _row(held, asked, account)
            if there:
                raise errors.Refusal("wrong_state", has=there["outcome"], needed="not there yet")
            await marking.put(held, asked, "here", account=account, came=held.minute, by=by)
            await marking.become(held, "under_way")
            await marking.announce(work, held, "attendance.came", commitment=str(asked.commitment))
            return await reading.read(held.id)
    except engine.CONFLICTS:
        # One person is at one place at a time.
        raise errors.Refusal("wrong_state", has="here", needed="nowhere else") from None


async def check_out(
    occurrence: OccurrenceRecord, draft: CheckIn, by: uuid.UUID
) -> OccurrenceRecord:
    """Somebody leaves; what counts of their time is credited to them. Refuses who is not there, and
    when check-out has closed."""
    async with engine.unit_of_work() as work:
        held = await marking.hold(occurrence.id, ("under_way",))
        asked = await marking.asked_of(held, draft.commitment_id)
        account = await _whose(asked, draft.account_id, by)
        there = await _row(held, asked, account)
        if there is None or there["outcome"] != "here":
            has = there["outcome"] if there else "not there"
            raise errors.Refusal("wrong_state", has=has, needed="here")
        if not rules.may_go(asked.span, held.minute):
            raise _not_now(asked.span.starts, asked.span.ends + rules.LATE)
        await marking.leave(held, there, asked, held.minute)
        await marking.announce(work, held, "attendance.went", commitment=str(asked.commitment))
        return await reading.read(held.id)


async def correct(
    attendance: AttendanceRecord, occurrence: OccurrenceRecord, draft: Correction, by: uuid.UUID
) -> OccurrenceRecord:
    """Take a row back by its opposite, and say what is true instead: that somebody was there
    between two moments, or nobody. Hours and the offering's record follow.

    Refuses before the occurrence is closed, 30 days after its end, and what is taken back already.
    """
    async with engine.unit_of_work() as work:
        held = await marking.hold(occurrence.id, ("served", "missed"))
        until = held.span.ends + rules.CORRECTED
        if held.minute > until:
            raise _not_now(held.span.ends, until)
        expected = await reading.expected(held.id, held.agreement, held.span)
        asked = await marking.asked_of(held, attendance.commitment_id)
        rows = await reading.standing(held.id)
        wrong = next((row for row in rows if base.as_id(row["id"]) == attendance.id), None)
        if wrong is None:
            raise errors.Refusal("wrong_state", has="taken back", needed="standing")
        await marking.take_back(wrong, by=by, reason=draft.reason)
        await _say(held, asked, draft, by)
        await closing.follow(held, expected, draft.reason)
        before = closing.kept_of(rows)
        counted = {one: before.get(one, False) for one in expected}
        await closing.recount(work, held, expected, counted)
        await marking.announce(
            work,
            held,
            "attendance.corrected",
            commitment=str(asked.commitment),
            reason=draft.reason,
        )
        return await reading.read(held.id)


async def forget(account: uuid.UUID) -> None:
    """A person is forgotten: wherever they are, they are there no longer, and it counts no time."""
    await engine.execute(
        "UPDATE attendance SET outcome = 'kept' WHERE account = $1 AND outcome = 'here'", account
    )


async def _say(held: Held, asked: Expected, draft: Correction, by: uuid.UUID) -> None:
    """The row that is true."""
    if draft.came_at is None or draft.went_at is None:
        if not await _anybody(held, asked):
            await marking.put(held, asked, "missed", by=by, reason=draft.reason)
        return
    came, went = bookings.minute(draft.came_at), bookings.minute(draft.went_at)
    opens, closes = asked.span.starts - rules.EARLY, asked.span.ends + rules.LATE
    for field, minute, first in (("came_at", came, opens), ("went_at", went, came)):
        if not first <= minute <= closes:
            needed = f"between {_said(first)} and {_said(closes)} UTC"
            raise errors.refuse_field(field, "out_of_range", needed=needed)
    account = await _whose(asked, draft.account_id, by)
    if await _row(held, asked, account):
        raise errors.Refusal("wrong_state", has="there", needed="not there yet")
    await marking.put(
        held,
        asked,
        "kept",
        account=account,
        came=came,
        went=went,
        minutes=rules.counted(asked.span, came, went),
        by=by,
        reason=draft.reason,
    )


async def _whose(asked: Expected, named: uuid.UUID | None, by: uuid.UUID) -> uuid.UUID | None:
    """Whose hours they are: of a person's commitment the one who is named, or the caller, or the
    one person that acts for the partner; of everything else nobody's."""
    if asked.kind != "person_hours":
        if named is not None:
            raise errors.refuse_field("account_id", "unknown_field")
        return None
    people = await accounts.people_of(asked.partner)
    if named is not None:
        if named not in people:
            what = {"what": "account of the partner", "value": str(named)}
            raise errors.refuse_field("account_id", "unknown_reference", **what)
        return named
    if by in people:
        return by
    if len(people) != 1:
        raise errors.refuse_field("account_id", "required")
    return people[0]


async def _row(held: Held, asked: Expected, account: uuid.UUID | None) -> dict[str, Any] | None:
    """The standing row of somebody who has come for a commitment."""
    for row in await reading.standing(held.id):
        same = (row["account"] and base.as_id(row["account"])) == account
        if same and base.as_id(row["commitment"]) == asked.commitment and row["came"] is not None:
            return row
    return None


async def _anybody(held: Held, asked: Expected) -> bool:
    rows = await reading.standing(held.id)
    return any(base.as_id(row["commitment"]) == asked.commitment for row in rows)


def _not_now(opens: int, closes: int) -> errors.Refusal:
    return errors.Refusal("not_now", opens=_said(opens), closes=_said(closes))


def _said(minute: int) -> str:
    moment: dt.datetime = bookings.moment_of(minute)
    return f"{moment:%F %H:%M}"
