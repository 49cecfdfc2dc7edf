"""Reading occurrences and who came to them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from models import accounts, base, bookings, engine, errors
from models.agreements import reading
from models.attendance.rules import Span
from models.attendance.tables import AttendanceRecord, OccurrenceRecord

_SELECT = "SELECT o.* FROM occurrence o JOIN agreement a ON a.id = o.agreement"
# Rows that nobody has taken back, and that take nothing back.
STANDING = "t.reverses IS NULL AND NOT EXISTS (SELECT 1 FROM attendance r WHERE r.reverses = t.id)"


class Expected(Struct, frozen=True):
    """A commitment that is asked for at an occurrence, and when of it."""

    commitment: uuid.UUID
    kind: str
    partner: uuid.UUID
    offering: uuid.UUID
    span: Span


async def read(
    occurrence_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> OccurrenceRecord:
    """One occurrence, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("o.id = {}", occurrence_id)
    reading.restrict(where, sees, "a.id", "a.place")
    rows = await engine.fetch(f"{_SELECT} WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return (await _shape(rows))[0]


async def browse(
    sees: accounts.Visibility,
    agreement: uuid.UUID,
    *,
    after: uuid.UUID | None,
    limit: int,
    status: str | None = None,
) -> list[OccurrenceRecord]:
    """Up to `limit` occurrences of an agreement in the order of time."""
    where = base.Where()
    where.add("o.agreement = {}", agreement)
    reading.restrict(where, sees, "a.id", "a.place")
    if status:
        where.add("o.status = {}", status)
    if after:
        where.add("o.starts > (SELECT l.starts FROM occurrence l WHERE l.id = {})", after)
    rows = await engine.fetch(
        f"{_SELECT} WHERE {where} ORDER BY o.starts LIMIT {int(limit)}", *where.args
    )
    return await _shape(rows)


async def find(
    attendance_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> tuple[AttendanceRecord, OccurrenceRecord]:
    """One row of attendance and its occurrence, or the not-found refusal."""
    where = base.Where()
    where.add("t.id = {}", attendance_id)
    reading.restrict(where, sees, "a.id", "a.place")
    rows = await engine.rows(
        "SELECT o.id FROM attendance t JOIN occurrence o ON o.id = t.occurrence"
        f" JOIN agreement a ON a.id = o.agreement WHERE {where}",
        *where.args,
    )
    if not rows:
        raise errors.not_found()
    occurrence = await read(base.as_id(rows[0][0]), sees)
    return next(row for row in occurrence.attendance if row.id == attendance_id), occurrence


async def standing(occurrence: uuid.UUID) -> list[dict[str, Any]]:
    """The rows of an occurrence that say what is true, in one order for all who lock accounts."""
    return await engine.fetch(
        f"SELECT t.* FROM attendance t WHERE t.occurrence = $1 AND {STANDING}"
        " ORDER BY t.account, t.id",
        occurrence,
    )


async def expected(
    occurrence: uuid.UUID, agreement: uuid.UUID, span: Span
) -> dict[uuid.UUID, Expected]:
    """What is booked for an agreement at an occurrence, by its commitment. Who has been swapped, or
    has left, is no longer booked; but whoever had come by then has come."""
    rows = await engine.rows(
        "SELECT c.id, c.kind, c.partner, c.offering, min(b.starts), max(b.ends)"
        " FROM booking b JOIN commitment c ON c.id = b.commitment"
        " WHERE c.agreement = $1 AND b.starts < $2 AND b.ends > $3"
        " AND (b.status = 'confirmed' OR EXISTS (SELECT 1 FROM attendance t"
        " WHERE t.occurrence = $4 AND t.commitment = c.id AND t.came IS NOT NULL))"
        " GROUP BY c.id, c.kind, c.partner, c.offering ORDER BY c.offering, c.id",
        agreement,
        span.ends,
        span.starts,
        occurrence,
    )
    found = [
        Expected(
            base.as_id(commitment),
            kind,
            base.as_id(partner),
            base.as_id(offering),
            Span(max(starts, span.starts), min(ends, span.ends)),
        )
        for commitment, kind, partner, offering, starts, ends in rows
    ]
    return {one.commitment: one for one in found}


async def _shape(rows: Sequence[dict[str, Any]]) -> list[OccurrenceRecord]:
    if not rows:
        return []
    there: dict[str, list[AttendanceRecord]] = {}
    for row in await engine.fetch(
        f"SELECT * FROM attendance WHERE occurrence IN ({base.placeholders(len(rows))})"
        " ORDER BY id",
        *(row["id"] for row in rows),
    ):
        there.setdefault(str(row["occurrence"]), []).append(shape(row))
    return [
        base.record(
            {
                **row,
                "agreement_id": row["agreement"],
                "starts_at": bookings.moment_of(row["starts"]),
                "ends_at": bookings.moment_of(row["ends"]),
                "attendance": tuple(there.get(str(row["id"]), ())),
            },
            OccurrenceRecord,
        )
        for row in rows
    ]


def shape(row: dict[str, Any]) -> AttendanceRecord:
    """A row of `attendance` as a record."""
    came, went = row["came"], row["went"]
    return base.record(
        {
            **row,
            "commitment_id": row["commitment"],
            "account_id": row["account"],
            "came_at": None if came is None else bookings.moment_of(came),
            "went_at": None if went is None else bookings.moment_of(went),
        },
        AttendanceRecord,
    )
