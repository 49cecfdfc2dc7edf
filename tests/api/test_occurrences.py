"""Occurrences over HTTP: who came, who did not, and what follows from it."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from models import agreements, attendance, engine, ledger
from models.attendance import closing
from tests.clocks import Clock
from tests.serving import (
    DAILY,
    ZHOU,
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
from tests.towns import Town, a_need, a_space, an_offering


def a_building(town: Town) -> Json:
    """Building 1 of the first grid."""
    name = {"zh": "一号楼", "en": "Building 1"}
    return {"slug": "building-1", "kind": "building", "parent_id": town.grid, "name": name}


AFTERNOONS = {**DAILY, "start": "14:00", "end": "16:00"}


async def _one(town: Town) -> tuple[Json, Json, str]:
    """An agreement with one volunteer, its first occurrence, and what they have promised."""
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"helper": "volunteer"})
    agreement = await agreed(town, need, {"helper": helper})
    first = (await occurrences(town, agreement))[0]
    return agreement, first, commitment(agreement, helper)


async def _record(town: Town, offering: Json) -> tuple[int, int]:
    record = (await town.get(f"/v1/offerings/{offering['id']}"))["record"]
    return record["jobs_agreed"], record["jobs_kept"]


async def _minutes() -> tuple[int, int]:
    """What attendance says was given by people, and what the ledger has credited for it."""
    ((counted,),) = await engine.rows(
        "SELECT COALESCE(SUM(minutes), 0) FROM attendance WHERE account IS NOT NULL"
    )
    ((credited,),) = await engine.rows(
        "SELECT COALESCE(-SUM(amount), 0) FROM entry WHERE account LIKE 'hours:%'"
    )
    return int(counted), int(credited)


async def test_occurrences_are_for_the_parties_and_the_staff_and_they_alone_check_in(
    town: Town, clock: Clock
) -> None:
    agreement, first, promised = await _one(town)
    until(clock, first["starts_at"])
    path = f"/v1/occurrences/{first['id']}"
    for who, status in (("anonymous", 401), ("resident", 404), ("sibling_secretary", 404)):
        assert (await town.as_(who, "GET", path)).status_code == status
        assert (await check(town, "in", first, promised, who)).status_code == status
        listed = await town.as_(who, "GET", f"/v1/agreements/{agreement['id']}/occurrences")
        assert listed.status_code == status
    for who in ("secretary", "volunteer", "officer", "operator"):
        assert (await town.get(path, who)) == first
    assert (await check(town, "in", first, promised, "volunteer")).status_code == 200


async def test_the_first_to_come_has_it_under_way_and_when_all_have_gone_it_is_served(
    town: Town, clock: Clock
) -> None:
    """E8: hours are recorded."""
    agreement, first, promised = await _one(town)
    until(clock, first["starts_at"], -10)
    came = (await check(town, "in", first, promised, "volunteer")).json()
    assert came["status"] == "under_way"
    (row,) = came["attendance"]
    assert (row["outcome"], row["account_id"]) == ("here", str(town.accounts["volunteer"]))
    until(clock, first["ends_at"], 10)
    went = (await check(town, "out", first, promised, "volunteer")).json()
    (row,) = went["attendance"]
    assert (row["outcome"], row["minutes"]) == ("kept", 120 + 15)
    assert (went["status"], went["version"]) == ("under_way", 3)
    await attendance.tick()
    listed = await occurrences(town, agreement, "volunteer")
    assert [one["status"] for one in listed] == ["served", "planned", "planned"]
    has = await town.get("/v1/accounts/current/hours", "volunteer")
    assert (has["spendable"], has["donate_only"], has["cap"]) == (135, 0, 90_000)
    (entry,) = has["entries"]["items"]
    assert (entry["kind"], entry["spendable"]) == ("hours_earned", 135)
    assert entry["subject"] == first["id"]
    assert await _minutes() == (135, 135)


async def test_check_in_opens_an_hour_before_and_check_out_closes_a_day_after(
    town: Town, clock: Clock
) -> None:
    _, first, promised = await _one(town)
    until(clock, first["starts_at"], -61)
    early = await check(town, "in", first, promised, "volunteer")
    assert (early.status_code, early.json()["code"]) == (409, "not_now")
    clock.advance(minutes=1)
    assert (await check(town, "out", first, promised, "volunteer")).status_code == 409
    assert (await check(town, "in", first, promised, "volunteer")).status_code == 200
    again = await check(town, "in", first, promised, "volunteer")
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    until(clock, first["ends_at"], 24 * 60 + 1)
    late = await check(town, "out", first, promised, "volunteer")
    assert late.status_code == 409
    await attendance.tick()
    served = await town.get(f"/v1/occurrences/{first['id']}", "secretary")
    (row,) = served["attendance"]
    # Who never checks out has stayed to the planned end.
    assert (served["status"], row["went_at"], row["minutes"]) == ("served", None, 135)


async def test_after_the_end_nobody_comes_and_time_has_it_missed(town: Town, clock: Clock) -> None:
    _, first, promised = await _one(town)
    until(clock, first["ends_at"])
    late = await check(town, "in", first, promised, "volunteer")
    assert late.status_code == 409
    await attendance.tick()
    missed = await town.get(f"/v1/occurrences/{first['id']}", "secretary")
    (row,) = missed["attendance"]
    assert missed["status"] == "missed"
    assert (row["outcome"], row["minutes"], row["recorded_by"]) == ("missed", 0, None)


async def test_one_may_keep_a_promise_that_another_breaks(town: Town, clock: Clock) -> None:
    """No-shows are of each commitment, and fed back to each offering."""
    one = await a_volunteer(town, await a_resident(town))
    other = await a_volunteer(town, await a_resident(town, "vanguard"))
    need = await a_morning(town, {"first": "volunteer", "second": "volunteer"})
    agreement = await agreed(town, need, {"first": one, "second": other})
    first = (await occurrences(town, agreement))[0]
    await serve(town, clock, first, {"volunteer": commitment(agreement, one)})
    closed = await town.get(f"/v1/occurrences/{first['id']}", "secretary")
    assert closed["status"] == "served"
    assert {row["commitment_id"]: row["outcome"] for row in closed["attendance"]} == {
        commitment(agreement, one): "kept",
        commitment(agreement, other): "missed",
    }
    assert await _record(town, one) == (1, 1)
    assert await _record(town, other) == (1, 0)


async def _parts(town: Town, offering: Json, place: str) -> dict[str, float]:
    """The parts of an offering's score for a need of the same place that it does not serve."""
    slots = [{"role": "helper", "kind": "volunteer"}]
    body = a_need(town, slots=slots, windows=[AFTERNOONS], place_id=place)
    need = await town.make("/v1/needs", body)
    (slot,) = (await town.get(f"/v1/needs/{need['id']}/matches", "secretary"))["slots"]
    (match,) = [m for m in slot["matches"] if m["offering"]["id"] == offering["id"]]
    return {part["part"]: part["value"] for part in match["parts"]}


