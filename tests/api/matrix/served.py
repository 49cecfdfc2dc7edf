"""Rows of occurrences, attendance, reviews and hours."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from models import attendance, base
from tests import serving
from tests.api.matrix.callers import (
    DECIDERS,
    EVERYBODY,
    NONE,
    PARTNER,
    SIGNED_IN,
    STAFF,
    Row,
    Target,
)
from tests.towns import Town


async def _occurrence(town: Town, place: str, relation: str) -> Target:
    """A time to come of an active agreement; `credential` is the commitment."""
    who = "partner_staff" if relation == "own" else "other_staff"
    partner = await serving.a_resident(town, who, "sole_trader", place_id=place)
    helper = await serving.a_volunteer(town, partner, place_id=place)
    need = await serving.a_morning(town, {"helper": "volunteer"}, "operator", place_id=place)
    made = await serving.agreed(town, need, {"helper": helper}, days=1, who="operator")
    (only,) = await serving.occurrences(town, made, "operator")
    return Target(only["id"], place, partner, serving.commitment(made, helper))


async def _attendance(town: Town, place: str, relation: str) -> Target:
    """A row of who came, as if it had been recorded."""
    found = await _occurrence(town, place, relation)
    row = attendance.Attendance(
        id=base.new_id(),
        occurrence=uuid.UUID(found.id),
        commitment=uuid.UUID(found.credential),
        outcome="missed",
        minutes=0,
        at=base.now(),
    )
    await attendance.Attendance.insert(row)
    return Target(str(row.id), place, found.partner)


def _json(body: Any) -> Callable[[Town, Target], dict[str, Any]]:
    return lambda _town, _target: {"json": body}


def _coming(_town: Town, target: Target) -> dict[str, Any]:
    return {"json": {"commitment_id": target.credential}}


MAKE: dict[str, Callable[[Town, str, str], Awaitable[Target]]] = {
    "occurrence": _occurrence,
    "attendance": _attendance,
}
# It is not the time for it: whoever may is told so.
NOT_NOW = frozenset({409})
READ = frozenset({400})

ROWS = {
    "GET /v1/agreements/{agreement_id}/occurrences": Row(STAFF | PARTNER, "agreement"),
    "GET /v1/occurrences/{occurrence_id}": Row(STAFF | PARTNER, "occurrence"),
    "POST /v1/occurrences/{occurrence_id}/check-in": Row(
        STAFF | PARTNER, "occurrence", _coming, done=NOT_NOW
    ),
    "POST /v1/occurrences/{occurrence_id}/check-out": Row(
        STAFF | PARTNER, "occurrence", _coming, done=NOT_NOW
    ),
    "POST /v1/attendance/{attendance_id}/correct": Row(
        DECIDERS, "attendance", _json({"reason": "did_not_come"}), done=NOT_NOW
    ),
    "GET /v1/agreements/{agreement_id}/reviews": Row(STAFF | PARTNER, "agreement"),
    "POST /v1/agreements/{agreement_id}/reviews": Row(
        DECIDERS | PARTNER, "agreement", _json({"about": NONE, "stars": 5}), done=NOT_NOW
    ),
    "GET /v1/accounts/current/hours": Row(SIGNED_IN),
    "POST /v1/accounts/current/hours/donate": Row(SIGNED_IN, send=_json({}), done=READ),
    "POST /v1/accounts/current/hours/spend": Row(SIGNED_IN, send=_json({}), done=READ),
    "GET /v1/accounts/current/service-record": Row(SIGNED_IN),
    "GET /v1/service-record-keys": Row(EVERYBODY),
}
