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
