"""One search box: offerings, needs, service types and places in one ranked list, whichever engine
keeps the index and whichever database it follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from models import outbox
from search import sync
from tests import fixtures, meilisearch
from tests.towns import Town, a_need, a_space, an_offering


@pytest.fixture(params=["sqlite", "postgres", "fake server", "real server"])
async def box(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], fixtures.Template],
    tmp_path: Path,
) -> AsyncIterator[Town]:
    """A toolroom, a breakfast shop and a need, on each database with the embedded engine and on
    SQLite with each server."""
    kind, _, is_server = request.param.partition(" ")
    if not is_server:
        postgres = request.getfixturevalue("postgres_server")
        async with fixtures.a_town(kind, templates, postgres, tmp_path) as town:
            await _fill(town)
            yield town
        return
    with meilisearch.own_server(kind) as server:
        async with fixtures.a_searching_town(server, templates, tmp_path) as town:
            await _fill(town)
            yield town


async def _fill(town: Town) -> None:
    await town.make("/v1/offerings", a_space(town), "partner_staff")
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await town.make("/v1/needs", a_need(town))
    await town.indexed()


async def _found(town: Town, text: str, more: str = "", who: str = "anonymous") -> Any:
    return await town.get(f"/v1/search?q={quote(text)}{more}", who)


def _titles(found: Any) -> list[tuple[str, str]]:
    return [(item["kind"], item["title"]["en"]) for item in found["items"]]


@pytest.mark.parametrize("text", ["早餐点", "breakfast point", "早点", "zaocandian"])
async def test_a_service_type_comes_with_what_serves_it_and_who_needs_it(
    box: Town, text: str
) -> None:
    found = await _found(box, text)
    kinds = {item["kind"] for item in found["items"]}
    assert kinds == {"service_type", "space", "merchant", "need"}
    (named,) = (item for item in found["items"] if item["kind"] == "service_type")
    assert (named["id"], named["title"]["zh"]) == ("breakfast_point", "早餐点")
    assert found["total"] == len(found["items"]) == 4
    # Its id asks for what serves it.
    assert (await _found(box, "", f"&service_type={named['id']}"))["total"] == 3


async def test_whose_name_was_typed_whole_comes_first(box: Town) -> None:
    assert _titles(await _found(box, "早餐点"))[0] == ("service_type", "Breakfast point")
    assert _titles(await _found(box, "Breakfast point"))[0] == ("service_type", "Breakfast point")
    assert _titles(await _found(box, "Qiaobei"))[0] == ("place", "Qiaobei")
    assert _titles(await _found(box, "Qiaobei idle toolroom"))[0] == (
        "space",
        "Qiaobei idle toolroom",
    )


async def test_pages_go_through_all_kinds_without_repeating_and_the_total_is_exact(
    box: Town,
) -> None:
    whole = await _found(box, "qiaobei")
    assert {"place", "space"} <= {item["kind"] for item in whole["items"]}
    pages = [
        await _found(box, "qiaobei", f"&page={number}&page_size=1&facet=kind")
        for number in range(1, whole["total"] + 2)
    ]
    assert [title for page in pages for title in _titles(page)] == _titles(whole)
    assert {(page["total"], page["pages"]) for page in pages} == {(whole["total"],) * 2}
    assert {sum(page["facets"]["kind"].values()) for page in pages} == {whole["total"]}


async def test_kinds_and_filters_narrow_the_list(box: Town) -> None:
    assert {
        item["kind"] for item in (await _found(box, "早餐", "&kind=need&kind=place"))["items"]
    } == {"need"}
    for narrowing in ("&price_max=100000", "&weekday=1", "&lat=29.57&lon=106.55&near_me=true"):
        kinds = {item["kind"] for item in (await _found(box, "早餐", narrowing))["items"]}
        assert kinds, narrowing
        assert not kinds & {"service_type", "place"}, narrowing
    assert {item["kind"] for item in (await _found(box, ""))["items"]} == {
        "space",
        "merchant",
        "need",
    }


async def test_what_one_may_not_see_is_not_in_the_list_whoever_stands_beside_it(box: Town) -> None:
    """X8."""
    await box.make(f"/v1/partners/{box.partner}/suspend", {"reason": "safety"})
    await box.indexed()
    for who in ("anonymous", "sibling_secretary", "other_staff"):
        found = await _found(box, "早餐", who=who)
        assert {item["kind"] for item in found["items"]} == {"service_type", "need"}
        assert found["total"] == 2
    found = await _found(box, "早餐", who="secretary")
    assert found["total"] == 4


async def test_a_place_is_found_by_its_new_name_and_a_building_by_none(box: Town) -> None:
    building = {
        "slug": "lighthouse-1",
        "kind": "building",
        "parent_id": box.grid,
        "name": {"zh": "灯塔里一号楼", "en": "Lighthouse Lane 1"},
    }
    await box.make("/v1/places", building, "officer")
    await box.indexed()
    for again in (False, True):
        if again:
            await sync.rebuild(box.app.state.engine)
        assert (await _found(box, "灯塔"))["total"] == 0
        assert (await box.get("/v1/search/suggestions?q=lighthouse"))["items"] == []
        assert await outbox.counts() == (0, 0)
    name = {"zh": "灯塔里", "en": "Lighthouse Lane"}
    await box.change(f"/v1/places/{box.grid}", {"name": name})
    await box.indexed()
    for text in ("灯塔", "lighthouse", "lighthuose", "dengta"):
        assert _titles(await _found(box, text)) == [("place", "Lighthouse Lane")], text


async def test_a_saved_search_tells_of_no_place(box: Town) -> None:
    search = {"name": "灯塔", "query": {"text": "灯塔"}}
    await box.make("/v1/saved-searches", search, "resident")
    name = {"zh": "灯塔里", "en": "Lighthouse Lane"}
    await box.change(f"/v1/places/{box.grid}", {"name": name})
    need = a_need(box, title={"zh": "灯塔边的早餐", "en": "Breakfast by the lighthouse"})
    made = await box.make("/v1/needs", need)
    await box.indexed()
    async with asyncio.timeout(20):
        while not (notices := (await box.get("/v1/notices", "resident"))["items"]):
            await asyncio.sleep(0.05)
    assert [notice["subject_id"] for notice in notices] == [made["id"]]
