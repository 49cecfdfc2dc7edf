"""Invitations: a role for whoever holds the token, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from models import engine
from tests.api.test_accounts import a_newcomer, admit, sign_in
from tests.api.test_roles import role_id, roles_of
from tests.clocks import Clock
from tests.towns import Town


def an_invitation(town: Town, **change: Any) -> dict[str, Any]:
    """To become a grid worker of Qiaobei."""
    return {"role": "grid_worker", "place_id": town.community, **change}


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("anonymous", 401),
        ("resident", 403),
        ("grid_worker", 403),
        ("partner_staff", 403),
        ("sibling_secretary", 403),
        ("secretary", 201),
        ("officer", 201),
        ("operator", 201),
    ],
)
async def test_whoever_may_give_a_role_may_invite_to_it(town: Town, who: str, status: int) -> None:
    answer = await town.as_(who, "POST", "/v1/invitations", json=an_invitation(town))
    assert answer.status_code == status, answer.text


async def test_an_invitation_opens_an_account_with_its_role_at_once(town: Town) -> None:
    invited = await town.make("/v1/invitations", an_invitation(town))
    body = {"token": invited["token"], **a_newcomer()}
    given = await town.make("/v1/invitations/accept", body, "anonymous")
    assert (given["role"], given["place_id"]) == ("grid_worker", town.community)
    assert given["granted_by"] == str(town.accounts["secretary"])
    await admit(town, "wang", body["login"], body["password"])
    assert await roles_of(town, "wang") == [("grid_worker", town.community)]


async def test_an_invitation_gives_its_role_to_an_account_that_is_there(town: Town) -> None:
    body = {"role": "partner_staff", "partner_id": town.partner}
    invited = await town.make("/v1/invitations", body, "partner_staff")
    with_login = {"token": invited["token"], **a_newcomer()}
    refused = await town.as_("resident", "POST", "/v1/invitations/accept", json=with_login)
    assert refused.status_code == 400
    await town.make("/v1/invitations/accept", {"token": invited["token"]}, "resident")
    assert ("partner_staff", town.partner) in await roles_of(town, "resident")


async def test_an_anonymous_acceptance_names_every_field_it_lacks(town: Town) -> None:
    invited = await town.make("/v1/invitations", an_invitation(town))
    body = {"token": invited["token"]}
    answer = await town.as_("anonymous", "POST", "/v1/invitations/accept", json=body)
    assert answer.status_code == 400
    fields = [error["field"] for error in answer.json()["errors"]]
    assert fields == ["login", "password", "display_name"]


async def test_of_200_parallel_acceptances_of_one_invitation_one_succeeds(town: Town) -> None:
    invited = await town.make("/v1/invitations", an_invitation(town))
    body = {"token": invited["token"]}
    answers = await asyncio.gather(
        *(
            town.as_(who, "POST", "/v1/invitations/accept", json=body)
            for _ in range(20)
            for who in town.accounts
        )
    )
    outcomes = sorted((a.status_code, a.json().get("code", "")) for a in answers)
    assert outcomes == [(201, "")] + [(409, "invitation_over")] * 199
    rows = await engine.fetch("SELECT count(*) AS n FROM role WHERE place = $1", town.community)
    before = 5  # resident, volunteer, vanguard, secretary, partner_staff
    assert rows[0]["n"] == before + 1


async def test_a_lost_race_opens_no_account(town: Town) -> None:
    invited = await town.make("/v1/invitations", an_invitation(town))
    bodies = [
        {"token": invited["token"], **a_newcomer(login=f"wang{number}@example.org")}
        for number in range(3)
    ]
    answers = await asyncio.gather(
        *(town.as_("anonymous", "POST", "/v1/invitations/accept", json=body) for body in bodies)
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    opened = [await sign_in(town, body["login"], body["password"]) for body in bodies]
    assert sorted(answer.status_code for answer in opened) == [201, 401, 401]


async def test_used_expired_and_made_up_invitations_get_the_same_answer(
    town: Town, clock: Clock
) -> None:
    used = (await town.make("/v1/invitations", an_invitation(town)))["token"]
    await town.make("/v1/invitations/accept", {"token": used}, "volunteer")
    expired = (await town.make("/v1/invitations", an_invitation(town)))["token"]
    clock.advance(days=7)
    answers = []
    for token in (used, expired, "made-up"):
        for who, more in (("resident", {}), ("anonymous", a_newcomer())):
            body = {"token": token, **more}
            answer = await town.as_(who, "POST", "/v1/invitations/accept", json=body)
            answers.append({**answer.json(), "request_id": ""})
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["code"] == "invitation_over"


async def test_an_invitation_ends_with_the_office_of_its_sender(town: Town) -> None:
    invited = await town.make("/v1/invitations", an_invitation(town))
    await town.as_("officer", "DELETE", f"/v1/roles/{await role_id(town, 'secretary')}")
    body = {"token": invited["token"]}
    answer = await town.as_("resident", "POST", "/v1/invitations/accept", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "invitation_over")


async def test_the_token_of_an_invitation_is_kept_nowhere(town: Town) -> None:
    headers = {"Idempotency-Key": "invitation-1"}
    invited = await town.make("/v1/invitations", an_invitation(town), headers=headers)
    for table in ("invitation", "answer", "audit", "outbox"):
        assert invited["token"] not in str(await engine.fetch(f"SELECT * FROM {table}"))


async def test_invitations_are_listed_where_they_may_be_sent_and_never_with_their_token(
    town: Town,
) -> None:
    local = await town.make("/v1/invitations", an_invitation(town))
    partners = {"role": "partner_staff", "partner_id": town.partner}
    of_partner = await town.make("/v1/invitations", partners, "partner_staff")
    system = await town.make("/v1/invitations", {"role": "operator"}, "operator")
    assert (await town.as_("anonymous", "GET", "/v1/invitations")).status_code == 401
    for who, listed in (
        ("resident", []),
        ("grid_worker", []),
        ("sibling_secretary", []),
        ("secretary", [local]),
        ("officer", [local]),
        ("partner_staff", [of_partner]),
        ("operator", [system, of_partner, local]),
    ):
        answer = await town.as_(who, "GET", "/v1/invitations")
        found = answer.json()["items"]
        assert [item["id"] for item in found] == [made["id"] for made in listed], who
        assert not [made for made in listed if made["token"] in answer.text]
        assert {item["accepted_by"] for item in found} <= {None}
    await town.make("/v1/invitations/accept", {"token": local["token"]}, "volunteer")
    (taken,) = (await town.get("/v1/invitations", "secretary"))["items"]
    assert taken["accepted_by"] == str(town.accounts["volunteer"])
    assert taken["accepted_at"]
    page = await town.get("/v1/invitations?limit=2", "operator")
    rest = await town.get(f"/v1/invitations?limit=2&cursor={page['next']}", "operator")
    assert [item["id"] for item in rest["items"]] == [local["id"]]


async def test_an_invitation_is_withdrawn_by_whoever_may_send_it(town: Town) -> None:
    """That of a secretary, which no secretary gives."""
    for who, status in (
        ("anonymous", 401),
        ("resident", 404),
        ("grid_worker", 404),
        ("sibling_secretary", 404),
        ("secretary", 403),
        ("officer", 204),
        ("operator", 204),
    ):
        body = an_invitation(town, role="secretary")
        invited = await town.make("/v1/invitations", body, "officer")
        path = f"/v1/invitations/{invited['id']}"
        assert (await town.as_(who, "DELETE", path)).status_code == status, who
        body = {"token": invited["token"]}
        answer = await town.as_("volunteer", "POST", "/v1/invitations/accept", json=body)
        assert answer.status_code == (409 if status == 204 else 201), who
        if answer.status_code == 201:
            role = f"/v1/roles/{answer.json()['id']}"
            assert (await town.as_("officer", "DELETE", role)).status_code == 204


async def test_an_accepted_invitation_is_not_withdrawn(town: Town) -> None:
    invited = await town.make("/v1/invitations", an_invitation(town))
    await town.make("/v1/invitations/accept", {"token": invited["token"]}, "volunteer")
    answer = await town.as_("secretary", "DELETE", f"/v1/invitations/{invited['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert len((await town.get("/v1/invitations", "secretary"))["items"]) == 1


async def test_an_invitation_accepted_and_withdrawn_at_once_is_one_of_the_two(town: Town) -> None:
    for _ in range(5):
        invited = await town.make("/v1/invitations", an_invitation(town, role="vanguard"))
        accepted, withdrawn = await asyncio.gather(
            town.as_(
                "volunteer", "POST", "/v1/invitations/accept", json={"token": invited["token"]}
            ),
            town.as_("secretary", "DELETE", f"/v1/invitations/{invited['id']}"),
        )
        outcome = (accepted.status_code, withdrawn.status_code)
        assert outcome in ((201, 409), (409, 204))
        if outcome[0] == 201:
            role = f"/v1/roles/{accepted.json()['id']}"
            assert (await town.as_("secretary", "DELETE", role)).status_code == 204
