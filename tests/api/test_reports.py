"""Reports on a place over HTTP: what is covered, what keeps offerings out, who was served."""

from __future__ import annotations

from typing import Any

import pytest

from models import engine
from search import shortfalls
from tests.api import test_plans
from tests.api.test_service_keys import make_key
from tests.towns import Town, a_booking, a_need, a_space, an_offering, mornings

EVENINGS = {"days": [1, 2, 3, 4, 5], "start": "18:00", "end": "20:00"}


async def _report(town: Town, name: str, who: str = "secretary", place: str = "") -> Any:
    return await town.get(f"/v1/reports/{name}?place={place or town.community}", who)


def _service(covered: Any, name: str = "breakfast_point") -> Any:
    (found,) = [s for s in covered["services"] if s["service_type"] == name]
    return found


# Coverage


async def test_a_zero_cell_appears_when_the_last_provider_leaves(town: Town) -> None:
    """B9: age group × service × grid, with its gaps."""
    await town.change(f"/v1/places/{town.grid}", {"population": 3_000, "area_m2": 90_000})
    await town.make("/v1/offerings", an_offering(town, place_id=town.grid), "partner_staff")

    async def seen() -> tuple[Any, set[tuple[str, str]]]:
        covered = await _report(town, "coverage", "anonymous")
        assert [part["place_id"] for part in covered["parts"]] == [town.grid]
        gaps = {
            (gap["place_id"], gap["age_group"])
            for gap in covered["gaps"]
            if "breakfast_point" in gap["service_types"]
        }
        return _service(covered)["parts"], gaps

    assert await seen() == (
        [{"offerings": 1, "per_1000_residents": "0.333", "per_km2": "11.111"}],
        set(),
    )
    await town.make(f"/v1/partners/{town.partner}/suspend", {"reason": "safety"})
    assert await seen() == (
        [{"offerings": 0, "per_1000_residents": "0.000", "per_km2": "0.000"}],
        {
            (place, group)
            for place in (town.community, town.grid)
            for group in ("children", "teenagers", "adults", "elders")
        },
    )


async def test_what_is_in_no_grid_counts_for_the_whole_place_alone(town: Town) -> None:
    for place in (town.community, town.grid, town.sibling):
        await town.make("/v1/offerings", a_space(town, place_id=place), "partner_staff")
    covered = _service(await _report(town, "coverage", "anonymous"))
    assert (covered["offerings"], covered["parts"][0]["offerings"]) == (2, 1)
    above = _service(await _report(town, "coverage", "anonymous", town.subdistrict))
    assert above["offerings"] == 3
    assert sorted(part["offerings"] for part in above["parts"]) == [1, 2]


async def test_every_service_type_says_whom_it_is_for(town: Town) -> None:
    for service in await town.get("/v1/service-types"):
        assert service["age_groups"], service["slug"]


# Exclusions


async def _hungry_town(town: Town) -> None:
    """Breakfast and dinner are asked for; three kitchens are open in the morning, one of them too
    small, and one would cost too much."""
    for change in ({}, {"capacity": 20}, {"price": {"amount": 5_000}}):
        await town.make("/v1/offerings", an_offering(town, **change), "partner_staff")
    for window in (mornings(), EVENINGS):
        await town.make("/v1/needs", a_need(town, windows=[window]))


async def test_exclusions_say_what_to_recruit_next(town: Town) -> None:
    """X18: most exclusions are opening hours, so recruit kitchens for the evening."""
    await _hungry_town(town)
    await town.make("/v1/needs", a_need(town, status="draft"))
    await town.make("/v1/needs", a_need(town, place_id=town.sibling), "officer")
    found = await _report(town, "exclusions")
    counted = ("needs", "looked_at", "slots", "unfilled_slots", "excluded")
    assert [found[name] for name in counted] == [2, 2, 2, 1, 5]
    assert found["gates"] == [
        {"gate": "time", "excluded": 3, "alone": 1},
        {"gate": "budget", "excluded": 2, "alone": 1},
        {"gate": "capacity", "excluded": 2, "alone": 1},
    ]
    assert found["mends"] == [
        {"gate": "budget", "action": "raise_budget", "offerings": 1},
        {"gate": "capacity", "action": "raise_capacity", "offerings": 1},
        {"gate": "time", "action": "open_on", "offerings": 1},
    ]
    breakfast = {"service_type": "breakfast_point", "kind": "merchant"}
    evening = {"part_of_day": "evening", "days": [1, 2, 3, 4, 5], "offerings": 1}
    assert found["hours"] == [breakfast | evening]
    assert found["unfilled"] == [breakfast | {"slots": 1}]


