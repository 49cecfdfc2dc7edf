"""Spaces as things: site > floor > room, and idle > converting > active."""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import base, bookings, engine, errors, kin, offerings, spaces
from search import gates, promises
from tests.api.test_partners import a_partner
from tests.clocks import Clock
from tests.towns import Town, a_booking, a_need, a_space, mornings

Json = dict[str, Any]


async def a_part(town: Town, level: str, parent: str | None = None, **change: Any) -> str:
    """The id of a space at that level of its tree."""
    made = await town.make("/v1/offerings", a_space(town, **change), "secretary")
    answer = await _place(town, made["id"], level, parent)
    assert answer.status_code == 200, answer.text
    return str(made["id"])


async def a_centre(town: Town) -> tuple[str, str, list[str]]:
    """A site, a floor of it, and two rooms of that."""
    site = await a_part(town, "site", capacity=300)
    floor = await a_part(town, "floor", site, capacity=120)
    return site, floor, [await a_part(town, "room", floor, capacity=40) for _ in range(2)]


async def _place(
    town: Town, space: str, level: str, parent: str | None = None, who: str = "secretary", **o: Any
) -> Any:
    body = {"level": level, "parent_id": parent, **o}
    headers = {"If-Match": "*"}
    return await town.as_(who, "PUT", f"/v1/offerings/{space}/space", json=body, headers=headers)


async def _book(town: Town, space: str, start: str = "06:30", end: str = "09:00", **o: Any) -> Any:
    path = f"/v1/offerings/{space}/bookings"
    return await town.as_("secretary", "POST", path, json=a_booking(start, end, **o))


async def _capacity(town: Town, space: str, capacity: int | None, who: str = "secretary") -> Any:
    return await town.as_(
        who,
        "PATCH",
        f"/v1/offerings/{space}",
        json={"capacity": capacity},
        headers={"If-Match": "*"},
    )


async def _convert(town: Town, space: str, condition: str, reason: str = "other") -> Any:
    body = {"condition": condition, "reason": reason}
    return await town.as_("secretary", "POST", f"/v1/offerings/{space}/condition", json=body)


def _code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code")


# The tree


@pytest.mark.parametrize(
    ("who", "status"), [("anonymous", 401), ("resident", 403), ("sibling_secretary", 403)]
)
async def test_where_a_space_stands_is_said_by_its_own_people(
    town: Town, who: str, status: int
) -> None:
    space = await a_part(town, "site")
    assert (await _place(town, space, "room", who=who)).status_code == status
    assert (await _place(town, space, "room", who="partner_staff")).status_code == 200


async def test_a_space_says_its_level_parent_and_area_and_has_a_new_version(town: Town) -> None:
    floor = await a_part(town, "floor")
    made = await town.make("/v1/offerings", a_space(town), "secretary")
    answer = await _place(town, made["id"], "room", floor, area_m2=36)
    assert answer.json() == {
        "offering_id": made["id"],
        "level": "room",
        "parent_id": floor,
        "area_m2": 36,
        "version": made["version"] + 1,
    }
    assert answer.headers["etag"] == '"2"'
    stale = await town.as_(
        "secretary",
        "PUT",
        f"/v1/offerings/{made['id']}/space",
        json={"level": "room"},
        headers={"If-Match": '"1"'},
    )
    assert stale.status_code == 412


async def test_a_space_is_part_of_a_larger_one_of_the_same_partner_and_place_only(
    town: Town,
) -> None:
    site, floor, (room, other) = await a_centre(town)
    idle = str((await town.make("/v1/offerings", a_space(town), "secretary"))["id"])
    elsewhere = await a_part(town, "floor", place_id=town.grid)
    foreign = await town.make("/v1/partners", a_partner(town), "secretary")
    theirs = await a_part(town, "floor", partner_id=foreign["id"])
    missing = str(uuid.UUID(int=7 << 76 | 1 << 63))
    for parent in (other, idle, elsewhere, theirs, missing, room):
        answer = await _place(town, room, "room", parent)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"] == "parent_id"
        assert answer.json()["errors"][0]["code"] == "wrong_parent"
    answer = await _place(town, elsewhere, "room", elsewhere)
    assert answer.json()["errors"][0]["code"] == "wrong_parent"
    # A floor is no room while it has rooms, and a site no part of its own floor.
    assert _code(await _place(town, floor, "room", site)) == (400, "invalid")
    assert _code(await _place(town, site, "floor", floor)) == (422, "unprocessable")
    assert (await _place(town, room, "room", site)).status_code == 200
    shop = await town.make("/v1/offerings", a_space(town, kind="goods"), "secretary")
    assert _code(await _place(town, shop["id"], "room")) == (409, "wrong_state")


