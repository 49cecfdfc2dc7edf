"""Saved searches and notices: each new match once, and only what its owner may see then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from models import base, engine
from search import alerts
from tests.towns import Town, a_need, a_point, a_space, an_offering

GALLEY = {"text": "galley"}


async def _save(
    town: Town, query: dict[str, Any], who: str = "resident", name: str = "新厨房"
) -> dict[str, Any]:
    made = await town.make("/v1/saved-searches", {"name": name, "query": query}, who)
    return dict(made)


async def _told(town: Town) -> None:
    """Wait until the index has everything and everybody has been told."""
    await town.indexed()
    async with asyncio.timeout(20):
        while await engine.fetch("SELECT 1 FROM alert_due LIMIT 1"):
            await asyncio.sleep(0.01)


async def _titles(town: Town, who: str = "resident", query: str = "") -> list[str | None]:
    items = (await town.get(f"/v1/notices{query}", who))["items"]
    return [item["title"] and item["title"]["en"] for item in items]


async def _offer(town: Town, name: str, **change: Any) -> str:
    body = a_space(town, title={"zh": f"{name}厨房", "en": f"{name} galley"}, **change)
    return str((await town.make("/v1/offerings", body, "partner_staff"))["id"])


async def test_a_stranger_saves_nothing_and_has_no_feed(town: Town) -> None:
    body = {"name": "x", "query": GALLEY}
    for method, path in (
        ("POST", "/v1/saved-searches"),
        ("GET", "/v1/saved-searches"),
        ("GET", "/v1/notices"),
    ):
        options = {"json": body} if method == "POST" else {}
        assert (await town.as_("anonymous", method, path, **options)).status_code == 401


async def test_a_new_match_comes_to_the_feed_once_and_an_old_one_never(town: Town) -> None:
    old = await _offer(town, "Old")
    await town.indexed()
    await _save(town, GALLEY)
    await _offer(town, "New")
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await _told(town)
    assert await _titles(town) == ["New galley"]
    # Whatever changes of them afterwards.
    for item in (await town.get("/v1/search?q=galley"))["items"]:
        await town.change(f"/v1/offerings/{item['id']}", {"capacity": 7}, "partner_staff")
    await _told(town)
    assert await _titles(town) == ["New galley"]
    assert old
    assert await _titles(town, "volunteer") == []


async def test_what_comes_to_fit_later_is_news_too(town: Town) -> None:
    late = await _offer(town, "Late", price={"amount": 900})
    await town.indexed()
    await _save(town, {"text": "galley", "price_max": 500})
    await _told(town)
    assert await _titles(town) == []
    await town.change(f"/v1/offerings/{late}", {"price": {"amount": 400}}, "partner_staff")
    await _told(town)
    assert await _titles(town) == ["Late galley"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"kinds": ["space"]}, True),
        ({"kinds": ["merchant", "need"]}, False),
        ({"text": "chufang"}, True),
        ({"text": "厨房", "near": a_point(0), "radius_m": 500}, True),
        ({"text": "厨房", "near": a_point(900), "radius_m": 500}, False),
        ({"service_types": ["breakfast_point"], "weekdays": [1]}, True),
        ({"service_types": ["repair"]}, False),
        ({"capacity_min": 10_000}, False),
        ({"text": "galley nowhere"}, False),
        ({"text": "galley nowhere", "match": "any"}, True),
    ],
)
async def test_every_filter_of_a_saved_search_counts(
    town: Town, query: dict[str, Any], found: bool
) -> None:
    await _save(town, query)
    await _offer(town, "New", location=a_point(100))
    await _told(town)
    assert await _titles(town) == (["New galley"] if found else [])


async def test_two_searches_that_find_the_same_tell_of_it_once(town: Town) -> None:
    for query in (GALLEY, {"kinds": ["space"]}):
        await _save(town, query)
    await _offer(town, "New")
    await _told(town)
    assert await _titles(town) == ["New galley"]


async def test_nobody_is_told_of_what_they_may_not_see(town: Town) -> None:
    """X8: the scope is the one of the moment at which it is compared."""
    for who in ("resident", "secretary", "sibling_secretary", "officer"):
        await _save(town, {"text": "早餐"}, who)
    partner = f"/v1/partners/{town.partner}"
    await town.make(f"{partner}/suspend", {"reason": "safety"})
    await town.make("/v1/offerings", an_offering(town), "operator")
    await _told(town)
    told = {who: len(await _titles(town, who)) for who in ("resident", "secretary", "officer")}
    assert told == {"resident": 0, "secretary": 1, "officer": 1}
    assert await _titles(town, "sibling_secretary") == []
    await town.make(f"{partner}/admit", None)
    await _told(town)
    assert len(await _titles(town)) == len(await _titles(town, "secretary")) == 1


async def test_a_notice_names_nothing_that_has_gone_from_sight(town: Town) -> None:
    """X8."""
    await _save(town, GALLEY)
    await _offer(town, "New")
    await _told(town)
    path = "/v1/notices"
    (notice,) = (await town.get(path, "resident"))["items"]
    assert notice["text"] == "New for “新厨房”: New galley"
    await town.make(f"/v1/partners/{town.partner}/suspend", {"reason": "safety"})
    (notice,) = (await town.get(path, "resident", headers={"Accept-Language": "zh"}))["items"]
    assert (notice["title"], notice["text"]) == (None, "“新厨房”曾有新结果，现已不可见")


async def test_needs_are_told_of_as_offerings_are(town: Town) -> None:
    await _save(town, {"kinds": ["need"], "service_types": ["breakfast_point"]}, "partner_staff")
    await town.make("/v1/needs", a_need(town))
    await _told(town)
    (notice,) = (await town.get("/v1/notices", "partner_staff"))["items"]
    assert (notice["subject_kind"], notice["read_at"]) == ("need", None)
    read = await town.get(f"/v1/needs/{notice['subject_id']}")
    assert read["title"] == notice["title"]


async def test_notices_come_in_pages_and_stay_read(town: Town) -> None:
    await _save(town, GALLEY)
    for number in range(5):
        await _offer(town, f"{number}")
    await _told(town)
    first = await town.get("/v1/notices?limit=3", "resident")
    rest = await town.get(f"/v1/notices?limit=3&cursor={first['next']}", "resident")
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (3, 2, None)
    path = f"/v1/notices/{first['items'][0]['id']}/read"
    assert (await town.as_("volunteer", "POST", path)).status_code == 404
    read = await town.make(path, None, "resident")
    assert read["read_at"] is not None
    assert (await town.make(path, None, "resident"))["read_at"] == read["read_at"]
    assert len((await town.get("/v1/notices?unread=true", "resident"))["items"]) == 4


async def test_a_removed_search_tells_no_more_and_its_notices_stay(town: Town) -> None:
    saved = await _save(town, GALLEY)
    await _offer(town, "New")
    await _told(town)
    path = f"/v1/saved-searches/{saved['id']}"
    etag = (await town.as_("resident", "GET", path)).headers["etag"]
    assert (await town.as_("resident", "DELETE", path)).status_code == 428
    assert (
        await town.as_("volunteer", "DELETE", path, headers={"If-Match": etag})
    ).status_code == 404
    gone = await town.as_("resident", "DELETE", path, headers={"If-Match": etag})
    assert gone.status_code == 200
    assert (await town.get("/v1/saved-searches", "resident"))["items"] == []
    await _offer(town, "Newer")
    await _told(town)
    (notice,) = (await town.get("/v1/notices", "resident"))["items"]
    assert (notice["text"], notice["saved_search_id"]) == ("New: New galley", None)


async def test_twenty_may_be_saved_and_not_one_more_also_when_two_race(town: Town) -> None:
    for number in range(19):
        await _save(town, {"text": f"galley {number}"})
    body = {"name": "one more", "query": GALLEY}
    answers = await asyncio.gather(
        *(town.as_("resident", "POST", "/v1/saved-searches", json=body) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 422, 422, 422]
    refused = next(answer for answer in answers if answer.status_code == 422)
    assert refused.json()["code"] == "too_many"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"text": "  "},
        {"match": "any"},
        {"near": {"lat": 29, "lon": 106}},
        {"radius_m": 500},
        {"kinds": ["castle"]},
        {"service_types": ['x" OR "1"="1']},
        {"weekdays": [8]},
        {"text": "a\x00b"},
        {"price_max": -1},
        {"ids": ["1"]},
    ],
)
async def test_a_search_that_asks_for_nothing_or_for_nonsense_is_not_saved(
    town: Town, query: dict[str, Any]
) -> None:
    answer = await town.as_(
        "resident", "POST", "/v1/saved-searches", json={"name": "x", "query": query}
    )
    assert answer.status_code in (400, 422), answer.text


async def test_saving_with_the_same_key_happens_once(town: Town) -> None:
    options = {"headers": {"Idempotency-Key": "k1"}}
    body = {"name": "x", "query": GALLEY}
    made = [await town.make("/v1/saved-searches", body, "resident", **options) for _ in range(2)]
    assert made[0] == made[1]
    assert len((await town.get("/v1/saved-searches", "resident"))["items"]) == 1


async def test_a_worker_that_was_stopped_in_between_tells_nobody_twice(town: Town) -> None:
    await _save(town, GALLEY)
    made = await _offer(town, "New")
    await _told(town)
    await engine.execute(
        "INSERT INTO alert_due (kind, subject) VALUES ('offering', $1)", base.as_id(made)
    )
    assert await alerts.tell(town.app.state.engine) == 1
    assert await _titles(town) == ["New galley"]


async def test_whoever_takes_their_data_along_or_is_forgotten_takes_these_too(
    town: Town,
) -> None:
    body = {"login": "chen@example.com", "password": "seven small lanterns", "display_name": "Chen"}
    await town.make("/v1/accounts", body, "anonymous")
    session = await town.make(
        "/v1/sessions", {"login": body["login"], "password": body["password"]}, "anonymous"
    )
    town.tokens["chen"] = session["access_token"]
    await _save(town, GALLEY, "chen")
    await _offer(town, "New")
    await _told(town)
    await town.get("/v1/search?q=galley", "chen")
    await town.get("/v1/search/recent", "chen")
    data = (await town.get("/v1/accounts/current/export", "chen"))["data"]
    assert [row["query"]["text"] for row in data["saved_searches"]] == ["galley"]
    assert len(data["notices"]) == 1
    assert [row["words"] for row in data["recent_queries"]] == ["galley"]
    erased = await town.as_(
        "chen", "DELETE", "/v1/accounts/current", json={"password": body["password"]}
    )
    assert erased.is_success, erased.text
    for table in ("saved_search", "notice", "recent_query"):
        assert await engine.fetch(f"SELECT 1 FROM {table}") == [], table
