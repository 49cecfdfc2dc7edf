"""Service contracts: milestones are assessed, and paid for as far as they were approved."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from models import engine
from tests.clocks import Clock
from tests.deals import agreed, balanced, held, proposed
from tests.towns import PASSWORD, Town

Json = dict[str, Any]


def a_contract(town: Town, **change: Any) -> Json:
    """Day care for 1,000 yuan in two milestones, scored by two of those served."""
    milestones = [
        {"name": name, "title": {"zh": zh, "en": name}, "amount": 50_000}
        for name, zh in (("first-half", "上半年"), ("second-half", "下半年"))
    ]
    lot = {"title": {"zh": "日间照料", "en": "Day care"}, "milestones": milestones}
    contract = {"partner_id": town.partner, "lots": [lot], "scores_needed": 2, **change}
    return {"tier": "public", "contract": contract}


async def _do(town: Town, agreement: str, what: str, who: str = "secretary", **body: Any) -> Any:
    path = f"/v1/agreements/{agreement}/milestones/first-half/{what}"
    return await town.as_(who, "POST", path, json=body)


async def _contracted(town: Town, **change: Any) -> str:
    """A contract that holds, with the resident and the volunteer named to score it."""
    named = [str(town.accounts[who]) for who in ("resident", "volunteer")]
    return await agreed(town, a_contract(town, assessors=named, **change))


async def _first(town: Town, agreement: str, who: str = "secretary") -> Json:
    found: Json = (await town.get(f"/v1/agreements/{agreement}/milestones", who))[0]
    return found


async def test_a_milestone_is_paid_for_as_far_as_it_was_approved(town: Town, march: Clock) -> None:
    """D8: payment gated on the assessment; payment above the approved share is refused."""
    agreement = await _contracted(town)
    answer = await _do(town, agreement, "pay", amount=1)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_approved")
    assert (await _do(town, agreement, "inspect", approved_bp=8_000)).json()["approved"] == 0
    for who, score in (("resident", 4), ("volunteer", 2)):
        answer = await _do(town, agreement, "score", who, score=score)
        assert answer.status_code == 200, answer.text
    found = await _first(town, agreement, "partner_staff")
    assert (found["state"], found["approved"], found["points"]) == ("approved", 40_000, 6)
    assert (await _do(town, agreement, "pay", amount=30_000)).json()["paid"] == 30_000
    answer = await _do(town, agreement, "pay", amount=10_001)
    assert "10000 may be paid now" in answer.json()["detail"]
    assert (await _do(town, agreement, "pay", amount=10_000)).status_code == 200
    assert (await _do(town, agreement, "pay", amount=1)).status_code == 409
    assert await held(f"partner:{town.partner}") == 40_000
    assert await held(f"budget:{town.community}") == -40_000
    await _do(town, agreement, "inspect", approved_bp=10_000)
    assert (await _do(town, agreement, "pay", amount=10_000)).json()["state"] == "paid"
    await balanced()


async def test_a_failed_assessment_withholds_until_it_is_mended(town: Town, march: Clock) -> None:
    """D8: a failed assessment withholds."""
    agreement = await _contracted(town)
    for who, score in (("resident", 5), ("volunteer", 5)):
        await _do(town, agreement, "score", who, score=score)
    failed = (await _do(town, agreement, "inspect", approved_bp=0, note="无台账")).json()
    assert (failed["state"], failed["approved"]) == ("withheld", 0)
    assert (await _do(town, agreement, "pay", amount=1)).json()["code"] == "not_approved"
    mended = (await _do(town, agreement, "inspect", approved_bp=10_000)).json()
    assert (mended["state"], mended["approved"]) == ("approved", 50_000)
    # Those served withhold it as well, and may change their minds.
    await _do(town, agreement, "score", "volunteer", score=1)
    await _do(town, agreement, "score", "resident", score=2)
    found = await _first(town, agreement)
    assert (found["state"], found["scores"], found["points"]) == ("withheld", 2, 3)
    assert (await _do(town, agreement, "pay", amount=1)).json()["code"] == "not_approved"
    await _do(town, agreement, "score", "volunteer", score=4)
    assert (await _first(town, agreement))["state"] == "approved"


async def test_who_has_enrolled_scores_and_nobody_else(town: Town, march: Clock) -> None:
    """D8: assessment by beneficiaries."""
    agreement = await agreed(town, a_contract(town, scores_needed=1))
    need = (await town.get(f"/v1/agreements/{agreement}", "secretary"))["need_id"]
    for who in ("anonymous", "resident", "secretary", "sibling_secretary"):
        status = 401 if who == "anonymous" else 404
        assert (await _do(town, agreement, "score", who, score=5)).status_code == status
    await town.make(f"/v1/needs/{need}/enrolments", {}, "resident")
    assert (await _do(town, agreement, "score", "resident", score=5)).status_code == 200
    assert (await _first(town, agreement))["scores"] == 1


async def test_nobody_assesses_or_pays_their_own_work(town: Town, march: Clock) -> None:
    """D8: assessment by an inspector."""
    named = [str(town.accounts["partner_staff"])]
    agreement = await agreed(town, a_contract(town, assessors=named))
    assert (await _do(town, agreement, "score", "partner_staff", score=5)).status_code == 403
    answer = await _do(town, agreement, "inspect", "partner_staff", approved_bp=1)
    assert answer.json()["code"] == "forbidden"
    body = {"account_id": str(town.accounts["secretary"]), "role": "partner_staff"}
    await town.make("/v1/roles", {**body, "partner_id": town.partner}, "operator")
    for what, sent in (("inspect", {"approved_bp": 1}), ("pay", {"amount": 1})):
        answer = await _do(town, agreement, what, **sent)
        assert (answer.status_code, answer.json()["code"]) == (403, "own_work")
    assert (await _do(town, agreement, "inspect", "officer", approved_bp=1)).status_code == 200


async def test_who_is_forgotten_leaves_a_score_without_words(town: Town, march: Clock) -> None:
    agreement = await _contracted(town)
    await _do(town, agreement, "score", "resident", score=4, note="我家老人很喜欢")
    export = await town.get("/v1/accounts/current/export", "resident")
    assert [row["note"] for row in export["data"]["assessments"]] == ["我家老人很喜欢"]
    body = {"password": PASSWORD}
    answer = await town.as_("resident", "DELETE", "/v1/accounts/current", json=body)
    assert answer.status_code == 204, answer.text
    assert await engine.rows("SELECT score, note FROM assessment") == [(4, "")]
    assert (await _first(town, agreement))["points"] == 4


async def test_payments_that_race_never_exceed_what_is_approved(town: Town, march: Clock) -> None:
    """D8."""
    agreement = await _contracted(town, scores_needed=0)
    await _do(town, agreement, "inspect", approved_bp=5_000)
    answers = await asyncio.gather(
        *(_do(town, agreement, "pay", amount=10_000) for _ in range(6)),
        *(_do(town, agreement, "inspect", approved_bp=bp) for bp in (5_000, 4_999, 5_000)),
    )
    paid = [one for one in answers[:6] if one.status_code == 200]
    found = await _first(town, agreement)
    assert found["paid"] == 10_000 * len(paid) <= 25_000
    assert await held(f"partner:{town.partner}") == found["paid"]


async def test_what_is_no_milestone_is_not_found(town: Town, march: Clock) -> None:
    agreement, without = await _contracted(town), await agreed(town)
    for one, name in itertools.product((agreement, without), ("none", "%00", "first_half")):
        path = f"/v1/agreements/{one}/milestones/{name}"
        for what, body in (("inspect", {"approved_bp": 1}), ("pay", {"amount": 1})):
            answer = await town.as_("secretary", "POST", f"{path}/{what}", json=body)
            assert answer.status_code == 404
    answer = await town.as_("secretary", "GET", f"/v1/agreements/{without}/milestones")
    assert answer.status_code == 404
    made = await proposed(town, a_contract(town))
    assert (await town.get(f"/v1/agreements/{made['id']}/milestones", "secretary")) == []