async def test_the_sentence_names_the_service_the_days_and_the_part_of_the_day(
    town: Town,
) -> None:
    for _ in range(2):
        await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await town.make("/v1/needs", a_need(town, windows=[EVENINGS]))
    assert (await _report(town, "exclusions"))["summary"] == {
        "zh": "1个岗位中1个匹配不足。差一项即可的多因开放时间（2次）："
        "请为“早餐点”寻找周一至周五晚间可用的商户。",
        "en": "Too few offerings fit 1 of 1 slots. Most near misses are opening hours (2):"
        " recruit for Breakfast point (merchant), Mon–Fri in the evening.",
    }
    none = await _report(town, "exclusions", "officer", town.sibling)
    assert none["summary"]["en"] == "No need is open here."
    assert (none["needs"], none["gates"], none["mends"]) == (0, [], [])


async def test_a_change_that_is_made_leaves_the_report(town: Town) -> None:
    """B7: what the report asks for admits what it counted."""
    await town.make("/v1/offerings", an_offering(town, capacity=20), "partner_staff")
    (before,) = (await _report(town, "exclusions"))["gates"] or [None]
    assert before is None
    await town.make("/v1/needs", a_need(town))
    found = await _report(town, "exclusions")
    assert [step["gate"] for step in found["gates"]] == ["capacity"]
    (offering,) = (await town.get("/v1/offerings"))["items"]
    await town.change(f"/v1/offerings/{offering['id']}", {"capacity": 60}, "partner_staff")
    found = await _report(town, "exclusions")
    assert (found["gates"], found["unfilled_slots"]) == ([], 0)
    assert found["summary"]["en"] == "Enough offerings fit each of the 1 slots."


async def test_near_misses_are_told_however_many_shops_do_something_else(town: Town) -> None:
    street = [an_offering(town, service_types=["repair"], capacity=500) for _ in range(60)]
    await town.make("/v1/offerings/bulk", {"items": street}, "partner_staff")
    await town.make("/v1/offerings", an_offering(town, capacity=20), "partner_staff")
    await town.make("/v1/needs", a_need(town))
    found = await _report(town, "exclusions")
    assert [(step["gate"], step["alone"]) for step in found["gates"]] == [
        ("service", 60),
        ("capacity", 1),
    ]
    assert [(mend["action"], mend["offerings"]) for mend in found["mends"]] == [
        ("raise_capacity", 1)
    ]


async def test_reasons_of_declined_proposals_are_counted_for_the_staff_of_the_place(
    town: Town,
) -> None:
    """X18."""
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await town.make("/v1/needs", a_need(town))
    assert (await _report(town, "exclusions"))["declined"] == []
    plan = await test_plans._planned(town)
    (made,) = (await town.make(f"/v1/plans/{plan['id']}/propose", {}))["made"]
    assert (await _report(town, "exclusions"))["declined"] == []
    path = f"/v1/proposals/{made['id']}/decline"
    await town.make(path, {"reason": "time", "note": "CANARY"}, "partner_staff")
    told = [{"reason": "time", "proposals": 1}]
    assert (await _report(town, "exclusions"))["declined"] == told
    assert (await _report(town, "exclusions", "officer", town.subdistrict))["declined"] == told
    for place in (town.grid, town.sibling):
        assert (await _report(town, "exclusions", "officer", place))["declined"] == []


async def test_a_slot_is_filled_when_as_many_fit_as_it_takes(town: Town) -> None:
    slot = {"role": "cook", "kind": "merchant", "quantity": 2}
    await town.make("/v1/needs", a_need(town, slots=[slot]))
    for unfilled in (1, 1, 0):
        assert (await _report(town, "exclusions"))["unfilled_slots"] == unfilled
        await town.make("/v1/offerings", an_offering(town), "partner_staff")


