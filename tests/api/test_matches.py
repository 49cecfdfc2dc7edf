"""Rank over HTTP: who fits, why, why not, and the smallest change that would do."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from models import base
from tests.towns import Town, a_need, a_point, a_space, an_offering, mornings


@pytest.fixture(autouse=True)
def a_wednesday(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands at noon of Wednesday, 4 November 2026, in Chongqing."""
    monkeypatch.setattr(base, "clock", lambda: dt.datetime(2026, 11, 4, 4, tzinfo=dt.UTC))


async def _offer(town: Town, **change: Any) -> str:
    made = await town.make("/v1/offerings", an_offering(town, **change), "partner_staff")
    identity: str = made["id"]
    return identity


async def _matches(town: Town, need: dict[str, Any], who: str = "anonymous") -> Any:
    posted = await town.make("/v1/needs", need)
    return await town.get(f"/v1/needs/{posted['id']}/matches?include=excluded", who)


async def test_a_need_gets_ranked_offerings_with_every_part_of_their_scores(town: Town) -> None:
    near = await _offer(town)
    far = await _offer(town, location=a_point(800), title={"zh": "远", "en": "Far"})
    (slot,) = (await _matches(town, a_need(town)))["slots"]
    assert [match["offering"]["id"] for match in slot["matches"]] == [near, far]
    first = slot["matches"][0]
    parts = {part["part"]: part for part in first["parts"]}
    assert set(parts) == {
        "distance",
        "time",
        "reliability",
        "price",
        "capacity",
        "credentials",
        "continuity",
        "balance",
        "language",
        "text",
    }
    assert sum(part["weight"] for part in parts.values()) == 100
    weighed = sum(round(part["value"] * 100) * part["weight"] for part in parts.values())
    assert weighed // 100 == round(first["score"] * 100)
    assert "100" in parts["distance"]["because"]
    assert first["offering"]["distance_m"] == 100


async def test_reasons_are_told_in_chinese_to_whoever_reads_chinese(town: Town) -> None:
    await _offer(town)
    headers = {"Accept-Language": "zh-CN"}
    answer = await town.as_(
        "anonymous", "POST", "/v1/needs/preview", json=a_need(town), headers=headers
    )
    because = answer.json()["slots"][0]["matches"][0]["parts"][0]["because"]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in because)


@pytest.mark.parametrize(
    ("offering", "need", "gate"),
    [
        ({"location": a_point(2000), "reach_m": None}, {}, "radius"),
        ({"location": a_point(900), "reach_m": 500}, {}, "reach"),
        ({"availability": [mornings(end="08:30")]}, {}, "time"),
        ({"capacity": 40}, {}, "capacity"),
        ({"price": {"amount": 1600}}, {}, "budget"),
        ({"features": []}, {"features": ["licensed_kitchen"]}, "features"),
        ({"languages": ["en"]}, {"languages": ["zh"]}, "language"),
        ({"max_hours_week": 10}, {}, "load"),
        ({"max_contacts_week": 0}, {}, "contacts"),
        ({"service_types": ["repair"]}, {}, "service"),
    ],
)
async def test_an_excluded_offering_names_its_gate_and_the_mend_that_admits_it(
    town: Town, offering: dict[str, Any], need: dict[str, Any], gate: str
) -> None:
    """X3: applying the smallest change admits it."""
    out = await _offer(town, **offering)
    slot = {"role": "cook", "kind": "merchant", "min_capacity": 60, **need}
    posted = await town.make("/v1/needs", a_need(town, slots=[slot]))
    path = f"/v1/needs/{posted['id']}/matches?include=excluded"
    (ranked,) = (await town.get(path))["slots"]
    assert ranked["matches"] == []
    (excluded,) = ranked["excluded"]
    assert (excluded["offering"]["id"], ranked["excluded_total"]) == (out, 1)
    (failure,) = excluded["because"]
    assert failure["gate"] == gate
    assert failure["text"]
    assert ranked["funnel"] == [{"gate": gate, "excluded": 1, "alone": 1}]

    mend = failure["mend"]
    if mend["target"] == "offering":
        await town.change(f"/v1/offerings/{out}", {mend["field"]: mend["value"]}, "partner_staff")
    elif mend["target"] == "need":
        await town.change(f"/v1/needs/{posted['id']}", {mend["field"]: mend["value"]})
    else:
        slots = [{**slot, mend["field"]: mend["value"]}]
        await town.change(f"/v1/needs/{posted['id']}", {"slots": slots})
    (ranked,) = (await town.get(path))["slots"]
    assert [match["offering"]["id"] for match in ranked["matches"]] == [out]


