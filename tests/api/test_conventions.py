"""ETags, conditional requests, idempotency, pages, sparse fields: the same on every resource."""

from __future__ import annotations

import asyncio
import datetime as dt

from models import answers, base, engine
from tests.towns import Town, a_need, an_offering


async def test_a_read_answers_304_to_whoever_has_it_already(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    first = await town.as_("anonymous", "GET", f"/v1/needs/{need['id']}")
    again = await town.as_(
        "anonymous",
        "GET",
        f"/v1/needs/{need['id']}",
        headers={"If-None-Match": first.headers["etag"]},
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_a_list_answers_304_until_something_in_it_changes(town: Town) -> None:
    await town.make("/v1/needs", a_need(town))
    tag = (await town.as_("anonymous", "GET", "/v1/needs")).headers["etag"]
    headers = {"If-None-Match": tag}
    assert (await town.as_("anonymous", "GET", "/v1/needs", headers=headers)).status_code == 304
    await town.make("/v1/needs", a_need(town))
    assert (await town.as_("anonymous", "GET", "/v1/needs", headers=headers)).status_code == 200


async def test_a_change_must_say_which_version_it_changes(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    path = f"/v1/needs/{need['id']}"
    answer = await town.as_("secretary", "PATCH", path, json={"beneficiaries": 70})
    assert answer.status_code == 428
    answer = await town.as_(
        "secretary", "PATCH", path, json={"beneficiaries": 70}, headers={"If-Match": '"7"'}
    )
    assert answer.status_code == 412
    changed = await town.change(path, {"beneficiaries": 70})
    assert (changed["beneficiaries"], changed["version"]) == (70, 2)
    assert (await town.get(path))["beneficiaries"] == 70


async def test_of_concurrent_changes_to_one_version_exactly_one_wins(town: Town) -> None:
    """X6."""
    need = await town.make("/v1/needs", a_need(town))
    path = f"/v1/needs/{need['id']}"
    answers = await asyncio.gather(
        *(
            town.as_(
                "secretary",
                "PATCH",
                path,
                json={"beneficiaries": 100 + number},
                headers={"If-Match": '"1"'},
            )
            for number in range(100)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 99


async def test_a_patch_changes_only_what_it_names_and_null_clears(town: Town) -> None:
    offering = await town.make("/v1/offerings", an_offering(town), "partner_staff")
    path = f"/v1/offerings/{offering['id']}"
    changed = await town.change(path, {"capacity": None, "reach_m": 500}, "partner_staff")
    assert (changed["capacity"], changed["reach_m"]) == (None, 500)
    assert changed["title"] == offering["title"]
    assert changed["availability"] == offering["availability"]


async def test_a_repeated_post_with_one_key_happens_once(town: Town) -> None:
    headers = {"Idempotency-Key": "breakfast-1"}
    answers = [
        await town.as_("secretary", "POST", "/v1/needs", json=a_need(town), headers=headers)
        for _ in range(3)
    ]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len((await town.get("/v1/needs"))["items"]) == 1


async def test_concurrent_posts_with_one_key_happen_once(town: Town) -> None:
    """X6."""
    headers = {"Idempotency-Key": "breakfast-2"}
    answers = await asyncio.gather(
        *(
            town.as_("secretary", "POST", "/v1/needs", json=a_need(town), headers=headers)
            for _ in range(200)
        )
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len((await town.get("/v1/needs"))["items"]) == 1


async def test_a_key_is_refused_for_another_payload(town: Town) -> None:
    headers = {"Idempotency-Key": "breakfast-3"}
    await town.as_("secretary", "POST", "/v1/needs", json=a_need(town), headers=headers)
    other = a_need(town, beneficiaries=61)
    answer = await town.as_("secretary", "POST", "/v1/needs", json=other, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")


async def test_a_key_of_a_refused_request_may_be_used_again(town: Town) -> None:
    headers = {"Idempotency-Key": "breakfast-4"}
    bad = a_need(town, service_type="time_travel")
    refused = await town.as_("secretary", "POST", "/v1/needs", json=bad, headers=headers)
    assert refused.status_code == 422
    answer = await town.as_("secretary", "POST", "/v1/needs", json=a_need(town), headers=headers)
    assert answer.status_code == 201


async def test_a_key_is_forgotten_after_seven_days(town: Town) -> None:
    headers = {"Idempotency-Key": "breakfast-6"}
    first = await town.as_("secretary", "POST", "/v1/needs", json=a_need(town), headers=headers)
    before = base.now() - answers.KEPT_FOR - dt.timedelta(minutes=1)
    await engine.execute("UPDATE answer SET created_at = $1", before)
    other = a_need(town, beneficiaries=7)
    for _ in range(2):
        again = await town.as_("secretary", "POST", "/v1/needs", json=other, headers=headers)
        assert (again.status_code, again.json()["beneficiaries"]) == (201, 7)
    assert first.json()["id"] != again.json()["id"]
    assert len((await town.get("/v1/needs"))["items"]) == 2


async def test_one_key_of_two_callers_is_two_keys(town: Town) -> None:
    headers = {"Idempotency-Key": "breakfast-5"}
    for who in ("secretary", "officer"):
        answer = await town.as_(who, "POST", "/v1/needs", json=a_need(town), headers=headers)
        assert answer.status_code == 201
    assert len((await town.get("/v1/needs"))["items"]) == 2


async def test_pages_hold_everything_once_newest_first(town: Town) -> None:
    made = [(await town.make("/v1/needs", a_need(town)))["id"] for _ in range(7)]
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        suffix = f"&cursor={cursor}" if cursor else ""
        page = await town.get(f"/v1/needs?limit=3{suffix}")
        seen += [item["id"] for item in page["items"]]
        cursor, pages = page["next"], pages + 1
    assert seen == made[::-1]
    assert pages == 3


async def test_sparse_fields_leave_only_what_was_asked_for(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    read = await town.get(f"/v1/needs/{need['id']}?fields=title,status")
    assert read == {"id": need["id"], "title": need["title"], "status": "open"}
    page = await town.get("/v1/needs?fields=status")
    assert page["items"] == [{"id": need["id"], "status": "open"}]


async def test_every_change_leaves_one_row_in_the_outbox_until_the_index_has_it(
    town: Town,
) -> None:
    need = await town.make("/v1/needs", a_need(town))
    await town.indexed()
    assert await engine.fetch("SELECT * FROM outbox") == []
    found = await town.get("/v1/search?q=dawn")
    assert [item["id"] for item in found["items"]] == [need["id"]]
