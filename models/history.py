"""The walk of a record through its states, as the audit trail has it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, json

from models import base, engine


class Step(Struct, frozen=True, kw_only=True):
    """One step: who (null is the system itself), when, from which state (null at the start) to
    which, and why as a code, where a reason was asked for."""

    seq: int
    at: dt.datetime
    by: uuid.UUID | None
    was: str | None
    status: str
    reason: str | None


async def of(
    subject: uuid.UUID, what: str, statuses: Sequence[str], *, before: int | None, limit: int
) -> list[Step]:
    """Up to `limit` steps of one record, the last ones first: the acts `what.status` of it."""
    where = base.Where()
    where.add("subject = {}", subject)
    where.add(f"action IN ({where.values(f'{what}.{status}' for status in statuses)})")
    if before is not None:
        where.add("seq < {}", before)
    rows = await engine.fetch(
        f"SELECT seq, at, actor, action, detail FROM audit WHERE {where}"
        f" ORDER BY seq DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [_step(row) for row in rows]


def _step(row: dict[str, Any]) -> Step:
    detail = json.decode(row["detail"])
    return base.record(
        {
            **row,
            "by": row["actor"],
            "was": detail.get("was"),
            "status": row["action"].partition(".")[2],
            "reason": detail.get("reason"),
        },
        Step,
    )
