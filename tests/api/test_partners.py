"""Partners over HTTP: registering, admission, licences, and contacts that stay private."""

from __future__ import annotations

import uuid
from typing import Any, get_args

import pytest

from models.partners import PartnerKind
from tests.towns import Town, an_offering

LICENCE = {"kind": "business_licence", "issuer": "市场监管局", "number": "91500105MA5U0001"}


def a_partner(town: Town, **change: Any) -> dict[str, Any]:
    """A restaurant that runs cafeterias."""
    return {
        "kind": "enterprise",
        "place_id": town.community,
        "name": {"zh": "桥北餐饮有限公司", "en": "Qiaobei Catering Ltd"},
        "credit_code": "91500105MA5U12345X",
        "contact_name": "陈经理",
        "contact_phone": "+86 23 6789 1234",
        "credentials": [LICENCE],
        **change,
    }


@pytest.mark.parametrize("kind", get_args(PartnerKind))
async def test_each_kind_registers_and_whoever_applied_acts_for_it(town: Town, kind: str) -> None:
    """A3: six kinds."""
    made = await town.make("/v1/partners", a_partner(town, kind=kind), "resident")
    assert (made["kind"], made["status"]) == (kind, "applied")
    offering = an_offering(town, partner_id=made["id"])
    assert (await town.make("/v1/offerings", offering, "resident"))["partner_id"] == made["id"]
    refused = await town.as_("volunteer", "POST", "/v1/offerings", json=offering)
    assert refused.status_code == 404


@pytest.mark.parametrize("licence", [None, LICENCE, {**LICENCE, "valid_to": "2020-01-01"}])
async def test_an_enterprise_without_a_valid_verified_licence_is_not_admitted(
    town: Town, licence: dict[str, Any] | None
) -> None:
    """A3."""
    body = a_partner(town, credentials=[licence] if licence else [])
    made = await town.make("/v1/partners", body, "resident")
    if licence and "valid_to" in licence:
        credential = made["credentials"][0]["id"]
        await town.make(f"/v1/partners/{made['id']}/credentials/{credential}/verify", None)
    answer = await town.as_("secretary", "POST", f"/v1/partners/{made['id']}/admit")
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert (error["field"], error["code"]) == ("credentials", "licence_required")
    assert "business_licence" in error["detail"]


async def test_a_verified_licence_names_its_verifier_and_admits_the_enterprise(town: Town) -> None:
    made = await town.make("/v1/partners", a_partner(town), "resident")
    path = f"/v1/partners/{made['id']}"
    credential = made["credentials"][0]["id"]
    refused = await town.as_("resident", "POST", f"{path}/credentials/{credential}/verify")
    assert refused.status_code == 403
    seen = await town.make(f"{path}/credentials/{credential}/verify", None)
    assert seen["credentials"][0]["verified_by"] == str(town.accounts["secretary"])
    assert seen["version"] == 2
    assert (await town.make(f"{path}/review", None))["status"] == "in_review"
    assert (await town.make(f"{path}/admit", None))["status"] == "admitted"


async def test_only_its_own_people_and_the_staff_of_its_place_see_the_contact(town: Town) -> None:
    path = f"/v1/partners/{town.partner}"
    for who, sees in {
        "anonymous": False,
        "resident": False,
        "sibling_secretary": False,
        "partner_staff": True,
        "secretary": True,
        "officer": True,
        "operator": True,
    }.items():
        for partner in (
            await town.get(path, who),
            (await town.get("/v1/partners", who))["items"][0],
        ):
            assert ("contact_phone" in partner) is sees, who
    sparse = await town.get(f"{path}?fields=contact_phone", "anonymous")
    assert sparse == {"id": town.partner}


async def test_only_who_decides_for_a_community_registers_an_enterprise_of_its_own(
    town: Town,
) -> None:
    """A5: the owner is the community."""
    body = a_partner(town, owner_place_id=town.community, name={"zh": "桥北物业", "en": "Qiaobei"})
    for who, status in {
        "anonymous": 401,
        "resident": 403,
        "partner_staff": 403,
        "grid_worker": 403,
        "sibling_secretary": 403,
        "secretary": 201,
        "officer": 201,
    }.items():
        answer = await town.as_(who, "POST", "/v1/partners", json=body)
        assert answer.status_code == status, who
    made = answer.json()
    assert made["owner_place_id"] == town.community
    nowhere = a_partner(town, owner_place_id=str(uuid.UUID(int=7 << 76 | 1 << 63)))
    answer = await town.as_("operator", "POST", "/v1/partners", json=nowhere)
    assert answer.json()["errors"][0]["field"] == "owner_place_id"


async def test_a_community_lists_its_own_enterprises_and_nobody_makes_theirs_one_later(
    town: Town,
) -> None:
    """A5."""
    body = a_partner(town, kind="social_org", owner_place_id=town.community)
    made = await town.make("/v1/partners", body)
    path = f"/v1/partners?owner={town.community}"
    assert (await town.get(path))["items"] == []
    await town.make(f"/v1/partners/{made['id']}/admit", None)
    assert [partner["id"] for partner in (await town.get(path))["items"]] == [made["id"]]
    assert (await town.get(f"/v1/partners?owner={town.sibling}"))["items"] == []
    answer = await town.as_(
        "partner_staff",
        "PATCH",
        f"/v1/partners/{town.partner}",
        json={"owner_place_id": town.community},
        headers={"If-Match": "*"},
    )
    assert answer.json()["errors"][0]["code"] == "unknown_field"


async def test_an_applicant_is_hidden_from_everybody_but_its_people_and_the_staff(
    town: Town,
) -> None:
    made = await town.make("/v1/partners", a_partner(town), "resident")
    for who, status in {
        "anonymous": 404,
        "volunteer": 404,
        "sibling_secretary": 404,
        "resident": 200,
        "secretary": 200,
    }.items():
        answer = await town.as_(who, "GET", f"/v1/partners/{made['id']}")
        assert answer.status_code == status, who
        listed = {p["id"] for p in (await town.get("/v1/partners", who))["items"]}
        assert (made["id"] in listed) is (status == 200), who


@pytest.mark.parametrize("code", ["91500105MA5U1234", "91500105MA5U12345I", "x" * 18])
async def test_a_credit_code_that_is_none_is_refused(town: Town, code: str) -> None:
    body = a_partner(town, credit_code=code)
    answer = await town.as_("resident", "POST", "/v1/partners", json=body)
    assert answer.json()["errors"][0]["field"] == "credit_code"
