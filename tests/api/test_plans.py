"""Plans over HTTP: asked for, made beside the requests, read by the staff of their place."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.towns import Town, a_need, an_offering, mornings


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
    """X4: nothing used twice, protected first, its gap to the bound reported."""
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
    assert summary["hours_week_used"] == 12.5
    assert {share["group"]: share["served"] for share in summary["by_priority"]} == {
        "elders": 1,
        "normal": 0,
    }
    assert (plan["needs"], plan["progress"]) == (2, 1)


async def test_shifts_that_only_touch_are_served_by_the_same_person(town: Town) -> None:
    cook = await _offer(town)
    for start, end in (("06:30", "08:00"), ("08:00", "09:00"), ("07:30", "08:30")):
        await town.make("/v1/needs", a_need(town, windows=[mornings(start=start, end=end)]))
    plan = await _planned(town)
    assert [a["offering_id"] for a in plan["assignments"]] == [cook["id"]] * 2
