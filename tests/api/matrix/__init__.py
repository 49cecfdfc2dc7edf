"""The rows of the permission matrix, and what they expect of each role and relation."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx

from models import plans, proposals
from tests.api.matrix import agreements, calendars, partner_work, served, spaces, terms
from tests.api.matrix.callers import (
    COVERS,
    DECIDERS,
    EVERYBODY,
    KEY,
    NONE,
    OFFICERS,
    OPERATORS,
    PARTNER,
    PUBLIC_OBJECTS,
    RELATIONS,
    ROLES,
    SEES,
    SIGNED_IN,
    STAFF,
    Row,
    Target,
)
from tests.api.test_partners import a_partner
from tests.towns import Town, a_booking, a_need, an_offering

# The rows of one domain, and how the things are made that they are about.
DOMAINS = (agreements, calendars, partner_work, served, spaces, terms)
# What no service key may do, whatever its scopes: what is about people, what a person must stand
# for, and what changes places.
FOR_PEOPLE = (
    "/v1/sessions",
    "/v1/accounts",
    "/v1/roles",
    "/v1/invitations",
    "/v1/service-keys",
    "/v1/calendars",
    "/v1/audit",
    "/metrics",
    "/v1/needs/{need_id}/consent",
    "/v1/partners/{partner_id}/{transition}",
    "/v1/partners/{partner_id}/reject",
    "/v1/partners/{partner_id}/suspend",
    "/v1/partners/{partner_id}/exit",
    "/v1/partners/{partner_id}/contact",
    "/v1/partners/{partner_id}/credentials",
    "/v1/offerings/{offering_id}/credentials",
    "/v1/offerings/{offering_id}/bookings",
    "/v1/bookings",
    "/v1/groups",
    "/v1/dockings",
    "/v1/places/{place_id}/docking-register",
    "/v1/trainings",
    "/v1/completions",
    "/v1/plans",
    "/v1/proposals",
    "/v1/agreements",
    "/v1/enrolments",
    "/v1/occurrences",
    "/v1/attendance",
    "/v1/needs/{need_id}/places",
    "/v1/needs/{need_id}/enrolments",
    "/v1/ledger",
    "/v1/places/{place_id}/fund",
    "/v1/tasks",
    "/v1/reports/exclusions",
    "/v1/reports/fairness",
    "/v1/search/recent",
    "/v1/saved-searches",
    "/v1/notices",
)


def is_for_people(route: str) -> bool:
    """Whether a service key is refused there whatever it asks."""
    method, path = route.split(" ")
    return path.startswith(FOR_PEOPLE) or (method != "GET" and path.startswith("/v1/places"))


def expected(route: str, role: str, relation: str) -> set[int]:
    """The statuses that are right for this role and relation."""
    row = ROWS[route]
    if role == KEY and is_for_people(route):
        return {403}
    if role == "anonymous" and "anonymous" not in row.who:
        return {401}
    if relation == "none" and row.object:
        # An operator may act anywhere, so there it is the reference that is wrong.
        return {404, 403, 422}
    covered = relation in COVERS.get(role, ()) or not row.object
    sees = row.object in PUBLIC_OBJECTS or (covered and role in SEES[row.object])
    if not sees:
        return {404}
    if row.who >= SIGNED_IN or (role in row.who and covered):
        return set(row.done)
    return {403}


async def add_key(town: Town) -> None:
    """Give the town its service key."""
    scopes = ["read", "offerings", "needs", "partners"]
    body = {"name": "街道平台", "scopes": scopes, "place_id": town.grid}
    made = await town.make("/v1/service-keys", body, "operator")
    town.tokens[KEY] = made["key"]


async def wrong(town: Town, route: str, unused: dict[tuple[str, str], Target]) -> list[object]:
    """Every case of a route whose answer is not the expected one. `unused` has what was made for
    others, by kind and relation, and nobody has changed."""
    row, found = ROWS[route], []
    for relation in RELATIONS if row.object else ("own",):
        for role in ROLES:
            key = row.object, relation
            target = unused.pop(key, None) or await make(town, *key)
            answer = await _ask(town, role, route, row, target)
            right = expected(route, role, relation)
            if answer.status_code not in right:
                found.append((role, relation, answer.status_code, right, answer.text[:200]))
            if not answer.is_success or answer.request.method == "GET":
                unused[key] = target
    return found


async def make(town: Town, kind: str, relation: str) -> Target:
    """A draft need, a draft offering or an applying partner at that relation; or a place."""
    place = {
        "own": town.grid,
        "sibling": town.sibling,
        "other": town.elsewhere,
        "none": NONE,
    }[relation]
    if relation == "none":
        return Target(NONE, NONE, NONE)
    for domain in DOMAINS:
        if kind in domain.MAKE:
            return await domain.MAKE[kind](town, place, relation)
    if kind == "need":
        made = await town.make(
            "/v1/needs", a_need(town, place_id=place, status="draft"), "operator"
        )
        return Target(made["id"], place)
    if kind == "consented need":
        body = a_need(town, place_id=place, status="draft", beneficiary="minor", consent=CONSENT)
        made = await town.make("/v1/needs", body, "operator")
        return Target(made["id"], place)
    if kind == "role":
        return Target(await _held(town, place), place)
    if kind == "service key":
        body = {"name": "kiosk", "scopes": ["read"], "place_id": place}
        made = await town.make("/v1/service-keys", body, "operator")
        return Target(made["record"]["id"], place)
    if kind == "plan":
        made = await plans.ask(
            plans.PlanDraft(place_id=uuid.UUID(place)), town.accounts["operator"]
        )
        return Target(str(made.id), place)
    if kind == "proposal":
        return await _proposed(town, relation)
    if kind == "invitation":
        made = await town.make(
            "/v1/invitations", {"role": "volunteer", "place_id": place}, "operator"
        )
        return Target(made["id"], place)
    if kind in ("partner", "offering", "booking"):
        applicant = "partner_staff" if relation == "own" else "other_staff"
        partner = await town.make("/v1/partners", a_partner(town, place_id=place), applicant)
        if kind == "partner":
            credential = partner["credentials"][0]["id"]
            return Target(partner["id"], place, partner["id"], credential)
        licence = {"kind": "food_licence", "issuer": "市监局", "number": "1"}
        body = an_offering(
            town, partner_id=partner["id"], place_id=place, status="draft", credentials=[licence]
        )
        made = await town.make("/v1/offerings", body, "operator")
        if kind == "booking":
            return Target(await _booked(town, partner, made), place, partner["id"])
        return Target(made["id"], place, partner["id"], made["credentials"][0]["id"])
    return Target(place, place)


async def _booked(town: Town, partner: dict[str, Any], offering: dict[str, Any]) -> str:
    """The id of a held booking of the offering, which has to be on offer for that."""
    licence = partner["credentials"][0]["id"]
    for step in (f"credentials/{licence}/verify", "review", "admit"):
        await town.make(f"/v1/partners/{partner['id']}/{step}", {}, "operator")
    path = f"/v1/offerings/{offering['id']}"
    await town.change(path, {"status": "active"}, "operator")
    made = await town.make(f"{path}/bookings", {**a_booking(), "hold_s": 600}, "operator")
    return str(made["id"])


async def _proposed(town: Town, relation: str) -> Target:
    """A proposal to a partner of that relation, as if a plan had made it."""
    need, offering = await make(town, "need", relation), await make(town, "offering", relation)
    plan = await make(town, "plan", relation)
    seat = proposals.Seat(
        need=uuid.UUID(need.id),
        place=uuid.UUID(need.place),
        role="cook",
        seat=0,
        offering=uuid.UUID(offering.id),
        partner=uuid.UUID(offering.partner),
        score=5_000,
        snapshot="0" * 64,
    )
    (made,) = await proposals.make(uuid.UUID(plan.id), uuid.UUID(plan.place), [seat])
    return Target(str(made.id), need.place, offering.partner)


async def _held(town: Town, place: str) -> str:
    """The id of a volunteer's role at the place; one that is held already is not given again."""
    account = str(town.accounts["sibling_secretary"])
    body = {"account_id": account, "role": "volunteer", "place_id": place}
    listed = await town.get(f"/v1/roles?place={place}&account={account}", "operator")
    for role in listed["items"]:
        if (role["role"], role["place_id"]) == ("volunteer", place):
            return str(role["id"])
    return str((await town.make("/v1/roles", body, "operator"))["id"])


