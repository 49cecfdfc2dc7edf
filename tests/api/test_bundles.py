"""Bundles over HTTP: who fills all roles of a need together, and what is missing."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from models import base, partners, values
from tests.towns import Town, a_need, a_point, a_space, an_offering, mornings

FREE = {"amount": 0, "currency": "CNY", "per": "session"}


@pytest.fixture(autouse=True)
def a_wednesday(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands at noon of Wednesday, 4 November 2026, in Chongqing."""
    monkeypatch.setattr(base, "clock", lambda: dt.datetime(2026, 11, 4, 4, tzinfo=dt.UTC))


async def _partner(town: Town, name: str) -> str:
    """One more admitted partner; the town's account of partner staff speaks for it."""
    applied = await partners.apply(
        partners.PartnerDraft(
            kind="social_org",
            place_id=uuid.UUID(town.community),
            name=values.Bilingual(name, name),
            contact_name=name,
            contact_phone="+86 23 6789 0002",
        ),
        town.accounts["partner_staff"],
    )
    await partners.move(applied, "admit")
    return str(applied.id)


async def _offer(town: Town, name: str, **change: Any) -> str:
    """An offering of a partner of its own."""
    change.setdefault("partner_id", await _partner(town, name))
    build = a_space if change.get("kind") == "space" else an_offering
    body = build(
        town, **{"title": {"zh": name, "en": name}, "service_types": ["senior_cafeteria"], **change}
    )
    made = await town.make("/v1/offerings", body, "partner_staff")
    for credential in made["credentials"]:
        await town.make(f"/v1/offerings/{made['id']}/credentials/{credential['id']}/verify", None)
    return str(made["id"])


def _cafeteria(town: Town, **change: Any) -> dict[str, Any]:
    """A senior cafeteria: a hall with a kitchen, a licensed operator, two helpers, a trolley."""
    body = {
        "service_type": "senior_cafeteria",
        "slots": [
            {"role": "hall", "kind": "space", "features": ["kitchen"]},
            {"role": "cook", "kind": "merchant", "credentials": ["food_licence"]},
            {"role": "helpers", "kind": "volunteer", "quantity": 2, "mode": "rota"},
            {"role": "trolley", "kind": "goods"},
        ],
        **change,
    }
    return a_need(town, **body)


async def _town_that_can(town: Town) -> dict[str, str]:
    """Offerings that together make a cafeteria, by name."""
    licence = {
        "kind": "food_licence",
        "issuer": "市监局",
        "number": "JY1",
        "valid_to": "2028-01-01",
    }
    days = {"days": [1, 2, 3, 4, 5]}
    return {
        "hall": await _offer(
            town, "hall", kind="space", features=["kitchen", "power"], location=a_point(300)
        ),
        "cook": await _offer(town, "cook", credentials=[licence], requires_features=["power"]),
        "early": await _offer(
            town,
            "early",
            kind="volunteer",
            price=FREE,
            availability=[{**days, "start": "06:00", "end": "08:00"}],
        ),
        "late": await _offer(
            town,
            "late",
            kind="volunteer",
            price=FREE,
            availability=[{**days, "start": "07:30", "end": "10:00"}],
        ),
        "trolley": await _offer(town, "trolley", kind="goods", price=FREE),
    }


async def test_a_bundle_fills_every_role_in_one_window(town: Town) -> None:
    """B1: hall with kitchen + licensed operator + helpers who share the time + goods."""
    made = await _town_that_can(town)
    need = await town.make("/v1/needs", _cafeteria(town))
    answer = await town.get(f"/v1/needs/{need['id']}/bundles")
    (bundle,) = answer["bundles"]
    assert answer["unfilled"] == []
    roles = [(member["role"], member["offering"]["id"]) for member in bundle["members"]]
    assert sorted(roles) == sorted(
        [
            ("hall", made["hall"]),
            ("cook", made["cook"]),
            ("helpers", made["early"]),
            ("helpers", made["late"]),
            ("trolley", made["trolley"]),
        ]
    )
    assert [w["start"] for w in bundle["window"]["windows"]] == ["06:30"]
    assert bundle["window"]["minutes"] == bundle["window"]["asked"]
    assert bundle["window"]["times"] is None
    # The cook is 100 m east of the need and the hall 300 m: 200 m to go.
    cook = next(m for m in bundle["members"] if m["role"] == "cook")
    assert cook["offering"]["distance_m"] == 200
    assert "200 m from the space" in cook["parts"][0]["because"]
    by_role = {
        m["role"]: [o["score"] for o in bundle["members"] if o["role"] == m["role"]]
        for m in bundle["members"]
    }
    means = [sum(scores) / len(scores) for scores in by_role.values()]
    assert abs(bundle["score"] - sum(means) / 4) < 0.011


