"""The building of a home: own people and staff are told, nobody else finds out by asking."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from models import accounts, base, engine
from search import engine as index
from tests.api import test_plans
from tests.api.test_partners import a_partner
from tests.api.test_roles import a_person, a_role
from tests.api.test_service_keys import make_key
from tests.towns import PASSWORD, Town, a_need, a_point, an_offering

OUTSIDERS = ("anonymous", "resident", "volunteer", "sibling_secretary", "other_staff", "key")
SERVICES = ("haircut", "repair")
HELPER = [{"role": "helper", "kind": "volunteer"}]


class Homes:
    """Two buildings of one grid, and in each a volunteer, a neighbour in need, and a resident who
    is a partner. `ids` are what lies in a building."""

    def __init__(self, town: Town, buildings: list[str], ids: list[dict[str, str]]) -> None:
        self.town, self.buildings, self.ids = town, buildings, ids

    async def told(self, who: str, number: int) -> str:
        """All that somebody is told when asking about one building and who lives there, with ids
        replaced by what they are here and in the other building."""
        building, ids = self.buildings[number], self.ids[number]
        answers = [
            *(
                f"/v1/{what}?within={building}&limit=1"
                for what in ("offerings", "needs", "partners")
            ),
            f"/v1/offerings/{ids['offering']}",
            f"/v1/needs/{ids['need']}",
            f"/v1/partners/{ids['partner']}",
            f"/v1/offerings/{ids['offering']}/needs",
            f"/v1/needs/{ids['need']}/matches?include=excluded",
            f"/v1/needs/{ids['need']}/bundles",
        ]
        told = json.dumps([await self.town.get(path, who) for path in answers])
        for at, where in ((number, "here"), (1 - number, "there")):
            for name, identity in (("building", self.buildings[at]), *self.ids[at].items()):
                told = told.replace(identity, f"{name} {where}")
            told = told.replace(SERVICES[at], f"service {where}")
        return re.sub('"snapshot": "[0-9a-f]{64}"', '"snapshot": null', told)


async def _homes(town: Town) -> Homes:
    await make_key(town, scopes=["read"])
    buildings, ids = [], []
    for number in range(2):
        building = await town.make(
            "/v1/places",
            {
                "slug": f"building-{number}",
                "kind": "building",
                "parent_id": town.grid,
                "name": {"zh": "楼", "en": "A building"},
                "timezone": ("Asia/Shanghai", "Pacific/Auckland")[number],
            },
            "officer",
        )
        at = building["id"]
        body = a_partner(town, kind="resident", place_id=at, credentials=[])
        partner = await town.make("/v1/partners", body, "vanguard")
        await town.make(f"/v1/partners/{partner['id']}/admit", None)
        # Each in a kind of its own, so that what fits the one cannot show the other.
        service = SERVICES[number]
        offering = an_offering(
            town, kind="volunteer", place_id=at, location=a_point(3, 4), service_types=[service]
        )
        need = a_need(
            town, place_id=at, location=a_point(3, 4), beneficiary="self", slots=HELPER
        ) | {"service_type": service}
        ids.append(
            {
                "partner": partner["id"],
                "offering": (await town.make("/v1/offerings", offering, "partner_staff"))["id"],
                "need": (await town.make("/v1/needs", need))["id"],
            }
        )
        buildings.append(at)
    return Homes(town, buildings, ids)


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is made at one moment, so that what differs is not the time."""
    moment = base.now()
    monkeypatch.setattr(base, "clock", lambda: moment)


async def test_nobody_else_tells_two_buildings_of_a_grid_apart(town: Town) -> None:
    """Records, lists, filters and matches, asked building after building."""
    homes = await _homes(town)
    for who in OUTSIDERS:
        first, second = [await homes.told(who, number) for number in range(2)]
        assert first == second, who
        for told in (first, second):
            read = json.loads(told)
            assert [page["items"] for page in read[:3]] == [[], [], []], who
            assert {record["place_id"] for record in read[3:6]} == {town.grid}, who
            (asking,) = read[6]["matches"]
            (fitting,) = read[7]["slots"][0]["matches"]
            assert asking["need"]["place_id"] == fitting["offering"]["place_id"] == town.grid


async def test_the_coverage_of_a_building_counts_nobody_at_home(town: Town) -> None:
    homes = await _homes(town)
    for building in homes.buildings:
        covered = await town.get(f"/v1/reports/coverage?place={building}")
        assert [covered["partners"], *(s["offerings"] for s in covered["services"])] == [0] * 36
    covered = await town.get(f"/v1/reports/coverage?place={town.grid}")
    assert covered["partners"] == sum(s["offerings"] for s in covered["services"]) == 2
    assert covered["parts"] == []


async def test_no_answer_but_of_places_names_the_building_of_a_home(town: Town) -> None:
    homes = await _homes(town)
    await town.indexed()
    for who in OUTSIDERS:
        pages = [
            await town.as_(who, "GET", path)
            for path in (
                "/v1/offerings",
                f"/v1/offerings?within={town.grid}",
                f"/v1/needs?within={town.grid}",
                f"/v1/partners?within={town.grid}",
                "/v1/search?facet=community&facet=kind&highlight=true&q=breakfast",
                f"/v1/search?q={homes.buildings[0]}",
            )
        ]
        # The search also finds the service type.
        assert [len(page.json()["items"]) for page in pages] == [2, 2, 2, 2, 5, 0], who
        for page in pages[:-1]:
            assert not [b for b in homes.buildings if b in page.text], (who, page.text)


