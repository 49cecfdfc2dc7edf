"""Reviews over HTTP: both sides speak, and neither reads the other's before."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from models import agreements, reviews
from tests.clocks import Clock
from tests.serving import (
    Json,
    a_morning,
    a_resident,
    a_volunteer,
    agreed,
    commitment,
    occurrences,
    serve,
    until,
)
from tests.towns import PASSWORD, Town


async def _completed(town: Town, clock: Clock) -> tuple[Json, Json, str, str]:
    """An agreement that is over, its volunteer, and the community's and the volunteer's party."""
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"helper": "volunteer"})
    agreement = await agreed(town, need, {"helper": helper}, days=1)
    (only,) = await occurrences(town, agreement)
    await serve(town, clock, only, {"volunteer": commitment(agreement, helper)})
    until(clock, only["ends_at"], 24 * 60)
    await agreements.tick()
    assert (await _state(town, agreement)) == "completed"
    return agreement, helper, *_parties(agreement)


def _parties(agreement: Json) -> tuple[str, str]:
    by = {party["partner_id"] is None: party["id"] for party in agreement["parties"]}
    return by[True], by[False]


async def _state(town: Town, agreement: Json) -> str:
    return str((await town.get(f"/v1/agreements/{agreement['id']}", "secretary"))["state"])


async def _write(town: Town, agreement: Json, who: str, **body: Any) -> Any:
    path = f"/v1/agreements/{agreement['id']}/reviews"
    return await town.as_(who, "POST", path, json={"stars": 5, **body})


async def _read(town: Town, agreement: Json, who: str) -> list[tuple[int, str]]:
    items = (await town.get(f"/v1/agreements/{agreement['id']}/reviews", who))["items"]
    return [(one["stars"], one["text"]) for one in items]


async def _rating(town: Town, offering: Json) -> tuple[int, float | None]:
    record = (await town.get(f"/v1/offerings/{offering['id']}"))["record"]
    return record["ratings"], record["rating"]


async def test_nobody_reads_the_others_review_before_both_have_written(
    town: Town, clock: Clock
) -> None:
    agreement, helper, community, volunteer = await _completed(town, clock)
    made = await _write(town, agreement, "secretary", about=volunteer, stars=4, text="准时")
    assert made.status_code == 201, made.text
    assert (made.json()["author"], made.json()["shown_at"]) == (community, None)
    assert await _read(town, agreement, "secretary") == [(4, "准时")]
    for who in ("volunteer", "grid_worker"):
        answer = await town.as_(who, "GET", f"/v1/agreements/{agreement['id']}/reviews")
        assert answer.status_code == 404 or answer.json()["items"] == []
    assert await _rating(town, helper) == (0, None)
    answer = await _write(town, agreement, "volunteer", about=community, text="Friendly")
    assert answer.status_code == 201
    assert answer.json()["shown_at"]
    for who in ("secretary", "volunteer", "officer"):
        assert await _read(town, agreement, who) == [(5, "Friendly"), (4, "准时")]
    assert await _rating(town, helper) == (1, 4.0)
    # The last side has spoken, so it is over at once.
    assert await _state(town, agreement) == "reviewed"
    again = await _write(town, agreement, "secretary", about=volunteer)
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    await town.indexed()
    found = (await town.get("/v1/search?sort=rating&kind=volunteer"))["items"]
    assert [(one["id"], one["rating"]) for one in found][:1] == [(helper["id"], 4.0)]


async def test_after_seven_days_what_was_said_is_shown_and_nothing_more_is_taken(
    town: Town, clock: Clock
) -> None:
    agreement, helper, community, volunteer = await _completed(town, clock)
    await _write(town, agreement, "secretary", about=volunteer, stars=2)
    clock.advance(days=7, seconds=-1)
    await agreements.tick()
    await reviews.tick()
    assert await _read(town, agreement, "volunteer") == []
    clock.advance(seconds=1)
    late = await _write(town, agreement, "volunteer", about=community)
    assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
    await reviews.tick()
    await agreements.tick()
    assert await _read(town, agreement, "volunteer") == [(2, "")]
    assert await _rating(town, helper) == (1, 2.0)
    assert await _state(town, agreement) == "reviewed"
    assert await reviews.tick() == 0


async def test_an_early_end_is_reviewed_too_and_nothing_before_the_end(
    town: Town, clock: Clock
) -> None:
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"helper": "volunteer"})
    agreement = await agreed(town, need, {"helper": helper})
    community, volunteer = _parties(agreement)
    early = await _write(town, agreement, "secretary", about=volunteer)
    assert (early.status_code, early.json()["code"]) == (409, "wrong_state")
    await town.make(f"/v1/agreements/{agreement['id']}/end", {"reason": "quality"})
    assert (await _write(town, agreement, "secretary", about=volunteer, stars=1)).status_code == 201
    assert (await _write(town, agreement, "volunteer", about=community)).status_code == 201
    assert await _rating(town, helper) == (1, 1.0)
    assert await _state(town, agreement) == "ended"


@pytest.mark.parametrize(
    ("who", "about", "status"),
    [
        ("anonymous", "volunteer", 401),
        ("resident", "volunteer", 404),
        ("volunteer", "volunteer", 422),
        ("secretary", "community", 422),
        ("secretary", "nobody", 422),
        ("operator", "volunteer", 201),
    ],
)
async def test_only_a_party_speaks_and_not_of_itself(
    town: Town, clock: Clock, who: str, about: str, status: int
) -> None:
    agreement, _, community, volunteer = await _completed(town, clock)
    ids = {"community": community, "volunteer": volunteer, "nobody": str(uuid.uuid4())}
    answer = await _write(town, agreement, who, about=ids[about])
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("body", [{"stars": 0}, {"stars": 6}, {"text": "x" * 1001}, {"text": "\0"}])
async def test_stars_are_one_to_five_and_texts_short(town: Town, clock: Clock, body: Json) -> None:
    agreement, _, _, volunteer = await _completed(town, clock)
    answer = await _write(town, agreement, "secretary", about=volunteer, **body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == list(body)


async def test_two_sides_that_write_concurrently_are_both_shown_and_counted_once(
    town: Town, clock: Clock
) -> None:
    agreement, helper, community, volunteer = await _completed(town, clock)
    sides = [("secretary", volunteer), ("volunteer", community)] * 4
    answers = await asyncio.gather(
        *(_write(town, agreement, who, about=about) for who, about in sides)
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [409] * 6
    assert len(await _read(town, agreement, "volunteer")) == 2
    assert await _rating(town, helper) == (1, 5.0)
    assert await _state(town, agreement) == "reviewed"


async def test_who_is_forgotten_is_quoted_no_more(town: Town, clock: Clock) -> None:
    agreement, _, community, volunteer = await _completed(town, clock)
    await _write(town, agreement, "secretary", about=volunteer, text="张阿姨很好")
    await _write(town, agreement, "volunteer", about=community, text="我住在三号楼")
    data = (await town.get("/v1/accounts/current/export", "volunteer"))["data"]
    assert [row["text"] for row in data["reviews"]] == ["我住在三号楼"]
    answer = await town.as_(
        "volunteer", "DELETE", "/v1/accounts/current", json={"password": PASSWORD}
    )
    assert answer.status_code == 204
    assert await _read(town, agreement, "secretary") == [(5, ""), (5, "")]
