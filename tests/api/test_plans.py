"""Plans over HTTP: asked for, made beside the requests, read by the staff of their place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.towns import Town, a_need, a_point, a_space, an_offering, mornings


async def _offer(town: Town, **change: Any) -> Any:
    return await town.make("/v1/offerings", an_offering(town, **change), "partner_staff")


async def _ask(town: Town, **change: Any) -> Any:
    body = {"place_id": town.community, "time_limit_s": 10, **change}
    answer = await town.as_("secretary", "POST", "/v1/plans", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/plans/{answer.json()['id']}"
    return answer.json()


async def _over(town: Town, plan: Any) -> Any:
    """The plan once it is neither waiting nor under way."""
    async with asyncio.timeout(30):
        while True:
            read = await town.get(f"/v1/plans/{plan['id']}", "secretary")
            if read["status"] in ("done", "failed", "cancelled"):
                return read
            await asyncio.sleep(0.05)


async def _planned(town: Town, **change: Any) -> Any:
    plan = await _over(town, await _ask(town, **change))
    assert plan["status"] == "done", plan
    return plan


async def test_a_plan_assigns_one_cook_to_one_need_and_proves_that_nothing_is_better(
    town: Town,
) -> None:
    """B3: protected needs fill first and the plan names the rule. B7: at least as many needs as
    greedy, and what was idle is used. X4: nothing used twice, its gap to the bound reported."""
    cook = await _offer(town)
    usual = await town.make("/v1/needs", a_need(town, priority="normal"))
    elders = await town.make("/v1/needs", a_need(town, location={"lat": 29.575, "lon": 106.55}))
    plan = await _planned(town)
    summary = plan["summary"]
    assert [(a["need_id"], a["offering_id"]) for a in plan["assignments"]] == [
        (elders["id"], cook["id"])
    ]
    assert plan["unserved"] == [
        {"need_id": usual["id"], "seats": 1, "filled": 0, "because": "outbid"}
    ]
    assert (summary["optimal"], summary["gap"]) == (True, 0)
    assert summary["value"] == summary["bound"] > 0
    (rule,) = summary["rules"]
    assert (rule["rule"], rule["binding"]) == ("protected_first", True)
    assert rule["price_points"] > 0
    assert summary["greedy"]["served"] <= summary["served"] == 1
    assert summary["hours_week_used"] == summary["idle_hours_week_used"] == 12.5
    # X13: five mornings of 2.5 hours, at 5.00 each.
    given = {
        s["group"]: (s["served"], s["hours_week"], s["price_year"]) for s in summary["by_priority"]
    }
    assert given == {"elders": (1, 12.5, 5 * 52 * 500), "normal": (0, 0, 0)}
    assert (plan["needs"], plan["progress"]) == (2, 1)


async def test_shifts_that_only_touch_are_served_by_the_same_person(town: Town) -> None:
    cook = await _offer(town)
    for start, end in (("06:30", "08:00"), ("08:00", "09:00"), ("07:30", "08:30")):
        await town.make("/v1/needs", a_need(town, windows=[mornings(start=start, end=end)]))
    plan = await _planned(town)
    assert [a["offering_id"] for a in plan["assignments"]] == [cook["id"]] * 2


async def _propose(town: Town, plan: Any, **body: Any) -> Any:
    return await town.make(f"/v1/plans/{plan['id']}/propose", body)


async def test_a_plan_becomes_proposals_once_however_often_it_is_asked(town: Town) -> None:
    cook = await _offer(town)
    need = await town.make("/v1/needs", a_need(town))
    plan = await _planned(town)
    first, second = await _propose(town, plan), await _propose(town, plan)
    (made,) = first["made"]
    assert (made["need_id"], made["offering_id"], made["status"]) == (
        need["id"],
        cook["id"],
        "proposed",
    )
    assert (second["made"], second["proposed_total"]) == ([], 1)
    declined = {"reason": "time"}
    await town.make(f"/v1/proposals/{made['id']}/decline", declined, "partner_staff")
    account = await town.get(f"/v1/reports/fairness?place={town.community}", "secretary")
    assert [(p["proposed"], p["declined"]) for p in account["partners"]] == [(1, 1)], "X13"
    listed = await town.get(f"/v1/proposals?need={need['id']}", "partner_staff")
    assert [item["id"] for item in listed["items"]] == [made["id"]]
    assert (await town.get("/v1/proposals", "resident"))["items"] == []
    replay = await town.get(f"/v1/snapshots/{made['snapshot']}/replay", "secretary")
    assert replay["same"], "X5"
    assert replay["scores"][0]["now"] == made["score"] == plan["assignments"][0]["score"]


async def test_what_no_longer_holds_is_not_proposed_and_says_why(town: Town) -> None:
    """X1: every hard row is checked again on the data as they are."""
    cook = await _offer(town)
    late = await _offer(town, availability=[mornings(start="17:00", end="21:00")])
    dawn = await town.make("/v1/needs", a_need(town))
    dusk = await town.make(
        "/v1/needs", a_need(town, windows=[mornings(start="18:00", end="20:00")])
    )
    gone = await town.make(
        "/v1/needs", a_need(town, windows=[mornings(start="20:00", end="21:00")])
    )
    plan = await _planned(town)
    assert plan["summary"]["served"] == 3
    etag = {"If-Match": "*"}
    await town.as_("secretary", "DELETE", f"/v1/needs/{gone['id']}", headers=etag)
    await town.as_("partner_staff", "DELETE", f"/v1/offerings/{cook['id']}", headers=etag)
    proposed = await _propose(town, plan)
    assert [made["need_id"] for made in proposed["made"]] == [dusk["id"]]
    assert {(o["need_id"], o["because"], *o["gates"]) for o in proposed["left_out"]} == {
        (dawn["id"], "gates", "status"),
        (gone["id"], "need_closed"),
    }
    assert late["id"] == proposed["made"][0]["offering_id"]


async def test_two_plans_never_propose_the_same_cook_for_times_that_clash(town: Town) -> None:
    """X4: nothing used twice."""
    await _offer(town)
    first = await town.make("/v1/needs", a_need(town))
    before = await _planned(town)
    await town.change(f"/v1/needs/{first['id']}", {"status": "draft"})
    second = await town.make(
        "/v1/needs", a_need(town, windows=[mornings(start="08:00", end="09:30")])
    )
    after = await _planned(town)
    await town.change(f"/v1/needs/{first['id']}", {"status": "open"})
    (made,) = (await _propose(town, before))["made"]
    refused = await _propose(town, after)
    assert refused["made"] == []
    assert [(o["need_id"], o["because"]) for o in refused["left_out"]] == [(second["id"], "clash")]
    path = f"/v1/proposals/{made['id']}/decline"
    body = {"reason": "time", "note": "早上去不了"}
    declined = await town.make(path, body, "partner_staff")
    assert (declined["status"], declined["decline_reason"]) == ("declined", "time")
    again = await town.as_("secretary", "POST", path, json=body)
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    assert len((await _propose(town, after))["made"]) == 1


async def test_what_if_this_partner_leaves_or_another_comes_is_known_before_deciding(
    town: Town,
) -> None:
    """X12: the difference in coverage, and nothing of it is kept."""
    await _offer(town)
    need = await town.make("/v1/needs", a_need(town))
    late = a_need(town, windows=[mornings(start="18:00", end="20:00")])
    other = await town.make("/v1/needs", late)

    async def what_if(*changes: Any) -> Any:
        body = {"place_id": town.community, "changes": list(changes)}
        return await town.make("/v1/plans/what-if", body)

    leaves = await what_if({"remove_partner": town.partner})
    assert (leaves["before"]["served"], leaves["after"]["served"]) == (1, 0)
    assert (leaves["lost"], leaves["won"]) == ([need["id"]], [])
    assert leaves["coverage"] == [
        {
            "service_type": "breakfast_point",
            "place_id": town.community,
            "needs": 2,
            "served_before": 1,
            "served_after": 0,
        }
    ]
    evening = an_offering(town, availability=[mornings(start="17:00", end="21:00")])
    comes = await what_if({"add_offering": evening})
    assert (comes["lost"], comes["won"]) == ([], [other["id"]])
    earlier = {"windows": [mornings(start="09:00", end="10:00")]}
    moved = await what_if({"change_need": {"id": other["id"], "changes": earlier}})
    assert moved["won"] == [other["id"]]
    assert len((await town.get("/v1/offerings"))["items"]) == 1
    assert (await town.get(f"/v1/needs/{other['id']}"))["version"] == 1
    assert (await town.get("/v1/plans", "secretary"))["items"] == []


async def test_a_plan_that_waits_or_is_being_made_can_be_cancelled(town: Town) -> None:
    await _offer(town)
    await town.make("/v1/needs", a_need(town))
    plans = [await _ask(town) for _ in range(3)]
    for plan in reversed(plans):
        answer = await town.as_("secretary", "POST", f"/v1/plans/{plan['id']}/cancel")
        assert answer.json()["status"] == "cancelled"
    after = await _planned(town)
    assert after["summary"]["served"] == 1
    for plan in plans:
        assert (await town.get(f"/v1/plans/{plan['id']}", "secretary"))["status"] == "cancelled"
    again = await town.as_("secretary", "POST", f"/v1/plans/{after['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")


async def test_a_plan_keeps_to_the_one_before_unless_it_is_worth_moving(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    first = await _offer(town, location={"lat": 29.571, "lon": 106.55})
    before = await _planned(town)
    nearer = await _offer(town, location={"lat": 29.5708, "lon": 106.55})
    kept = await _planned(town, keep=before["id"])
    assert kept["assignments"][0]["offering_id"] == first["id"]
    assert (kept["summary"]["former"], kept["summary"]["kept"]) == (1, 1)
    free = await _planned(town, keep=before["id"], keep_points=0)
    assert free["assignments"][0]["offering_id"] == nearer["id"]
    pin = {"need_id": need["id"], "role": "cook", "offering_id": first["id"]}
    pinned = await _planned(town, pins=[pin])
    assert pinned["assignments"][0]["offering_id"] == first["id"]


async def test_the_money_of_a_place_is_not_overspent(town: Town) -> None:
    await _offer(town)
    for _ in range(2):
        await _offer(town)
        await town.make("/v1/needs", a_need(town))
    # Five mornings a week at 5.00 are 1,300.00 a year.
    budget = {"place_id": town.community, "amount": 25 * 100, "per": "week"}
    plan = await _planned(town, budgets=[budget])
    assert plan["summary"]["served"] == 1
    assert plan["unserved"][0]["because"] == "outbid"


async def test_nobody_plans_for_a_place_that_is_not_theirs(town: Town) -> None:
    body = {"place_id": town.community}
    for who, status in (("anonymous", 401), ("resident", 403), ("sibling_secretary", 403)):
        answer = await town.as_(who, "POST", "/v1/plans", json=body)
        assert answer.status_code == status, who
    plan = await _ask(town)
    hidden = await town.as_("sibling_secretary", "GET", f"/v1/plans/{plan['id']}")
    assert hidden.status_code == 404
    unknown = await town.as_(
        "secretary", "POST", "/v1/plans", json={**body, "keep": str(town.accounts["officer"])}
    )
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["field"] == "keep"


async def test_why_not_this_one_has_a_price_and_names_who_would_move(town: Town) -> None:
    cook = await _offer(town)
    usual = await town.make("/v1/needs", a_need(town, priority="normal"))
    elders = await town.make("/v1/needs", a_need(town))
    plan = await _planned(town)

    async def why_not(need: Any, offering: str = cook["id"]) -> Any:
        query = f"need={need['id']}&role=cook&offering={offering}"
        return await town.get(f"/v1/plans/{plan['id']}/why-not?{query}", "secretary")

    found = await why_not(usual)
    assert found["answer"] == "price"
    # The class weighs three times, for the same score and a need served each.
    score = plan["assignments"][0]["score"]
    assert found["price_points"] == pytest.approx(2 * (score + 100))
    assert (found["price_needs"], found["moves"]) == (
        0,
        [
            {"need_id": usual["id"], "role": "cook", "gone": [], "come": [cook["id"]]},
            {"need_id": elders["id"], "role": "cook", "gone": [cook["id"]], "come": []},
        ],
    )
    assert (await why_not(elders))["answer"] == "assigned"
    assert (await why_not(usual, town.partner))["answer"] == "no_candidate"


async def test_a_cook_who_needs_a_kitchen_gets_the_space_that_has_one(town: Town) -> None:
    """X4: though another space is nearer; and none at all if the kitchen is out of her reach."""
    cook = await _offer(town, requires_features=["kitchen"], reach_m=400)
    await town.make("/v1/offerings", a_space(town), "partner_staff")
    kitchen = a_space(town, features=["kitchen"], location=a_point(100, 300))
    kitchen = await town.make("/v1/offerings", kitchen, "partner_staff")
    slots = [{"role": "room", "kind": "space"}, {"role": "cook", "kind": "merchant"}]
    await town.make("/v1/needs", a_need(town, slots=slots))
    plan = await _planned(town)
    assert [(a["role"], a["offering_id"]) for a in plan["assignments"]] == [
        ("room", kitchen["id"]),
        ("cook", cook["id"]),
    ]
    assert len((await _propose(town, plan))["made"]) == 2
    await town.change(f"/v1/offerings/{cook['id']}", {"reach_m": 250}, "partner_staff")
    plan = await _planned(town)
    assert [a["role"] for a in plan["assignments"]] == ["room"]
    assert (plan["unserved"][0]["filled"], plan["summary"]["served"]) == (1, 0)