async def test_a_kept_job_raises_the_score_and_a_no_show_lowers_it(
    town: Town, clock: Clock
) -> None:
    times = [DAILY, AFTERNOONS]
    helper = await a_volunteer(town, await a_resident(town), availability=times)
    place = str((await town.make("/v1/places", a_building(town), "officer"))["id"])
    need = await a_morning(town, {"helper": "volunteer"}, place_id=place)
    agreement = await agreed(town, need, {"helper": helper})
    first, second, _ = await occurrences(town, agreement)
    before = await _parts(town, helper, place)
    await serve(town, clock, first, {"volunteer": commitment(agreement, helper)})
    kept = await _parts(town, helper, place)
    assert kept["reliability"] > before["reliability"]
    assert kept["continuity"] > before["continuity"]
    until(clock, second["ends_at"])
    await attendance.tick()
    missed = await _parts(town, helper, place)
    assert missed["reliability"] < before["reliability"]
    assert missed["continuity"] == kept["continuity"]
    # In which building somebody is helped is not to be read from the record.
    rows = await engine.rows("SELECT CAST(place AS text), times FROM service_record")
    assert rows == [(town.grid, 1)]
    await town.indexed()


async def test_what_is_cancelled_counts_neither_way(town: Town, clock: Clock) -> None:
    agreement, first, promised = await _one(town)
    (offering,) = [c["offering_id"] for c in agreement["commitments"]]
    path = f"/v1/agreements/{agreement['id']}/end"
    await town.make(path, {"reason": "no_longer_needed"})
    until(clock, first["starts_at"])
    refused = await check(town, "in", first, promised, "volunteer")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    clock.advance(days=10)
    await attendance.tick()
    assert {one["status"] for one in await occurrences(town, agreement)} == {"cancelled"}
    assert await _record(town, {"id": offering}) == (0, 0)