async def test_removing_a_roles_last_candidate_says_unfilled_role(town: Town) -> None:
    """B1: and why, with who is nearest and what would let them in, in both languages."""
    made = await _town_that_can(town)
    need = await town.make("/v1/needs", _cafeteria(town))
    path = f"/v1/needs/{need['id']}/bundles"
    await town.change(
        f"/v1/offerings/{made['cook']}", {"availability": [mornings(end="08:30")]}, "partner_staff"
    )
    answer = await town.get(path)
    assert answer["bundles"] == []
    (unfilled,) = answer["unfilled"]
    assert unfilled["role"] == "cook"
    assert unfilled["because"].startswith("unfilled role: cook, because not free then (1)")
    assert "Nearest is cook: closes 08:30, needed until 09:00 → stay open" in unfilled["because"]
    assert unfilled["nearest"]["because"][0]["mend"]["action"] == "open_later"
    mend = unfilled["nearest"]["because"][0]["mend"]
    chinese = await town.get(path, headers={"Accept-Language": "zh"})
    assert chinese["unfilled"][0]["because"].startswith("角色cook空缺：时间不合（1）")
    await town.change(
        f"/v1/offerings/{made['cook']}", {mend["field"]: mend["value"]}, "partner_staff"
    )
    assert len((await town.get(path))["bundles"]) == 1


async def test_where_nobody_goes_together_the_rule_in_the_way_is_named_and_mended(
    town: Town,
) -> None:
    """X3: each is within the budget, both are not; raising it to what is told is enough."""
    await _town_that_can(town)
    need = await town.make(
        "/v1/needs",
        _cafeteria(
            town,
            budget={"amount": 900, "currency": "CNY", "per": "session"},
            slots=[
                {"role": "cook", "kind": "merchant"},
                {"role": "second", "kind": "merchant"},
            ],
        ),
    )
    await _offer(town, "other cook")
    path = f"/v1/needs/{need['id']}/bundles"
    answer = await town.get(path)
    assert answer["bundles"] == []
    (told,) = answer["unfilled"]
    assert (told["rule"], told["role"], told["alone"]) == ("budget", None, True)
    assert "10.00 CNY a session at the least and the budget is 9.00" in told["because"]
    mend = told["cures"][0]["mend"]
    assert mend["text"] == "raise the budget to 10.00 CNY a session"
    less = {**mend["value"], "amount": mend["value"]["amount"] - 1}
    await town.change(f"/v1/needs/{need['id']}", {"budget": less})
    assert (await town.get(path))["bundles"] == []
    await town.change(f"/v1/needs/{need['id']}", {"budget": mend["value"]})
    assert len((await town.get(path))["bundles"]) == 1


async def test_a_space_that_lacks_what_the_cook_requires_is_named_with_what_to_add(
    town: Town,
) -> None:
    made = await _town_that_can(town)
    await town.change(f"/v1/offerings/{made['hall']}", {"features": ["kitchen"]}, "partner_staff")
    need = await town.make("/v1/needs", _cafeteria(town))
    path = f"/v1/needs/{need['id']}/bundles"
    (told,) = (await town.get(path))["unfilled"]
    assert (told["rule"], told["role"]) == ("features", "cook")
    (cure,) = told["cures"]
    assert cure["offering"]["id"] == made["hall"]
    assert cure["mend"]["value"] == ["kitchen", "power"]
    chinese = await town.get(path, headers={"Accept-Language": "zh"})
    assert chinese["unfilled"][0]["because"] == "角色cook有人选，但没有场地具备其所需的power"
    change = {"features": cure["mend"]["value"]}
    await town.change(f"/v1/offerings/{made['hall']}", change, "partner_staff")
    assert len((await town.get(path))["bundles"]) == 1


