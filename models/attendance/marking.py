"""What every change of an occurrence has in common: its lock, and the rows of who came."""

from __future__ import annotations

import uuid
from typing import Any

from msgspec import Struct

from models import base, bookings, engine, errors, hours, outbox
from models.attendance import reading, rules
from models.attendance.reading import Expected
from models.attendance.rules import OccurrenceStatus, Outcome, Span
from models.attendance.tables import Attendance


class Held(Struct):
    """An occurrence whose row is locked until the end of the transaction, and where its agreement
    stands. `minute` is now."""

    id: uuid.UUID
    agreement: uuid.UUID
    place: uuid.UUID
    state: str
    status: OccurrenceStatus
    span: Span
    minute: int


async def hold(occurrence: uuid.UUID, allowed: tuple[OccurrenceStatus, ...]) -> Held:
    """Lock an occurrence: whoever comes at the same moment waits and sees what this one leaves
    behind. Refuses one that has another status."""
    moment = base.now()
    rows = await engine.fetch(
        "UPDATE occurrence SET version = version + 1, updated_at = $1 WHERE id = $2 RETURNING *",
        moment,
        occurrence,
    )
    if not rows:
        raise errors.not_found()
    (row,) = rows
    if row["status"] not in allowed:
        raise errors.Refusal("wrong_state", has=row["status"], needed=" | ".join(allowed))
    ((place, state),) = await engine.rows(
        "SELECT place, state FROM agreement WHERE id = $1", row["agreement"]
    )
    return Held(
        occurrence,
        base.as_id(row["agreement"]),
        base.as_id(place),
        state,
        row["status"],
        Span(row["starts"], row["ends"]),
        bookings.minute(moment),
    )


async def become(held: Held, status: OccurrenceStatus) -> None:
    """Give an occurrence its next status."""
    held.status = status
    await engine.execute("UPDATE occurrence SET status = $1 WHERE id = $2", status, held.id)


async def asked_of(held: Held, commitment: uuid.UUID) -> Expected:
    """What a commitment has to give at this occurrence. Refuses one of which nothing is asked."""
    found = (await reading.expected(held.id, held.agreement, held.span)).get(commitment)
    if found is None:
        raise errors.refuse_field(
            "commitment_id", "unknown_reference", what="commitment", value=str(commitment)
        )
    return found


async def put(
    held: Held,
    asked: Expected,
    outcome: Outcome,
    *,
    account: uuid.UUID | None = None,
    came: int | None = None,
    went: int | None = None,
    minutes: int = 0,
    by: uuid.UUID | None = None,
    reason: str | None = None,
) -> None:
    """Add a row; what counts of it is credited to its account."""
    await Attendance.insert(
        Attendance(
            id=base.new_id(),
            occurrence=held.id,
            commitment=asked.commitment,
            account=account,
            outcome=outcome,
            came=came,
            went=went,
            minutes=minutes,
            transfer=await _credit(held, asked, account, minutes),
            recorded_by=by,
            reason=reason,
            at=base.now(),
        )
    )


async def leave(held: Held, row: dict[str, Any], asked: Expected, went: int | None) -> None:
    """Close an open row; without `went`, as if they had stayed to the planned end."""
    minutes = rules.counted(asked.span, row["came"], went)
    account = row["account"] and base.as_id(row["account"])
    await engine.execute(
        "UPDATE attendance SET outcome = 'kept', went = $1, minutes = $2, transfer = $3"
        " WHERE id = $4",
        went,
        minutes,
        await _credit(held, asked, account, minutes),
        row["id"],
    )


async def take_back(row: dict[str, Any], *, by: uuid.UUID | None, reason: str) -> None:
    """Add the opposite of a row; both stay. Its hours are taken back."""
    transfer = row["transfer"] and base.as_id(row["transfer"])
    if transfer:
        transfer = await hours.uncredit(base.as_id(row["account"]), row["minutes"], transfer)
    columns = {name: row[name] for name in ("occurrence", "commitment", "account", "outcome")}
    await Attendance.insert(
        Attendance(
            id=base.new_id(),
            **columns,
            came=row["came"],
            went=row["went"],
            minutes=-row["minutes"],
            transfer=transfer,
            recorded_by=by,
            reverses=row["id"],
            reason=reason,
            at=base.now(),
        )
    )


async def announce(work: engine.Work, held: Held, action: str, **detail: str | int | None) -> None:
    """Tell of a change of an occurrence."""
    await outbox.append(
        work, "occurrence.changed", held.id, place=held.place, action=action, **detail
    )


async def _credit(
    held: Held, asked: Expected, account: uuid.UUID | None, minutes: int
) -> uuid.UUID | None:
    if account is None or not minutes:
        return None
    return await hours.credit(
        account, minutes, place=held.place, partner=asked.partner, subject=held.id
    )