async def test_a_room_holds_no_more_than_its_floor_and_a_floor_no_more_than_its_site(
    town: Town,
) -> None:
    """A4: room capacity never exceeds its floor's, also when either is changed later."""
    site, floor, (room, _) = await a_centre(town)
    for space, wrong, right in ((room, 121, 120), (floor, 301, 300), (site, 119, 300)):
        answer = await _capacity(town, space, wrong)
        assert _code(answer) == (409, "over_capacity"), answer.text
        assert (await _capacity(town, space, right)).status_code == 200
    assert _code(await _capacity(town, floor, 119)) == (409, "over_capacity")
    # Who says no number holds any number.
    assert _code(await _capacity(town, room, None)) == (409, "over_capacity")
    assert (await _capacity(town, site, None)).status_code == 200
    assert (await _capacity(town, floor, 5_000)).status_code == 200
    large = str((await town.make("/v1/offerings", a_space(town, capacity=5_001)))["id"])
    assert _code(await _place(town, large, "room", floor)) == (409, "over_capacity")
    assert (await _place(town, large, "room")).status_code == 200


async def test_concurrent_changes_of_capacity_never_make_a_room_larger_than_its_floor(
    town: Town,
) -> None:
    """A4: two at once."""
    for low in range(50, 55):
        floor = await a_part(town, "floor", capacity=100)
        room = await a_part(town, "room", floor, capacity=low)
        both = await asyncio.gather(
            _capacity(town, room, 90), _capacity(town, floor, low, "partner_staff")
        )
        assert sorted(answer.status_code for answer in both) == [200, 409]
        held = {(await town.get(f"/v1/offerings/{space}"))["capacity"] for space in (room, floor)}
        assert held in ({90, 100}, {low})


# Bookings along the tree


async def test_a_floor_and_its_rooms_are_never_in_use_at_once(town: Town) -> None:
    """A1, A4: booking the whole takes its parts, and the other way round."""
    site, floor, (room, other) = await a_centre(town)
    assert (await _book(town, room, "06:30", "07:30")).status_code == 201
    assert (await _book(town, other, "07:00", "08:00")).status_code == 201
    for whole in (floor, site):
        answer = await _book(town, whole, "07:15", "09:00")
        assert _code(answer) == (409, "already_booked")
        assert "22:30–23:30" in answer.json()["detail"]
        assert "23:00–00:00" in answer.json()["detail"]
    made = await _book(town, site, "08:00", "09:00")
    assert made.status_code == 201
    for part in (floor, room, other):
        assert _code(await _book(town, part, "08:59", "09:30")) == (409, "already_booked")
    await town.make(f"/v1/bookings/{made.json()['id']}/cancel", {}, "secretary")
    assert (await _book(town, room, "08:59", "09:30")).status_code == 201


async def test_a_hold_of_a_room_that_is_over_frees_its_floor_and_is_not_confirmed_any_more(
    town: Town, clock: Clock
) -> None:
    _, floor, (room, _) = await a_centre(town)
    held = (await _book(town, room, hold_s=600)).json()
    assert (await _book(town, floor)).status_code == 409
    clock.advance(minutes=10)
    assert (await _book(town, floor)).status_code == 201
    assert (await town.get(f"/v1/bookings/{held['id']}", "secretary"))["status"] == "expired"


async def test_a_space_with_bookings_at_the_same_time_is_no_part_of_another(town: Town) -> None:
    floor = await a_part(town, "floor", capacity=120)
    room = await a_part(town, "room", capacity=40)
    assert (await _book(town, room)).status_code == 201
    made = (await _book(town, floor, "08:59", "09:30")).json()
    answer = await _place(town, room, "room", floor)
    assert _code(answer) == (409, "already_booked")
    await town.make(f"/v1/bookings/{made['id']}/cancel", {}, "secretary")
    assert (await _place(town, room, "room", floor)).status_code == 200
    assert _code(await _book(town, floor)) == (409, "already_booked")
    assert (await _place(town, room, "room")).status_code == 200
    assert (await _book(town, floor)).status_code == 201