async def test_who_had_come_before_an_early_end_leaves_as_from_any_other(
    town: Town, clock: Clock
) -> None:
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"helper": "volunteer"})
    agreement = await agreed(town, need, {"helper": helper})
    first = (await occurrences(town, agreement))[0]
    promised = commitment(agreement, helper)
    until(clock, first["starts_at"], -20)
    assert (await check(town, "in", first, promised, "volunteer")).status_code == 200
    clock.advance(minutes=10)
    await town.make(f"/v1/agreements/{agreement['id']}/end", {"reason": "safety"})
    clock.advance(minutes=5)
    went = await check(town, "out", first, promised, "volunteer")
    assert went.status_code == 200, went.text
    (row,) = went.json()["attendance"]
    assert (row["outcome"], row["minutes"]) == ("kept", 10)
    until(clock, first["ends_at"])
    await attendance.tick()
    listed = await occurrences(town, agreement)
    assert [one["status"] for one in listed] == ["served", "cancelled", "cancelled"]
    assert await _record(town, helper) == (1, 1)


async def test_during_a_pause_nobody_is_expected_and_nobody_is_missed(
    town: Town, clock: Clock
) -> None:
    agreement, first, promised = await _one(town)
    await town.make(f"/v1/agreements/{agreement['id']}/suspend", {"reason": "safety"})
    until(clock, first["starts_at"])
    assert (await check(town, "in", first, promised, "volunteer")).status_code == 409
    until(clock, first["ends_at"])
    await attendance.tick()
    await town.make(f"/v1/agreements/{agreement['id']}/resume", {})
    await attendance.tick()
    listed = await occurrences(town, agreement)
    assert [one["status"] for one in listed] == ["cancelled", "planned", "planned"]
    (offering,) = [c["offering_id"] for c in agreement["commitments"]]
    assert await _record(town, {"id": offering}) == (0, 0)


async def test_after_a_long_sleep_all_that_is_over_is_missed_before_the_agreement_is_completed(
    town: Town, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "_ROUND", 2)
    agreement, _, _ = await _one(town)
    clock.advance(days=300)
    assert (await attendance.tick(), await agreements.tick()) == (3, 1)
    listed = await occurrences(town, agreement)
    assert [one["status"] for one in listed] == ["missed"] * 3


async def test_a_room_was_there_if_anybody_came(town: Town, clock: Clock) -> None:
    room = await town.make("/v1/offerings", a_space(town, availability=[DAILY]), "operator")
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"room": "space", "helper": "volunteer"})
    agreement = await agreed(town, need, {"room": room, "helper": helper})
    first, second, _ = await occurrences(town, agreement)
    await serve(town, clock, first, {"volunteer": commitment(agreement, helper)})
    assert await _record(town, room) == (1, 1)
    until(clock, second["ends_at"])
    await attendance.tick()
    assert await _record(town, room) == (2, 1)
    # Somebody came and forgot to say so; the room follows.
    missed = await town.get(f"/v1/occurrences/{second['id']}", "secretary")
    (row,) = [
        r for r in missed["attendance"] if r["commitment_id"] == commitment(agreement, helper)
    ]
    body = {
        "reason": "forgot_check_in",
        "came_at": second["starts_at"],
        "went_at": second["ends_at"],
    }
    mended = await town.make(f"/v1/attendance/{row['id']}/correct", body)
    assert mended["status"] == "served"
    assert await _record(town, room) == await _record(town, helper) == (2, 2)