async def test_a_rota_with_a_gap_tells_how_much_of_the_time_it_covers(town: Town) -> None:
    made = await _town_that_can(town)
    late = [{"days": [1, 2, 3, 4, 5], "start": "07:30", "end": "08:45"}]
    await town.change(f"/v1/offerings/{made['late']}", {"availability": late}, "partner_staff")
    need = await town.make("/v1/needs", _cafeteria(town, min_coverage=0.95))
    path = f"/v1/needs/{need['id']}/bundles"
    (told,) = (await town.get(path))["unfilled"]
    assert told["rule"] == "time"
    mend = told["cures"][0]["mend"]
    assert (mend["field"], mend["value"]) == ("min_coverage", 0.9)
    assert mend["text"] == "ask for 90 % of the time only"
    await town.change(f"/v1/needs/{need['id']}", {"min_coverage": mend["value"]})
    (bundle,) = (await town.get(path))["bundles"]
    window = bundle["window"]
    assert window["minutes"] * 10 == window["asked"] * 9
    assert window["times"][0] == ["2026-11-04T06:30+08:00", "2026-11-04T08:45+08:00"]


async def test_a_helper_who_reaches_the_hall_but_not_the_need_may_help(town: Town) -> None:
    """Reach is measured to the space, the radius from the need."""
    made = await _town_that_can(town)
    near = {"reach_m": 150, "location": a_point(420)}
    await town.change(f"/v1/offerings/{made['trolley']}", near, "partner_staff")
    need = await town.make("/v1/needs", _cafeteria(town))
    path = f"/v1/needs/{need['id']}"
    assert len((await town.get(f"{path}/bundles"))["bundles"]) == 1
    ranked = await town.get(f"{path}/matches?slot=trolley")
    assert ranked["slots"][0]["matches"] == []
    change = {"location": a_point(480)}
    await town.change(f"/v1/offerings/{made['trolley']}", change, "partner_staff")
    (told,) = (await town.get(f"{path}/bundles"))["unfilled"]
    assert (told["rule"], told["role"]) == ("reach", "trolley")
    assert told["cures"][0]["mend"]["value"] == 180


async def test_a_stored_bundle_replays_to_the_same_scores_after_everything_has_changed(
    town: Town,
) -> None:
    """X5: for who has signed in; a stranger's question leaves nothing behind."""
    made = await _town_that_can(town)
    need = await town.make("/v1/needs", _cafeteria(town))
    path = f"/v1/needs/{need['id']}/bundles"
    assert (await town.get(path))["snapshot"] is None
    answer = await town.get(path, "secretary")
    nobody = await town.make("/v1/needs", _cafeteria(town, radius_m=1))
    assert (await town.get(f"/v1/needs/{nobody['id']}/bundles", "secretary"))["snapshot"] is None
    await town.change(f"/v1/offerings/{made['cook']}", {"price": {"amount": 900}}, "partner_staff")
    replay = await town.get(f"/v1/snapshots/{answer['snapshot']}/replay", "secretary")
    score = answer["bundles"][0]["score"]
    assert replay["same"] is True
    assert replay["bundles"] == [{"then": score, "now": score}]
    scores = {m["offering"]["id"]: m["score"] for m in answer["bundles"][0]["members"]}
    assert {entry["offering_id"]: entry["then"] for entry in replay["scores"]} == scores
    assert (await town.get(path, "secretary"))["bundles"][0]["score"] < score


async def test_a_snapshot_of_bundles_is_for_those_who_may_know_where_its_members_live(
    town: Town,
) -> None:
    """X16: a volunteer's home is exact for the staff of its place, and so is what they compare."""
    await _town_that_can(town)
    home = a_point(123, 77)
    await _offer(town, "at home", kind="volunteer", price=FREE, location=home)
    need = await town.make(
        "/v1/needs", _cafeteria(town, slots=[{"role": "helper", "kind": "volunteer"}])
    )
    path = f"/v1/needs/{need['id']}/bundles"
    staff = (await town.get(path, "secretary"))["snapshot"]
    assert (await town.as_("secretary", "GET", f"/v1/snapshots/{staff}")).status_code == 200
    for stranger in ("anonymous", "sibling_secretary"):
        assert (await town.as_(stranger, "GET", f"/v1/snapshots/{staff}")).status_code == 404
    theirs = (await town.get(path, "sibling_secretary"))["snapshot"]
    assert theirs != staff
    seen = await town.get(f"/v1/snapshots/{theirs}", "anonymous")
    places = [
        (m["offering"]["lat_e6"], m["offering"]["lon_e6"])
        for bundle in seen["content"]["bundles"]
        for m in bundle["members"]
    ]
    assert (round(home["lat"] * 1e6), round(home["lon"] * 1e6)) not in places


