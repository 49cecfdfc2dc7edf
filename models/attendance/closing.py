"""What time does with occurrences: who has not come is missed, and the service record follows."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from models import base, bookings, engine, reliability
from models.attendance import marking, reading, rules
from models.attendance.marking import Held
from models.attendance.reading import Expected
from models.attendance.rules import OccurrenceStatus, Outcome

log = logging.getLogger(__name__)

# So many are read at once.
_ROUND = 500


async def tick() -> int:
    """Close every occurrence that is over, each in a transaction of its own; answers how many.

    While an agreement is suspended nobody is expected, so nobody is missed. One that fails is
    logged and tried again at the next tick; the others do not wait for it. None is left to a later
    tick: what is planned of an agreement that is completed meanwhile would be cancelled.
    """
    closed, last = 0, (0, uuid.UUID(int=0))
    while rows := await _due(*last):
        for _, occurrence in rows:
            try:
                closed += await close(occurrence)
            except Exception:
                log.exception("an occurrence that is over was not closed")
        last = rows[-1]
    return closed


async def _due(ends: int, after: uuid.UUID) -> list[tuple[int, uuid.UUID]]:
    """When the next occurrences ended that are over, and their ids, in the order of both."""
    minute = bookings.minute(base.now())
    rows = await engine.rows(
        "SELECT o.ends, o.id FROM occurrence o JOIN agreement a ON a.id = o.agreement"
        " WHERE ((o.status = 'planned' AND o.ends <= $1 AND a.state <> 'suspended')"
        " OR (o.status = 'under_way' AND o.ends <= $2 AND (o.ends <= $3 OR NOT EXISTS"
        " (SELECT 1 FROM attendance t WHERE t.occurrence = o.id AND t.outcome = 'here'))))"
        f" AND (o.ends, o.id) > ($4, $5) ORDER BY o.ends, o.id LIMIT {_ROUND}",
        minute - rules.MISSED,
        minute,
        minute - rules.LATE,
        ends,
        after,
    )
    return [(int(end), base.as_id(occurrence)) for end, occurrence in rows]


async def close(occurrence: uuid.UUID) -> bool:
    """Close one occurrence, if it still is due: whoever is still there has stayed to the end, for
    whoever has not come a row says so, and each offering's jobs are counted. What was planned for
    an agreement that has ended meanwhile is cancelled, and counts for nobody."""
    async with engine.unit_of_work() as work:
        held = await marking.hold(occurrence, rules.STATUSES)
        rows = await reading.standing(occurrence)
        here = any(row["outcome"] == "here" for row in rows)
        if not rules.is_due(held.status, held.span, here, held.minute):
            return False
        if held.status == "planned" and held.state != "active":
            await marking.become(held, "cancelled")
            await marking.announce(work, held, "occurrence.cancelled")
            return True
        expected = await reading.expected(held.id, held.agreement, held.span)
        for row in rows:
            asked = expected.get(base.as_id(row["commitment"]))
            if row["outcome"] == "here" and asked:
                await marking.leave(held, row, asked, None)
        await _fill_in(held, expected, rows)
        kept = await recount(work, held, expected, {})
        status = held.status
        await marking.announce(
            work, held, f"occurrence.{status}", kept=kept, missed=len(expected) - kept
        )
        return True


async def recount(
    work: engine.Work,
    held: Held,
    expected: Mapping[uuid.UUID, Expected],
    before: Mapping[uuid.UUID, bool],
) -> int:
    """Bring the occurrence and the records of its offerings in line with its rows, where `before`
    has what was counted of each commitment; answers how many were kept."""
    now = kept_of(await reading.standing(held.id))
    for commitment, one in expected.items():
        is_kept = now.get(commitment, False)
        await reliability.count_job(
            work,
            one.offering,
            held.place,
            agreed=commitment not in before,
            kept=is_kept - before.get(commitment, False),
        )
    status: OccurrenceStatus = "served" if any(now.values()) else "missed"
    await marking.become(held, status)
    return sum(now.get(commitment, False) for commitment in expected)


def kept_of(rows: Iterable[dict[str, Any]]) -> dict[uuid.UUID, bool]:
    """Whether anybody came for each commitment that has a row."""
    found: dict[uuid.UUID, bool] = {}
    for row in rows:
        commitment = base.as_id(row["commitment"])
        found[commitment] = found.get(commitment, False) or row["outcome"] == "kept"
    return found


async def follow(held: Held, expected: Mapping[uuid.UUID, Expected], reason: str) -> None:
    """What time has said of rooms and boxes follows from whether anybody came, after a correction
    too."""
    rows = await reading.standing(held.id)
    anybody = any(row["outcome"] == "kept" and row["recorded_by"] for row in rows)
    outcome: Outcome = "kept" if anybody else "missed"
    for row in rows:
        one = expected.get(base.as_id(row["commitment"]))
        by_itself = one and one.kind in rules.THINGS and not row["recorded_by"]
        if one and by_itself and row["outcome"] != outcome:
            await marking.take_back(row, by=None, reason=reason)
            await _put(held, one, outcome)


async def _put(held: Held, one: Expected, outcome: Outcome) -> None:
    minutes = one.span.ends - one.span.starts if outcome == "kept" else 0
    await marking.put(held, one, outcome, minutes=minutes)


async def _fill_in(
    held: Held, expected: Mapping[uuid.UUID, Expected], rows: Iterable[dict[str, Any]]
) -> None:
    """A row for each commitment that has none."""
    came = {base.as_id(row["commitment"]) for row in rows}
    outcomes = rules.settled(
        [one.kind for one in expected.values()], [commitment in came for commitment in expected]
    )
    for (commitment, one), outcome in zip(expected.items(), outcomes, strict=True):
        if commitment not in came:
            await _put(held, one, outcome)