async def test_a_licence_must_be_verified_and_valid_to_the_last_minute(town: Town) -> None:
    """X1, X3: renewing and verifying admits the offering, each alone does not."""
    need = a_need(
        town,
        windows=[mornings(**{"from": "2026-11-09", "until": "2026-11-20"})],
        slots=[{"role": "cook", "kind": "merchant", "credentials": ["food_licence"]}],
    )
    licence = {"kind": "food_licence", "issuer": "市监局", "number": "JY1"}
    out = await _offer(town, credentials=[{**licence, "valid_to": "2026-11-19"}])
    posted = await town.make("/v1/needs", need)
    path = f"/v1/needs/{posted['id']}/matches?include=excluded"

    async def state() -> str:
        (slot,) = (await town.get(path))["slots"]
        if slot["matches"]:
            return "fits"
        return str(slot["excluded"][0]["because"][0]["mend"]["action"])

    async def verify() -> None:
        offering = await town.get(f"/v1/offerings/{out}", "partner_staff")
        credential = offering["credentials"][0]["id"]
        await town.make(f"/v1/offerings/{out}/credentials/{credential}/verify", None)

    assert await state() != "fits"
    await verify()
    assert await state() == "renew_licence"
    await town.change(
        f"/v1/offerings/{out}",
        {"credentials": [{**licence, "valid_to": "2026-11-20"}]},
        "partner_staff",
    )
    assert await state() == "verify_licence"
    await verify()
    assert await state() == "fits"


async def test_a_blocked_partner_matches_nothing_of_that_place_or_below(town: Town) -> None:
    await _offer(town)
    path = f"/v1/places/{town.community}/blocked-partners/{town.partner}"
    assert (await town.as_("secretary", "PUT", path)).status_code == 204
    (slot,) = (await _matches(town, a_need(town, place_id=town.grid)))["slots"]
    assert slot["matches"] == []
    assert slot["excluded"][0]["because"][0]["gate"] == "blocked"
    assert (await town.as_("secretary", "DELETE", path)).status_code == 204
    (slot,) = (await _matches(town, a_need(town)))["slots"]
    assert len(slot["matches"]) == 1


async def test_what_the_caller_may_not_see_is_neither_matched_nor_counted(town: Town) -> None:
    await _offer(town, status="paused")
    (slot,) = (await _matches(town, a_need(town)))["slots"]
    assert (slot["matches"], slot["excluded_total"]) == ([], 0)
    (slot,) = (await _matches(town, a_need(town), "partner_staff"))["slots"]
    assert slot["excluded"][0]["because"][0]["gate"] == "status"


async def test_one_space_serves_three_needs_at_different_hours(town: Town) -> None:
    """A1, first half."""
    room = await town.make(
        "/v1/offerings",
        a_space(
            town,
            service_types=["breakfast_point", "daily_necessities", "fresh_produce"],
            availability=[mornings(start="06:00", end="20:00")],
        ),
        "partner_staff",
    )
    hours = {
        "breakfast_point": ("06:30", "09:00"),
        "daily_necessities": ("10:00", "14:00"),
        "fresh_produce": ("15:00", "19:00"),
    }
    for service, (start, end) in hours.items():
        need = a_need(
            town,
            service_type=service,
            windows=[mornings(start=start, end=end)],
            slots=[{"role": "room", "kind": "space"}],
        )
        (slot,) = (await _matches(town, need))["slots"]
        assert [match["offering"]["id"] for match in slot["matches"]] == [room["id"]]


async def test_an_offering_sees_the_needs_it_fits_with_the_same_scores(town: Town) -> None:
    out = await _offer(town)
    posted = await town.make("/v1/needs", a_need(town))
    await town.make("/v1/needs", a_need(town, service_type="repair"))
    forwards = (await town.get(f"/v1/needs/{posted['id']}/matches"))["slots"][0]["matches"][0]
    (backwards,) = (await town.get(f"/v1/offerings/{out}/needs"))["matches"]
    assert backwards["need"]["id"] == posted["id"]
    assert backwards["role"] == "cook"
    assert backwards["score"] == forwards["score"]
    assert backwards["parts"] == forwards["parts"]


async def test_a_stored_match_replays_to_the_same_score_after_everything_has_changed(
    town: Town,
) -> None:
    """X5."""
    out = await _offer(town)
    before = await _matches(town, a_need(town), "secretary")
    digest = before["snapshot"]
    score = before["slots"][0]["matches"][0]["score"]
    await town.change(f"/v1/offerings/{out}", {"price": {"amount": 900}}, "partner_staff")
    replay = await town.get(f"/v1/snapshots/{digest}/replay")
    assert replay["same"] is True
    assert replay["scores"] == [{"offering_id": out, "then": score, "now": score}]
    kept = await town.get(f"/v1/snapshots/{digest}")
    assert kept["content"]["compared"][0]["offering"]["price_amount"] == 500


async def test_the_same_comparison_is_kept_once_and_an_anonymous_one_not_at_all(
    town: Town,
) -> None:
    await _offer(town)
    posted = await town.make("/v1/needs", a_need(town))
    path = f"/v1/needs/{posted['id']}/matches"
    first, second = [(await town.get(path, "secretary"))["snapshot"] for _ in range(2)]
    assert first == second
    assert (await town.get(path))["snapshot"] is None


