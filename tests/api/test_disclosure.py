"""Homes, contacts and licence numbers over HTTP: who sees what, in lists, search and ranking."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest

from models import base, disclosure, values
from tests.towns import Town, a_need, a_point, an_offering

# Two homes at opposite corners of one cell, 500 m apart, and the point everybody is told.
SOUTH, WEST = 29_569_500, 106_551_000
HOMES = [
    {"lat": (SOUTH + 3) / 1e6, "lon": (WEST + 5) / 1e6},
    {"lat": (SOUTH + 2_240) / 1e6, "lon": (WEST + 4_490) / 1e6},
]
MIDDLE = {"lat": (SOUTH + 1_125) / 1e6, "lon": (WEST + 2_250) / 1e6}
# Who may know exactly where the volunteers and needs of Qiaobei live.
SEES_HOMES = {
    "anonymous": False,
    "resident": False,
    "vanguard": False,
    "grid_worker": False,
    "sibling_secretary": False,
    "other_staff": False,
    "secretary": True,
    "officer": True,
    "operator": True,
}


@pytest.fixture(autouse=True)
def a_wednesday(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands at noon of Wednesday, 4 November 2026, in Chongqing."""
    monkeypatch.setattr(base, "clock", lambda: dt.datetime(2026, 11, 4, 4, tzinfo=dt.UTC))


async def _neighbour(town: Town, kind: str, home: dict[str, float], **change: Any) -> Any:
    """A person who helps from home, whom only the kind tells from any other."""
    body = an_offering(
        town, kind=kind, location=home, title={"zh": "邻居", "en": "A neighbour"}, **change
    )
    return await town.make("/v1/offerings", body, "partner_staff")


async def _tried(town: Town, who: str, kind: str, near: dict[str, float], radius_m: int) -> Any:
    need = a_need(town, location=near, radius_m=radius_m, slots=[{"role": "helper", "kind": kind}])
    path = "/v1/needs/preview?include=excluded"
    answer = await town.as_(who, "POST", path, json=need)
    assert answer.status_code == 200, answer.text
    return answer.json()["slots"][0]


async def test_a_volunteers_home_is_exact_for_own_people_and_staff_and_rough_for_the_rest(
    town: Town,
) -> None:
    home = await _neighbour(town, "volunteer", HOMES[0])
    assert (home["location"], home["location_exact"]) == (HOMES[0], True)
    path = f"/v1/offerings/{home['id']}"
    for who, exact in {**SEES_HOMES, "partner_staff": True}.items():
        for read in (
            await town.get(path, who),
            (await town.get("/v1/offerings?kind=volunteer", who))["items"][0],
            await town.get(f"{path}?fields=location,location_exact", who),
        ):
            seen = (read["location"], read["location_exact"])
            assert seen == ((HOMES[0], True) if exact else (MIDDLE, False)), who


async def test_a_shop_and_a_space_are_where_they_are_for_everybody(town: Town) -> None:
    made = await town.make("/v1/offerings", an_offering(town), "partner_staff")
    read = await town.get(f"/v1/offerings/{made['id']}")
    assert (read["location"], read["location_exact"]) == (a_point(100), True)


async def test_a_moved_home_answers_its_owner_exactly_and_everybody_its_new_cell(
    town: Town,
) -> None:
    made = await _neighbour(town, "vanguard", HOMES[0])
    path = f"/v1/offerings/{made['id']}"
    moved = await town.change(path, {"location": a_point(0, 3_000)}, "partner_staff")
    assert moved["location"] == a_point(0, 3_000)
    read = await town.get(path)
    point = disclosure.public_point(values.Point(**a_point(0, 3_000)), True)
    assert point is not None
    assert read["location"] == {"lat": point.lat, "lon": point.lon}


async def test_a_need_of_a_person_hides_its_home_and_for_whom_it_is(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town, location=HOMES[1], beneficiary="self"))
    path = f"/v1/needs/{need['id']}"
    for who, exact in {**SEES_HOMES, "partner_staff": False}.items():
        for read in (await town.get(path, who), (await town.get("/v1/needs", who))["items"][0]):
            assert (read["location"] == HOMES[1]) is exact, who
            assert (read["location"] == MIDDLE) is not exact, who
            assert ("beneficiary" in read) is exact, who
        sparse = await town.get(f"{path}?fields=beneficiary", who)
        assert sparse == {"id": need["id"]} | ({"beneficiary": "self"} if exact else {})