async def _ask(town: Town, role: str, route: str, row: Row, target: Target) -> httpx.Response:
    """The request of one case."""
    method, path = route.split(" ", 1)
    values = {
        "need_id": target.id,
        "booking_id": target.id,
        "offering_id": target.id,
        "partner_id": target.partner or town.partner,
        "group_id": target.id,
        "series_id": NONE,
        "step": "admit",
        "place_id": target.place,
        "credential_id": target.credential,
        "role_id": target.id,
        "key_id": target.id,
        "calendar_id": target.id,
        "token": "nothing",
        "invitation_id": target.id,
        "account_id": str(town.accounts["other_staff"]),
        "transition": "withdraw" if row.object == "agreement" else "review",
        "code": "not_found",
        "plan_id": target.id,
        "proposal_id": target.id,
        "agreement_id": target.id,
        "enrolment_id": target.id,
        "docking_id": target.id,
        "training_id": target.id,
        "completion_id": target.id,
        "task_id": target.id,
        **terms.PATH,
        "occurrence_id": target.id,
        "attendance_id": target.id,
        "digest": "0" * 64,
        "name": "nothing",
        "saved_search_id": NONE,
        "notice_id": NONE,
    }
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    options = row.send(town, target)
    headers = {"If-Match": "*", **options.pop("headers", {})}
    return await town.as_(role, method, path + row.query, headers=headers, **options)


