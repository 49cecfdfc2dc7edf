"""Rows of the walk of partners, the docking register and trainings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from models import base
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
from tests.api.test_partners import a_partner
from tests.towns import Town, a_docking, a_training, an_offering


async def _partner(town: Town, place: str, relation: str, **change: Any) -> str:
    applicant = "partner_staff" if relation == "own" else "other_staff"
    made = await town.make("/v1/partners", a_partner(town, place_id=place, **change), applicant)
    return str(made["id"])


async def _docking(town: Town, place: str, relation: str) -> Target:
    partner = await _partner(town, place, relation)
    body = a_docking(town, partner_id=partner, place_id=place)
    made = await town.make("/v1/dockings", body, "operator")
    return Target(made["id"], place, partner)


async def _training(town: Town, place: str, _relation: str) -> Target:
    made = await town.make("/v1/trainings", a_training(town, place_id=place), "operator")
    return Target(made["id"], place)


async def _completion(town: Town, place: str, relation: str) -> Target:
    partner = await _partner(town, place, relation)
    body = an_offering(town, kind="vanguard", partner_id=partner, place_id=place)
    offering = await town.make("/v1/offerings", body, "operator")
    training = await _training(town, place, relation)
    body = {"offering_id": offering["id"], "completed_on": str(base.now().date())}
    made = await town.make(f"/v1/trainings/{training.id}/complete", body, "operator")
    return Target(made["id"], place, partner)


MAKE: dict[str, Callable[[Town, str, str], Awaitable[Target]]] = {
    "docking": _docking,
    "training": _training,
    "completion": _completion,
}


def _json(body: Any) -> Callable[[Town, Target], dict[str, Any]]:
    return lambda _town, _target: {"json": body}


def _a_docking(town: Town, target: Target) -> dict[str, Any]:
    return {"json": a_docking(town, place_id=target.place)}


def _a_training(town: Town, target: Target) -> dict[str, Any]:
    return {"json": a_training(town, place_id=target.place)}


# Allowed, though an applicant cannot be suspended, and what is only proposed not delivered.
NOT_YET = frozenset({409})

ROWS = {
    "POST /v1/partners/{partner_id}/reject": Row(
        DECIDERS, "partner", _json({"reason": "incomplete"})
    ),
    "POST /v1/partners/{partner_id}/suspend": Row(
        DECIDERS, "partner", _json({"reason": "safety"}), done=NOT_YET
    ),
    "POST /v1/partners/{partner_id}/exit": Row(
        DECIDERS | PARTNER, "partner", _json({"reason": "closed"})
    ),
    "GET /v1/partners/{partner_id}/history": Row(STAFF | PARTNER, "partner"),
    "GET /v1/dockings": Row(EVERYBODY),
    "POST /v1/dockings": Row(DECIDERS, "place", _a_docking),
    "GET /v1/dockings/{docking_id}": Row(EVERYBODY, "docking"),
    "PATCH /v1/dockings/{docking_id}": Row(DECIDERS, "docking", _json({})),
    "POST /v1/dockings/{docking_id}/dock": Row(DECIDERS, "docking", done=NOT_YET),
    "POST /v1/dockings/{docking_id}/deliver": Row(
        DECIDERS, "docking", _json({"result": {"zh": "好", "en": "Good"}}), done=NOT_YET
    ),
    "POST /v1/dockings/{docking_id}/drop": Row(DECIDERS, "docking", _json({"reason": "no_funds"})),
    "GET /v1/dockings/{docking_id}/history": Row(STAFF | PARTNER, "docking"),
    "GET /v1/places/{place_id}/docking-register": Row(EVERYBODY, "place"),
    "GET /v1/trainings": Row(EVERYBODY),
    "POST /v1/trainings": Row(DECIDERS, "place", _a_training),
    "GET /v1/trainings/{training_id}": Row(EVERYBODY, "training"),
    "PATCH /v1/trainings/{training_id}": Row(DECIDERS, "training", _json({})),
    "DELETE /v1/trainings/{training_id}": Row(DECIDERS, "training"),
    # Whoever may is told that there is no such offering.
    "POST /v1/trainings/{training_id}/complete": Row(
        DECIDERS,
        "training",
        _json({"offering_id": NONE, "completed_on": "2026-01-01"}),
        done=frozenset({422}),
    ),
    "GET /v1/completions": Row(SIGNED_IN),
    "GET /v1/completions/{completion_id}": Row(STAFF | PARTNER, "completion"),
    "POST /v1/completions/{completion_id}/withdraw": Row(DECIDERS, "completion"),
}
