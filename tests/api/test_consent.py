"""Needs on somebody's behalf (C10, X17): nobody asks for another without their word on record."""

from __future__ import annotations

from typing import Any

import pytest

from models import agreements, engine
from tests.api.test_agreements import _active, _need, _offer
from tests.clocks import Clock
from tests.towns import Town, a_need

MISSING = "/v1/needs/00000000-0000-7000-8000-000000000000/consent"


def a_consent(**change: Any) -> dict[str, Any]:
    """A daughter agrees on the telephone."""
    return {
        "given_by": "王小红",
        "relation": "relative",
        "text": "我同意为母亲申请上门助餐。",
        "channel": "phone",
        "given_at": "2026-01-01T08:00:00+08:00",
        **change,
    }


def a_request(town: Town, **change: Any) -> dict[str, Any]:
    """Breakfast brought to a dependent elder."""
    return a_need(town, **{"beneficiary": "dependent_elder", "consent": a_consent(), **change})


async def _acts(town: Town, subject: str) -> list[Any]:
    found = await town.get(f"/v1/audit?subject={subject}", "operator")
    items: list[Any] = found["items"]
    return items


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("anonymous", 401),
        ("resident", 403),
        ("sibling_secretary", 403),
        ("grid_worker", 403),
        ("secretary", 200),
        ("officer", 200),
        ("operator", 200),
    ],
)
async def test_a_consent_is_read_by_the_staff_of_its_place_alone(
    town: Town, who: str, status: int
) -> None:
    need = await town.make("/v1/needs", a_request(town))
    answer = await town.as_(who, "GET", f"/v1/needs/{need['id']}/consent")
    assert answer.status_code == status
    assert ("王小红" in answer.text) is (status == 200)
    if status == 200:
        read = answer.json()
        assert read["recorded_by"] == str(town.accounts["secretary"])
        assert read["withdrawn_at"] is None
        assert {**a_consent(), "given_at": "2026-01-01T00:00:00Z"}.items() <= read.items()


@pytest.mark.parametrize("beneficiary", ["minor", "dependent_elder", "other"])
async def test_a_need_on_somebodys_behalf_without_consent_is_refused_and_not_kept(
    town: Town, beneficiary: str
) -> None:
    """C10: consent missing is 422."""
    for body in (
        a_need(town, beneficiary=beneficiary),
        a_need(town, beneficiary=beneficiary, consent=None, status="draft"),
    ):
        answer = await town.as_("secretary", "POST", "/v1/needs", json=body)
        assert answer.status_code == 422
        error = answer.json()["errors"][0]
        assert (error["field"], error["code"]) == ("consent", "consent_required")
    assert (await town.get("/v1/needs", "operator"))["items"] == []


@pytest.mark.parametrize("beneficiary", ["community", "self"])
async def test_whoever_asks_for_themselves_or_for_all_needs_no_consent(
    town: Town, beneficiary: str
) -> None:
    need = await town.make("/v1/needs", a_need(town, beneficiary=beneficiary))
    assert need["beneficiary"] == beneficiary
    answer = await town.as_("secretary", "GET", f"/v1/needs/{need['id']}/consent")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"given_by": ""}, "consent.given_by"),
        ({"relation": "neighbour"}, "consent.relation"),
        ({"text": ""}, "consent.text"),
        ({"text": "a\u0000b"}, "consent.text"),
        ({"channel": "rumour"}, "consent.channel"),
        ({"given_at": "2026-01-01T08:00:00"}, "consent.given_at"),
        ({"given_at": "0001-01-01T00:00:00+14:00"}, "consent.given_at"),
        ({"given_at": "9999-12-31T23:59:59-14:00"}, "consent.given_at"),
        ({"surprise": 1}, "consent.surprise"),
    ],
)
async def test_a_consent_says_who_which_words_how_and_when(
    town: Town, change: dict[str, Any], field: str
) -> None:
    body = a_request(town, consent=a_consent(**change))
    answer = await town.as_("secretary", "POST", "/v1/needs", json=body)
    assert answer.status_code == 400, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await town.get("/v1/needs", "operator"))["items"] == []