def _json(body: Any) -> Callable[[Town, Target], dict[str, Any]]:
    return lambda _town, _target: {"json": body}


def _need(town: Town, target: Target) -> dict[str, Any]:
    return {"json": a_need(town, place_id=target.place)}


def _offering(town: Town, target: Target) -> dict[str, Any]:
    return {"json": an_offering(town, partner_id=target.partner, place_id=target.place)}


def _booking(_town: Town, _target: Target) -> dict[str, Any]:
    return {"json": a_booking()}


def _bulk(town: Town, target: Target) -> dict[str, Any]:
    return {"json": {"items": [_offering(town, target)["json"]]}}


def _partner(town: Town, _target: Target) -> dict[str, Any]:
    return {"json": a_partner(town)}


def _volunteer(town: Town, target: Target) -> dict[str, Any]:
    account = str(town.accounts["other_staff"])
    return {"json": {"account_id": account, "role": "volunteer", "place_id": target.place}}


def _invitation(_town: Town, target: Target) -> dict[str, Any]:
    return {"json": {"role": "volunteer", "place_id": target.place}}


def _key(_town: Town, target: Target) -> dict[str, Any]:
    return {"json": {"name": "kiosk", "scopes": ["read"], "place_id": target.place}}


def _at_place(_town: Town, target: Target) -> dict[str, Any]:
    return {"params": {"place": target.place}}


def _lending(town: Town, _target: Target) -> dict[str, Any]:
    to = str(town.accounts["resident"])
    return {"json": {"account_id": to, "valid_to": "2099-01-01T00:00:00Z"}}


CONSENT = {
    "given_by": "李奶奶",
    "relation": "guardian",
    "text": "我同意社区代为发布。",
    "channel": "phone",
    "given_at": "2026-01-02T03:04:05Z",
}


def _plan(_town: Town, target: Target) -> dict[str, Any]:
    return {"json": {"place_id": target.place}}


def _what_if(town: Town, target: Target) -> dict[str, Any]:
    return {"json": {"place_id": target.place, "changes": [{"remove_partner": town.partner}]}}


def _place(_town: Town, target: Target) -> dict[str, Any]:
    body = {
        "slug": f"p{uuid.uuid4().hex}",
        "kind": "building",
        "parent_id": target.place,
        "name": {"zh": "一号楼", "en": "Building 1"},
    }
    return {"json": body}


PUBLIC = Row(EVERYBODY)
# The request is read and found wanting, so the caller was let in.
READ = frozenset({400})
# Allowed; the second time there is nothing left to do.
AGAIN = frozenset({200, 201, 204, 409})
MISSING = Row(EVERYBODY, done=frozenset({404}))
CHANGES_OFFERING = PARTNER | DECIDERS

