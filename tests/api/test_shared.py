"""Answers that are kept for everybody: never an old one, and never one that was for somebody."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from api import shared
from models import engine, needs
from tests.towns import PASSWORD, Town, a_need


async def test_what_is_kept_is_answered_without_asking_the_database(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = await town.make("/v1/needs", a_need(town))
    first = await town.get("/v1/needs")
    asked = _counted(monkeypatch)
    for path in ("/v1/needs", f"/v1/needs/{need['id']}", f"/v1/needs/{need['id']}?fields=title"):
        await town.get(path)
    assert await town.get("/v1/needs") == first
    assert asked == {"browse": 0, "read": 2}


async def test_a_write_is_seen_by_the_very_next_read(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    path = f"/v1/needs/{need['id']}"
    for people in range(60, 80):
        await town.change(path, {"beneficiaries": people})
        assert (await town.get(path))["beneficiaries"] == people
        assert (await town.get("/v1/needs"))["items"][0]["beneficiaries"] == people
    tag = (await town.as_("secretary", "GET", path)).headers["etag"]
    answer = await town.as_("secretary", "DELETE", path, headers={"If-Match": tag})
    assert answer.status_code == 200
    assert (await town.as_("anonymous", "GET", path)).status_code == 404
    assert (await town.get("/v1/needs"))["items"] == []


async def test_overlapping_reads_and_writes_never_bring_an_old_answer_back(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town, beneficiaries=1))
    path = f"/v1/needs/{need['id']}"
    written = 1
    over = False

    async def reader() -> None:
        while not over:
            known = written
            assert (await town.get(path))["beneficiaries"] >= known
            # What is kept is answered without ever waiting; the writer is to get its turn.
            await asyncio.sleep(0.001)

    reading = [asyncio.create_task(reader()) for _ in range(4)]
    for people in range(2, 20):
        await town.change(path, {"beneficiaries": people})
        written = people
    over = True
    await asyncio.gather(*reading)


async def test_nobody_gets_what_was_answered_to_somebody_else(town: Town) -> None:
    draft = await town.make("/v1/needs", a_need(town, status="draft"))
    path = f"/v1/needs/{draft['id']}"
    for who, status in (("secretary", 200), ("anonymous", 404), ("secretary", 200)):
        assert (await town.as_(who, "GET", path)).status_code == status
        assert (await town.as_("anonymous", "GET", path)).status_code == 404
    seen = [item["id"] for item in (await town.get("/v1/needs", "secretary"))["items"]]
    assert seen == [draft["id"]]
    assert (await town.get("/v1/needs"))["items"] == []
    # Nor is somebody answered as nobody in particular.
    assert "beneficiary" in await town.get(path, "secretary")
    cookie = await town.as_("anonymous", "GET", "/v1/needs", headers={"Cookie": "a=b"})
    wrong = {"Authorization": "Bearer nothing"}
    assert cookie.status_code == 200
    assert (await town.as_("anonymous", "GET", "/v1/needs", headers=wrong)).status_code == 401


async def test_whoever_has_it_already_is_told_so(town: Town) -> None:
    await town.make("/v1/needs", a_need(town))
    kept = [await town.as_("anonymous", "GET", "/v1/needs") for _ in range(2)]
    assert kept[0].content == kept[1].content
    tag = kept[0].headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await town.as_("anonymous", "GET", "/v1/needs", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        assert "content-length" not in answer.headers
    answer = await town.as_("anonymous", "GET", "/v1/needs", headers={"If-None-Match": '"other"'})
    assert answer.status_code == 200


async def test_an_answer_from_before_is_as_one_that_is_new(town: Town) -> None:
    await town.make("/v1/needs", a_need(town))
    new, kept = [await town.as_("anonymous", "GET", "/v1/needs") for _ in range(2)]
    differs = {"x-request-id"}
    assert {k: v for k, v in new.headers.items() if k not in differs} == {
        k: v for k, v in kept.headers.items() if k not in differs
    }
    assert new.headers["x-request-id"] != kept.headers["x-request-id"]


async def test_many_at_once_ask_the_database_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.make("/v1/needs", a_need(town))
    asked = _counted(monkeypatch, slowly=True)
    answers = await asyncio.gather(*(town.get("/v1/needs") for _ in range(50)))
    assert asked["browse"] == 1
    assert all(answer == answers[0] for answer in answers)


async def test_a_refusal_is_not_kept(town: Town) -> None:
    answers = await asyncio.gather(
        *(town.as_("anonymous", "GET", "/v1/needs?nonsense=1") for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.json()["request_id"] for answer in answers}) == 10


async def test_nothing_is_kept_where_others_are_not_heard(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.current().changes, "keep", False)
    asked = _counted(monkeypatch)
    for _ in range(3):
        await town.get("/v1/needs")
    assert asked["browse"] == 3


async def test_no_more_is_kept_than_there_is_room_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "MOST", 3)
    asked = _counted(monkeypatch)
    for limit in (1, 2, 3, 4, 1):
        await town.get(f"/v1/needs?limit={limit}")
    assert asked["browse"] == 5


def test_only_these_operations_are_kept(town: Town) -> None:
    """What they answer depends on nothing but the database."""
    some_id = "01900000-0000-7000-8000-000000000000"
    kept = {
        handler.operation_id
        for route in town.app.routes
        if isinstance(route, HTTPRoute)
        and shared.KEPT.fullmatch(re.sub(r"\{[^}]*\}", some_id, route.path_format))
        for handler in route.route_handlers
        if "GET" in handler.http_methods
    }
    assert kept == {"list_needs", "get_need", "list_places", "get_place", "list_service_types"}


async def test_who_signs_out_is_out_at_once(town: Town) -> None:
    answer = await town.as_(
        "anonymous", "POST", "/v1/sessions", json={"login": "resident@test", "password": PASSWORD}
    )
    assert answer.status_code == 201, answer.text
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    for _ in range(2):
        assert (await town.client.get("/v1/needs", headers=headers)).status_code == 200
    assert (await town.client.delete("/v1/sessions/current", headers=headers)).status_code == 204
    assert (await town.client.get("/v1/needs", headers=headers)).status_code == 401


async def test_who_loses_a_role_sees_no_more_at_once(town: Town) -> None:
    draft = await town.make("/v1/needs", a_need(town, status="draft"))
    path = f"/v1/needs/{draft['id']}"
    for _ in range(2):
        assert (await town.as_("secretary", "GET", path)).status_code == 200
    await engine.execute("DELETE FROM role WHERE account = $1", town.accounts["secretary"])
    assert (await town.as_("secretary", "GET", path)).status_code == 404
    await engine.execute(
        "UPDATE account SET status = 'banned' WHERE id = $1", town.accounts["secretary"]
    )
    assert (await town.as_("secretary", "GET", path)).status_code == 401


def _counted(monkeypatch: pytest.MonkeyPatch, *, slowly: bool = False) -> dict[str, int]:
    """How often needs are really read from here on."""
    count = {"browse": 0, "read": 0}
    browse, read = needs.browse, needs.read

    async def browsed(*args: Any, **named: Any) -> Any:
        count["browse"] += 1
        if slowly:
            await asyncio.sleep(0.05)
        return await browse(*args, **named)

    async def seen(*args: Any, **named: Any) -> Any:
        count["read"] += 1
        return await read(*args, **named)

    monkeypatch.setattr(needs, "browse", browsed)
    monkeypatch.setattr(needs, "read", seen)
    return count