async def test_a_preview_saves_nothing_and_needs_no_token(town: Town) -> None:
    await _offer(town)
    answer = await town.as_("anonymous", "POST", "/v1/needs/preview", json=a_need(town))
    assert answer.status_code == 200
    assert len(answer.json()["slots"][0]["matches"]) == 1
    assert (await town.get("/v1/needs", "operator"))["items"] == []


async def test_a_slot_that_the_need_does_not_have_is_refused_with_those_it_has(
    town: Town,
) -> None:
    posted = await town.make("/v1/needs", a_need(town))
    answer = await town.as_("anonymous", "GET", f"/v1/needs/{posted['id']}/matches?slot=poet")
    assert answer.status_code == 400
    assert "cook" in answer.json()["errors"][0]["detail"]


async def test_verified_doctors_free_now_within_500_m_are_found_and_the_expired_one_is_named(
    town: Town,
) -> None:
    """A13, first half: of 801 vanguards."""
    licence = {"kind": "doctor_licence", "issuer": "卫健委", "number": "D"}

    def doctor(number: int, east_m: int, **change: Any) -> dict[str, Any]:
        return an_offering(
            town,
            kind="vanguard",
            title={"zh": f"第{number}位先锋", "en": f"Vanguard {number}"},
            location=a_point(east_m),
            service_types=["health_clinic"],
            price={"amount": 0},
            availability=[{"days": [1, 2, 3, 4, 5, 6, 7], "start": "08:00", "end": "20:00"}],
            **change,
        )

    people = [doctor(number, 5_000 + number) for number in range(796)]
    people += [doctor(900, 100, credentials=[licence]), doctor(901, 300, credentials=[licence])]
    people += [doctor(902, 200, credentials=[{**licence, "valid_to": "2026-11-03"}])]
    people += [doctor(903, 900, credentials=[licence]), doctor(904, 50)]
    made = []
    for start in range(0, len(people), 100):
        body = {"items": people[start : start + 100]}
        made += (await town.make("/v1/offerings/bulk", body, "partner_staff"))["items"]
    assert len(made) == 801
    for offering in made:
        for credential in offering["credentials"]:
            path = f"/v1/offerings/{offering['id']}/credentials/{credential['id']}/verify"
            await town.make(path, None)
    need = a_need(
        town,
        service_type="health_clinic",
        radius_m=500,
        beneficiaries=1,
        windows=[
            {
                "days": [3],
                "start": "12:00",
                "end": "13:00",
                "from": "2026-11-04",
                "until": "2026-11-04",
            }
        ],
        slots=[{"role": "doctor", "kind": "vanguard", "credentials": ["doctor_licence"]}],
    )
    (slot,) = (await _matches(town, need))["slots"]
    names = [match["offering"]["title"]["en"] for match in slot["matches"]]
    assert names == ["Vanguard 900", "Vanguard 901"]
    expired = [e for e in slot["excluded"] if e["offering"]["title"]["en"] == "Vanguard 902"]
    assert expired[0]["because"][0]["gate"] == "credentials"
    assert "2026" in expired[0]["because"][0]["text"]


async def test_defibrillators_near_a_point_come_by_distance_and_an_expired_inspection_is_named(
    town: Town,
) -> None:
    """A8: equipment given by a partner, each with its position and its inspection."""

    async def device(name: str, east_m: int, valid_to: str) -> None:
        inspection = {"kind": "inspection", "issuer": "市计量院", "number": name}
        made = await town.make(
            "/v1/offerings",
            an_offering(
                town,
                kind="goods",
                title={"zh": name, "en": name},
                location=a_point(east_m),
                service_types=["first_aid_equipment"],
                features=["aed"],
                capacity=1,
                price={"amount": 0},
                availability=[{"days": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "24:00"}],
                credentials=[{**inspection, "valid_to": valid_to}],
            ),
            "partner_staff",
        )
        credential = made["credentials"][0]["id"]
        await town.make(f"/v1/offerings/{made['id']}/credentials/{credential}/verify", None)

    for name, east_m, valid_to in (
        ("library", 310, "2027-11-01"),
        ("gate", 120, "2027-11-01"),
        ("lobby", 20, "2026-10-31"),
        ("school", 220, "2027-11-01"),
        ("far away", 900, "2027-11-01"),
    ):
        await device(name, east_m, valid_to)
    emergency = a_need(
        town,
        service_type="first_aid_equipment",
        radius_m=400,
        beneficiaries=0,
        priority="special",
        windows=[mornings(start="00:00", end="24:00")],
        slots=[
            {"role": "device", "kind": "goods", "features": ["aed"], "credentials": ["inspection"]}
        ],
    )
    (slot,) = (await _matches(town, emergency))["slots"]
    near = [(m["offering"]["title"]["en"], m["offering"]["distance_m"]) for m in slot["matches"]]
    assert near == [("gate", 120), ("school", 220), ("library", 310)]
    (out, _) = slot["excluded"]
    assert out["offering"]["title"]["en"] == "lobby"
    (because,) = out["because"]
    assert because["gate"] == "credentials"
    assert because["text"].startswith("licence inspection is valid until 2026-11-01 00:00, needed")
    assert because["mend"]["action"] == "renew_licence"