ROWS: dict[str, Row] = {
    "GET /docs": PUBLIC,
    "GET /docs/{name}": MISSING,
    "GET /livez": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": Row(OPERATORS),
    "GET /v1/openapi.json": PUBLIC,
    "GET /v1/problems": PUBLIC,
    "GET /v1/problems/{code}": PUBLIC,
    "GET /v1/service-types": PUBLIC,
    "GET /v1/search": PUBLIC,
    # The search index of these tests is embedded: nobody is refused but for that.
    "POST /v1/search/token": Row(EVERYBODY, send=_json({}), done=frozenset({404})),
    "POST /v1/sessions": Row(EVERYBODY, send=_json({}), done=READ),
    "POST /v1/sessions/refresh": Row(EVERYBODY, send=_json({}), done=READ),
    "GET /v1/sessions/current": Row(SIGNED_IN),
    "DELETE /v1/sessions/current": Row(SIGNED_IN, apart=True),
    "POST /v1/accounts": Row(EVERYBODY, send=_json({}), done=READ),
    "GET /v1/accounts/current": Row(SIGNED_IN),
    "PATCH /v1/accounts/current": Row(SIGNED_IN, send=_json({})),
    "DELETE /v1/accounts/current": Row(SIGNED_IN, send=_json({}), done=READ),
    "GET /v1/accounts/current/export": Row(SIGNED_IN),
    "POST /v1/accounts/current/password": Row(SIGNED_IN, send=_json({}), done=READ),
    # other_staff lives in the sibling community: whose officer and the operator decide.
    "POST /v1/accounts/{account_id}/ban": Row(OFFICERS, done=AGAIN, apart=True),
    "POST /v1/accounts/{account_id}/unban": Row(OFFICERS, done=AGAIN, apart=True),
    "GET /v1/roles": Row(SIGNED_IN),
    "POST /v1/roles": Row(DECIDERS, "place", _volunteer, done=AGAIN),
    "GET /v1/roles/{role_id}": Row(SIGNED_IN, "role"),
    "DELETE /v1/roles/{role_id}": Row(DECIDERS, "role"),
    # Only its holder lends a role.
    "POST /v1/roles/{role_id}/delegate": Row(frozenset(), "role", _lending),
    "GET /v1/invitations": Row(SIGNED_IN),
    "DELETE /v1/invitations/{invitation_id}": Row(DECIDERS, "invitation"),
    "POST /v1/invitations": Row(DECIDERS, "place", _invitation),
    "POST /v1/invitations/accept": Row(EVERYBODY, send=_json({}), done=READ),
    "GET /v1/service-keys": Row(SIGNED_IN),
    "POST /v1/service-keys": Row(DECIDERS, "place", _key),
    "DELETE /v1/service-keys/{key_id}": Row(DECIDERS, "service key"),
    "GET /v1/audit": Row(OFFICERS),
    "GET /v1/places": PUBLIC,
    "POST /v1/places": Row(OFFICERS, "place", _place),
    "GET /v1/places/{place_id}": Row(EVERYBODY, "place"),
    "PATCH /v1/places/{place_id}": Row(DECIDERS, "place", _json({"population": 1})),
    "DELETE /v1/places/{place_id}": Row(DECIDERS, "place", done=frozenset({200, 409}), apart=True),
    "GET /v1/reports/coverage": Row(EVERYBODY, "place", _at_place),
    "GET /v1/reports/exclusions": Row(STAFF, "place", _at_place),
    "GET /v1/reports/fairness": Row(STAFF, "place", _at_place),
    "PUT /v1/places/{place_id}/blocked-partners/{partner_id}": Row(DECIDERS, "place"),
    "DELETE /v1/places/{place_id}/blocked-partners/{partner_id}": Row(DECIDERS, "place"),
    "GET /v1/partners": PUBLIC,
    "POST /v1/partners": Row(SIGNED_IN, send=_partner),
    "GET /v1/partners/{partner_id}": Row(EVERYBODY, "partner"),
    "PATCH /v1/partners/{partner_id}": Row(DECIDERS | PARTNER, "partner", _json({})),
    "POST /v1/partners/{partner_id}/{transition}": Row(DECIDERS, "partner"),
    "POST /v1/partners/{partner_id}/credentials/{credential_id}/verify": Row(DECIDERS, "partner"),
    "POST /v1/partners/{partner_id}/contact/reveal": Row(
        STAFF, "partner", _json({"reason": "arrange_service"})
    ),
    "GET /v1/offerings": PUBLIC,
    "POST /v1/offerings": Row(CHANGES_OFFERING, "partner", _offering),
    "POST /v1/offerings/bulk": Row(CHANGES_OFFERING, "partner", _bulk),
    "GET /v1/offerings/{offering_id}": Row(EVERYBODY, "offering"),
    "PATCH /v1/offerings/{offering_id}": Row(CHANGES_OFFERING, "offering", _json({})),
    "DELETE /v1/offerings/{offering_id}": Row(CHANGES_OFFERING, "offering"),
    "GET /v1/offerings/{offering_id}/needs": Row(EVERYBODY, "offering"),
    "POST /v1/offerings/{offering_id}/credentials/{credential_id}/verify": Row(
        DECIDERS, "offering"
    ),
    # It may be a draft: whoever may book it is told so.
    "POST /v1/offerings/{offering_id}/bookings": Row(
        STAFF | PARTNER, "offering", _booking, done=frozenset({409})
    ),
    "GET /v1/bookings": Row(SIGNED_IN),
    "GET /v1/bookings/{booking_id}": Row(STAFF | PARTNER, "booking"),
    "POST /v1/bookings/{booking_id}/confirm": Row(STAFF | PARTNER, "booking", done=AGAIN),
    "POST /v1/bookings/{booking_id}/cancel": Row(STAFF | PARTNER, "booking", done=AGAIN),
    "GET /v1/search/suggestions": Row(EVERYBODY, query="?q=ab"),
    "GET /v1/search/popular": PUBLIC,
    "GET /v1/search/recent": Row(SIGNED_IN),
    "DELETE /v1/search/recent": Row(SIGNED_IN),
    "GET /v1/saved-searches": Row(SIGNED_IN),
    # Everybody's own, and nobody else's: what is in the path is nothing to any of them.
    "POST /v1/saved-searches": Row(
        SIGNED_IN, send=_json({"name": "breakfast", "query": {"text": "早餐"}})
    ),
    "GET /v1/saved-searches/{saved_search_id}": Row(SIGNED_IN, done=frozenset({404})),
    "DELETE /v1/saved-searches/{saved_search_id}": Row(SIGNED_IN, done=frozenset({404})),
    "GET /v1/notices": Row(SIGNED_IN),
    "POST /v1/notices/{notice_id}/read": Row(SIGNED_IN, done=frozenset({404})),
    "GET /v1/needs": PUBLIC,
    "POST /v1/needs": Row(STAFF, "place", _need),
    "POST /v1/needs/preview": Row(EVERYBODY, "place", _need),
    "GET /v1/needs/{need_id}": Row(EVERYBODY, "need"),
    "PATCH /v1/needs/{need_id}": Row(STAFF, "need", _json({})),
    "DELETE /v1/needs/{need_id}": Row(STAFF, "need"),
    "GET /v1/needs/{need_id}/matches": Row(EVERYBODY, "need"),
    "GET /v1/needs/{need_id}/bundles": Row(EVERYBODY, "need"),
    "GET /v1/needs/{need_id}/consent": Row(STAFF, "consented need"),
    "POST /v1/needs/{need_id}/consent/withdraw": Row(STAFF, "consented need"),
    "GET /v1/plans": Row(SIGNED_IN),
    "POST /v1/plans": Row(DECIDERS, "place", _plan, done=frozenset({202})),
    "POST /v1/plans/what-if": Row(DECIDERS, "place", _what_if),
    "GET /v1/plans/{plan_id}": Row(STAFF, "plan"),
    # Never done here, where no offering fits any need: whoever may ask is told so.
    "GET /v1/plans/{plan_id}/why-not": Row(
        STAFF, "plan", done=frozenset({200, 409}), query=f"?need={NONE}&role=cook&offering={NONE}"
    ),
    "POST /v1/plans/{plan_id}/cancel": Row(DECIDERS, "plan", done=AGAIN),
    "POST /v1/plans/{plan_id}/propose": Row(DECIDERS, "plan", _json({}), done=AGAIN),
    "GET /v1/proposals": Row(SIGNED_IN),
    "GET /v1/proposals/{proposal_id}": Row(STAFF | PARTNER, "proposal"),
    "POST /v1/proposals/{proposal_id}/decline": Row(
        DECIDERS | PARTNER, "proposal", _json({"reason": "time"}), done=AGAIN
    ),
    **{route: row for domain in DOMAINS for route, row in domain.ROWS.items()},
    "GET /v1/snapshots/{digest}": MISSING,
    "GET /v1/snapshots/{digest}/replay": MISSING,
}
