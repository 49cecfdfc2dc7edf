"""Recent and popular questions: one's own for oneself, those of many for all, and nobody's name."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from models import engine, queries
from tests.clocks import Clock
from tests.towns import Town, a_space, an_offering

FIVE = ("resident", "volunteer", "vanguard", "grid_worker", "secretary")


async def _settle(town: Town) -> None:
    body = a_space(town, title={"zh": "王芳的长者食堂", "en": "Senior cafeteria of Wang Fang"})
    await town.make("/v1/offerings", body, "partner_staff")
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await town.indexed()


async def _ask(town: Town, text: str, who: str = "resident", more: str = "") -> None:
    await town.get(f"/v1/search?q={quote(text)}{more}", who)


async def _recent(town: Town, who: str = "resident") -> list[str]:
    return [item["words"] for item in (await town.get("/v1/search/recent", who))["items"]]


async def _popular(town: Town, query: str = "") -> list[dict[str, Any]]:
    return list((await town.get(f"/v1/search/popular{query}"))["items"])


async def test_recent_questions_are_ones_own_latest_first_and_can_be_forgotten(
    town: Town, clock: Clock
) -> None:
    await _settle(town)
    for text in ("breakfast", "食堂", "Breakfast"):
        clock.advance(seconds=1)
        await _ask(town, text)
        await town.get("/v1/search/recent", "resident")
    assert await _recent(town) == ["breakfast", "食堂"]
    assert await _recent(town, "volunteer") == []
    assert (await town.as_("anonymous", "GET", "/v1/search/recent")).status_code == 401
    clock.advance(days=31)
    assert await _recent(town) == []
    await _ask(town, "食堂")
    assert await _recent(town) == ["食堂"]
    assert (await town.as_("resident", "DELETE", "/v1/search/recent")).status_code == 204
    assert await _recent(town) == []
    assert await engine.fetch("SELECT 1 FROM recent_query") == []


async def test_a_question_that_should_not_be_kept_is_not(town: Town) -> None:
    await _settle(town)
    await _ask(town, "王芳")
    await _ask(town, "13800138000 食堂")
    await _ask(town, "食堂", more="&remember=false")
    await _ask(town, "xyzzy")
    await _ask(town, "食堂", more="&page=2")
    assert await _recent(town) == []
    for table in ("recent_query", "asked_query"):
        assert await engine.fetch(f"SELECT 1 FROM {table}") == [], table


async def test_only_twenty_questions_are_kept(town: Town) -> None:
    await _settle(town)
    for number in range(23):
        await _ask(town, f"breakfast {number:03}")
        await town.get("/v1/search/recent", "volunteer")
    kept = await _recent(town)
    assert (len(kept), kept[0]) == (20, "breakfast 022")
    assert len(await engine.fetch("SELECT 1 FROM recent_query")) == 20


async def test_a_question_is_popular_when_five_callers_have_asked_it_on_one_day(
    town: Town, clock: Clock
) -> None:
    await _settle(town)
    for who in FIVE[:4]:
        for _ in range(3):
            await _ask(town, "食堂", who, "&community=qiaobei")
        await _ask(town, "breakfast", who)
    assert await _popular(town) == []
    await _ask(town, "食堂", FIVE[4], "&community=qiaobei")
    assert await _popular(town) == [{"words": "食堂", "callers": 5}]
    assert await _popular(town, "?community=qiaobei") == [{"words": "食堂", "callers": 5}]
    assert await _popular(town, "?community=elsewhere") == []


async def test_when_the_day_is_over_only_what_many_asked_is_left(town: Town, clock: Clock) -> None:
    await _settle(town)
    for who in FIVE:
        await _ask(town, "食堂", who)
    await _ask(town, "breakfast", "resident")
    assert len(await _popular(town)) == 1
    kept = await engine.fetch("SELECT caller FROM asked_query")
    assert len(kept) == 6
    assert not any(str(account) in str(kept) for account in town.accounts.values())
    clock.advance(days=1)
    await queries.close_days()
    for table in ("asked_query", "query_salt"):
        assert await engine.fetch(f"SELECT 1 FROM {table}") == [], table
    assert await _popular(town) == [{"words": "食堂", "callers": 5}]
    assert await _popular(town, "?days=1") == []
    clock.advance(days=30)
    assert await _popular(town, "?days=30") == []


async def test_strangers_are_told_apart_by_where_they_ask_from(town: Town) -> None:
    await _settle(town)
    for _ in range(6):
        await _ask(town, "食堂", "anonymous")
    assert await _popular(town) == []
