"""Tasks: what the staff of a place have to do."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from models import tasks, values
from tests.clocks import Clock
from tests.towns import Town

TITLE = values.Bilingual("检查消防通道", "Look at the fire exits")


async def _task(town: Town, place: str | None = None, subject: uuid.UUID | None = None) -> str:
    made = await tasks.raise_(
        "inspection", subject or uuid.uuid4(), place=uuid.UUID(place or town.community), title=TITLE
    )
    return str(made)


@pytest.mark.parametrize("who", ["anonymous", "resident", "partner_staff", "sibling_secretary"])
async def test_a_task_is_for_the_staff_of_its_place(town: Town, who: str) -> None:
    task = await _task(town)
    for method, path in (("GET", ""), ("POST", "/done"), ("POST", "/drop")):
        answer = await town.as_(who, method, f"/v1/tasks/{task}{path}")
        assert answer.status_code == (401 if who == "anonymous" else 404)
    if who != "anonymous":
        assert (await town.get("/v1/tasks", who))["items"] == []


async def test_a_task_is_closed_once_by_somebody_who_is_named(town: Town, clock: Clock) -> None:
    one, other = await _task(town), await _task(town)
    done = await town.make(f"/v1/tasks/{one}/done", {}, "secretary")
    assert (done["status"], done["closed_by"]) == ("done", str(town.accounts["secretary"]))
    assert done["title"] == {"zh": TITLE.zh, "en": TITLE.en}
    assert (await town.make(f"/v1/tasks/{other}/drop", {}, "officer"))["status"] == "dropped"
    for task in (one, other):
        answer = await town.as_("secretary", "POST", f"/v1/tasks/{task}/done")
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")


async def test_tasks_are_listed_by_status_and_place(town: Town) -> None:
    here, there = await _task(town), await _task(town, town.sibling)
    await town.make(f"/v1/tasks/{here}/done", {}, "secretary")

    async def ids(query: str) -> list[str]:
        items = (await town.get(f"/v1/tasks?{query}", "officer"))["items"]
        return [item["id"] for item in items]

    assert await ids("") == [there, here]
    assert await ids("status=open") == [there]
    assert await ids(f"within={town.community}") == [here]
    assert await ids(f"within={town.elsewhere}") == []


async def test_a_task_raised_again_while_it_is_open_is_brought_up_to_date(town: Town) -> None:
    subject = uuid.uuid4()
    first = await _task(town, subject=subject)
    assert await _task(town, subject=subject) == first
    assert (await town.get(f"/v1/tasks/{first}", "secretary"))["version"] == 2
    await town.make(f"/v1/tasks/{first}/done", {}, "secretary")
    assert await _task(town, subject=subject) != first


async def test_tasks_raised_concurrently_for_one_subject_are_one(town: Town) -> None:
    subject = uuid.uuid4()
    made = await asyncio.gather(*(_task(town, subject=subject) for _ in range(8)))
    assert len(set(made)) == 1
