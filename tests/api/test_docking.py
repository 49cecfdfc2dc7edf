"""The docking register: partners and practical projects of a place."""

from __future__ import annotations

import csv
import io
import uuid
from typing import Any

import pytest

from tests.api.test_partners import a_partner
from tests.towns import Town, a_docking, a_need

Json = dict[str, Any]
RESULT = {"result": {"zh": "每日六十份早餐", "en": "Sixty breakfasts a day"}}


async def _table(town: Town, who: str = "anonymous") -> list[list[str]]:
    path = f"/v1/places/{town.community}/docking-register"
    answer = await town.as_(who, "GET", path, headers={"Accept": "text/csv"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    text = answer.content.decode("utf-8-sig")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


async def test_62_partners_are_docked_and_the_export_has_62(town: Town) -> None:
    """A12: 62 neighbourhood-friendly partners, and the register exports."""
    for number in range(62):
        body = a_partner(
            town, kind="social_org", name={"zh": f"伙伴{number}", "en": f"Partner {number}"}
        )
        partner = (await town.make("/v1/partners", body, "resident"))["id"]
        await town.make(f"/v1/partners/{partner}/admit", None)
        made = await town.make("/v1/dockings", a_docking(town, partner_id=partner))
        docked = await town.make(f"/v1/dockings/{made['id']}/dock", None)
        assert docked["status"] == "docked"
    header, *lines = await _table(town)
    partners = [dict(zip(header, line, strict=True))["partner_en"] for line in lines]
    assert partners == [f"Partner {number}" for number in range(62)]
    register = await town.get(f"/v1/places/{town.community}/docking-register")
    assert len(register["items"]) == 62
    assert (await town.get(f"/v1/places/{town.subdistrict}/docking-register")) == register | {
        "place_id": town.subdistrict
    }
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        suffix = f"&cursor={cursor}" if cursor else ""
        page = await town.get(f"/v1/dockings?place={town.community}&limit=25{suffix}")
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert seen == [item["id"] for item in register["items"]][::-1]


async def test_a_project_is_walked_from_proposed_to_delivered_and_its_history_says_so(
    town: Town,
) -> None:
    """A12: the docking mechanism."""
    made = await town.make("/v1/dockings", a_docking(town))
    path = f"/v1/dockings/{made['id']}"
    assert (made["status"], made["docked_at"]) == ("proposed", None)
    assert made["partner_name"]["en"] == "Zhou's breakfasts"
    answer = await town.as_("secretary", "POST", f"{path}/deliver", json=RESULT)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert (await town.make(f"{path}/dock", None))["status"] == "docked"
    assert (await town.make(f"{path}/deliver", RESULT))["result"] == RESULT["result"]
    for step, body in (("dock", None), ("deliver", RESULT), ("drop", {"reason": "other"})):
        answer = await town.as_("secretary", "POST", f"{path}/{step}", json=body)
        assert answer.status_code == 409
    answer = await town.as_(
        "secretary", "PATCH", path, json={"ends_on": None}, headers={"If-Match": "*"}
    )
    assert answer.status_code == 409
    steps = (await town.get(f"{path}/history", "partner_staff"))["items"]
    assert [(step["was"], step["status"]) for step in steps] == [
        ("docked", "delivered"),
        ("proposed", "docked"),
        (None, "proposed"),
    ]
    assert {step["by"] for step in steps} == {str(town.accounts["secretary"])}


async def test_a_line_is_public_once_it_is_docked_and_stays_so(town: Town) -> None:
    made = await town.make("/v1/dockings", a_docking(town))
    path = f"/v1/dockings/{made['id']}"
    for who, status in {
        "anonymous": 404,
        "resident": 404,
        "sibling_secretary": 404,
        "partner_staff": 200,
        "secretary": 200,
        "officer": 200,
    }.items():
        assert (await town.as_(who, "GET", path)).status_code == status, who
        listed = (await town.get("/v1/dockings", who))["items"]
        assert bool(listed) is (status == 200)
        assert (len(await _table(town, who)) == 2) is (status == 200)
    await town.make(f"{path}/dock", None)
    await town.make(f"{path}/drop", {"reason": "no_funds"})
    assert (await town.get(path))["status"] == "dropped"
    for who, status in {"anonymous": 401, "resident": 403, "partner_staff": 200}.items():
        assert (await town.as_(who, "GET", f"{path}/history")).status_code == status


async def test_a_project_is_docked_with_an_admitted_partner_alone(town: Town) -> None:
    applied = await town.make("/v1/partners", a_partner(town), "resident")
    made = await town.make("/v1/dockings", a_docking(town, partner_id=applied["id"]))
    answer = await town.as_("secretary", "POST", f"/v1/dockings/{made['id']}/dock")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert "applied" in answer.json()["detail"]
    await town.make(f"/v1/partners/{applied['id']}/reject", {"reason": "duplicate"})
    body = a_docking(town, partner_id=applied["id"])
    answer = await town.as_("secretary", "POST", "/v1/dockings", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")


async def test_a_project_for_a_need_has_its_service_type(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    body = a_docking(town, need_id=need["id"])
    del body["service_type"]
    made = await town.make("/v1/dockings", body)
    assert (made["need_id"], made["service_type"]) == (need["id"], "breakfast_point")
    for status, number in (("proposed", 1), ("docked", 0)):
        path = f"/v1/dockings?partner={town.partner}&status={status}"
        assert len((await town.get(path, "secretary"))["items"]) == number


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"need_id": str(uuid.UUID(int=7 << 76 | 1 << 63)), "service_type": None}, "need_id"),
        ({"partner_id": str(uuid.UUID(int=7 << 76 | 1 << 63))}, "partner_id"),
        ({"service_type": "time_travel"}, "service_type"),
        ({"service_type": None}, "service_type"),
        ({"ends_on": "2026-11-30"}, "ends_on"),
        ({"starts_on": "tomorrow"}, "starts_on"),
        ({"title": {"zh": "\x00", "en": "x"}}, "title.zh"),
    ],
)
async def test_what_is_no_project_is_refused_by_its_field(
    town: Town, change: Json, field: str
) -> None:
    answer = await town.as_("secretary", "POST", "/v1/dockings", json=a_docking(town, **change))
    assert answer.status_code in (400, 422), answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_change_keeps_the_days_in_order(town: Town) -> None:
    made = await town.make("/v1/dockings", a_docking(town))
    path = f"/v1/dockings/{made['id']}"
    changed = await town.change(path, {"brings": {"zh": "桌椅", "en": "Tables"}, "ends_on": None})
    assert (changed["brings"]["en"], changed["ends_on"]) == ("Tables", None)
    assert changed["title"] == made["title"]
    await town.change(path, {"ends_on": "2026-12-01"})
    answer = await town.as_(
        "secretary", "PATCH", path, json={"starts_on": "2026-12-02"}, headers={"If-Match": "*"}
    )
    assert [error["field"] for error in answer.json()["errors"]] == ["ends_on"]


async def test_a_text_that_a_spreadsheet_would_run_is_a_text_in_the_export(town: Town) -> None:
    title = {"zh": "＝HYPERLINK(1)", "en": "=HYPERLINK(1)"}
    made = await town.make("/v1/dockings", a_docking(town, title=title))
    await town.make(f"/v1/dockings/{made['id']}/dock", None)
    header, line = await _table(town)
    row = dict(zip(header, line, strict=True))
    assert (row["title_zh"], row["title_en"]) == ("'＝HYPERLINK(1)", "'=HYPERLINK(1)")
    assert row["starts_on"] == "2026-12-01"