@pytest.mark.parametrize("limit", ["MAX_NEEDS", "MAX_EXCLUDED"])
async def test_a_report_over_too_many_needs_says_how_many_it_looked_at(
    town: Town, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    await _hungry_town(town)
    monkeypatch.setattr(shortfalls, limit, 1)
    found = await _report(town, "exclusions")
    assert (found["needs"], found["looked_at"], found["slots"]) == (2, 1, 1)


async def test_a_program_does_not_read_what_is_for_staff(town: Town) -> None:
    await make_key(town)
    for name in ("exclusions", "fairness"):
        path = f"/v1/reports/{name}?place={town.community}"
        answer = await town.as_("key", "GET", path)
        assert (answer.status_code, answer.json()["code"]) == (403, "key_scope")
    await _report(town, "coverage", "key")


async def test_a_report_without_its_place_names_the_field(town: Town) -> None:
    for name in ("coverage", "exclusions", "fairness"):
        answer = await town.as_("operator", "GET", f"/v1/reports/{name}")
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["place"]


# Fairness


async def _close(need: dict[str, Any]) -> None:
    """A need is closed when it has been served; agreements will do so."""
    await engine.execute("UPDATE need SET status = 'closed' WHERE id = $1", need["id"])


async def test_the_account_tells_who_was_served_by_place_and_priority(town: Town) -> None:
    """X13."""
    at_grid = [
        await town.make("/v1/needs", a_need(town, place_id=town.grid, beneficiaries=10))
        for _ in range(3)
    ]
    children = await town.make("/v1/needs", a_need(town, priority="children", beneficiaries=5))
    withdrawn = await town.make("/v1/needs", a_need(town))
    await town.as_("secretary", "DELETE", f"/v1/needs/{withdrawn['id']}", headers={"If-Match": "*"})
    await town.make("/v1/needs", a_need(town, place_id=town.sibling), "officer")
    for need in (at_grid[0], at_grid[1], children):
        await _close(need)

    def shares(found: Any, key: str) -> dict[str, tuple[Any, ...]]:
        names = ("asked", "served", "share", "people_asked", "people_served")
        return {each[key]: tuple(each[name] for name in names) for each in found}

    found = await _report(town, "fairness")
    assert shares([{**found["whole"], "": ""}], "") == {"": (4, 3, "0.750", 35, 25)}
    assert shares(found["priorities"], "priority") == {
        "normal": (0, 0, None, 0, 0),
        "elders": (3, 2, "0.666", 30, 20),
        "children": (1, 1, "1.000", 5, 5),
        "special": (0, 0, None, 0, 0),
    }
    assert shares(found["places"], "place_id") == {
        town.community: (4, 3, "0.750", 35, 25),
        town.grid: (3, 2, "0.666", 30, 20),
    }
    above = await _report(town, "fairness", "officer", town.subdistrict)
    listed = shares(above["places"], "place_id")
    assert listed[town.sibling] == (1, 0, "0.000", 60, 0)
    # Those with most needs unserved come first.
    assert [each["asked"] - each["served"] for each in above["places"]] == [1, 1, 1]
    grid = await _report(town, "fairness", "grid_worker", town.grid)
    assert list(shares(grid["places"], "place_id")) == [town.grid]


async def test_the_account_tells_how_often_each_partner_was_called_on(town: Town) -> None:
    offerings = [
        await town.make("/v1/offerings", an_offering(town), "partner_staff") for _ in range(2)
    ]
    for offering in offerings:
        await engine.execute(
            "UPDATE offering SET jobs_agreed = 7, jobs_kept = 6 WHERE id = $1", offering["id"]
        )
    path = f"/v1/offerings/{offerings[0]['id']}/bookings"
    cancelled, _ = [await town.make(path, a_booking()) for _ in range(2)]
    await town.make(f"/v1/bookings/{cancelled['id']}/cancel", {})
    found = await _report(town, "fairness")
    assert (found["partners_total"], found["partners"]) == (
        1,
        [
            {
                "partner_id": town.partner,
                "name": {"zh": "周姐早餐", "en": "Zhou's breakfasts"},
                "proposed": 0,
                "declined": 0,
                "jobs_agreed": 14,
                "jobs_kept": 12,
                "minutes_booked": 150,
            }
        ],
    )
    beside = await _report(town, "fairness", "officer", town.sibling)
    assert (beside["partners_total"], beside["partners"]) == (0, [])
