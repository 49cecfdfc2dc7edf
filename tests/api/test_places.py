"""The tree of places over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.towns import Town, a_space

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[106.5, 29.5], [106.6, 29.5], [106.6, 29.6], [106.5, 29.6], [106.5, 29.5]]],
}
BOW_TIE = {
    "type": "Polygon",
    "coordinates": [[[106.5, 29.5], [106.6, 29.6], [106.6, 29.5], [106.5, 29.6], [106.5, 29.5]]],
}


def a_place(town: Town, **change: Any) -> dict[str, Any]:
    """Zhanggong: 2.3 km², 9,760 households, about 60,000 residents."""
    return {
        "slug": "zhanggong",
        "kind": "community",
        "parent_id": town.subdistrict,
        "name": {"zh": "章贡", "en": "Zhanggong"},
        "population": 60_000,
        "households": 9_760,
        "area_m2": 2_300_000,
        "boundary": SQUARE,
        **change,
    }


async def test_a_place_carries_its_profile_and_its_centroid(town: Town) -> None:
    """A6."""
    made = await town.make("/v1/places", a_place(town), "officer")
    assert made["boundary"] == SQUARE
    assert made["location"] == pytest.approx({"lat": 29.55, "lon": 106.55})
    assert (await town.get(f"/v1/places/{made['id']}"))["households"] == 9_760


@pytest.mark.parametrize(
    "boundary",
    [
        BOW_TIE,
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": "here"},
        {"type": "Polygon"},
        {"type": "Point", "coordinates": [106.5, 29.5]},
        {"type": "Polygon", "coordinates": [[[0, 0], [200, 0], [200, 10], [0, 0]]]},
        {},
    ],
    ids=["bow tie", "empty", "text", "no coordinates", "a point", "beyond 180°", "nothing"],
)
async def test_an_invalid_polygon_is_refused(town: Town, boundary: dict[str, Any]) -> None:
    """A6."""
    answer = await town.as_("officer", "POST", "/v1/places", json=a_place(town, boundary=boundary))
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert (error["field"], error["code"]) == ("boundary", "invalid_polygon")


async def test_coverage_counts_offerings_per_1000_residents_and_per_square_kilometre(
    town: Town,
) -> None:
    """A6: 0.3 km² and 11,000 residents."""
    await town.change(f"/v1/places/{town.community}", {"population": 11_000, "area_m2": 300_000})
    for _ in range(3):
        await town.make("/v1/offerings", a_space(town, place_id=town.grid), "partner_staff")
    covered = await town.get(f"/v1/reports/coverage?place={town.community}")
    (breakfast,) = [s for s in covered["services"] if s["service_type"] == "breakfast_point"]
    assert breakfast["offerings"] == 3
    assert (breakfast["per_1000_residents"], breakfast["per_km2"]) == ("0.273", "10.000")
    beside = await town.get(f"/v1/reports/coverage?place={town.sibling}")
    assert {s["offerings"] for s in beside["services"]} == {0}


@pytest.mark.parametrize(
    ("change", "field", "status"),
    [
        ({"kind": "district"}, "parent_id", 422),
        ({"kind": "subdistrict"}, "parent_id", 422),
        ({"slug": "qiaobei"}, "slug", 409),
        ({"timezone": "Asia/Chongqing2"}, "timezone", 400),
        ({"slug": "Zhang Gong"}, "slug", 400),
        ({"population": -1}, "population", 400),
    ],
)
async def test_a_place_that_does_not_fit_the_tree_is_refused(
    town: Town, change: dict[str, Any], field: str, status: int
) -> None:
    answer = await town.as_("officer", "POST", "/v1/places", json=a_place(town, **change))
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == field


async def test_of_concurrent_places_with_one_slug_exactly_one_is_made(town: Town) -> None:
    answers = await asyncio.gather(
        *(town.as_("officer", "POST", "/v1/places", json=a_place(town)) for _ in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert len((await town.get("/v1/places?slug=zhanggong"))["items"]) == 1


async def test_within_lists_a_place_and_everything_below_it(town: Town) -> None:
    listed = await town.get(f"/v1/places?within={town.community}")
    assert {place["slug"] for place in listed["items"]} == {"qiaobei", "qiaobei-grid-1"}
    assert (await town.get("/v1/places?slug=yubei"))["items"][0]["id"] == town.sibling


async def test_a_place_with_places_below_it_is_not_withdrawn(town: Town) -> None:
    path = f"/v1/places/{town.community}"
    etag = (await town.as_("officer", "GET", path)).headers["etag"]
    answer = await town.as_("officer", "DELETE", path, headers={"If-Match": etag})
    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    path = f"/v1/places/{town.grid}"
    answer = await town.as_("officer", "DELETE", path, headers={"If-Match": etag})
    assert answer.json()["status"] == "withdrawn"


async def test_the_taxonomy_is_bilingual(town: Town) -> None:
    services = await town.get("/v1/service-types")
    assert len(services) >= 20
    for service in services:
        assert service["name"]["zh"]
        assert service["name"]["en"]