async def test_a_floor_that_moves_takes_its_rooms_along(town: Town) -> None:
    site, floor, (room, _) = await a_centre(town)
    other = await a_part(town, "site", capacity=500)
    assert (await _place(town, floor, "floor", other)).status_code == 200
    assert (await _book(town, other)).status_code == 201
    assert _code(await _book(town, room)) == (409, "already_booked")
    assert (await _book(town, site)).status_code == 201


async def test_concurrent_bookings_of_a_floor_and_its_rooms_are_of_the_one_or_the_others(
    town: Town,
) -> None:
    """A4: enforced under locks."""
    site, floor, rooms = await a_centre(town)
    for start, end in itertools.pairwise(("06:00", "07:00", "08:00", "09:00")):
        asked = [site, floor, *rooms] * 4
        random.Random(start).shuffle(asked)
        answers = await asyncio.gather(*(_book(town, space, start, end) for space in asked))
        won = sorted(space for space, a in zip(asked, answers, strict=True) if a.is_success)
        assert won in ([site], [floor], sorted(rooms)), [a.text for a in answers]
        assert {a.status_code for a in answers} == {201, 409}


async def test_a_concurrent_move_and_booking_leave_no_two_bookings_at_once(town: Town) -> None:
    for _ in range(5):
        floor = await a_part(town, "floor", capacity=120)
        room = await a_part(town, "room", capacity=40)
        answers = await asyncio.gather(
            _book(town, room), _place(town, room, "room", floor), _book(town, floor)
        )
        assert {a.status_code for a in answers} <= {200, 201, 409}, [a.text for a in answers]
        assert await _clashes() == []


async def _clashes() -> list[tuple[Any, ...]]:
    """Live bookings of kin at the same time."""
    return await engine.rows(
        "SELECT b.id, other.id FROM booking b JOIN space_kin k ON k.offering = b.offering"
        " JOIN booking other ON other.offering = k.relative AND other.starts < b.ends"
        " AND other.ends > b.starts AND other.status IN ('held', 'confirmed')"
        f" WHERE {bookings.LIVE}"
    )


async def _kinship() -> set[tuple[str, str]]:
    """Which space lies in which, worked out from the parents."""
    rows = await engine.rows("SELECT offering, parent FROM space")
    parents = {str(space): str(parent) for space, parent in rows if parent}
    found = set()
    for space in parents:
        above: str | None = parents[space]
        while above:
            found |= {(space, above), (above, space)}
            above = parents.get(above)
    return found


async def test_random_concurrent_moves_and_bookings_keep_every_tree_in_order(town: Town) -> None:
    """A4: no cycle, three levels, kin as the parents say, nothing used twice."""
    chance = random.Random(4)
    account = town.accounts["secretary"]
    levels: dict[str, kin.Level] = {}
    for level, capacity in (("site", 300), ("floor", 120), ("room", 40)) * 3:
        made = await a_part(town, level, capacity=capacity)
        levels[made] = level  # type: ignore[assignment]
    ids = list(levels)
    codes: set[str] = set()

    async def one() -> None:
        offering = await offerings.read(uuid.UUID(chance.choice(ids)))
        try:
            if chance.random() < 0.5:
                parent = uuid.UUID(chance.choice(ids)) if chance.random() < 0.8 else None
                draft = spaces.SpaceDraft(level=levels[str(offering.id)], parent_id=parent)
                await spaces.place(offering, draft)
            else:
                hour = chance.randrange(6, 10)
                body = a_booking(f"{hour:02}:00", f"{hour:02}:{chance.choice((15, 30, 59))}")
                draft_ = base.record(body, bookings.BookingDraft)
                made = await bookings.book(offering, draft_, account)
                if chance.random() < 0.5:
                    await bookings.cancel(made)
        except errors.Refusal as refused:
            codes.add(refused.code)

    for _ in range(6):
        await asyncio.gather(*(one() for _ in range(15)))
        rows = await engine.rows("SELECT offering, relative FROM space_kin")
        assert {(str(space), str(relative)) for space, relative in rows} == await _kinship()
        assert await _clashes() == []
    assert {"already_booked", "unprocessable"} <= codes


# Matching


async def _fits(town: Town, need: Json | None = None) -> list[str]:
    need = need or a_need(town, slots=[{"role": "room", "kind": "space"}])
    answer = await town.as_("secretary", "POST", "/v1/needs/preview?include=excluded", json=need)
    return sorted(m["offering"]["id"] for m in answer.json()["slots"][0]["matches"])


