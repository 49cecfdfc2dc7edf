"""An index that is lost, or ahead of its database, under a running server: it heals."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from models import base, engine
from search import comparing
from tests.towns import Town, an_offering


async def _offer(town: Town, word: str) -> str:
    title = {"zh": "厨房", "en": f"{word} galley"}
    made = await town.make("/v1/offerings", an_offering(town, title=title), "partner_staff")
    return str(made["id"])


async def _soon(town: Town, *words: str) -> None:
    """Until these are what a search finds, and nothing else."""
    expected = sorted(f"{word} galley" for word in words)
    found: list[str] = []
    async with asyncio.timeout(20):
        while found != expected:
            await asyncio.sleep(0.05)
            answer = await town.as_("anonymous", "GET", "/v1/search?q=galley")
            if answer.status_code == 200:
                found = sorted(item["title"]["en"] for item in answer.json()["items"])


def _index(town: Town) -> Path:
    return Path(town.app.state.options.data) / "index"


async def test_a_directory_that_is_deleted_under_a_running_server_is_made_again(
    town: Town,
) -> None:
    """What is withdrawn meanwhile is not found for long, and what is new is."""
    old = await _offer(town, "Old")
    await town.indexed()
    shutil.rmtree(_index(town))
    await _offer(town, "New")
    path = f"/v1/offerings/{old}"
    tag = (await town.as_("partner_staff", "GET", path)).headers["etag"]
    withdrawn = await town.as_("partner_staff", "DELETE", path, headers={"If-Match": tag})
    assert withdrawn.status_code == 200, withdrawn.text
    await _soon(town, "New")
    # It is this process's alone again, and the next start finds it.
    assert (_index(town) / "lock").exists()
    assert (_index(town) / "state.json").exists()


async def test_a_database_that_was_put_back_is_followed_by_its_index(town: Town) -> None:
    """No index takes what is older than what it has; so it is built anew."""
    made = await _offer(town, "Old")
    for places in (5, 6, 7):
        await town.change(f"/v1/offerings/{made}", {"capacity": places}, "partner_staff")
    await town.indexed()
    await engine.execute("UPDATE offering SET version = 1 WHERE id = $1", base.as_id(made))
    target = town.app.state.engine
    assert [one.id for one in await comparing.mend(target)] == [made]
    assert await comparing.differences(target) == []
    title = {"zh": "厨房", "en": "Later galley"}
    await town.change(f"/v1/offerings/{made}", {"title": title}, "partner_staff")
    await _soon(town, "Later")