async def test_a_mistake_is_taken_back_by_a_row_and_hours_and_record_follow(
    town: Town, clock: Clock
) -> None:
    helper = await a_volunteer(town, await a_resident(town))
    need = await a_morning(town, {"helper": "volunteer"})
    agreement = await agreed(town, need, {"helper": helper})
    first = (await occurrences(town, agreement))[0]
    await serve(town, clock, first, {"volunteer": commitment(agreement, helper)})
    closed = await town.get(f"/v1/occurrences/{first['id']}", "secretary")
    (row,) = closed["attendance"]
    path = f"/v1/attendance/{row['id']}/correct"
    for who in ("volunteer", "grid_worker"):
        refused = await town.as_(who, "POST", path, json={"reason": "did_not_come"})
        assert refused.status_code in (403, 404), refused.text
    # They have given the hours away already: now they owe them.
    fund = {"minutes": row["minutes"], "place_id": town.community}
    await town.make("/v1/accounts/current/hours/donate", fund, "volunteer")
    mended = await town.make(path, {"reason": "did_not_come"})
    assert mended["status"] == "missed"
    kept, back, instead = mended["attendance"]
    assert kept == row
    assert (back["reverses"], back["minutes"]) == (row["id"], -row["minutes"])
    assert (instead["outcome"], instead["reason"]) == ("missed", "did_not_come")
    assert await _record(town, helper) == (1, 0)
    has = await town.get("/v1/accounts/current/hours", "volunteer")
    assert (has["spendable"], has["donate_only"], has["owed"]) == (0, 0, row["minutes"])
    assert await _minutes() == (0, 0)
    again = await town.as_("secretary", "POST", path, json={"reason": "other"})
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    body = {
        "reason": "wrong_time",
        "came_at": first["starts_at"],
        "went_at": first["ends_at"],
    }
    await town.make(f"/v1/attendance/{instead['id']}/correct", body)
    assert await _record(town, helper) == (1, 1)
    assert await _minutes() == (120, 120)
    has = await town.get("/v1/accounts/current/hours", "volunteer")
    assert (has["spendable"], has["owed"]) == (120 - row["minutes"], 0)
    clock.advance(days=31)
    late = await town.as_(
        "secretary", "POST", f"/v1/attendance/{instead['id']}/correct", json={"reason": "other"}
    )
    assert (late.status_code, late.json()["code"]) == (409, "not_now")


async def test_a_group_comes_with_several_people_and_each_has_their_hours(
    town: Town, clock: Clock
) -> None:
    """A10: a resident group keeps its sessions."""
    group = await a_resident(town, "volunteer", "resident_group")
    role = {"account_id": str(town.accounts["vanguard"]), "role": "partner_staff"}
    await town.make("/v1/roles", {**role, "partner_id": group}, "operator")
    choir = await a_volunteer(town, group)
    agreement = await agreed(town, await a_morning(town, {"choir": "volunteer"}), {"choir": choir})
    first = (await occurrences(town, agreement))[0]
    promised = commitment(agreement, choir)
    until(clock, first["starts_at"])
    unsaid = await check(town, "in", first, promised, "secretary")
    assert unsaid.json()["errors"][0]["field"] == "account_id"
    stranger = str(town.accounts["resident"])
    wrong = await check(town, "in", first, promised, "secretary", account_id=stranger)
    assert wrong.json()["errors"][0]["code"] == "unknown_reference"
    named = str(town.accounts["vanguard"])
    assert (await check(town, "in", first, promised, "volunteer")).status_code == 200
    answer = await check(town, "in", first, promised, "volunteer", account_id=named)
    assert answer.status_code == 200, answer.text
    until(clock, first["starts_at"], 60)
    assert (await check(town, "out", first, promised, "vanguard")).status_code == 200
    until(clock, first["ends_at"])
    assert (await check(town, "out", first, promised, "volunteer")).status_code == 200
    await attendance.tick()
    for who, minutes in (("volunteer", 120), ("vanguard", 60)):
        has = await town.get("/v1/accounts/current/hours", who)
        assert has["spendable"] == minutes
    assert await _record(town, choir) == (1, 1)