async def test_a_room_is_not_matched_while_its_floor_is_booked_and_the_other_way_round(
    town: Town,
) -> None:
    """X1, X3: bookings of kin are in the way, and named."""
    _, floor, (room, other) = await a_centre(town)
    alone = await a_part(town, "room")
    site = a_need(town, slots=[{"role": "room", "kind": "space", "min_capacity": 120}])
    assert len(await _fits(town)) == 5
    made = (await _book(town, floor)).json()
    assert await _fits(town) == [alone]
    await town.make(f"/v1/bookings/{made['id']}/cancel", {}, "secretary")
    await _book(town, room, "06:30", "08:00")
    await _book(town, other, "07:00", "07:30")
    assert await _fits(town) == [alone]
    answer = await town.as_("secretary", "POST", "/v1/needs/preview?include=excluded", json=site)
    excluded = {out["offering"]["id"]: out for out in answer.json()["slots"][0]["excluded"]}
    assert [because["gate"] for because in excluded[floor]["because"]] == ["time"]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20))))
def test_times_of_kin_that_overlap_are_taken_once(times: list[tuple[int, int]]) -> None:
    taken = [bookings.Time(start, start + length, 1) for start, length in sorted(times)]
    facts = gates.OfferingFacts(id="", version=0, kind="space", partner="")
    busy = promises.kept(facts, taken).busy
    assert {m for time in taken for m in range(time.starts, time.ends)} == {
        m for start, end in busy for m in range(start, end)
    }
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(busy))


def test_what_kin_are_booked_for_is_no_work_of_the_space_itself() -> None:
    facts = gates.OfferingFacts(id="", version=0, kind="space", partner="")
    kept = promises.kept(facts, [bookings.Time(0, 60, 1), bookings.Time(90, 200, 0)])
    assert (kept.committed_minutes_week, kept.contacts_week) == (60, 1)
    assert kept.busy == ((0, 60), (90, 200))


# Condition


async def test_an_idle_space_is_converted_comes_into_use_and_leaves_a_history(
    town: Town, clock: Clock
) -> None:
    """A1: idle to active leaves history; what is not active is neither matched nor booked."""
    space = await a_part(town, "room")
    expected = []
    for before, condition, reason in (
        ("active", "idle", "vacated"),
        ("idle", "converting", "works_begun"),
        ("converting", "active", "works_done"),
    ):
        clock.advance(minutes=1)
        answer = await _convert(town, space, condition, reason)
        assert answer.status_code == 201, answer.text
        expected.append((before, condition, reason, str(town.accounts["secretary"])))
        on_offer = condition == "active"
        status = (await town.get(f"/v1/offerings/{space}", "secretary"))["status"]
        assert status == condition
        assert await _fits(town) == ([space] if on_offer else [])
        booked = await _book(town, space)
        assert booked.status_code == (201 if on_offer else 409), booked.text
    found = (await town.get(f"/v1/offerings/{space}/history", "partner_staff"))["items"]
    changes = [(c["before"], c["condition"], c["reason"], c["by"]) for c in reversed(found)]
    assert changes == expected
    times = [c["at"] for c in reversed(found)]
    assert times == sorted(set(times))
    answer = await town.as_("resident", "GET", f"/v1/offerings/{space}/history")
    assert answer.status_code == 403


async def test_why_not_names_the_condition_of_a_space(town: Town) -> None:
    """X3."""
    space = await a_part(town, "room")
    await _convert(town, space, "idle")
    need = a_need(town, slots=[{"role": "room", "kind": "space"}])
    answer = await town.as_("secretary", "POST", "/v1/needs/preview?include=excluded", json=need)
    (out,) = answer.json()["slots"][0]["excluded"]
    because = out["because"][0]
    assert (because["gate"], because["has"], because["needed"]) == ("status", "idle", "active")


async def test_a_space_skips_no_step_and_is_not_put_on_offer_around_its_condition(
    town: Town,
) -> None:
    space = await a_part(town, "room", status="draft")
    assert _code(await _convert(town, space, "active")) == (409, "wrong_state")
    assert (await _convert(town, space, "idle")).status_code == 201
    for wrong in ("active", "idle"):
        assert _code(await _convert(town, space, wrong)) == (409, "wrong_state")
    answer = await town.as_(
        "secretary",
        "PATCH",
        f"/v1/offerings/{space}",
        json={"status": "active"},
        headers={"If-Match": "*"},
    )
    assert _code(answer) == (409, "wrong_state")
    # What else is said of it may change.
    await town.change(f"/v1/offerings/{space}", {"features": ["water"]}, "secretary")
    assert (await town.get(f"/v1/offerings/{space}", "secretary"))["status"] == "idle"
    shop = await town.make("/v1/offerings", a_space(town, kind="goods"), "secretary")
    assert _code(await _convert(town, shop["id"], "idle")) == (409, "wrong_state")


