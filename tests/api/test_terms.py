"""Terms of an agreement: stated, shown, changed while nobody is bound; pledges, and the fund."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from models import agreements
from tests.api.test_partners import a_partner
from tests.clocks import Clock
from tests.deals import agreed, balanced, held, proposed, step
from tests.towns import Town, an_offering

Json = dict[str, Any]
PRICE = {"tier": "low_fee", "price": {"amount": 500, "currency": "CNY", "per": "session"}}


def a_share(town: Town, share_bp: int = 3_333, **change: Any) -> Json:
    """A third of what is earned goes to the fund."""
    share = {"partner_id": town.partner, "share_bp": share_bp, **change}
    return {"tier": "public", "revenue_share": share}


# Stating and changing them


async def test_terms_are_shown_with_the_agreement_as_they_were_stated(
    town: Town, march: Clock
) -> None:
    """X2, A5."""
    made = await proposed(town, {**PRICE, "revenue_share": a_share(town)["revenue_share"]})
    assert made["terms"] == {
        "tier": "low_fee",
        "price": {"amount": 500, "currency": "CNY", "per": "session"},
        "rent": None,
        "revenue_share": {"partner_id": town.partner, "share_bp": 3333},
        "contract": None,
    }
    told = await town.get(f"/v1/agreements/{made['id']}", "partner_staff")
    assert told["terms"] == made["terms"]
    assert (await proposed(town))["terms"] is None


@pytest.mark.parametrize(
    ("terms", "status", "field"),
    [
        ({"tier": "gift"}, 400, "terms.tier"),
        ({"tier": "market"}, 400, "terms.price"),
        ({"tier": "public", "price": {"amount": 2**63}}, 400, "terms.price.amount"),
        (
            {"tier": "public", "revenue_share": {"partner_id": "x", "share_bp": 10_001}},
            400,
            "terms.revenue_share.partner_id",
        ),
        (
            {
                "tier": "space_for_service",
                "rent": {
                    "partner_id": "01900000-0000-7000-8000-000000000000",
                    "hours_per_month": 9,
                },
            },
            422,
            "terms.rent.partner_id",
        ),
    ],
)
async def test_terms_that_do_not_go_together_are_refused_by_their_field(
    town: Town, march: Clock, terms: Json, status: int, field: str
) -> None:
    made = await proposed(town)
    body = {"need_id": made["need_id"], "members": [], "pledges": [], "terms": terms}
    pledge = {"partner_id": town.partner, "kind": "cash", "value": {"amount": 1}}
    body["pledges"] = [pledge]
    answer = await town.as_("secretary", "POST", "/v1/agreements", json=body)
    assert answer.status_code == status, answer.text
    assert field in [error["field"] for error in answer.json()["errors"]]


async def _change(
    town: Town, agreement: Json, terms: Json | None, who: str = "secretary", **headers: str
) -> Any:
    path = f"/v1/agreements/{agreement['id']}/terms"
    tag = (await town.as_(who, "GET", path.removesuffix("/terms"))).headers.get("etag", "*")
    headers = {"If-Match": tag, **headers}
    return await town.as_(who, "PUT", path, json={"terms": terms}, headers=headers)


async def test_other_terms_ask_everybody_else_again(town: Town, march: Clock) -> None:
    made = await proposed(town, PRICE)
    march.advance(hours=20)
    other = {**PRICE, "price": {"amount": 400, "currency": "CNY", "per": "session"}}
    answer = await _change(town, made, other, "partner_staff")
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["terms"]["price"]["amount"] == 400
    # The partner has changed them, so it is the community that has to answer.
    assert [party["answer"] for party in changed["parties"]] == ["pending", "accepted"]
    assert changed["respond_by"] > made["respond_by"]
    again = await _change(town, made, PRICE)
    assert [party["answer"] for party in again.json()["parties"]] == ["accepted", "pending"]
    done = await step(town, made["id"], "accept", "partner_staff")
    assert (done["state"], done["terms"]["price"]["amount"]) == ("active", 500)
    answer = await _change(town, made, None)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    events = (await town.get(f"/v1/agreements/{made['id']}/events", "secretary"))["items"]
    assert [event["transition"] for event in events] == ["propose", "terms", "terms", "accept"]


async def test_terms_are_changed_by_the_parties_alone_and_as_they_were_read(
    town: Town, march: Clock
) -> None:
    made = await proposed(town, PRICE)
    for who, status in (
        ("anonymous", 401),
        ("resident", 404),
        ("sibling_secretary", 404),
        ("grid_worker", 403),
    ):
        place = {"place": town.grid} if who == "grid_worker" else {}
        agreement = await proposed(town, PRICE, **place) if place else made
        assert (await _change(town, agreement, None, who)).status_code == status, who
    path = f"/v1/agreements/{made['id']}/terms"
    answer = await town.as_("secretary", "PUT", path, json={"terms": None})
    assert answer.status_code == 428
    for _ in range(2):
        answer = await _change(town, made, None, **{"If-Match": f'"{made["version"]}"'})
    assert (answer.status_code, answer.json()["code"]) == (412, "stale")


async def test_terms_changed_while_the_last_party_accepts_race_and_one_of_them_is_refused(
    town: Town, march: Clock
) -> None:
    made = await proposed(town, PRICE)
    accepts = town.as_("partner_staff", "POST", f"/v1/agreements/{made['id']}/accept", json={})
    changes, accepted = await asyncio.gather(_change(town, made, None), accepts)
    now = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    if changes.status_code == 200:
        assert now["terms"] is None
    else:
        assert changes.json()["code"] in ("stale", "wrong_state")
        assert (accepted.status_code, now["terms"]["tier"]) == (200, "low_fee")


async def _another(town: Town, who: str = "other_staff", **change: Any) -> str:
    """Another admitted partner, of which `who` are the people."""
    body = a_partner(town, **{"kind": "sole_trader", **change})
    made = await town.make("/v1/partners", body, who)
    for move in ("review", "admit"):
        await town.make(f"/v1/partners/{made['id']}/{move}", {}, "operator")
    return str(made["id"])


async def test_who_is_asked_instead_of_another_is_asked_on_the_same_terms(
    town: Town, march: Clock
) -> None:
    made = await proposed(town, a_share(town))
    other = await _another(town)
    shop = await town.make("/v1/offerings", an_offering(town, partner_id=other), "operator")
    (cook,) = made["commitments"]
    body = {"commitment_id": cook["id"], "offering_id": shop["id"]}
    swapped = await step(town, made["id"], "swap", **body)
    assert swapped["terms"]["revenue_share"] == {"partner_id": other, "share_bp": 3333}


# Cost and pledges


def _pledges(town: Town, *amounts: int, kind: str = "in_kind") -> list[Json]:
    return [
        {"partner_id": town.partner, "kind": kind, "value": {"amount": amount}}
        for amount in amounts
    ]


async def test_pledges_in_kind_pay_of_the_cost_and_the_ledger_has_the_gap(
    town: Town, march: Clock
) -> None:
    """B6: cost 100, pledges 60 in kind, cash gap 40; ledger balances."""
    pledges = _pledges(town, 4_000, 2_000)
    agreement = await agreed(town, cost={"amount": 10_000}, pledges=pledges)
    told = await town.get(f"/v1/agreements/{agreement}", "secretary")
    assert told["funding"] == {
        "currency": "CNY",
        "cost": 10_000,
        "in_kind": 6_000,
        "cash": 0,
        "gap": 4_000,
    }
    assert await held(f"agreement:{agreement}:cost") == -told["funding"]["gap"]
    assert await held(f"partner:{town.partner}") == -6_000
    posted = (await town.get(f"/v1/ledger?subject={agreement}", "secretary"))["items"]
    assert [one["kind"] for one in posted] == ["pledge_in_kind", "pledge_in_kind", "cost"]
    assert {one["partner_id"] for one in posted[:2]} == {town.partner}
    await balanced()


async def test_nothing_is_posted_before_everybody_has_accepted(town: Town, march: Clock) -> None:
    made = await proposed(town, cost={"amount": 10_000}, pledges=_pledges(town, 6_000))
    assert (await town.get(f"/v1/ledger?subject={made['id']}", "secretary"))["items"] == []


async def test_what_was_not_delivered_is_posted_back_at_an_early_end(
    town: Town, march: Clock
) -> None:
    """B6."""
    dates = {"starts_on": "2027-03-01", "ends_on": "2027-03-23"}  # three Wednesdays
    pledges = [*_pledges(town, 5_000), *_pledges(town, 1_001, kind="cash")]
    agreement = await agreed(town, cost={"amount": 10_000}, pledges=pledges, **dates)
    march.stand("2027-03-04T12:00+08:00")
    await step(town, agreement, "end", reason="closed_down")
    posted = (await town.get(f"/v1/ledger?subject={agreement}", "secretary"))["items"]
    back = {one["kind"]: one for one in posted if one["reverses"]}
    assert {kind: abs(one["entries"][0]["amount"]) for kind, one in back.items()} == {
        "cost": 6_667,
        "pledge_in_kind": 3_333,
        "pledge_cash": 667,
    }
    assert await held(f"partner:{town.partner}") == -(5_000 - 3_333) - (1_001 - 667)
    await balanced()


async def test_of_what_has_no_times_the_days_that_are_left_are_posted_back(
    town: Town, march: Clock
) -> None:
    """B6."""
    dates = {"starts_on": "2027-03-01", "ends_on": "2027-03-10"}
    pledges = _pledges(town, 1_000)
    agreement = await agreed(town, members=[], pledges=pledges, **dates)
    march.stand("2027-03-04T12:00+08:00")
    await step(town, agreement, "end", reason="closed_down")
    assert await held(f"partner:{town.partner}") == -300
    await balanced()


async def test_a_partner_that_leaves_takes_back_what_it_has_not_delivered(
    town: Town, march: Clock
) -> None:
    """B6."""
    giver = await _another(town)
    pledges = [*_pledges(town, 900), {**_pledges(town, 600)[0], "partner_id": giver}]
    dates = {"starts_on": "2027-03-01", "ends_on": "2027-03-23"}
    agreement = await agreed(town, pledges=pledges, **dates)
    march.stand("2027-03-04T12:00+08:00")
    await agreements.gone("partner", uuid.UUID(giver), "closed_down")
    assert await held(f"partner:{giver}") == -200
    assert await held(f"partner:{town.partner}") == -900
    await step(town, agreement, "end", reason="closed_down")
    assert await held(f"partner:{giver}") == -200
    assert await held(f"partner:{town.partner}") == -300
    await balanced()


# The community fund


async def _state(
    town: Town, agreement: str, month: str, amount: int, who: str = "partner_staff"
) -> Any:
    body = {"month": month, "amount": amount}
    return await town.as_(who, "POST", f"/v1/agreements/{agreement}/revenue", json=body)


async def test_an_enterprise_of_the_community_pays_its_share_into_the_fund(
    town: Town, march: Clock
) -> None:
    """A5: owner is the community; the revenue-share posting balances."""
    enterprise = await _another(town, "secretary", kind="social_org", owner_place_id=town.community)
    role = {"account_id": str(town.accounts["partner_staff"]), "role": "partner_staff"}
    await town.make("/v1/roles", {**role, "partner_id": enterprise}, "operator")
    terms = a_share(town, partner_id=enterprise)
    agreement = await agreed(town, terms, partner=enterprise)
    march.stand("2027-04-02T12:00+08:00")
    answer = await _state(town, agreement, "2027-03", 100_001)
    assert answer.status_code == 201, answer.text
    stated = answer.json()
    assert (stated["amount"], stated["fund_amount"]) == (100_001, 33_330)
    assert stated["fund_place_id"] == town.community
    (posted,) = (await town.get(f"/v1/ledger?subject={agreement}", "partner_staff"))["items"]
    assert posted["kind"] == "revenue_share"
    assert sum(entry["amount"] for entry in posted["entries"]) == 0
    assert {entry["account"].split(":")[0]: entry["amount"] for entry in posted["entries"]} == {
        "agreement": -100_001,
        "partner": 66_671,
        "fund": 33_330,
    }
    fund = await town.get(f"/v1/places/{town.community}/fund", "secretary")
    assert fund["balances"] == [
        {"currency": "CNY", "came_in": 33_330, "went_out": 0, "amount": 33_330}
    ]


async def test_a_month_is_stated_once_and_stated_anew_when_it_was_reversed(
    town: Town, march: Clock
) -> None:
    """A5."""
    agreement = await agreed(town, a_share(town, 5_000))
    march.stand("2027-04-02T12:00+08:00")
    first = (await _state(town, agreement, "2027-03", 900)).json()
    again = await _state(town, agreement, "2027-03", 800)
    assert (again.status_code, again.json()["code"]) == (409, "taken")
    path = f"/v1/agreements/{agreement}/revenue/{first['id']}/reverse"
    assert (await town.as_("partner_staff", "POST", path)).json()["code"] == "forbidden"
    back = await town.make(path, {}, "secretary")
    assert back["reversal_id"]
    assert (await town.as_("secretary", "POST", path)).json()["code"] == "wrong_state"
    assert (await _state(town, agreement, "2027-03", 800)).status_code == 201
    fund = await town.get(f"/v1/places/{town.community}/fund", "officer")
    assert fund["balances"] == [{"currency": "CNY", "came_in": 850, "went_out": 450, "amount": 400}]
    stated = (await town.get(f"/v1/agreements/{agreement}/revenue", "secretary"))["items"]
    assert [(one["amount"], one["reversal_id"] is not None) for one in stated] == [
        (800, False),
        (900, True),
    ]
    await balanced()


async def test_of_statements_of_one_month_that_race_one_is_posted(town: Town, march: Clock) -> None:
    agreement = await agreed(town, a_share(town))
    march.stand("2027-03-02T12:00+08:00")
    answers = await asyncio.gather(*(_state(town, agreement, "2027-03", 300) for _ in range(8)))
    assert sorted(one.status_code for one in answers) == [201] + [409] * 7
    assert await held(f"fund:{town.community}") == 100


@pytest.mark.parametrize("month", ["2027-02", "2027-04", "2027-13", "march", "9999-12"])
async def test_a_month_that_is_none_of_its_months_is_refused(
    town: Town, march: Clock, month: str
) -> None:
    agreement = await agreed(town, a_share(town))
    march.stand("2027-03-31T12:00+08:00")
    answer = await _state(town, agreement, month, 300)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["month"]


async def test_revenue_is_stated_by_the_partner_or_who_decides_and_the_fund_is_for_the_staff(
    town: Town, march: Clock
) -> None:
    agreement = await agreed(town, a_share(town))
    march.stand("2027-03-31T12:00+08:00")
    for who, status in (
        ("anonymous", 401),
        ("resident", 404),
        ("other_staff", 404),
        ("sibling_secretary", 404),
        ("secretary", 201),
    ):
        answer = await _state(town, agreement, "2027-03", 300, who)
        assert answer.status_code == status, who
    for who, status in (
        ("anonymous", 401),
        ("resident", 403),
        ("partner_staff", 403),
        ("sibling_secretary", 403),
        ("officer", 200),
    ):
        answer = await town.as_(who, "GET", f"/v1/places/{town.community}/fund")
        assert answer.status_code == status, who
        listed = await town.as_(who, "GET", f"/v1/ledger?subject={agreement}")
        if who != "anonymous":
            own = who in ("partner_staff", "officer")
            assert len(listed.json()["items"]) == own, who


async def test_without_a_share_or_before_it_holds_there_is_no_revenue(
    town: Town, march: Clock
) -> None:
    agreement = await agreed(town)
    march.stand("2027-03-31T12:00+08:00")
    assert (await _state(town, agreement, "2027-03", 1, "secretary")).status_code == 404
    march.stand("2027-02-28T12:00+08:00")
    made = await proposed(town, a_share(town))
    answer = await _state(town, made["id"], "2027-03", 1)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
