"""Who may do what: sessions, roles, places. Each begins with the anonymous caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from models import base, engine
from tests.api.test_places import a_place
from tests.clocks import Clock
from tests.towns import PASSWORD, Town, a_need, a_space, an_offering


async def _session(town: Town, who: str = "secretary") -> Any:
    body = {"login": f"{who}@test", "password": PASSWORD}
    answer = await town.as_("anonymous", "POST", "/v1/sessions", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _status(town: Town, token: str) -> int:
    answer = await town.client.get("/v1/sessions/current", headers=_bearer(token))
    return answer.status_code


async def test_signing_in_gives_tokens_that_say_who_the_caller_is(town: Town) -> None:
    session = await _session(town)
    assert session["expires_in"] == 30 * 60
    answer = await town.client.get("/v1/sessions/current", headers=_bearer(session["access_token"]))
    assert answer.json()["account"] == str(town.accounts["secretary"])
    assert answer.json()["roles"] == [
        {"name": "secretary", "place": town.community, "partner": None}
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"login": "secretary@test", "password": "wrong"},
        {"login": "nobody@test", "password": PASSWORD},
    ],
)
async def test_a_wrong_password_and_an_unknown_login_get_the_same_answer(
    town: Town, body: dict[str, str]
) -> None:
    answer = await town.as_("anonymous", "POST", "/v1/sessions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_login")


async def test_a_token_that_is_not_valid_is_refused_on_public_reads_too(town: Town) -> None:
    answer = await town.client.get("/v1/needs", headers=_bearer("made-up"))
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"]


async def _renew(town: Town, refresh_token: str) -> Any:
    body = {"refresh_token": refresh_token}
    return await town.as_("anonymous", "POST", "/v1/sessions/refresh", json=body)


async def test_a_refresh_token_is_good_once_and_later_reuse_ends_the_sign_in(
    town: Town, clock: Clock
) -> None:
    first = await _session(town)
    second = (await _renew(town, first["refresh_token"])).json()
    assert await _status(town, second["access_token"]) == 200
    clock.advance(seconds=31)
    assert (await _renew(town, first["refresh_token"])).status_code == 401
    for session in (first, second):
        assert await _status(town, session["access_token"]) == 401
    assert (await _renew(town, second["refresh_token"])).status_code == 401


async def test_a_lost_answer_can_be_asked_for_again_within_30_seconds(
    town: Town, clock: Clock
) -> None:
    first = await _session(town)
    lost = (await _renew(town, first["refresh_token"])).json()
    clock.advance(seconds=30)
    second = (await _renew(town, first["refresh_token"])).json()
    assert second["access_token"] != lost["access_token"]
    third = (await _renew(town, second["refresh_token"])).json()
    # One sign-in all the same: signing out of one pair ends the others.
    await town.client.delete("/v1/sessions/current", headers=_bearer(third["access_token"]))
    for session in (first, lost, second, third):
        assert await _status(town, session["access_token"]) == 401
        assert (await _renew(town, session["refresh_token"])).status_code == 401


async def test_parallel_renewals_of_one_session_all_stay_signed_in(town: Town) -> None:
    first = await _session(town)
    renewed = await asyncio.gather(*(_renew(town, first["refresh_token"]) for _ in range(20)))
    assert {answer.status_code for answer in renewed} == {201}
    sessions = [answer.json() for answer in renewed]
    assert len({session["refresh_token"] for session in sessions}) == 20
    assert {await _status(town, session["access_token"]) for session in sessions} == {200}


async def test_no_renewal_survives_a_sign_out_at_the_same_moment(town: Town) -> None:
    for _ in range(5):
        first = await _session(town)
        gone, *renewed = await asyncio.gather(
            town.client.delete("/v1/sessions/current", headers=_bearer(first["access_token"])),
            *(_renew(town, first["refresh_token"]) for _ in range(5)),
        )
        assert gone.status_code == 204
        for answer in renewed:
            if answer.status_code == 201:
                assert await _status(town, answer.json()["access_token"]) == 401


async def test_an_access_token_ends_after_half_an_hour_and_is_deleted_later(
    town: Town, clock: Clock
) -> None:
    session = await _session(town)
    clock.advance(minutes=30)
    assert await _status(town, session["access_token"]) == 401
    await _session(town)
    assert await engine.fetch("SELECT 1 FROM token WHERE expires_at <= $1", base.now()) == []


async def test_signing_out_ends_the_session_at_once(town: Town) -> None:
    session = await _session(town)
    answer = await town.client.delete(
        "/v1/sessions/current", headers=_bearer(session["access_token"])
    )
    assert answer.status_code == 204
    assert await _status(town, session["access_token"]) == 401


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("anonymous", 401),
        ("resident", 403),
        ("volunteer", 403),
        ("vanguard", 403),
        ("partner_staff", 403),
        ("sibling_secretary", 403),
        ("grid_worker", 403),
        ("secretary", 201),
        ("officer", 201),
        ("operator", 201),
    ],
)
async def test_needs_are_posted_by_the_staff_of_their_place(
    town: Town, who: str, status: int
) -> None:
    answer = await town.as_(who, "POST", "/v1/needs", json=a_need(town))
    assert answer.status_code == status, answer.text


async def test_a_grid_worker_posts_needs_of_the_own_grid(town: Town) -> None:
    await town.make("/v1/needs", a_need(town, place_id=town.grid), "grid_worker")


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("anonymous", 401),
        ("resident", 403),
        ("other_staff", 403),
        ("grid_worker", 403),
        ("sibling_secretary", 403),
        ("partner_staff", 201),
        ("secretary", 201),
        ("officer", 201),
    ],
)
async def test_offerings_are_registered_by_the_partner_or_who_decides_for_its_place(
    town: Town, who: str, status: int
) -> None:
    answer = await town.as_(who, "POST", "/v1/offerings", json=an_offering(town))
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("who", "status"),
    [("anonymous", 401), ("secretary", 403), ("officer", 201), ("operator", 201)],
)
async def test_places_are_added_by_the_officer_above(town: Town, who: str, status: int) -> None:
    answer = await town.as_(who, "POST", "/v1/places", json=a_place(town))
    assert answer.status_code == status, answer.text


async def test_a_draft_is_a_404_for_everybody_it_does_not_belong_to(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town, status="draft"))
    offering = await town.make("/v1/offerings", a_space(town, status="draft"), "partner_staff")
    missing = "/v1/needs/00000000-0000-7000-8000-000000000000"
    for who in ("anonymous", "resident", "other_staff", "sibling_secretary"):
        for path in (f"/v1/needs/{need['id']}", f"/v1/offerings/{offering['id']}"):
            for suffix in ("", "/matches", "/needs"):
                answer = await town.as_(who, "GET", path + suffix)
                assert answer.status_code == 404, (who, path + suffix)
            hidden = (await town.as_(who, "GET", path)).json()
            nothing = (await town.as_(who, "GET", missing)).json()
            assert hidden | {"request_id": ""} == nothing | {"request_id": ""}
            changed = await town.as_(who, "PATCH", path, json={}, headers={"If-Match": "*"})
            assert changed.status_code == (401 if who == "anonymous" else 404)
    assert (await town.get("/v1/needs", "grid_worker"))["items"] == []
    assert len((await town.get("/v1/needs", "officer"))["items"]) == 1


async def test_many_sign_ins_at_once_all_succeed(town: Town) -> None:
    sessions = await asyncio.gather(*(_session(town) for _ in range(8)))
    assert len({session["access_token"] for session in sessions}) == 8
