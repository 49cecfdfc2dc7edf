"""Agreements that are active, and the people who come to their occurrences, for tests."""

from __future__ import annotations

import datetime as dt
from typing import Any

from models import attendance, base
from tests.api.test_partners import a_partner
from tests.clocks import Clock
from tests.towns import Town, a_need, an_offering, mornings

Json = dict[str, Any]
# The people of the setting's own partner.
ZHOU = "partner_staff"
# Nothing depends on which day of the week it is.
DAILY = mornings(start="06:00", end="10:00", days=[1, 2, 3, 4, 5, 6, 7])


async def a_resident(
    town: Town, who: str = "volunteer", kind: str = "resident", **change: Any
) -> str:
    """An admitted partner that is one person: the account `who`."""
    body = a_partner(town, kind=kind, name={"zh": who, "en": who}, **change)
    made = await town.make("/v1/partners", body, who)
    for step in ("review", "admit"):
        await town.make(f"/v1/partners/{made['id']}/{step}", {}, "operator")
    return str(made["id"])


async def a_volunteer(town: Town, partner: str, **change: Any) -> Json:
    """An offering of somebody's mornings."""
    body = an_offering(
        town,
        partner_id=partner,
        kind="volunteer",
        title={"zh": "早餐帮手", "en": "A helper at breakfast"},
        capacity=None,
        price={"amount": 0},
        price_tier="public",
        **{"availability": [DAILY], **change},
    )
    made: Json = await town.make("/v1/offerings", body, "operator")
    return made


async def a_morning(
    town: Town, roles: dict[str, str], who: str = "secretary", **change: Any
) -> Json:
    """A need of breakfasts from 06:30 to 08:30 with a slot of a kind for each role."""
    slots = [{"role": role, "kind": kind} for role, kind in roles.items()]
    body = a_need(
        town,
        slots=slots,
        windows=[{**DAILY, "start": "06:30", "end": "08:30"}],
        **change,
    )
    made: Json = await town.make("/v1/needs", body, who)
    return made


async def agreed(
    town: Town,
    need: Json,
    members: dict[str, Json],
    *,
    days: int = 3,
    places: int = 0,
    who: str = "secretary",
) -> Json:
    """An agreement on so many mornings from tomorrow on that every party has accepted."""
    first = base.now().astimezone(dt.timezone(dt.timedelta(hours=8))).date() + dt.timedelta(days=1)
    body = {
        "need_id": need["id"],
        "members": [
            {"role": role, "offering_id": offering["id"]} for role, offering in members.items()
        ],
        "starts_on": str(first),
        "ends_on": str(first + dt.timedelta(days=days - 1)),
        "places": places,
    }
    made: Json = await town.make("/v1/agreements", body, who)
    for party in made["parties"]:
        if party["answer"] == "pending":
            path = f"/v1/agreements/{made['id']}/accept"
            made = await town.make(path, {"party_id": party["id"]}, "operator")
    assert made["state"] == "active"
    return made


async def occurrences(town: Town, agreement: Json, who: str = "secretary") -> list[Json]:
    """The times of an agreement, in order."""
    path = f"/v1/agreements/{agreement['id']}/occurrences?limit=100"
    items: list[Json] = (await town.get(path, who))["items"]
    return items


def commitment(agreement: Json, offering: Json) -> str:
    """The id of what an offering gives."""
    return str(
        next(c["id"] for c in agreement["commitments"] if c["offering_id"] == offering["id"])
    )


def until(clock: Clock, moment: str, minutes: float = 0) -> None:
    """Let time pass to so many minutes after a moment."""
    wanted = dt.datetime.fromisoformat(moment) + dt.timedelta(minutes=minutes)
    clock.advance(seconds=(wanted - clock.read()).total_seconds())


async def check(
    town: Town, way: str, occurrence: Json, promised: str, who: str, **body: Any
) -> Any:
    """Check `in` or `out` for a commitment."""
    path = f"/v1/occurrences/{occurrence['id']}/check-{way}"
    return await town.as_(who, "POST", path, json={"commitment_id": promised, **body})


async def serve(town: Town, clock: Clock, occurrence: Json, promised: dict[str, str]) -> None:
    """Have people (by account, with their commitments) come at the start and leave at the end."""
    for way, moment in (("in", "starts_at"), ("out", "ends_at")):
        until(clock, occurrence[moment], -1 if way == "out" else 0)
        for who, one in promised.items():
            answer = await check(town, way, occurrence, one, who)
            assert answer.status_code == 200, answer.text
    until(clock, occurrence["ends_at"], 1)
    await attendance.tick()
