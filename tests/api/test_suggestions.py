"""Search as you type: suggestions over offerings, needs, service types and places."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.towns import Town, a_need, a_space, an_offering


async def _settle(town: Town) -> None:
    for title in (
        {"zh": "长者食堂大厅", "en": "Senior cafeteria hall"},
        {"zh": "王伯的书房", "en": "Uncle Wang's study"},
        {"zh": "王伯的书房", "en": "Uncle Wang's study"},
    ):
        await town.make("/v1/offerings", a_space(town, title=title), "partner_staff")
    hidden = a_space(town, title={"zh": "长廊", "en": "Seaside walk"}, status="draft")
    await town.make("/v1/offerings", hidden, "partner_staff")
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await town.make("/v1/needs", a_need(town))
    await town.indexed()


async def _suggested(town: Town, query: str, who: str = "anonymous") -> list[tuple[str, str]]:
    found = await town.get(f"/v1/search/suggestions?{query}", who)
    return [(item["kind"], item["title"]["en"]) for item in found["items"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sen", ("service_type", "Senior cafeteria")),
        ("长者", ("service_type", "Senior cafeteria")),
        ("zzst", ("service_type", "Senior cafeteria")),
        ("zhangzhe", ("service_type", "Senior cafeteria")),
        ("cafet", ("space", "Senior cafeteria hall")),
        ("书房", ("space", "Uncle Wang's study")),
        ("shufang", ("space", "Uncle Wang's study")),
        ("dawn", ("need", "A breakfast point at dawn")),
        ("早", ("service_type", "Breakfast point")),
        ("qiao", ("place", "Qiaobei")),
    ],
)
async def test_what_is_typed_goes_on_as_names_and_titles(
    town: Town, text: str, expected: tuple[str, str]
) -> None:
    await _settle(town)
    found = await _suggested(town, f"q={quote(text)}")
    assert expected in found
    assert len(found) == len(set(found)) <= 8


async def test_kinds_and_limit_narrow_what_is_suggested(town: Town) -> None:
    await _settle(town)
    assert {kind for kind, _ in await _suggested(town, "q=b&kind=need&kind=place")} <= {
        "need",
        "place",
    }
    assert len(await _suggested(town, "q=s&limit=1")) == 1
    assert await _suggested(town, "q=xyzzy") == []


async def test_what_one_may_not_find_is_not_suggested(town: Town) -> None:
    """X8."""
    await _settle(town)
    assert await _suggested(town, "q=seaside&kind=space") == []
    own = await _suggested(town, "q=seaside&kind=space", "partner_staff")
    assert own == []  # a draft is not on offer yet, for nobody


async def test_suggestions_are_in_the_callers_language(town: Town) -> None:
    await _settle(town)

    async def texts(tongue: str) -> list[Any]:
        headers = {"Accept-Language": tongue}
        path = "/v1/search/suggestions?q=zzst&kind=service_type"
        return [item["text"] for item in (await town.get(path, headers=headers))["items"]]

    assert (await texts("zh"), await texts("en")) == (["长者食堂"], ["Senior cafeteria"])


async def test_a_place_that_is_renamed_is_suggested_by_its_new_name(town: Town) -> None:
    name = {"zh": "灯塔里", "en": "Lighthouse Lane"}
    assert await _suggested(town, "q=lighth") == []
    await town.change(f"/v1/places/{town.grid}", {"name": name}, "secretary")
    await town.indexed()
    assert await _suggested(town, "q=lighth") == [("place", "Lighthouse Lane")]
    assert await _suggested(town, "q=dtl") == [("place", "Lighthouse Lane")]