async def test_nobody_is_at_two_places_at_once(town: Town, clock: Clock) -> None:
    partner = await a_resident(town)
    one, other = await a_volunteer(town, partner), await a_volunteer(town, partner)
    need = await a_morning(town, {"first": "volunteer"})
    apart = await a_morning(town, {"second": "volunteer"})
    here = await agreed(town, need, {"first": one})
    there = await agreed(town, apart, {"second": other})
    first, second = (await occurrences(town, here))[0], (await occurrences(town, there))[0]
    until(clock, first["starts_at"])
    answer = await check(town, "in", first, commitment(here, one), "volunteer")
    assert answer.status_code == 200
    refused = await check(town, "in", second, commitment(there, other), "volunteer")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")


async def test_concurrent_check_ins_and_check_outs_count_once(town: Town, clock: Clock) -> None:
    _, first, promised = await _one(town)
    for way, moment in (("in", "starts_at"), ("out", "ends_at")):
        until(clock, first[moment], -1)
        answers = await asyncio.gather(
            *(check(town, way, first, promised, who) for who in ("volunteer", "secretary") * 5)
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200] + [409] * 9, [answer.text for answer in answers]
    until(clock, first["ends_at"])
    await asyncio.gather(*(attendance.tick() for _ in range(5)))
    assert await _minutes() == (120, 120)
    ((agreed_, kept),) = await engine.rows("SELECT sum(jobs_agreed), sum(jobs_kept) FROM offering")
    assert (agreed_, kept) == (1, 1)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"commitment_id": str(uuid.UUID(int=7 << 76 | 1 << 63))}, "commitment_id"),
        ({"commitment_id": "x"}, "commitment_id"),
        ({}, "commitment_id"),
        ({"account_id": "x"}, "account_id"),
    ],
)
async def test_who_comes_for_what_has_to_be_there(
    town: Town, clock: Clock, body: Json, field: str
) -> None:
    _, first, promised = await _one(town)
    until(clock, first["starts_at"])
    if field == "account_id":
        body = {"commitment_id": promised, **body}
    path = f"/v1/occurrences/{first['id']}/check-in"
    answer = await town.as_("secretary", "POST", path, json=body)
    assert answer.status_code in (400, 422)
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_paid_service_has_no_hours_and_a_record_all_the_same(
    town: Town, clock: Clock
) -> None:
    body = an_offering(town, availability=[DAILY])
    shop = await town.make("/v1/offerings", body, "operator")
    agreement = await agreed(town, await a_morning(town, {"cook": "merchant"}), {"cook": shop})
    first = (await occurrences(town, agreement))[0]
    promised = commitment(agreement, shop)
    until(clock, first["starts_at"])
    named = {"account_id": str(town.accounts[ZHOU])}
    refused = await check(town, "in", first, promised, ZHOU, **named)
    assert refused.json()["errors"][0]["field"] == "account_id"
    await serve(town, clock, first, {ZHOU: promised})
    assert await _record(town, shop) == (1, 1)
    assert (await town.get("/v1/accounts/current/hours", ZHOU))["spendable"] == 0


async def test_the_occurrences_of_an_agreement_come_page_by_page(town: Town) -> None:
    agreement, first, _ = await _one(town)
    path = f"/v1/agreements/{agreement['id']}/occurrences?limit=2"
    page = await town.get(path, "volunteer")
    assert page["items"][0] == first
    rest = await town.get(f"{path}&cursor={page['next']}", "volunteer")
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    assert await town.get(f"{path}&status=served", "volunteer") == {"items": [], "next": None}


async def test_what_is_closed_of_attendance_is_never_changed(town: Town, clock: Clock) -> None:
    _, first, promised = await _one(town)
    await serve(town, clock, first, {"volunteer": promised})
    for statement in ("UPDATE attendance SET minutes = 999", "DELETE FROM attendance"):
        with pytest.raises(Exception, match="append-only"):
            await engine.execute(statement)
    account = f"person:{town.accounts['volunteer']}"
    assert await ledger.balance(account, ledger.MINUTE) == 119
