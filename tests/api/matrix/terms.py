"""Rows of what the terms of an agreement lead to, of the ledger, and of tasks."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from models import tasks, values
from tests.api.matrix.callers import DECIDERS, NONE, PARTNER, SIGNED_IN, STAFF, Row, Target
from tests.api.test_partners import a_partner
from tests.towns import Town, a_need


async def _bound(town: Town, place: str, relation: str) -> Target:
    """Accepted by a partner of that relation, which pays rent, a share and gets a contract."""
    applicant = "partner_staff" if relation == "own" else "other_staff"
    partner = await town.make("/v1/partners", a_partner(town, place_id=place), applicant)
    need = await town.make("/v1/needs", a_need(town, place_id=place), "operator")
    pledge = {"partner_id": partner["id"], "kind": "in_kind", "value": {"amount": 100}}
    body = {"need_id": need["id"], "pledges": [pledge], "terms": _terms(partner["id"])}
    made = await town.make("/v1/agreements", body, "operator")
    (asked,) = [party["id"] for party in made["parties"] if party["answer"] == "pending"]
    await town.make(f"/v1/agreements/{made['id']}/accept", {"party_id": asked}, "operator")
    return Target(made["id"], place, partner["id"])


def _terms(partner: str) -> dict[str, Any]:
    title = {"zh": "一期", "en": "First"}
    milestone = {"name": "first", "title": title, "amount": 100}
    lot = {"title": title, "milestones": [milestone]}
    return {
        "tier": "space_for_service",
        "rent": {"partner_id": partner, "hours_per_month": 1},
        "revenue_share": {"partner_id": partner, "share_bp": 1},
        "contract": {"partner_id": partner, "lots": [lot]},
    }


async def _task(_town: Town, place: str, _relation: str) -> Target:
    title = values.Bilingual("巡查", "A round")
    made = await tasks.raise_("round", uuid.uuid4(), place=uuid.UUID(place), title=title)
    return Target(str(made), place)


def _json(**body: Any) -> Callable[[Town, Target], dict[str, Any]]:
    return lambda _town, _target: {"json": body}


MAKE: dict[str, Callable[[Town, str, str], Awaitable[Target]]] = {
    "bound agreement": _bound,
    "task": _task,
}
# Whoever may is told that it cannot be: a time of long ago, nothing approved, nothing of that id.
LONG_AGO, NOT_YET, MISSING = frozenset({400}), frozenset({409}), frozenset({404})
AGREEMENT = "/v1/agreements/{agreement_id}"
MILESTONE = f"{AGREEMENT}/milestones/{{milestone}}"
AGAIN = frozenset({200, 409})

ROWS = {
    f"PUT {AGREEMENT}/terms": Row(DECIDERS | PARTNER, "agreement", _json(terms=None)),
    f"GET {AGREEMENT}/rent": Row(STAFF | PARTNER, "bound agreement"),
    f"POST {AGREEMENT}/service-hours": Row(
        STAFF, "bound agreement", _json(served_on="2001-01-01", minutes=1), LONG_AGO
    ),
    f"POST {AGREEMENT}/service-hours/{{hours_id}}/reverse": Row(
        STAFF, "bound agreement", done=MISSING
    ),
    f"GET {AGREEMENT}/revenue": Row(STAFF | PARTNER, "bound agreement"),
    f"POST {AGREEMENT}/revenue": Row(
        DECIDERS | PARTNER, "bound agreement", _json(month="2001-01", amount=1), LONG_AGO
    ),
    f"POST {AGREEMENT}/revenue/{{revenue_id}}/reverse": Row(
        DECIDERS, "bound agreement", done=MISSING
    ),
    f"GET {AGREEMENT}/milestones": Row(STAFF | PARTNER, "bound agreement"),
    f"POST {MILESTONE}/inspect": Row(STAFF, "bound agreement", _json(approved_bp=0)),
    # Nobody has enrolled, so it is found by nobody; the provider's own people may not.
    f"POST {MILESTONE}/score": Row(SIGNED_IN - PARTNER, "bound agreement", _json(score=5), MISSING),
    f"POST {MILESTONE}/pay": Row(DECIDERS, "bound agreement", _json(amount=1), NOT_YET),
    "GET /v1/ledger": Row(SIGNED_IN),
    "GET /v1/places/{place_id}/fund": Row(STAFF, "place"),
    "GET /v1/tasks": Row(SIGNED_IN),
    "GET /v1/tasks/{task_id}": Row(STAFF, "task"),
    "POST /v1/tasks/{task_id}/done": Row(STAFF, "task", done=AGAIN),
    "POST /v1/tasks/{task_id}/drop": Row(STAFF, "task", done=AGAIN),
}
PATH = {"hours_id": NONE, "revenue_id": NONE, "milestone": "first"}