async def test_a_preview_may_ask_for_bundles_and_for_who_was_left_out(town: Town) -> None:
    await _town_that_can(town)
    body = _cafeteria(town)
    for query, has in (
        ("", set()),
        ("?include=bundles", {"bundles", "unfilled"}),
        ("?include=bundles&include=excluded", {"bundles", "unfilled"}),
        ("?include=excluded", set()),
    ):
        answer = await town.as_("anonymous", "POST", f"/v1/needs/preview{query}", json=body)
        assert answer.status_code == 200
        told = answer.json()
        assert told.keys() - {"slots", "snapshot"} == has
        assert ("excluded" in told["slots"][0]) == ("excluded" in query)
        assert len(told.get("bundles", [0])) == 1
    answer = await town.as_("anonymous", "POST", "/v1/needs/preview?include=all", json=body)
    assert answer.status_code == 400


async def test_a_partner_of_one_person_is_one_helper_and_a_team_is_several(town: Town) -> None:
    need = await town.make(
        "/v1/needs",
        _cafeteria(town, slots=[{"role": "helpers", "kind": "volunteer", "quantity": 2}]),
    )
    path = f"/v1/needs/{need['id']}/bundles"
    # The town's partner is a sole trader, which is one person whatever it offers.
    for name in ("one", "two"):
        await _offer(town, name, kind="volunteer", price=FREE, partner_id=town.partner)
    (told,) = (await town.get(path))["unfilled"]
    assert told["rule"] == "one_role"
    team = await _partner(town, "team")
    for name in ("three", "four"):
        await _offer(town, name, kind="volunteer", price=FREE, partner_id=team)
    assert len((await town.get(path))["bundles"]) >= 1


async def test_a_festival_takes_a_permit_that_is_valid_to_its_last_minute(town: Town) -> None:
    """B5: stage with power, sound, artists and a permit; X1, X3: one that ends a day early does
    not count, and the answer says so."""
    evening = {"days": [6], "start": "19:00", "end": "21:30"}
    hours = [{**evening, "start": "18:00", "end": "23:00"}]
    there = {"service_types": ["activity"], "availability": hours, "price": FREE}
    permit = {"kind": "event_permit", "issuer": "文旅委", "number": "YC1"}
    await _offer(town, "stage", kind="space", **there, features=["stage", "power"])
    await _offer(town, "sound", kind="goods", **there, requires_features=["power"])
    for name in ("erhu", "choir"):
        await _offer(town, name, kind="volunteer", **there)
    short = [{**permit, "valid_to": "2026-12-11"}]
    document = await _offer(
        town, "permit", kind="goods", **there, features=["permit"], credentials=short
    )
    need = a_need(
        town,
        service_type="activity",
        beneficiaries=0,
        windows=[{**evening, "from": "2026-12-05", "until": "2026-12-12"}],
        slots=[
            {"role": "stage", "kind": "space", "features": ["stage"]},
            {"role": "sound", "kind": "goods"},
            {"role": "artists", "kind": "volunteer", "quantity": 2},
            {
                "role": "permit",
                "kind": "goods",
                "features": ["permit"],
                "credentials": ["event_permit"],
            },
        ],
    )
    posted = await town.make("/v1/needs", need)
    path = f"/v1/needs/{posted['id']}/bundles"
    (told,) = (await town.get(path))["unfilled"]
    assert told["role"] == "permit"
    assert (
        "event_permit is valid until 2026-12-12 00:00, needed until 2026-12-12 21:30"
        in (told["because"])
    )
    change = {"credentials": [{**permit, "valid_to": "2026-12-12"}]}
    changed = await town.change(f"/v1/offerings/{document}", change, "partner_staff")
    credential = changed["credentials"][0]["id"]
    await town.make(f"/v1/offerings/{document}/credentials/{credential}/verify", None)
    (bundle,) = (await town.get(path))["bundles"]
    roles = [member["role"] for member in bundle["members"]]
    assert roles == ["stage", "sound", "artists", "artists", "permit"]
    assert bundle["members"][-1]["offering"]["id"] == document
