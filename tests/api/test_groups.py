"""Resident groups: members, and their sessions in one courtyard."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import uuid
from typing import Any

import pytest

from models import base, bookings, engine
from tests.api.test_partners import a_partner
from tests.clocks import Clock
from tests.towns import Town, a_booking, a_space, an_offering, mornings

Json = dict[str, Any]
GROUPS = ("choir", "dance", "knitting", "tai chi", "calligraphy", "chess", "opera", "reading")


async def a_group(town: Town, leader: str = "resident", admitted: bool = True, **o: Any) -> str:
    """The id of a group that a resident leads."""
    body = {**a_partner(town, kind="resident_group", **o), "credentials": []}
    made = await town.make("/v1/partners", body, leader)
    if admitted:
        await town.make(f"/v1/partners/{made['id']}/admit", {}, "operator")
    return str(made["id"])


async def a_courtyard(town: Town, **change: Any) -> str:
    """The old bicycle shed, open every day from 06:00 to 22:00."""
    hours = mornings(days=[1, 2, 3, 4, 5, 6, 7], start="06:00", end="22:00")
    body = a_space(
        town,
        **{
            "title": {"zh": "车棚文化院坝", "en": "Culture courtyard"},
            "availability": [hours],
            **change,
        },
    )
    return str((await town.make("/v1/offerings", body, "secretary"))["id"])


def a_series(space: str, start: str = "19:00", end: str = "20:30", **change: Any) -> Json:
    """Four Mondays in a row, from the first at least two days from now."""
    first = dt.date.fromisoformat(a_booking()["starts_at"][:10])
    return {
        "offering_id": space,
        "windows": [{"days": [1], "start": start, "end": end}],
        "first": str(first),
        "last": str(first + dt.timedelta(days=27)),
        **change,
    }


async def _book(town: Town, group: str, body: Json, who: str = "resident", **o: Any) -> Any:
    return await town.as_(who, "POST", f"/v1/groups/{group}/series", json=body, **o)


async def _live() -> list[tuple[int, int]]:
    rows = await engine.rows(
        f"SELECT b.starts, b.ends FROM booking b WHERE {bookings.LIVE} ORDER BY b.starts"
    )
    return [(starts, ends) for starts, ends in rows]


def _code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code")


# Members


async def test_whoever_asks_is_admitted_by_a_leader_and_leaves_again(town: Town) -> None:
    """A10: membership."""
    group = await a_group(town)
    path = f"/v1/groups/{group}/members"
    assert (await town.as_("anonymous", "POST", path)).status_code == 401
    made = await town.make(path, None, "volunteer")
    volunteer = str(town.accounts["volunteer"])
    assert (made["status"], made["account_id"], made["group_id"]) == ("asked", volunteer, group)
    assert _code(await town.as_("volunteer", "POST", path)) == (409, "wrong_state")
    step = f"{path}/{volunteer}"
    for who, status in (("volunteer", 403), ("secretary", 403), ("resident", 200)):
        assert (await town.as_(who, "POST", f"{step}/admit")).status_code == status
    assert _code(await town.as_("resident", "POST", f"{step}/admit")) == (409, "wrong_state")
    (member,) = (await town.get(f"{path}?status=member", "volunteer"))["items"]
    assert member["account_id"] == volunteer
    assert (await town.make(f"{step}/leave", None, "volunteer"))["status"] == "left"
    assert (await town.as_("volunteer", "GET", path)).status_code == 403
    assert (await town.make(path, None, "volunteer"))["status"] == "asked"
    assert (await town.make(f"{step}/leave", None, "resident"))["status"] == "left"


async def test_nobody_is_a_member_who_never_asked_or_of_what_is_no_admitted_group(
    town: Town,
) -> None:
    group = await a_group(town)
    stranger = town.accounts["vanguard"]
    answer = await town.as_("resident", "POST", f"/v1/groups/{group}/members/{stranger}/admit")
    assert _code(answer) == (404, "not_found")
    for other in (town.partner, await a_group(town, admitted=False)):
        answer = await town.as_("operator", "POST", f"/v1/groups/{other}/members")
        assert _code(answer) == (409, "wrong_state")


async def test_two_concurrent_requests_to_join_are_one_membership(town: Town) -> None:
    group = await a_group(town)
    path = f"/v1/groups/{group}/members"
    answers = await asyncio.gather(*(town.as_("volunteer", "POST", path) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    assert len((await town.get(path, "resident"))["items"]) == 1


async def test_memberships_are_taken_along_and_forgotten_with_the_person(town: Town) -> None:
    group = await a_group(town)
    await town.make(f"/v1/groups/{group}/members", None, "volunteer")
    data = (await town.get("/v1/accounts/current/export", "volunteer"))["data"]
    assert [(m["partner"], m["status"]) for m in data["memberships"]] == [(group, "asked")]
    body = {"password": "open sesame"}
    answer = await town.as_("volunteer", "DELETE", "/v1/accounts/current", json=body)
    assert answer.status_code == 204
    assert (await town.get(f"/v1/groups/{group}/members", "resident"))["items"] == []


# Sessions


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("anonymous", 401),
        ("volunteer", 403),
        ("sibling_secretary", 403),
        ("resident", 201),
        ("grid_worker", 403),
        ("secretary", 201),
        ("partner_staff", 201),
    ],
)
async def test_a_space_is_booked_for_a_group_by_its_leaders_and_the_people_of_the_space(
    town: Town, who: str, status: int
) -> None:
    """A10: members see the sessions, leaders answer for them."""
    group, space = await a_group(town), await a_courtyard(town)
    volunteer = str(town.accounts["volunteer"])
    await town.make(f"/v1/groups/{group}/members", None, "volunteer")
    await town.make(f"/v1/groups/{group}/members/{volunteer}/admit", None, "resident")
    assert (await _book(town, group, a_series(space), who)).status_code == status


async def test_a_series_is_one_booking_for_each_occurrence(town: Town) -> None:
    """A10: weekly windows between two dates; what is left out is left out."""
    group, space = await a_group(town), await a_courtyard(town)
    body = a_series(space)
    skipped = dt.date.fromisoformat(body["first"]) + dt.timedelta(days=7)
    body["windows"][0]["except"] = [str(skipped)]
    key = {"Idempotency-Key": "choir-in-winter"}
    answer = await _book(town, group, body, headers=key)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (await _book(town, group, body, headers=key)).json() == made
    days = [base.moment(session["starts_at"]).date() for session in made["items"]]
    first = dt.date.fromisoformat(body["first"])
    assert days == [first + dt.timedelta(days=7 * week) for week in (0, 2, 3)]
    assert {s["series_id"] for s in made["items"]} == {made["id"]}
    assert {s["group_id"] for s in made["items"]} == {group}
    sessions = (await town.get(f"/v1/groups/{group}/sessions", "resident"))["items"]
    assert sessions == made["items"][::-1]
    # Leaders read their bookings as such, too; so do the people of the space, and nobody else.
    path = f"/v1/bookings/{made['items'][0]['id']}"
    for who in ("resident", "secretary", "partner_staff"):
        assert await town.get(path, who) == made["items"][0]
    assert (await town.as_("volunteer", "GET", path)).status_code == 404
    assert (await town.as_("volunteer", "GET", f"/v1/groups/{group}/sessions")).status_code == 403


async def test_a_series_with_any_date_taken_books_nothing_and_names_every_one(town: Town) -> None:
    """A10: all or none."""
    group, space = await a_group(town), await a_courtyard(town)
    body = a_series(space)
    first = dt.date.fromisoformat(body["first"])
    taken = [first + dt.timedelta(days=7 * week) for week in (1, 3)]
    for day in taken:
        booking = {
            "starts_at": f"{day}T20:00:00+08:00",
            "ends_at": f"{day}T21:00:00+08:00",
        }
        await town.make(f"/v1/offerings/{space}/bookings", booking, "secretary")
    before = await _live()
    answer = await _book(town, group, body)
    assert _code(answer) == (409, "already_booked")
    for day in taken:
        assert f"{day} 12:00–13:00" in answer.json()["detail"]
    assert await _live() == before
    body = a_series(space, "21:00", "22:30")
    answer = await _book(town, group, body)
    assert _code(answer) == (409, "closed_on")
    for week in range(4):
        assert f"{first + dt.timedelta(days=7 * week)} 13:00–14:30" in answer.json()["detail"]
    assert await _live() == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"first": "2020-01-01"}, "first"),
        ({"last": "2020-01-01"}, "last"),
        ({"last": "9999-12-31"}, "last"),
        ({"first": "0001-01-01"}, "first"),
        ({"offering_id": str(uuid.UUID(int=7 << 76 | 1 << 63))}, "offering_id"),
        ({"windows": []}, "windows"),
        ({"windows": [{"days": [1], "start": "19:00", "end": "20:00"}] * 2}, "windows"),
        (
            {"windows": [{"days": [1], "start": "19:00", "end": "20:00", "until": "2020-01-01"}]},
            "windows",
        ),
    ],
)
async def test_what_is_no_series_is_refused_by_its_field(
    town: Town, change: Json, field: str
) -> None:
    group, space = await a_group(town), await a_courtyard(town)
    answer = await _book(town, group, {**a_series(space), **change})
    assert answer.status_code in (400, 422), answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_series_has_at_most_a_session_for_each_day_of_a_year(town: Town) -> None:
    group, space = await a_group(town), await a_courtyard(town)
    body = a_series(space)
    body["last"] = str(dt.date.fromisoformat(body["first"]) + dt.timedelta(days=350))
    hours = [(f"{hour:02}:00", f"{hour:02}:30") for hour in (7, 8)]
    body["windows"] = [
        {"days": [1, 2, 3, 4, 5, 6, 7], "start": start, "end": end} for start, end in hours
    ]
    assert _code(await _book(town, group, body)) == (422, "too_many")
    del body["windows"][1]
    answer = await _book(town, group, body)
    assert (answer.status_code, len(answer.json()["items"])) == (201, 351)


async def test_a_space_is_for_the_groups_of_its_own_community_and_only_spaces_are(
    town: Town,
) -> None:
    """A10."""
    space, far = await a_courtyard(town), await a_group(town, place_id=town.sibling)
    for who in ("resident", "secretary"):
        assert _code(await _book(town, far, a_series(space), who)) == (409, "other_community")
    # A grid is of its community.
    near = await a_group(town, place_id=town.grid)
    assert (await _book(town, near, a_series(space))).status_code == 201
    shop = (await town.make("/v1/offerings", an_offering(town), "secretary"))["id"]
    answer = await _book(town, near, a_series(shop, "07:00", "08:00"))
    assert _code(answer) == (409, "wrong_state")
    applied = await a_group(town, admitted=False)
    answer = await _book(town, applied, a_series(space, "07:00", "08:00"))
    assert _code(answer) == (409, "wrong_state")


async def test_what_is_to_come_of_a_series_is_given_back_by_a_leader(
    town: Town, clock: Clock
) -> None:
    group, space = await a_group(town), await a_courtyard(town)
    made = (await _book(town, group, a_series(space))).json()
    path = f"/v1/groups/{group}/series/{made['id']}/cancel"
    assert (await town.as_("volunteer", "POST", path)).status_code == 403
    other = f"/v1/groups/{await a_group(town)}/series/{made['id']}/cancel"
    assert (await town.as_("resident", "POST", other)).status_code == 404
    one = made["items"][3]["id"]
    assert (await town.make(f"/v1/bookings/{one}/cancel", {}, "resident"))["version"] == 2
    begins = base.moment(made["items"][1]["starts_at"])
    clock.advance(seconds=int((begins - clock.read()).total_seconds()) + 60)
    left = await town.make(path, None, "resident")
    assert [s["status"] for s in left["items"]] == [
        "confirmed",
        "confirmed",
        "cancelled",
        "cancelled",
    ]
    assert _code(await town.as_("resident", "POST", path)) == (409, "wrong_state")


async def test_eight_groups_share_one_courtyard_and_no_two_of_them_an_evening_hour(
    town: Town,
) -> None:
    """A10: eight groups in one space, no double booking."""
    space = await a_courtyard(town)
    groups = [await a_group(town, name={"zh": name, "en": name.title()}) for name in GROUPS]
    for number, group in enumerate(groups):
        start, end = f"{7 + number:02}:00", f"{8 + number:02}:00"
        assert (await _book(town, group, a_series(space, start, end))).status_code == 201
    times = await _live()
    assert len(times) == 32
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))
    for group in groups:
        answer = await _book(town, group, a_series(space, "07:30", "14:30"))
        assert _code(answer) == (409, "already_booked")


async def test_eight_groups_that_book_concurrently_are_never_there_together(town: Town) -> None:
    """A10: all at once, for the same evenings and for others."""
    space = await a_courtyard(town)
    groups = [await a_group(town) for _ in GROUPS]
    same = await asyncio.gather(*(_book(town, group, a_series(space)) for group in groups))
    assert sorted(answer.status_code for answer in same) == [201] + [409] * 7
    others = await asyncio.gather(
        *(
            _book(
                town,
                group,
                a_series(space, f"{7 + n % 4:02}:{n % 3 * 15:02}", f"{8 + n % 4:02}:10"),
            )
            for n, group in enumerate(groups)
        )
    )
    assert {answer.status_code for answer in others} == {201, 409}
    times = await _live()
    assert len(times) == 4 * sum(answer.is_success for answer in (*same, *others))
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))