async def test_the_index_knows_no_home_whoever_searches(town: Town) -> None:
    made = [
        (await _neighbour(town, "volunteer", HOMES[0]))["id"],
        (await town.make("/v1/needs", a_need(town, location=HOMES[1], beneficiary="self")))["id"],
    ]
    await town.indexed()
    for who in ("anonymous", "partner_staff", "secretary", "operator"):
        found = await town.get("/v1/search?lat=29.57&lon=106.55&sort=distance", who)
        assert {item["id"] for item in found["items"]} == set(made)
        assert [item["location"] for item in found["items"]] == [MIDDLE, MIDDLE], who
        assert len({item["distance_m"] for item in found["items"]}) == 1


@pytest.mark.parametrize("who", ["anonymous", "resident", "sibling_secretary"])
async def test_no_query_tells_two_homes_of_a_cell_apart(town: Town, who: str) -> None:
    """Three distances would find a home: here any number finds its cell and no more."""
    for kind, home in zip(("volunteer", "vanguard"), HOMES, strict=True):
        await _neighbour(town, kind, home, reach_m=600)
    dice = random.Random(23)
    outcomes = set()
    for _ in range(25):
        near = a_point(dice.randint(-900, 900), dice.randint(-900, 900))
        radius = dice.choice([100, 300, 500, 800, 2000])
        volunteer, vanguard = [
            await _tried(town, who, kind, near, radius) for kind in ("volunteer", "vanguard")
        ]
        for answer, kind in ((volunteer, "volunteer"), (vanguard, "vanguard")):
            for entry in (*answer["matches"], *answer["excluded"]):
                assert entry["offering"].pop("kind") == kind
                del entry["offering"]["id"]
        assert volunteer == vanguard, (near, radius)
        outcomes.add((len(volunteer["matches"]), volunteer["excluded_total"]))
    assert len(outcomes) > 1


async def test_own_people_and_staff_are_ranked_to_the_metre(town: Town) -> None:
    for kind, home in zip(("volunteer", "vanguard"), HOMES, strict=True):
        await _neighbour(town, kind, home)
    for who, apart in {**SEES_HOMES, "partner_staff": True}.items():
        distances = {
            (await _tried(town, who, kind, a_point(), 2000))["matches"][0]["offering"]["distance_m"]
            for kind in ("volunteer", "vanguard")
        }
        assert (len(distances) == 2) is apart, who


async def test_a_home_near_the_edge_of_a_radius_is_found_by_whichever_point_counts(
    town: Town,
) -> None:
    """The candidates are a superset for the home and for its public point."""
    dice = random.Random(7)
    for number in range(12):
        home = a_point(dice.randint(-2000, 2000), dice.randint(-2000, 2000))
        made = await _neighbour(town, "volunteer", home)
        for who in ("anonymous", "secretary"):
            seen = (await town.get(f"/v1/offerings/{made['id']}", who))["location"]
            slot = await _tried(town, who, "volunteer", seen, 0)
            found = [entry["offering"]["id"] for entry in slot["matches"]]
            assert made["id"] in found, (number, who)


async def test_the_needs_of_an_offering_are_ranked_by_what_the_caller_may_know(
    town: Town,
) -> None:
    home = await _neighbour(town, "volunteer", HOMES[0])
    need = a_need(town, beneficiary="self", slots=[{"role": "helper", "kind": "volunteer"}])
    for location in HOMES:
        await town.make("/v1/needs", {**need, "location": location})
    path = f"/v1/offerings/{home['id']}/needs"

    async def distances(who: str) -> list[int]:
        found = await town.get(path, who)
        return [entry["need"]["distance_m"] for entry in found["matches"]]

    # Both rough: the same point. The own people know their own home, and no other.
    assert await distances("anonymous") == [0, 0]
    near, far = await distances("partner_staff")
    assert near == far > 200
    assert await distances("secretary") == [0, pytest.approx(500, abs=20)]


async def test_a_ranking_kept_with_homes_in_it_is_read_only_by_who_may_know_them(
    town: Town,
) -> None:
    await _neighbour(town, "volunteer", HOMES[0])
    need = a_need(town, slots=[{"role": "helper", "kind": "volunteer"}])
    posted = await town.make("/v1/needs", need)
    path = f"/v1/needs/{posted['id']}/matches"
    exact = (await town.get(path, "secretary"))["snapshot"]
    rough = (await town.get(path, "resident"))["snapshot"]
    assert exact != rough
    for who, sees in {**SEES_HOMES, "partner_staff": True}.items():
        for suffix in ("", "/replay"):
            answer = await town.as_(who, "GET", f"/v1/snapshots/{exact}{suffix}")
            assert answer.status_code == (200 if sees else 404), who
            assert (await town.get(f"/v1/snapshots/{rough}/replay", who))["same"] is True
    kept = await town.get(f"/v1/snapshots/{rough}")
    compared = kept["content"]["compared"][0]["offering"]
    assert (compared["lat_e6"], compared["lon_e6"]) == (SOUTH + 1_125, WEST + 2_250)


