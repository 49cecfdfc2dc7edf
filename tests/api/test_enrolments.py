"""Places of a service over HTTP: from several providers, for whoever comes, and the line."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tests import balance
from tests.api.test_agreements import _active, _need, _offer, _partner, _step
from tests.towns import Town

Json = dict[str, Any]
SHARES = (30, 30, 30, 30, 30, 25, 25)


async def _provider(town: Town, need: Json, number: int, places: int) -> Json:
    """An agreement with a provider, accepted. The first is Zhou herself, the others' people are
    the same."""
    partner = await _partner(town) if number else town.partner
    shop = await _offer(town, partner_id=partner, capacity=places)
    member = {"role": "cook", "offering_id": shop["id"], "quantity": places}
    body = {"need_id": need["id"], "members": [member], "places": places}
    proposed = await town.make("/v1/agreements", body)
    who = "other_staff" if number else "partner_staff"
    answer = await _step(town, proposed, "accept", who)
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    return made


async def _enrol(town: Town, need: Json, label: str) -> Json:
    body = {"label": label}
    made: Json = await town.make(f"/v1/needs/{need['id']}/enrolments", body, "resident")
    return made


async def test_200_places_of_7_providers_reach_exactly_0_and_the_201st_moves_up_by_itself(
    town: Town,
) -> None:
    """B2."""
    slot = {"role": "cook", "kind": "merchant", "quantity": 7, "min_capacity": 1}
    need = await _need(town, beneficiaries=200, slots=[slot])
    path = f"/v1/needs/{need['id']}/places"
    left, made = [(await town.get(path))["remaining"]], []
    for number, share in enumerate(SHARES):
        made.append(await _provider(town, need, number, share))
        left.append((await town.get(path))["remaining"])
    assert left == [200, 170, 140, 110, 80, 50, 25, 0]
    assert (await town.get(f"/v1/needs/{need['id']}", "secretary"))["status"] == "closed"
    first: list[Json] = []
    for _ in range(5):
        labels = [str(len(first) + number) for number in range(40)]
        first += await asyncio.gather(*(_enrol(town, need, label) for label in labels))
    assert {one["status"] for one in first} == {"enrolled"}
    late = [await _enrol(town, need, f"late {number}") for number in range(3)]
    assert [(one["status"], one["ahead"]) for one in late] == [
        ("waitlisted", 0),
        ("waitlisted", 1),
        ("waitlisted", 2),
    ]
    places = await town.get(path)
    assert (places["promised"], places["enrolled"], places["waiting"]) == (200, 200, 3)
    await town.make(f"/v1/enrolments/{first[17]['id']}/cancel", {}, "resident")
    read = [await town.get(f"/v1/enrolments/{one['id']}", "resident") for one in late]
    assert [one["status"] for one in read] == ["enrolled", "waitlisted", "waitlisted"]
    assert read[1]["ahead"] == 0
    # A provider that leaves sends its people to the head of the line, as they came.
    answer = await _step(town, made[-1], "end", "secretary", reason="other")
    assert answer.status_code == 200, answer.text
    places = await town.get(path)
    assert (places["promised"], places["remaining"]) == (175, 25)
    assert (places["enrolled"], places["waiting"]) == (175, 27)
    assert await balance.flaws() == []


async def test_more_places_than_are_missing_are_not_proposed(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    body = {"need_id": need["id"], "places": 61}
    body["members"] = [{"role": "cook", "offering_id": shop["id"]}]
    answer = await town.as_("secretary", "POST", "/v1/agreements", json=body)
    assert answer.status_code in (400, 422)
    (wrong,) = answer.json()["errors"]
    assert (wrong["field"], wrong["code"]) == ("places", "out_of_range")
    assert "60" in wrong["detail"]


async def test_a_need_that_comes_to_ask_for_no_more_than_is_taken_is_closed(town: Town) -> None:
    slot = {"role": "cook", "kind": "merchant", "quantity": 2}
    need = await _need(town, slots=[slot])
    made = await _active(town, need, ("cook", await _offer(town)))
    path = f"/v1/needs/{need['id']}"
    same = await town.change(path, {"priority": "elders"}, "secretary")
    assert same["status"] == "open", "a seat is missing"
    less = await town.change(path, {"slots": [{**slot, "quantity": 1}]}, "secretary")
    assert (less["status"], await balance.flaws()) == ("closed", [])
    assert await town.get(path, "secretary") == less
    await _step(town, made, "end", "secretary", reason="other")
    assert (await town.get(path, "secretary"))["status"] == "open"
    assert await balance.flaws() == []


async def test_a_label_tells_two_children_apart_and_the_same_one_is_refused(town: Town) -> None:
    need = await _need(town)
    await _enrol(town, need, "Li")
    await _enrol(town, need, "Wang")
    answer = await town.as_(
        "resident", "POST", f"/v1/needs/{need['id']}/enrolments", json={"label": "Li"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "taken")


async def _withdraw(town: Town, need: Json) -> httpx.Response:
    """With the version that is there now."""
    path = f"/v1/needs/{need['id']}"
    etag = (await town.as_("secretary", "GET", path)).headers["etag"]
    return await town.as_("secretary", "DELETE", path, headers={"If-Match": etag})


async def test_nobody_waits_for_a_need_that_is_withdrawn(town: Town) -> None:
    need, other = await _need(town), await _need(town)
    waiting, elsewhere = await _enrol(town, need, "Li"), await _enrol(town, other, "Li")
    assert (await _withdraw(town, need)).status_code == 200
    read = await town.get(f"/v1/enrolments/{waiting['id']}", "resident")
    assert (read["status"], read["ahead"], read["label"]) == ("cancelled", None, "")
    read = await town.get(f"/v1/enrolments/{elsewhere['id']}", "resident")
    assert read["status"] == "waitlisted"
    answer = await town.as_("resident", "POST", f"/v1/needs/{need['id']}/enrolments", json={})
    assert answer.status_code == 404


async def test_whoever_enrols_concurrently_with_a_withdrawal_never_waits_for_ever(
    town: Town,
) -> None:
    for _ in range(5):
        need = await _need(town)
        path = f"/v1/needs/{need['id']}/enrolments"
        bodies = [{"label": str(number)} for number in range(6)]
        sent = [town.as_("resident", "POST", path, json=body) for body in bodies]
        answers = await asyncio.gather(*sent[:3], _withdraw(town, need), *sent[3:])
        assert answers[3].status_code == 200
        assert {answer.status_code for answer in answers} <= {200, 201, 404}
        mine = await town.get(f"/v1/enrolments?need={need['id']}", "resident")
        assert {one["status"] for one in mine["items"]} <= {"cancelled"}