async def test_a_space_with_bookings_to_come_stays_in_use_and_names_them(town: Town) -> None:
    space = await a_part(town, "room")
    made = (await _book(town, space)).json()
    answer = await _convert(town, space, "converting")
    assert _code(answer) == (409, "booked_ahead")
    assert "22:30–01:00" in answer.json()["detail"]
    await town.make(f"/v1/bookings/{made['id']}/cancel", {}, "secretary")
    assert (await _convert(town, space, "converting")).status_code == 201


async def test_a_concurrent_booking_and_end_of_use_are_one_or_the_other(town: Town) -> None:
    for _ in range(5):
        space = await a_part(town, "room")
        booked, left = await asyncio.gather(_book(town, space), _convert(town, space, "idle"))
        assert (booked.is_success, left.is_success) in ((True, False), (False, True)), left.text


# Services by time, and the site


async def test_three_services_share_one_space_at_different_hours(town: Town) -> None:
    """A1: an overlapping use is 409."""
    space = await a_part(town, "room", availability=[mornings(start="06:00", end="20:00")])
    shares = (
        ("breakfast_point", "06:30", "09:00"),
        ("daily_necessities", "09:00", "12:00"),
        ("fresh_produce", "15:00", "18:00"),
    )
    for service, start, end in shares:
        need = await town.make("/v1/needs", a_need(town, service_type=service))
        answer = await _book(town, space, start, end, need_id=need["id"])
        assert answer.status_code == 201, answer.text
    answer = await _book(town, space, "08:30", "09:30")
    assert _code(answer) == (409, "already_booked")


async def test_a_site_shows_its_spaces_and_who_uses_them_now_and_next(
    town: Town, clock: Clock
) -> None:
    """A4: the site shows its live services."""
    site, floor, (room, other) = await a_centre(town)
    need = (await town.make("/v1/needs", a_need(town)))["id"]
    draft = (await town.make("/v1/needs", a_need(town, status="draft")))["id"]
    await _book(town, room, "06:30", "07:30", need_id=need)
    await _book(town, room, "08:00", "09:00", need_id=draft)
    await _book(town, other, "08:00", "09:00", hold_s=604_800)
    begins, later = (base.moment(a_booking(at)["starts_at"]) for at in ("06:30", "08:00"))
    clock.advance(seconds=int((begins - clock.read()).total_seconds()) + 600)
    for asked in (site, floor, room):
        found = await town.get(f"/v1/offerings/{asked}/site", "secretary")
        parts = {space["offering_id"]: space for space in found["spaces"]}
        assert [space["level"] for space in found["spaces"]] == ["site", "floor", "room", "room"]
        assert [parts[one]["parent_id"] for one in (site, floor, room)] == [None, site, floor]
        assert parts[room]["now"]["service_type"] == "breakfast_point"
        assert base.moment(parts[room]["next"]["starts_at"]) == later
        assert (parts[site]["now"], parts[floor]["next"]) == (None, None)
        # What is only held is no service yet.
        assert parts[other]["next"] is None
    # Whose need is not everybody's to know, for that only the time is.
    theirs = {one["offering_id"]: one for one in found["spaces"]}
    assert theirs[room]["next"]["service_type"] == "breakfast_point"
    found = await town.get(f"/v1/offerings/{site}/site")
    public = {space["offering_id"]: space for space in found["spaces"]}
    assert public[room]["now"]["service_type"] == "breakfast_point"
    assert public[room]["next"]["service_type"] is None


async def test_a_site_leaves_out_what_the_caller_may_not_see(town: Town) -> None:
    _, floor, (room, _) = await a_centre(town)
    await town.change(f"/v1/offerings/{floor}", {"status": "paused"}, "secretary")
    found = (await town.get(f"/v1/offerings/{room}/site"))["spaces"]
    assert floor not in [space["offering_id"] for space in found]
    assert [s["parent_id"] for s in found if s["offering_id"] == room] == [None]
    assert (await town.as_("anonymous", "GET", f"/v1/offerings/{floor}/site")).status_code == 404
    shop = await town.make("/v1/offerings", a_space(town, kind="goods"), "secretary")
    answer = await town.as_("anonymous", "GET", f"/v1/offerings/{shop['id']}/site")
    assert answer.status_code == 404
