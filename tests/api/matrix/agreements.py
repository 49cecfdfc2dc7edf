"""Rows of agreements and enrolments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.matrix.callers import DECIDERS, NONE, PARTNER, SIGNED_IN, STAFF, Row, Target
from tests.api.test_partners import a_partner
from tests.towns import Town, a_need


async def _agreement(town: Town, place: str, relation: str) -> Target:
    """Proposed to a partner of that relation: what it would give in kind."""
    applicant = "partner_staff" if relation == "own" else "other_staff"
    partner = await town.make("/v1/partners", a_partner(town, place_id=place), applicant)
    need = await town.make("/v1/needs", a_need(town, place_id=place), "operator")
    made = await town.make("/v1/agreements", _draft(need["id"], partner["id"]), "operator")
    return Target(made["id"], place, partner["id"])


async def _enrolment(town: Town, place: str, _relation: str) -> Target:
    need = await town.make("/v1/needs", a_need(town, place_id=place), "operator")
    made = await town.make(f"/v1/needs/{need['id']}/enrolments", {}, "sibling_secretary")
    return Target(made["id"], place)


async def _need(town: Town, place: str, _relation: str) -> Target:
    made = await town.make("/v1/needs", a_need(town, place_id=place), "operator")
    return Target(made["id"], place)


def _draft(need: str, partner: str | None) -> dict[str, Any]:
    pledge = {"partner_id": partner, "kind": "in_kind", "value": {"amount": 100}}
    return {"need_id": need, "pledges": [pledge], "cost": {"amount": 1000}}


def _proposing(_town: Town, target: Target) -> dict[str, Any]:
    """What the community itself gives: nobody but who decides for it may promise that."""
    return {"json": _draft(target.id, None)}


def _json(body: Any) -> Callable[[Town, Target], dict[str, Any]]:
    return lambda _town, _target: {"json": body}


MAKE: dict[str, Callable[[Town, str, str], Awaitable[Target]]] = {
    "agreement": _agreement,
    "enrolment": _enrolment,
    "open need": _need,
}
AGAIN = frozenset({200, 201, 409})

ROWS = {
    "GET /v1/agreements": Row(SIGNED_IN),
    "POST /v1/agreements": Row(DECIDERS, "open need", _proposing),
    "GET /v1/agreements/{agreement_id}": Row(STAFF | PARTNER, "agreement"),
    "GET /v1/agreements/{agreement_id}/events": Row(STAFF | PARTNER, "agreement"),
    "GET /v1/agreements/{agreement_id}/times": Row(STAFF | PARTNER, "agreement"),
    # There is no member to be replaced: whoever may ask is told so.
    "GET /v1/agreements/{agreement_id}/replacements": Row(
        DECIDERS, "agreement", query=f"?commitment={NONE}", done=frozenset({422})
    ),
    "POST /v1/agreements/{agreement_id}/{transition}": Row(
        DECIDERS, "agreement", _json({"note": "不再需要"})
    ),
    "GET /v1/needs/{need_id}/places": Row(SIGNED_IN | {"anonymous"}, "open need"),
    "POST /v1/needs/{need_id}/enrolments": Row(SIGNED_IN, "open need", _json({}), done=AGAIN),
    "GET /v1/enrolments": Row(SIGNED_IN),
    "GET /v1/enrolments/{enrolment_id}": Row(STAFF, "enrolment"),
    "POST /v1/enrolments/{enrolment_id}/cancel": Row(STAFF, "enrolment", done=AGAIN),
}