async def test_the_audit_row_names_who_acts_and_that_it_is_on_behalf_but_no_person(
    town: Town,
) -> None:
    """C10: the audit row names both."""
    need = await town.make("/v1/needs", a_request(town), "officer")
    consent = await town.get(f"/v1/needs/{need['id']}/consent", "officer")
    (act,) = await _acts(town, need["id"])
    assert (act["action"], act["actor"]) == ("need.posted", str(town.accounts["officer"]))
    assert act["detail"] == {"on_behalf": 1, "consent": consent["id"]}
    plain = await town.make("/v1/needs", a_need(town))
    assert (await _acts(town, plain["id"]))[0]["detail"] == {}


async def test_a_consent_stays_on_record_when_the_need_changes(town: Town) -> None:
    need = await town.make("/v1/needs", a_request(town))
    path = f"/v1/needs/{need['id']}"
    before = await town.get(f"{path}/consent", "secretary")
    changed = await town.change(path, {"beneficiaries": 2})
    assert changed["beneficiary"] == "dependent_elder"
    for field in ("consent", "beneficiary"):
        answer = await town.as_(
            "secretary", "PATCH", path, json={field: None}, headers={"If-Match": "*"}
        )
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == field
    assert await town.get(f"{path}/consent", "secretary") == before


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("anonymous", 401),
        ("resident", 403),
        ("sibling_secretary", 403),
        ("secretary", 200),
        ("officer", 200),
    ],
)
async def test_withdrawing_a_consent_withdraws_the_need_and_keeps_the_record(
    town: Town, who: str, status: int
) -> None:
    need = await town.make("/v1/needs", a_request(town))
    path = f"/v1/needs/{need['id']}"
    answer = await town.as_(who, "POST", f"{path}/consent/withdraw")
    assert answer.status_code == status
    after = await town.get(path, "secretary")
    consent = await town.get(f"{path}/consent", "secretary")
    assert (after["status"] == "withdrawn") is (status == 200)
    assert (consent["withdrawn_at"] is not None) is (status == 200)
    if status == 200:
        assert answer.json() == consent
        assert after["version"] == need["version"] + 1
        act = (await _acts(town, need["id"]))[0]
        assert (act["action"], act["actor"]) == ("consent.withdrawn", str(town.accounts[who]))
        assert act["detail"] == {"consent": consent["id"]}
        assert (await town.as_("anonymous", "GET", path)).status_code == 404
        again = await town.as_(who, "POST", f"{path}/consent/withdraw")
        assert (again.status_code, again.json()["code"]) == (409, "wrong_state")


async def test_a_need_whose_agreement_is_completed_is_withdrawn_with_its_consent(
    town: Town, clock: Clock
) -> None:
    need = await _need(town, beneficiary="other", consent=a_consent(), beneficiaries=1)
    made = await _active(town, need, ("cook", await _offer(town)))
    clock.advance(days=300)
    await agreements.tick()
    assert (await town.get(f"/v1/agreements/{made['id']}", "secretary"))["state"] == "completed"
    path = f"/v1/needs/{need['id']}"
    assert (await town.get(path, "secretary"))["status"] == "closed"
    await town.make(f"{path}/consent/withdraw", {})
    assert (await town.get(path, "secretary"))["status"] == "withdrawn"


async def test_a_need_without_a_consent_has_none_to_withdraw(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    for path in (f"/v1/needs/{need['id']}/consent", MISSING):
        answer = await town.as_("secretary", "POST", f"{path}/withdraw")
        assert answer.status_code == 404
        assert (await town.as_("secretary", "GET", path)).status_code == 404


async def test_a_preview_on_somebodys_behalf_needs_no_consent_and_keeps_none(town: Town) -> None:
    for body in (a_need(town, beneficiary="minor"), a_request(town)):
        answer = await town.as_("anonymous", "POST", "/v1/needs/preview", json=body)
        assert answer.status_code == 200
    assert await engine.fetch("SELECT 1 FROM consent") == []


async def test_no_answer_but_the_consent_itself_repeats_its_words(town: Town) -> None:
    need = await town.make("/v1/needs", a_request(town))
    await town.indexed()
    for path in (
        f"/v1/needs/{need['id']}",
        "/v1/needs",
        f"/v1/needs/{need['id']}/matches?include=excluded",
        "/v1/search?q=%E7%8E%8B%E5%B0%8F%E7%BA%A2",
        "/v1/audit",
    ):
        for who in ("secretary", "operator"):
            answer = await town.as_(who, "GET", path)
            assert "王小红" not in answer.text
            assert "同意为母亲" not in answer.text