async def test_a_ranking_kept_for_an_outsider_does_not_know_the_building(town: Town) -> None:
    homes = await _homes(town)
    kept = []
    for number in range(2):
        path = f"/v1/needs/{homes.ids[number]['need']}/matches"
        digest = (await town.get(path, "resident"))["snapshot"]
        text = (await town.as_("resident", "GET", f"/v1/snapshots/{digest}")).text
        assert homes.buildings[number] not in text
        content = json.loads(text)["content"]
        kept.append((content["compared"][0]["match"]["parts"], content["need"]["as_of"]))
    assert kept[0] == kept[1]


async def test_own_people_and_staff_are_told_the_building_and_may_ask_for_it(town: Town) -> None:
    homes = await _homes(town)
    for who, sees in {
        "secretary": {"offerings", "needs", "partners"},
        "grid_worker": {"offerings", "needs", "partners"},
        "officer": {"offerings", "needs", "partners"},
        "operator": {"offerings", "needs", "partners"},
        "partner_staff": {"offerings"},
        "vanguard": {"partners"},
    }.items():
        for building, ids in zip(homes.buildings, homes.ids, strict=True):
            for what in ("offerings", "needs", "partners"):
                found = (await town.get(f"/v1/{what}?within={building}", who))["items"]
                assert [item["id"] for item in found] == (
                    [ids[what.removesuffix("s")]] if what in sees else []
                ), (who, what)
                assert {item["place_id"] for item in found} <= {building}


async def test_a_worker_of_a_building_sees_its_drafts_in_list_and_index_alike(town: Town) -> None:
    homes = await _homes(town)
    await a_person(town, "worker")
    account = (await town.get("/v1/accounts/current", "worker"))["id"]
    role = a_role(town, account, "grid_worker", place_id=homes.buildings[0])
    await town.make("/v1/roles", role)
    drafts = [
        await town.make("/v1/needs", a_need(town, place_id=at, beneficiary="self", status="draft"))
        for at in homes.buildings
    ]
    await town.indexed()
    listed = (await town.get("/v1/needs?status=draft", "worker"))["items"]
    assert [item["id"] for item in listed] == [drafts[0]["id"]]
    caller = await accounts.caller_of(town.tokens["worker"])
    assert caller
    scope = index.Scope(places=frozenset(map(str, accounts.visibility(caller).places)))
    query = index.Query(kinds=("need",), statuses=("draft",))
    found = await town.app.state.engine.search(query, scope)
    assert [hit.document.id for hit in found.hits] == [drafts[0]["id"]]


async def test_a_shop_in_a_building_is_in_that_building_for_everybody(town: Town) -> None:
    homes = await _homes(town)
    at = homes.buildings[0]
    shop = await town.make("/v1/offerings", an_offering(town, place_id=at), "partner_staff")
    lift = await town.make("/v1/needs", a_need(town, place_id=at))
    for what, made in (("offerings", shop), ("needs", lift)):
        found: Any = (await town.get(f"/v1/{what}?within={at}"))["items"]
        assert [(item["id"], item["place_id"]) for item in found] == [(made["id"], at)]
    covered = await town.get(f"/v1/reports/coverage?place={at}")
    assert [s["service_type"] for s in covered["services"] if s["offerings"]] == ["breakfast_point"]


async def test_whoever_is_erased_is_in_no_building_any_more(town: Town) -> None:
    homes = await _homes(town)
    asked = await town.make(
        "/v1/offerings",
        an_offering(
            town,
            kind="volunteer",
            partner_id=homes.ids[0]["partner"],
            place_id=homes.buildings[0],
        ),
        "vanguard",
    )
    for number in range(2):
        await town.make(
            f"/v1/partners/{homes.ids[number]['partner']}/suspend", {"reason": "safety"}
        )
    answer = await town.as_(
        "vanguard", "DELETE", "/v1/accounts/current", json={"password": PASSWORD}
    )
    assert answer.status_code == 204
    for table, identity in (("partner", homes.ids[0]["partner"]), ("offering", asked["id"])):
        ((place,),) = await engine.rows(f"SELECT place FROM {table} WHERE id = $1", identity)
        assert str(place) == town.grid


async def test_a_partner_who_is_asked_is_not_told_the_building_of_the_need(town: Town) -> None:
    homes = await _homes(town)
    plan = await test_plans._planned(town)
    await town.make(f"/v1/plans/{plan['id']}/propose", {})
    for who, places in (("partner_staff", {town.grid}), ("secretary", set(homes.buildings))):
        listed = (await town.get("/v1/proposals", who))["items"]
        read = [await town.get(f"/v1/proposals/{item['id']}", who) for item in listed]
        for told in (listed, read):
            assert {item["place_id"] for item in told} == places, who
    declined = await town.make(
        f"/v1/proposals/{listed[0]['id']}/decline", {"reason": "time"}, "partner_staff"
    )
    assert declined["place_id"] == town.grid
