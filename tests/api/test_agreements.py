"""Agreements over HTTP: proposed, answered, and everything after that."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
import zoneinfo
from typing import Any

import pytest

from models import agreements, bookings, engine
from tests.api.test_partners import a_partner
from tests.clocks import Clock
from tests.towns import Town, a_need, a_space, an_offering, mornings

Json = dict[str, Any]
REASON = {"reason": "time"}


async def _need(town: Town, **change: Any) -> Json:
    made: Json = await town.make("/v1/needs", a_need(town, **change))
    return made


async def _offer(town: Town, **change: Any) -> Json:
    made: Json = await town.make("/v1/offerings", an_offering(town, **change), "operator")
    return made


async def _partner(town: Town, who: str = "other_staff", kind: str = "sole_trader") -> str:
    """Another admitted partner, of which `who` are the people."""
    body = a_partner(town, kind=kind)
    made = await town.make("/v1/partners", body, who)
    for step in ("review", "admit"):
        await town.make(f"/v1/partners/{made['id']}/{step}", {}, "operator")
    return str(made["id"])


def _draft(need: Json, *members: tuple[str, Json], **change: Any) -> Json:
    asked = [{"role": role, "offering_id": offering["id"]} for role, offering in members]
    return {"need_id": need["id"], "members": asked, **change}


async def _propose(town: Town, need: Json, *members: tuple[str, Json], **change: Any) -> Json:
    made: Json = await town.make("/v1/agreements", _draft(need, *members, **change))
    return made


async def _step(town: Town, agreement: Json, step: str, who: str, **body: Any) -> Any:
    return await town.as_(who, "POST", f"/v1/agreements/{agreement['id']}/{step}", json=body)


async def _active(town: Town, need: Json, *members: tuple[str, Json], **change: Any) -> Json:
    """An agreement that everybody has accepted; Zhou's people answer for every partner."""
    made = await _propose(town, need, *members, **change)
    answer = await _step(town, made, "accept", "partner_staff")
    assert answer.status_code == 200, answer.text
    done: Json = answer.json()
    assert done["state"] == "active"
    return done


