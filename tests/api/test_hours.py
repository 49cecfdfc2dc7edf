"""The time bank over HTTP: hours to spend up to a cap, the rest to give away; the signed record."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import uuid

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models import attendance, engine, hours, ledger
from tests.clocks import Clock
from tests.serving import (
    Json,
    a_morning,
    a_resident,
    a_volunteer,
    agreed,
    check,
    commitment,
    occurrences,
    serve,
    until,
)
from tests.towns import PASSWORD, Town

MINE = "/v1/accounts/current/hours"


async def _saved(town: Town, who: str, minutes: int) -> None:
    """What somebody has earned in the years before."""
    async with engine.unit_of_work():
        account, place = town.accounts[who], uuid.UUID(town.community)
        before = await hours._locked(account)
        lines = await hours._move(account, before, hours.earn(before, minutes))
        source = ledger.Line(f"hours:{place}", ledger.MINUTE, -minutes)
        await ledger.transfer("hours_earned", [source, *lines], place=place)


async def _place_in(town: Town, need: Json, who: str) -> str:
    """The id of a place of somebody in what serves a need."""
    made = await town.make(f"/v1/needs/{need['id']}/enrolments", {}, who)
    assert made["status"] == "enrolled"
    return str(made["id"])


async def test_the_1501st_hour_cannot_be_spent_and_can_be_given_away(
    town: Town, clock: Clock
) -> None:
    """E8: cap of 1,500 hours, the excess can only be given away."""
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"helper": "volunteer"})
    agreement = await agreed(town, need, {"helper": helper}, places=60)
    await _saved(town, "volunteer", 1_499 * 60)
    first = (await occurrences(town, agreement))[0]
    until(clock, first["starts_at"])
    promised = commitment(agreement, helper)
    await check(town, "in", first, promised, "volunteer")
    until(clock, first["ends_at"])
    await check(town, "out", first, promised, "volunteer")
    has = await town.get(MINE, "volunteer")
    assert (has["spendable"], has["donate_only"]) == (1_500 * 60, 60)
    place = await _place_in(town, need, "volunteer")
    spending = {"minutes": 1_501 * 60, "enrolment_id": place}
    refused = await town.as_("volunteer", "POST", f"{MINE}/spend", json=spending)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_few_hours")
    assert "90000 minutes" in refused.json()["detail"]
    spent = await town.make(f"{MINE}/spend", {**spending, "minutes": 1_500 * 60}, "volunteer")
    assert (spent["spendable"], spent["donate_only"]) == (0, 60)
    refused = await town.as_("volunteer", "POST", f"{MINE}/spend", json={**spending, "minutes": 1})
    assert refused.status_code == 409, "what lies above the cap is not to be spent later either"
    gift = {"minutes": 60, "account_id": str(town.accounts["resident"])}
    given = await town.make(f"{MINE}/donate", gift, "volunteer")
    assert (given["spendable"], given["donate_only"]) == (0, 0)
    assert (await town.get(MINE, "resident"))["spendable"] == 60
    refused = await town.as_("volunteer", "POST", f"{MINE}/donate", json={**gift, "minutes": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_few_hours")


async def test_what_changed_a_balance_comes_page_by_page_newest_first(town: Town) -> None:
    await _saved(town, "volunteer", 120)
    await _saved(town, "volunteer", 60)
    gift = {"minutes": 30, "place_id": town.community}
    await town.make(f"{MINE}/donate", gift, "volunteer")
    page = await town.get(f"{MINE}?limit=2", "volunteer")
    rest = await town.get(f"{MINE}?limit=2&cursor={page['entries']['next']}", "volunteer")
    entries = page["entries"]["items"] + rest["entries"]["items"]
    assert [(one["kind"], one["spendable"]) for one in entries] == [
        ("hours_donated", -30),
        ("hours_earned", 60),
        ("hours_earned", 120),
    ]
    assert rest["entries"]["next"] is None
    assert await ledger.balance(f"fund:{town.community}", ledger.MINUTE) == 30
    assert (await town.get(MINE, "resident"))["entries"]["items"] == []


async def test_concurrent_spending_never_overdraws(town: Town, clock: Clock) -> None:
    """E8."""
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"helper": "volunteer"})
    await agreed(town, need, {"helper": helper}, places=60)
    spending = {"minutes": 60, "enrolment_id": await _place_in(town, need, "resident")}
    await _saved(town, "resident", 5 * 60)
    answers = await asyncio.gather(
        *(town.as_("resident", "POST", f"{MINE}/spend", json=spending) for _ in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [409] * 15
    has = await town.get(MINE, "resident")
    assert (has["spendable"], len(has["entries"]["items"])) == (0, 6)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("donate", {"minutes": 1, "account_id": str(uuid.uuid4())}, "account_id"),
        ("donate", {"minutes": 1, "place_id": str(uuid.uuid4())}, "place_id"),
        ("donate", {"minutes": 0, "place_id": str(uuid.uuid4())}, "minutes"),
        ("donate", {"minutes": 2**60, "place_id": str(uuid.uuid4())}, "minutes"),
        ("donate", {"minutes": 1}, "account_id"),
        ("spend", {"minutes": 1, "enrolment_id": str(uuid.uuid4())}, "enrolment_id"),
        ("spend", {"minutes": -1, "enrolment_id": str(uuid.uuid4())}, "minutes"),
    ],
)
async def test_what_cannot_be_given_or_spent_is_named(
    town: Town, path: str, body: Json, field: str
) -> None:
    await _saved(town, "volunteer", 60)
    answer = await town.as_("volunteer", "POST", f"{MINE}/{path}", json=body)
    assert answer.status_code in (400, 422), answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_nobody_gives_to_themselves_or_pays_for_anothers_place(
    town: Town, clock: Clock
) -> None:
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"helper": "volunteer"})
    await agreed(town, need, {"helper": helper}, places=60)
    theirs = await _place_in(town, need, "resident")
    await _saved(town, "volunteer", 60)
    own = {"minutes": 1, "account_id": str(town.accounts["volunteer"])}
    answer = await town.as_("volunteer", "POST", f"{MINE}/donate", json=own)
    assert answer.status_code == 422
    spending = {"minutes": 1, "enrolment_id": theirs}
    answer = await town.as_("volunteer", "POST", f"{MINE}/spend", json=spending)
    assert answer.status_code == 422
    key = {"Idempotency-Key": "once"}
    gift = {"minutes": 10, "account_id": str(town.accounts["resident"])}
    for _ in range(2):
        given = await town.make(f"{MINE}/donate", gift, "volunteer", headers=key)
    assert given["spendable"] == 50


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def _served(town: Town, clock: Clock) -> tuple[Json, Json, Json]:
    """An agreement, its volunteer, and the first morning, served."""
    helper = await a_volunteer(town, await a_resident(town))
    agreement = await agreed(
        town, await a_morning(town, {"helper": "volunteer"}), {"helper": helper}
    )
    first = (await occurrences(town, agreement))[0]
    await serve(town, clock, first, {"volunteer": commitment(agreement, helper)})
    return agreement, helper, first


async def test_a_service_record_is_verified_by_anybody_without_asking_again(
    town: Town, clock: Clock
) -> None:
    """X14: verifiable offline."""
    *_, first = await _served(town, clock)
    path = "/v1/accounts/current/service-record"
    to = dt.datetime.fromisoformat(first["starts_at"]).date() + dt.timedelta(days=1)
    signed = await town.get(f"{path}?to={to}", "volunteer")
    (key,) = (await town.get("/v1/service-record-keys"))["keys"]
    # From here on nothing but the text and the key.
    head, payload, signature = signed["jws"].split(".")
    public = Ed25519PublicKey.from_public_bytes(_bytes(key["x"]))
    public.verify(_bytes(signature), f"{head}.{payload}".encode())
    assert json.loads(_bytes(head)) == {
        "alg": "EdDSA",
        "kid": key["kid"],
        "typ": "service-record+json",
    }
    record = json.loads(_bytes(payload))
    assert record == signed["record"]
    (entry,) = record["entries"]
    local = dt.datetime.fromisoformat(first["starts_at"]).astimezone(
        dt.timezone(dt.timedelta(hours=8))
    )
    assert (entry["date"], entry["minutes"], record["minutes"]) == (str(local.date()), 119, 119)
    assert (entry["place_id"], entry["service_type"]) == (town.community, "breakfast_point")
    assert record["account_id"] == str(town.accounts["volunteer"])
    more = payload.replace(payload[40], "A" if payload[40] != "A" else "B", 1)
    with pytest.raises(InvalidSignature):
        public.verify(_bytes(signature), f"{head}.{more}".encode())
    assert (await town.get(path, "resident"))["record"]["entries"] == []
    before = await town.get(f"{path}?from=2026-01-01&to=2026-02-01", "volunteer")
    assert before["record"]["minutes"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("from=2024-01-01&to=2026-01-01", "from"),
        ("to=0001-01-01", "to"),
        ("from=9999-12-31", "from"),
        ("to=9999-12-31", "to"),
    ],
)
async def test_a_record_is_of_a_year_at_most(town: Town, query: str, field: str) -> None:
    path = f"/v1/accounts/current/service-record?{query}"
    answer = await town.as_("volunteer", "GET", path)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_person_takes_their_hours_along_and_is_forgotten_with_them(
    town: Town, clock: Clock
) -> None:
    agreement, helper, first = await _served(town, clock)
    account = town.accounts["volunteer"]
    second = (await occurrences(town, agreement))[1]
    until(clock, second["starts_at"])
    await check(town, "in", second, commitment(agreement, helper), "volunteer")
    data = (await town.get("/v1/accounts/current/export", "volunteer"))["data"]
    row, here = data["attendance"]
    assert (here["occurrence"], here["outcome"]) == (second["id"], "here")
    assert (row["occurrence"], row["minutes"]) == (first["id"], 119)
    assert [entry["amount"] for entry in data["hour_entries"]] == [119]
    assert [one["spendable"] for one in data["hours"]] == [119]
    answer = await town.as_(
        "volunteer", "DELETE", "/v1/accounts/current", json={"password": PASSWORD}
    )
    assert answer.status_code == 204
    assert await engine.rows("SELECT 1 FROM hours WHERE account = $1", account) == []
    assert await ledger.balance(f"person:{account}", ledger.MINUTE) == 0
    assert await ledger.balance(f"fund:{town.community}", ledger.MINUTE) == 119
    until(clock, second["ends_at"], 24 * 60)
    await attendance.tick()
    assert await engine.rows("SELECT 1 FROM hours WHERE account = $1", account) == []
