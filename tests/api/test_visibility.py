"""Nobody sees what is not theirs: random callers, random objects, and the rule in plain words.

Whatever a caller asks, by id, in lists or in the index, answers exactly what `World.sees` says, so
that the database and the index agree.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from models import base
from search import sync
from tests import fixtures, meilisearch, worlds
from tests.clocks import Clock
from tests.towns import Town
from tests.worlds import World

# At least 2,160 cases. Worlds are dear to make, and small enough to be read as they are.
options = settings(
    max_examples=12,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
KINDS = ("needs", "offerings", "partners")


@pytest.fixture(params=meilisearch.KINDS)
async def served_town(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], fixtures.Template],
    tmp_path: Path,
) -> AsyncIterator[Town]:
    """The application on SQLite, searching on a Meilisearch server."""
    with meilisearch.own_server(request.param) as server:
        async with fixtures.a_searching_town(server, templates, tmp_path) as opened:
            yield opened


@options
@given(worlds.PLAN)
async def test_whatever_is_asked_shows_what_the_rule_says_and_nothing_else(
    town: Town,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    plan: dict[str, Any],
) -> None:
    """F1, X8."""
    record_property("callers x objects", await _check(town, monkeypatch, plan))


@settings(options, max_examples=2)
@given(worlds.PLAN)
async def test_a_search_server_shows_what_the_rule_says_and_nothing_else(
    served_town: Town, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any]
) -> None:
    """F1, X8."""
    await _check(served_town, monkeypatch, plan)


async def _check(town: Town, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any]) -> int:
    """Every caller asks for everything of one world; answers how many cases those are."""
    clock = Clock()
    monkeypatch.setattr(base, "clock", clock.read)
    await worlds.wipe()
    target = town.app.state.engine
    async with asyncio.timeout(20):
        # The worker's own first index; of two at once one is overtaken.
        while (await target.health()).empty:
            await asyncio.sleep(0.01)
    await sync.rebuild(target)
    world = await worlds.build(plan, town.accounts, clock)
    town.tokens[worlds.KEY] = world.key
    await town.indexed()
    for caller in worlds.CALLERS:
        assert await _read(town, caller, world) == {
            thing.id: 200 if world.sees(caller, thing) else 404 for thing in world.things
        }, caller
        for kind in KINDS:
            expected = [str(thing.id) for thing in world.seen(caller, kind)]
            assert await _listed(town, caller, kind) == expected, (caller, kind)
        await _search(town, caller, world)
    return len(worlds.CALLERS) * len(world.things)


async def _read(town: Town, caller: str, world: World) -> dict[uuid.UUID, int]:
    """What reading each thing by its id answers."""
    answers = await asyncio.gather(
        *(
            town.as_(caller, "GET", f"/v1/{thing.kind}/{thing.id}?fields=id")
            for thing in world.things
        )
    )
    return {
        thing.id: answer.status_code for thing, answer in zip(world.things, answers, strict=True)
    }


async def _listed(town: Town, caller: str, kind: str) -> list[str]:
    """The ids of a whole list, page by page."""
    found: list[str] = []
    path: str | None = f"/v1/{kind}?limit=4&fields=id"
    cursor = ""
    while path:
        page = await town.get(path + cursor, caller)
        assert len(page["items"]) <= 4
        found += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next']}"
        path = path if page["next"] else None
    return found


async def _search(town: Town, caller: str, world: World) -> None:
    """The index agrees: what is found on its pages, how much in all, and what facets count."""
    expected = world.found(caller)
    found: set[str] = set()
    for number in range(1, -(-len(expected) // 5) + 2):
        path = f"/v1/search?page={number}&page_size=5&facet=kind&facet=community&facet=status"
        page = await town.get(path, caller)
        assert page["total"] == len(expected), caller
        assert page["pages"] == -(-len(expected) // 5)
        kinds = Counter("merchant" if t.kind == "offerings" else "need" for t in expected)
        assert page["facets"] == {
            "kind": kinds,
            "community": world.communities_of(expected),
            "status": world.statuses(caller),
        }, caller
        found |= {item["id"] for item in page["items"]}
    assert found == {str(thing.id) for thing in expected}, caller