async def test_nobody_reads_agreements_but_their_parties_and_the_staff(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _propose(town, need, ("cook", shop))
    path = f"/v1/agreements/{made['id']}"
    assert (await town.as_("anonymous", "GET", path)).status_code == 401
    for who in ("resident", "other_staff", "sibling_secretary", "volunteer"):
        assert (await town.as_(who, "GET", path)).status_code == 404
        assert (await town.get("/v1/agreements", who))["items"] == []
    for who in ("secretary", "partner_staff", "officer", "operator"):
        assert (await town.get(path, who))["state"] == "proposed"
        assert [one["id"] for one in (await town.get("/v1/agreements", who))["items"]] == [
            made["id"]
        ]


async def test_the_last_yes_books_every_time_and_the_need_is_filled(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _propose(town, need, ("cook", shop))
    assert [party["answer"] for party in made["parties"]] == ["accepted", "pending"]
    assert made["places"] == 60
    assert (await town.get("/v1/bookings", "secretary"))["items"] == [], "nothing is taken yet"
    times = (await town.get(f"/v1/agreements/{made['id']}/times", "partner_staff"))["items"]
    answer = await _step(town, made, "accept", "partner_staff")
    assert answer.status_code == 200, answer.text
    active = answer.json()
    assert (active["state"], active["due"]) == ("active", "complete")
    booked = (await town.get("/v1/bookings?limit=100", "secretary"))["items"]
    assert len(booked) == len(times) == active["commitments"][0]["times"] == 60
    assert {one["status"] for one in booked} == {"confirmed"}
    assert {one["quantity"] for one in booked} == {60}
    assert sorted((one["starts_at"], one["ends_at"]) for one in booked) == [
        (one["starts_at"], one["ends_at"]) for one in times
    ]
    assert (await town.get(f"/v1/needs/{need['id']}", "secretary"))["status"] == "closed"
    told = (await town.get(f"/v1/agreements/{made['id']}/events", "partner_staff"))["items"]
    assert [(one["was"], one["transition"], one["state"]) for one in told] == [
        ("proposed", "propose", "proposed"),
        ("proposed", "accept", "active"),
    ]
    again = await _step(town, made, "accept", "partner_staff")
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")


async def test_every_party_has_to_accept_and_each_for_itself(town: Town) -> None:
    need = await _need(
        town,
        slots=[{"role": "room", "kind": "space"}, {"role": "cook", "kind": "merchant"}],
    )
    other = await _partner(town)
    room = await town.make("/v1/offerings", a_space(town, partner_id=other), "operator")
    shop = await _offer(town)
    made = await _propose(town, need, ("room", room), ("cook", shop))
    first = (await _step(town, made, "accept", "partner_staff")).json()
    assert first["state"] == "proposed"
    last = (await _step(town, made, "accept", "other_staff")).json()
    assert last["state"] == "active"
    assert {one["kind"] for one in last["commitments"]} == {"space_hours", "service"}


async def test_who_does_not_fit_is_refused_with_the_gates_that_are_shut(town: Town) -> None:
    """X1: every gate holds for every exact time of the agreement."""
    need = await _need(town)
    late = await _offer(town, availability=[mornings(start="07:00", end="10:00")])
    small = await _offer(town, capacity=10)
    draft = _draft(need, ("cook", late), ("cook", small))
    answer = await town.as_("secretary", "POST", "/v1/agreements", json=draft)
    assert answer.status_code == 422, answer.text
    told = {one["field"]: one["detail"] for one in answer.json()["errors"]}
    assert set(told) == {"members[0].offering_id", "members[1].offering_id"}
    assert "time" in told["members[0].offering_id"]
    assert "capacity" in told["members[1].offering_id"]
    assert (await town.get("/v1/agreements", "secretary"))["items"] == []


async def test_a_licence_that_ends_within_the_year_is_no_licence_for_the_year(town: Town) -> None:
    """X1: valid from the first to the last minute, also beyond what a ranking looks at."""
    today = dt.datetime.now(zoneinfo.ZoneInfo("Asia/Shanghai")).date()
    until = str(today + dt.timedelta(days=120))
    licence = {"kind": "food_licence", "issuer": "市监局", "number": "1", "valid_to": until}
    shop = await _offer(town, credentials=[licence])
    path = f"/v1/offerings/{shop['id']}/credentials/{shop['credentials'][0]['id']}/verify"
    await town.make(path, {}, "secretary")
    slot = {"role": "cook", "kind": "merchant", "credentials": ["food_licence"]}
    need = await _need(town, slots=[slot])
    dates = {"starts_on": str(today + dt.timedelta(days=1))}
    long = {**dates, "ends_on": str(today + dt.timedelta(days=200))}
    answer = await town.as_(
        "secretary", "POST", "/v1/agreements", json=_draft(need, ("cook", shop), **long)
    )
    assert answer.status_code == 422
    assert "credentials" in answer.json()["errors"][0]["detail"]
    short = {**dates, "ends_on": str(today + dt.timedelta(days=110))}
    await _propose(town, need, ("cook", shop), **short)


async def test_who_says_what_they_have_read_accepts_nothing_else(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _propose(town, need, ("cook", shop))
    path, read = f"/v1/agreements/{made['id']}", {"If-Match": f'"{made["version"]}"'}
    tag = (await town.as_("secretary", "GET", path)).headers["etag"]
    price = {"amount": 1, "currency": "CNY", "per": "session"}
    other = {"tier": "low_fee", "price": price}
    changed = await town.as_(
        "secretary", "PUT", f"{path}/terms", json={"terms": other}, headers={"If-Match": tag}
    )
    assert changed.status_code == 200, changed.text
    late = await town.as_("partner_staff", "POST", f"{path}/accept", json={}, headers=read)
    assert (late.status_code, late.json()["code"]) == (412, "stale")
    now = {"If-Match": changed.headers["etag"]}
    done = await town.as_("partner_staff", "POST", f"{path}/accept", json={}, headers=now)
    assert done.json()["state"] == "active"


async def test_a_no_has_a_reason_that_is_counted(town: Town) -> None:
    """X18."""
    need, shop = await _need(town), await _offer(town)
    made = await _propose(town, need, ("cook", shop))
    assert (await _step(town, made, "decline", "partner_staff")).status_code == 400
    answer = await _step(town, made, "decline", "partner_staff", reason="price", note="太便宜")
    assert answer.json()["state"] == "declined"
    told = await town.get(f"/v1/reports/exclusions?place={town.community}", "secretary")
    assert told["declined"] == [{"reason": "price", "proposals": 1}]
    account = await town.get(f"/v1/reports/fairness?place={town.community}", "secretary")
    assert [(p["proposed"], p["declined"]) for p in account["partners"]] == [(1, 1)]


async def test_what_nobody_answers_lapses_by_the_clock_and_late_is_late_before_it_ticks(
    town: Town, clock: Clock
) -> None:
    """A party that vanishes."""
    need, shop = await _need(town), await _offer(town)
    soon = {"respond_by": clock.after(hours=2)}
    made = await _propose(town, need, ("cook", shop), **soon)
    assert made["due"] == "lapse"
    clock.advance(hours=2)
    swap = {"commitment_id": made["commitments"][0]["id"], "offering_id": shop["id"]}
    for step, who, body in (("accept", "partner_staff", {}), ("swap", "secretary", swap)):
        late = await _step(town, made, step, who, **body)
        assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
    assert await agreements.tick() == 1
    assert await agreements.tick() == 0
    found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert (found["state"], found.get("due")) == ("lapsed", None)


async def test_a_clock_that_jumps_does_everything_that_was_due_at_its_moment_and_once(
    town: Town, clock: Clock
) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _active(town, need, ("cook", shop))
    assert await agreements.tick() == 0
    clock.advance(days=-400)
    assert await agreements.tick() == 0, "a clock that goes back undoes nothing"
    clock.advance(days=800)
    assert [await agreements.tick() for _ in range(3)] == [1, 1, 0]
    found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    told = (await town.get(f"/v1/agreements/{made['id']}/events", "secretary"))["items"]
    assert found["state"] == "reviewed"
    done, reviewed = (dt.datetime.fromisoformat(one["at"]) for one in told[-2:])
    assert reviewed - done == dt.timedelta(days=7)
    last = dt.datetime.fromisoformat(made["commitments"][0]["last_at"])
    assert done - last == dt.timedelta(days=1)


async def test_an_early_end_gives_back_what_is_left_and_the_need_is_open_again(
    town: Town, clock: Clock
) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _active(town, need, ("cook", shop))
    clock.advance(days=20)
    assert (await _step(town, made, "end", "resident", reason="other")).status_code == 404
    answer = await _step(town, made, "end", "partner_staff", reason="closed_down")
    assert (answer.status_code, answer.json()["state"]) == (200, "ended"), answer.text
    booked = (await town.get("/v1/bookings?limit=100", "secretary"))["items"]
    now = clock.read()
    for one in booked:
        past = dt.datetime.fromisoformat(one["starts_at"]) < now
        assert one["status"] == ("confirmed" if past else "cancelled")
    assert (await town.get(f"/v1/needs/{need['id']}", "secretary"))["status"] == "open"
    rows = await engine.rows("SELECT status, count(*) FROM occurrence GROUP BY status")
    kept = sum(one["status"] == "confirmed" for one in booked)
    assert dict(rows) == {"planned": kept, "cancelled": 60 - kept}
    await _active(town, need, ("cook", shop))


async def test_what_falls_into_a_pause_does_not_take_place(town: Town, clock: Clock) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _active(town, need, ("cook", shop))
    clock.advance(days=7)
    paused = await _step(town, made, "suspend", "partner_staff", reason="personal")
    assert paused.json()["state"] == "suspended"
    clock.advance(days=7)
    assert (await _step(town, made, "resume", "partner_staff")).status_code == 403
    assert (await _step(town, made, "resume", "secretary")).json()["state"] == "active"
    rows = dict(await engine.rows("SELECT status, count(*) FROM occurrence GROUP BY status"))
    assert rows == {"planned": 55, "cancelled": 5}


async def test_a_pause_that_nobody_ends_is_the_end(town: Town, clock: Clock) -> None:
    need, shop = await _need(town), await _offer(town)
    year = {"ends_on": str((clock.read() + dt.timedelta(days=300)).date())}
    made = await _active(town, need, ("cook", shop), **year)
    await _step(town, made, "suspend", "secretary", reason="safety")
    clock.advance(days=90)
    await agreements.tick()
    found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert found["state"] == "ended"
    ((live,),) = await engine.rows(
        f"SELECT count(*) FROM booking b WHERE {bookings.LIVE} AND b.starts >= $1",
        bookings.minute(clock.read()) + 1,
    )
    assert live == 0


async def test_a_member_is_swapped_for_whom_the_matcher_proposes(town: Town, clock: Clock) -> None:
    need, shop = await _need(town), await _offer(town)
    other = await _partner(town)
    chen = await _offer(town, partner_id=other)
    made = await _active(town, need, ("cook", shop))
    (member,) = made["commitments"]
    path = f"/v1/agreements/{made['id']}/replacements?commitment={member['id']}"
    choice = await town.get(path, "secretary")
    assert [one["offering"]["id"] for one in choice["matches"]] == [chen["id"]]
    clock.advance(days=10)
    swapped = await _step(town, made, "swap", "secretary", commitment_id=member["id"])
    assert swapped.status_code == 200, swapped.text
    newcomer = swapped.json()["commitments"][1]
    assert (newcomer["offering_id"], newcomer["status"]) == (chen["id"], "proposed")
    assert swapped.json()["state"] == "active"
    assert (await _step(town, made, "accept", "partner_staff")).status_code == 409
    taken = (await _step(town, made, "accept", "other_staff")).json()
    assert [one["status"] for one in taken["commitments"]] == ["left", "live"]
    now = clock.read()
    for one in (await town.get("/v1/bookings?limit=100", "secretary"))["items"]:
        past = dt.datetime.fromisoformat(one["starts_at"]) < now
        old = one["offering_id"] == shop["id"]
        assert one["status"] == ("confirmed" if past or not old else "cancelled")


async def test_after_a_no_another_member_is_asked_and_who_has_accepted_need_not_again(
    town: Town,
) -> None:
    need = await _need(
        town,
        slots=[{"role": "room", "kind": "space"}, {"role": "cook", "kind": "merchant"}],
    )
    other = await _partner(town)
    room = await town.make("/v1/offerings", a_space(town), "operator")
    shop, chen = await _offer(town), await _offer(town, partner_id=other)
    made = await _propose(town, need, ("room", room), ("cook", chen))
    await _step(town, made, "accept", "partner_staff")
    await _step(town, made, "decline", "other_staff", **REASON)
    swapped = await _step(
        town,
        made,
        "swap",
        "secretary",
        commitment_id=made["commitments"][1]["id"],
        offering_id=shop["id"],
    )
    assert swapped.json()["state"] == "proposed", swapped.text
    done = (await _step(town, made, "accept", "partner_staff")).json()
    assert done["state"] == "active"
    assert [party["answer"] for party in done["parties"]] == ["accepted", "accepted", "left"]


async def test_a_step_takes_only_its_own_fields_and_its_own_people(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _propose(town, need, ("cook", shop))
    wrong = await _step(town, made, "withdraw", "secretary", places=3)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "places")
    assert (await _step(town, made, "withdraw", "partner_staff")).status_code == 403
    assert (await _step(town, made, "accept", "grid_worker")).status_code == 404
    assert (await _step(town, made, "explode", "secretary")).status_code in (400, 404)
    assert (await _step(town, made, "resume", "secretary")).status_code == 409
    assert (await _step(town, made, "withdraw", "secretary")).json()["state"] == "withdrawn"


async def test_in_kind_pledges_count_against_the_cost_and_the_gap_is_in_cash(town: Town) -> None:
    """B6: cost 100, pledges 60 in kind, cash gap 40."""
    need = await _need(town)
    yuan = {"currency": "CNY"}
    pledge = {"partner_id": town.partner, "kind": "in_kind", "value": {"amount": 6000, **yuan}}
    body = {"need_id": need["id"], "pledges": [pledge], "cost": {"amount": 10000, **yuan}}
    made = await town.make("/v1/agreements", body)
    assert made["funding"] == {
        "currency": "CNY",
        "cost": 10000,
        "in_kind": 6000,
        "cash": 0,
        "gap": 4000,
    }
    assert (await _step(town, made, "accept", "partner_staff")).json()["state"] == "active"


async def test_a_partner_offers_itself_and_the_community_has_the_last_word(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    draft = _draft(need, ("cook", shop))
    made = await town.make("/v1/agreements", draft, "partner_staff")
    assert [party["answer"] for party in made["parties"]] == ["pending", "accepted"]
    other = await town.as_("other_staff", "POST", "/v1/agreements", json=draft)
    assert other.status_code == 403
    assert (await _step(town, made, "accept", "secretary")).json()["state"] == "active"


async def test_where_somebody_lives_is_for_the_parties_once_all_have_accepted(town: Town) -> None:
    """X16: public, then candidate, then accepted."""
    building = await town.make(
        "/v1/places",
        {
            "slug": "tower-9",
            "kind": "building",
            "parent_id": town.grid,
            "name": {"zh": "九号楼", "en": "Tower 9"},
            "location": {"lat": 29.5713, "lon": 106.5517},
        },
        "operator",
    )
    need = await _need(
        town,
        place_id=building["id"],
        location=None,
        beneficiary="self",
        beneficiaries=1,
        slots=[{"role": "cook", "kind": "merchant"}],
    )
    shop = await _offer(town)
    made = await _propose(town, need, ("cook", shop))
    path = f"/v1/agreements/{made['id']}"
    before = await town.get(path, "partner_staff")
    assert (before["place_id"], "location" in before) == (town.grid, False)
    assert "contact_phone" not in before["parties"][1]
    await _step(town, made, "accept", "partner_staff")
    after = await town.get(path, "partner_staff")
    assert after["place_id"] == building["id"]
    assert after["location"] == {"lat": 29.5713, "lon": 106.5517}
    staff = await town.get(path, "secretary")
    assert staff["parties"][1]["contact_phone"] == "+86 ** **** 0001"


# Many at once


async def test_concurrent_accepts_of_one_space_activate_one_agreement(town: Town) -> None:
    room = await town.make("/v1/offerings", a_space(town), "operator")
    slots = [{"role": "room", "kind": "space"}]
    made = [await _propose(town, await _need(town, slots=slots), ("room", room)) for _ in range(9)]
    answers = await asyncio.gather(*(_step(town, one, "accept", "partner_staff") for one in made))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] + [409] * 8
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"already_booked"}
    left = await town.get("/v1/agreements?state=proposed&limit=100", "secretary")
    assert len(left["items"]) == 8, "who was refused may still be given another room"


async def test_concurrent_accepts_of_a_service_take_as_many_places_as_there_are(
    town: Town,
) -> None:
    shop = await _offer(town, capacity=30)
    slots = [{"role": "cook", "kind": "merchant", "min_capacity": 5}]
    made = [
        await _propose(town, await _need(town, slots=slots, beneficiaries=5), ("cook", shop))
        for _ in range(9)
    ]
    answers = await asyncio.gather(*(_step(town, one, "accept", "partner_staff") for one in made))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 6 + [409] * 3


async def test_two_parties_that_accept_concurrently_activate_once(town: Town) -> None:
    slots = [{"role": "room", "kind": "space"}, {"role": "cook", "kind": "merchant"}]
    need = await _need(town, slots=slots)
    other = await _partner(town)
    room = await town.make("/v1/offerings", a_space(town, partner_id=other), "operator")
    made = await _propose(town, need, ("room", room), ("cook", await _offer(town)))
    answers = await asyncio.gather(
        *(_step(town, made, "accept", who) for who in ("partner_staff", "other_staff") * 3)
    )
    assert sorted(a.status_code for a in answers) == [200, 200, 409, 409, 409, 409]
    found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert found["state"] == "active"
    ((count,),) = await engine.rows("SELECT count(*) FROM booking")
    assert count == 2 * found["commitments"][0]["times"]


async def test_an_accept_that_races_the_withdrawal_is_one_or_the_other(town: Town) -> None:
    shop = await _offer(town)
    for _ in range(5):
        need = await _need(town)
        made = await _propose(town, need, ("cook", shop))
        yes, no = await asyncio.gather(
            _step(town, made, "accept", "partner_staff"),
            _step(town, made, "withdraw", "secretary"),
        )
        assert {yes.status_code, no.status_code} == {200, 409}
        found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
        assert found["state"] == ("active" if yes.status_code == 200 else "withdrawn")
        if yes.status_code == 200:
            await _step(town, made, "end", "secretary", reason="other")


@pytest.mark.parametrize("field", ["need_id", "members[0].offering_id"])
async def test_what_is_not_there_is_named(town: Town, field: str) -> None:
    need, shop = await _need(town), await _offer(town)
    draft = _draft(need, ("cook", shop))
    nobody = str(uuid.UUID(int=7 << 76 | 1 << 63))
    if field == "need_id":
        draft["need_id"] = nobody
    else:
        draft["members"][0]["offering_id"] = nobody
    answer = await town.as_("secretary", "POST", "/v1/agreements", json=draft)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]