async def test_a_ranking_of_a_persons_need_is_read_only_by_its_staff(town: Town) -> None:
    posted = await town.make("/v1/needs", a_need(town, location=HOMES[0], beneficiary="self"))
    digest = (await town.get(f"/v1/needs/{posted['id']}/matches", "secretary"))["snapshot"]
    for who, sees in SEES_HOMES.items():
        answer = await town.as_(who, "GET", f"/v1/snapshots/{digest}")
        assert answer.status_code == (200 if sees else 404), who


async def test_a_licence_number_is_for_its_holder_and_the_staff(town: Town) -> None:
    licence = {"kind": "doctor_licence", "issuer": "卫健委", "number": "CANARY-D1"}
    made = await _neighbour(town, "vanguard", HOMES[0], credentials=[licence])
    slots = [{"role": "doctor", "kind": "vanguard"}]
    posted = await town.make("/v1/needs", a_need(town, slots=slots))
    for who, sees in {**SEES_HOMES, "partner_staff": True}.items():
        for path in (f"/v1/offerings/{made['id']}", "/v1/offerings"):
            answer = await town.as_(who, "GET", path)
            assert ("CANARY-D1" in answer.text) is sees, who
    digest = (await town.get(f"/v1/needs/{posted['id']}/matches", "secretary"))["snapshot"]
    kept = await town.as_("operator", "GET", f"/v1/snapshots/{digest}")
    assert "CANARY-D1" not in kept.text


async def test_staff_read_a_phone_masked_and_its_own_people_whole(town: Town) -> None:
    path = f"/v1/partners/{town.partner}"
    for who, phone in {
        "anonymous": None,
        "resident": None,
        "sibling_secretary": None,
        "secretary": "+86 ** **** 0001",
        "officer": "+86 ** **** 0001",
        "operator": "+86 ** **** 0001",
        "partner_staff": "+86 23 6789 0001",
    }.items():
        assert (await town.get(path, who)).get("contact_phone") == phone, who
    suspended = await town.make(f"{path}/suspend", {"reason": "safety"})
    assert suspended["contact_phone"] == "+86 ** **** 0001"


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("anonymous", 401),
        ("resident", 403),
        ("partner_staff", 403),
        ("grid_worker", 403),
        ("sibling_secretary", 403),
        ("secretary", 200),
        ("officer", 200),
        ("operator", 200),
    ],
)
async def test_a_contact_is_revealed_to_the_staff_of_its_place_for_a_reason(
    town: Town, who: str, status: int
) -> None:
    path = f"/v1/partners/{town.partner}/contact/reveal"
    answer = await town.as_(who, "POST", path, json={"reason": "complaint"})
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {
            "partner_id": town.partner,
            "contact_name": "周梅",
            "contact_phone": "+86 23 6789 0001",
        }
        acts = await _acts(town)
        assert [(act["action"], act["actor"], act["detail"]) for act in acts] == [
            ("contact.revealed", str(town.accounts[who]), {"reason": "complaint"})
        ]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "call 13812345678"}])
async def test_a_contact_is_not_revealed_without_a_reason_that_may_be_kept(
    town: Town, body: dict[str, str]
) -> None:
    path = f"/v1/partners/{town.partner}/contact/reveal"
    answer = await town.as_("secretary", "POST", path, json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "reason"
    assert await _acts(town) == []


async def test_the_thirty_first_reveal_of_a_day_says_when_the_next_one_is(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/partners/{town.partner}/contact/reveal"

    async def reveal(who: str = "secretary") -> Any:
        return await town.as_(who, "POST", path, json={"reason": "verify"})

    noon = base.now()
    for number in range(30):
        moment = noon + dt.timedelta(minutes=number)
        monkeypatch.setattr(base, "clock", lambda moment=moment: moment)
        assert (await reveal()).status_code == 200
    refused = await reveal()
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_reveals")
    assert int(refused.headers["retry-after"]) == 24 * 3600 - 29 * 60
    assert (await reveal("officer")).status_code == 200
    monkeypatch.setattr(base, "clock", lambda: noon + dt.timedelta(hours=24))
    assert (await reveal()).status_code == 200
    assert (await reveal()).status_code == 429


async def _acts(town: Town) -> list[Any]:
    found = await town.get("/v1/audit", "operator")
    return [act for act in found["items"] if act["action"] == "contact.revealed"]
