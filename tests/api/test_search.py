"""Search over HTTP: two languages, filters, facets, nearness, and nobody's secrets."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from models import services
from tests.towns import Town, a_need, a_point, a_space, an_offering


async def _fill(town: Town) -> dict[str, str]:
    """Two spaces, a merchant and a need, by name; and the service types that are found with
    them."""
    made = {"cafeterias": "senior_cafeteria", "breakfasts": "breakfast_point"}
    for name, body in {
        "toolroom": a_space(town),
        "hall": a_space(
            town,
            title={"zh": "长者食堂大厅", "en": "Senior cafeteria hall"},
            service_types=["senior_cafeteria"],
            features=["kitchen"],
            location=a_point(700),
            capacity=200,
        ),
        "zhou": an_offering(town),
    }.items():
        made[name] = (await town.make("/v1/offerings", body, "partner_staff"))["id"]
    made["dawn"] = (await town.make("/v1/needs", a_need(town)))["id"]
    await town.indexed()
    return made


async def _names(town: Town, made: dict[str, str], query: str, who: str = "anonymous") -> set[str]:
    found = await town.get(f"/v1/search?{query}", who)
    by_id = {identity: name for name, identity in made.items()}
    return {by_id[item["id"]] for item in found["items"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toolroom", {"toolroom"}),
        ("tolroom", {"toolroom"}),
        ("工具房", {"toolroom"}),
        ("食堂", {"hall", "cafeterias"}),
        ("長者食堂", {"hall", "cafeterias"}),
        ("者食", {"hall", "cafeterias"}),
        ("cafet", {"hall", "cafeterias"}),
        ("早餐", {"toolroom", "zhou", "dawn", "breakfasts"}),
        ("breakfast", {"toolroom", "zhou", "dawn", "breakfasts"}),
        ("xyzzy", set()),
    ],
)
async def test_words_find_things_in_both_languages(
    town: Town, text: str, expected: set[str]
) -> None:
    made = await _fill(town)
    assert await _names(town, made, f"q={quote(text)}&match=all") == expected


async def test_filters_narrow_and_facets_count_all_that_was_found(town: Town) -> None:
    made = await _fill(town)
    assert await _names(town, made, "kind=space") == {"toolroom", "hall"}
    assert await _names(town, made, "kind=space&capacity_min=100") == {"hall"}
    assert await _names(town, made, "tag=kitchen") == {"hall"}
    found = await town.get("/v1/search?facet=kind&facet=service_types&page_size=1")
    # Without words, places and service types are found by nobody who does not ask for them.
    assert found["facets"]["kind"] == {"space": 2, "merchant": 1, "need": 1}
    chosen = await town.get("/v1/search?facet=kind&kind=place")
    assert (chosen["total"], chosen["facets"]["kind"]["place"]) == (8, 8)
    assert chosen["facets"]["kind"]["service_type"] == len(services.shipped())
    assert found["facets"]["service_types"] == {"breakfast_point": 3, "senior_cafeteria": 1}
    assert (found["total"], found["pages"], len(found["items"])) == (4, 4, 1)


async def test_near_means_by_distance_and_within_the_radius(town: Town) -> None:
    made = await _fill(town)
    found = await town.get("/v1/search?lat=29.57&lon=106.55&radius_m=500&sort=distance&kind=space")
    assert [item["id"] for item in found["items"]] == [made["toolroom"]]
    assert found["items"][0]["distance_m"] == pytest.approx(100, abs=1)


async def test_a_change_is_found_and_a_withdrawn_offering_is_not(town: Town) -> None:
    made = await _fill(town)
    path = f"/v1/offerings/{made['zhou']}"
    title = {"zh": "周姐豆浆", "en": "Zhou's soy milk"}
    await town.change(path, {"title": title}, "partner_staff")
    await town.indexed()
    assert await _names(town, made, f"q={quote('豆浆')}") == {"zhou"}
    etag = (await town.as_("partner_staff", "GET", path)).headers["etag"]
    answer = await town.as_("partner_staff", "DELETE", path, headers={"If-Match": etag})
    assert answer.json()["status"] == "withdrawn"
    await town.indexed()
    assert await _names(town, made, f"q={quote('豆浆')}") == set()


async def test_a_suspended_partners_offerings_leave_the_search_of_everybody_else(
    town: Town,
) -> None:
    """X8: one visibility rule for database and index."""
    made = await _fill(town)
    things = {"toolroom", "hall", "zhou", "dawn"}
    await town.make(f"/v1/partners/{town.partner}/suspend", {"reason": "safety"})
    await town.indexed()
    for who, sees in {
        "anonymous": {"dawn"},
        "sibling_secretary": {"dawn"},
        "other_staff": {"dawn"},
        "secretary": things,
        "officer": things,
        "partner_staff": things,
        "operator": things,
    }.items():
        assert await _names(town, made, "", who) == sees, who
        listed = await town.get("/v1/offerings", who)
        assert {item["id"] for item in listed["items"]} == {made[n] for n in sees - {"dawn"}}, who


async def test_highlights_mark_what_matched_and_escape_the_rest(town: Town) -> None:
    body = a_space(town, title={"zh": "厨房", "en": "A <b>kitchen</b>"})
    await town.make("/v1/offerings", body, "partner_staff")
    await town.indexed()
    (hit,) = (await town.get("/v1/search?q=kitchn&highlight=true"))["items"]
    assert hit["highlights"]["title_en"] == "A &lt;b&gt;<em>kitchen</em>&lt;/b&gt;"


async def test_thirty_seven_idle_rooms_come_in_at_once_and_are_counted_by_kind(
    town: Town,
) -> None:
    """A7: 3 senior citizens' homes and 34 activity stations from a property company."""
    rooms = [
        a_space(town, service_types=["senior_home" if number < 3 else "activity_station"])
        for number in range(37)
    ]
    made = await town.make("/v1/offerings/bulk", {"items": rooms}, "partner_staff")
    assert len(made["items"]) == 37
    await town.indexed()
    found = await town.get("/v1/search?kind=space&facet=service_types&page_size=0")
    assert found["facets"]["service_types"] == {"activity_station": 34, "senior_home": 3}
    covered = await town.get(f"/v1/reports/coverage?place={town.community}")
    counts = {entry["service_type"]: entry["offerings"] for entry in covered["services"]}
    assert (counts["senior_home"], counts["activity_station"], counts["repair"]) == (3, 34, 0)
