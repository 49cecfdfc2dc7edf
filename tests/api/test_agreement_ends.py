"""What happens to agreements when what they stand on is taken away."""

from __future__ import annotations

from typing import Any

from models import bookings, engine
from tests.api.test_agreements import _active, _draft, _need, _offer, _propose, _step
from tests.towns import PASSWORD, Town, a_space, an_offering

MATCH = {"If-Match": "*"}
CONSENT = {
    "given_by": "李奶奶",
    "relation": "relative",
    "text": "我同意社区代为发布。",
    "channel": "phone",
    "given_at": "2026-01-02T03:04:05Z",
}


async def _live_bookings() -> int:
    sql = f"SELECT count(*) FROM booking b WHERE {bookings.LIVE}"
    ((count,),) = await engine.rows(sql)
    return int(count)


async def test_what_an_agreement_stands_on_is_not_taken_away(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _active(town, need, ("cook", shop))
    for path in (f"/v1/needs/{need['id']}", f"/v1/offerings/{shop['id']}"):
        answer = await town.as_("secretary", "DELETE", path, headers=MATCH)
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
        assert made["id"] in answer.json()["detail"]
    booked = (await town.get("/v1/bookings?limit=1", "secretary"))["items"][0]
    answer = await town.as_("secretary", "POST", f"/v1/bookings/{booked['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    await _step(town, made, "end", "secretary", reason="other")
    for path in (f"/v1/needs/{need['id']}", f"/v1/offerings/{shop['id']}"):
        answer = await town.as_("secretary", "DELETE", path, headers=MATCH)
        assert answer.status_code == 200, answer.text


async def test_what_is_only_proposed_goes_with_the_need_or_the_offering(town: Town) -> None:
    need, shop, chen = await _need(town), await _offer(town), await _offer(town)
    first = await _propose(town, need, ("cook", shop))
    second = await _propose(town, need, ("cook", chen))
    await town.as_("secretary", "DELETE", f"/v1/offerings/{shop['id']}", headers=MATCH)
    assert (await town.get(f"/v1/agreements/{first['id']}", "secretary"))["state"] == "declined"
    await town.as_("secretary", "DELETE", f"/v1/needs/{need['id']}", headers=MATCH)
    assert (await town.get(f"/v1/agreements/{second['id']}", "secretary"))["state"] == "withdrawn"
    late = await _step(town, second, "accept", "partner_staff")
    assert late.status_code == 409


async def test_a_consent_that_is_withdrawn_ends_what_was_agreed_on(town: Town) -> None:
    shop = await _offer(town)
    need = await _need(
        town, beneficiary="dependent_elder", consent=CONSENT, beneficiaries=1, place_id=town.grid
    )
    made = await _active(town, need, ("cook", shop))
    await town.make(f"/v1/needs/{need['id']}/consent/withdraw", {})
    assert (await town.get(f"/v1/agreements/{made['id']}", "secretary"))["state"] == "ended"
    assert (await town.get(f"/v1/needs/{need['id']}", "secretary"))["status"] == "withdrawn"
    assert await _live_bookings() == 0


async def _resident_cook(town: Town) -> tuple[Any, Any]:
    """A resident who cooks, and her offering."""
    body = {
        "kind": "resident",
        "place_id": town.community,
        "name": {"zh": "金丝雀", "en": "Canary"},
    }
    partner = await town.make("/v1/partners", body, "resident")
    for step in ("review", "admit"):
        await town.make(f"/v1/partners/{partner['id']}/{step}", {}, "operator")
    offering = an_offering(town, partner_id=partner["id"], title={"zh": "面", "en": "Noodles"})
    return partner, await town.make("/v1/offerings", offering, "resident")


async def test_a_party_that_vanishes_leaves_the_others_paused_and_its_seat_free(
    town: Town,
) -> None:
    slots = [{"role": "room", "kind": "space"}, {"role": "cook", "kind": "merchant"}]
    need = await _need(town, slots=slots)
    room = await town.make("/v1/offerings", a_space(town), "operator")
    _, noodles = await _resident_cook(town)
    made = await _propose(town, need, ("room", room), ("cook", noodles))
    await _step(town, made, "accept", "partner_staff")
    done = await _step(town, made, "accept", "resident")
    assert done.json()["state"] == "active", done.text
    times = done.json()["commitments"][0]["times"]
    assert await _live_bookings() == 2 * times
    erased = await town.as_(
        "resident", "DELETE", "/v1/accounts/current", json={"password": PASSWORD}
    )
    assert erased.status_code == 204, erased.text
    found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert found["state"] == "suspended"
    assert [one["status"] for one in found["commitments"]] == ["live", "left"]
    assert (await town.get(f"/v1/needs/{need['id']}", "secretary"))["status"] == "open"
    assert await _live_bookings() == times
    shop = await _offer(town)
    cook = found["commitments"][1]["id"]
    swapped = await _step(
        town, made, "swap", "secretary", commitment_id=cook, offering_id=shop["id"]
    )
    assert swapped.status_code == 200, swapped.text
    taken = await _step(town, made, "accept", "partner_staff")
    assert taken.json()["state"] == "suspended"
    assert (await _step(town, made, "resume", "secretary")).json()["state"] == "active"
    assert (await town.get(f"/v1/needs/{need['id']}", "secretary"))["status"] == "closed"


async def test_a_newcomer_who_vanishes_before_they_answer_pauses_nothing(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    made = await _active(town, need, ("cook", shop))
    _, noodles = await _resident_cook(town)
    swap = {"commitment_id": made["commitments"][0]["id"], "offering_id": noodles["id"]}
    await _step(town, made, "swap", "secretary", **swap)
    before = await _live_bookings()
    await town.as_("resident", "DELETE", "/v1/accounts/current", json={"password": PASSWORD})
    found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert (found["state"], await _live_bookings()) == ("active", before)
    assert [one["status"] for one in found["commitments"]] == ["live", "left"]
    assert found["parties"][-1]["answer"] == "left"


async def test_the_only_party_that_vanishes_is_the_end(town: Town) -> None:
    need = await _need(town)
    _, noodles = await _resident_cook(town)
    made = await _propose(town, need, ("cook", noodles))
    await _step(town, made, "accept", "resident")
    await town.as_("resident", "DELETE", "/v1/accounts/current", json={"password": PASSWORD})
    found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert found["state"] == "ended"
    assert await _live_bookings() == 0


async def test_an_export_has_what_a_person_was_asked_gives_and_has_a_place_in(town: Town) -> None:
    need = await _need(town)
    _, noodles = await _resident_cook(town)
    made = await _propose(town, need, ("cook", noodles))
    await _step(town, made, "accept", "resident")
    await town.make(f"/v1/needs/{need['id']}/enrolments", {"label": "小雨"}, "resident")
    data = (await town.get("/v1/accounts/current/export", "resident"))["data"]
    assert [row["answer"] for row in data["parties"]] == ["accepted"]
    assert [row["status"] for row in data["commitments"]] == ["live"]
    assert [row["transition"] for row in data["agreement_steps"]] == ["accept"]
    assert [(row["label"], row["status"]) for row in data["enrolments"]] == [("小雨", "enrolled")]


async def test_a_closed_need_takes_no_further_agreement(town: Town) -> None:
    need, shop = await _need(town), await _offer(town)
    await _active(town, need, ("cook", shop))
    chen = await _offer(town)
    body = _draft(need, ("cook", chen))
    answer = await town.as_("secretary", "POST", "/v1/agreements", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
