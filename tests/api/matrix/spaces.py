"""Rows of spaces, pools and resident groups."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.matrix.callers import (
    DECIDERS,
    EVERYBODY,
    OPERATORS,
    PARTNER,
    SIGNED_IN,
    STAFF,
    Row,
    Target,
)
from tests.api.test_partners import a_partner
from tests.towns import Town, a_booking, a_space


def _whose(relation: str) -> str:
    return "partner_staff" if relation == "own" else "other_staff"


async def _space(town: Town, place: str, relation: str) -> Target:
    """A draft of a space."""
    body = a_partner(town, place_id=place)
    partner = (await town.make("/v1/partners", body, _whose(relation)))["id"]
    body = a_space(town, partner_id=partner, place_id=place, status="draft")
    made = await town.make("/v1/offerings", body, "operator")
    return Target(made["id"], place, partner)


async def _group(town: Town, place: str, relation: str) -> Target:
    """An admitted group that offers a space, and that other_staff has asked to join."""
    body = {**a_partner(town, place_id=place, kind="resident_group"), "credentials": []}
    group = (await town.make("/v1/partners", body, _whose(relation)))["id"]
    await town.make(f"/v1/partners/{group}/admit", {}, "operator")
    await town.make(f"/v1/groups/{group}/members", {}, "other_staff")
    body = a_space(town, partner_id=group, place_id=place)
    space = (await town.make("/v1/offerings", body, "operator"))["id"]
    return Target(group, place, group, space=space)


MAKE: dict[str, Callable[[Town, str, str], Awaitable[Target]]] = {
    "space": _space,
    "group": _group,
}


def _json(body: Any) -> Callable[[Town, Target], dict[str, Any]]:
    return lambda _town, _target: {"json": body}


def _series(_town: Town, target: Target) -> dict[str, Any]:
    day, window = a_booking()["starts_at"][:10], {"days": [1], "start": "06:30", "end": "09:00"}
    body = {"offering_id": target.space, "windows": [window], "first": day, "last": day}
    return {"json": body}


CHANGES = PARTNER | DECIDERS

ROWS = {
    "GET /v1/offerings/{offering_id}/site": Row(EVERYBODY, "space"),
    "PUT /v1/offerings/{offering_id}/space": Row(CHANGES, "space", _json({"level": "room"})),
    "POST /v1/offerings/{offering_id}/condition": Row(
        CHANGES, "space", _json({"condition": "idle", "reason": "vacated"})
    ),
    "GET /v1/offerings/{offering_id}/history": Row(CHANGES, "space"),
    "GET /v1/offerings/{offering_id}/capacity": Row(CHANGES, "offering"),
    "POST /v1/offerings/{offering_id}/capacity": Row(
        CHANGES, "offering", _json({"delta": 70, "reason": "rearranged"})
    ),
    "GET /v1/groups/{group_id}/members": Row(STAFF | PARTNER, "group"),
    "POST /v1/groups/{group_id}/members": Row(
        SIGNED_IN, "group", done=frozenset({200, 201, 204, 409})
    ),
    "POST /v1/groups/{group_id}/members/{account_id}/{step}": Row(OPERATORS | PARTNER, "group"),
    "GET /v1/groups/{group_id}/sessions": Row(STAFF | PARTNER, "group"),
    "POST /v1/groups/{group_id}/series": Row(STAFF | PARTNER, "group", _series),
    # There is none, which whoever may give it back is told.
    "POST /v1/groups/{group_id}/series/{series_id}/cancel": Row(
        OPERATORS | PARTNER, "group", done=frozenset({404})
    ),
}
