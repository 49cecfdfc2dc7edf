"""The walk of a partner from application to exit, and what follows for who counted on it."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from models import base, plans, proposals
from tests.api.test_partners import a_partner
from tests.clocks import Clock
from tests.towns import Town, a_booking, a_docking, a_need, a_space, an_offering

Json = dict[str, Any]


async def _step(town: Town, partner: str, step: str, who: str = "secretary") -> Any:
    body = {"reason": "other"} if step in ("reject", "suspend", "exit") else None
    return await town.as_(who, "POST", f"/v1/partners/{partner}/{step}", json=body)


async def _booked(town: Town, offering: str, **change: Any) -> Json:
    path = f"/v1/offerings/{offering}/bookings"
    made: Json = await town.make(path, a_booking(**change), "partner_staff")
    return made


async def _status(town: Town, *bookings: Json) -> list[str]:
    return [(await town.get(f"/v1/bookings/{b['id']}", "secretary"))["status"] for b in bookings]


async def _proposed(town: Town, offering: str) -> str:
    """A proposal to the partner of the town, as if a plan had made it."""
    place = base.as_id(town.community)
    plan = await plans.ask(plans.PlanDraft(place_id=place), town.accounts["secretary"])
    need = await town.make("/v1/needs", a_need(town))
    seat = proposals.Seat(
        need=base.as_id(need["id"]),
        place=place,
        role="cook",
        seat=0,
        offering=base.as_id(offering),
        partner=base.as_id(town.partner),
        score=5_000,
        snapshot="0" * 64,
    )
    (made,) = await proposals.make(plan.id, place, [seat])
    return str(made.id)


async def _agreement(town: Town, offering: str) -> Json:
    """An agreement that the community has proposed."""
    need = await town.make("/v1/needs", a_need(town))
    body = {"need_id": need["id"], "members": [{"role": "cook", "offering_id": offering}]}
    made: Json = await town.make("/v1/agreements", body)
    return made


async def _agree(town: Town, agreement: Json, step: str, who: str, **body: Any) -> Any:
    return await town.as_(who, "POST", f"/v1/agreements/{agreement['id']}/{step}", json=body)


async def test_the_admission_is_walked_step_by_step_and_never_skipped(town: Town) -> None:
    """A12: the full walk of the states, and who took which step when, from where and why."""
    made = await town.make("/v1/partners", a_partner(town, kind="social_org"), "resident")
    path = f"/v1/partners/{made['id']}"
    answer = await _step(town, made["id"], "suspend")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    for step, body, status in [
        ("review", None, "in_review"),
        ("admit", None, "admitted"),
        ("suspend", {"reason": "complaint"}, "suspended"),
        ("admit", None, "admitted"),
        ("exit", {"reason": "closed"}, "exited"),
    ]:
        assert (await town.make(f"{path}/{step}", body))["status"] == status
    for step in ("admit", "suspend", "reject", "exit"):
        assert (await _step(town, made["id"], step)).status_code == 409
    offering = an_offering(town, partner_id=made["id"])
    answer = await town.as_("resident", "POST", "/v1/offerings", json=offering)
    assert answer.status_code == 409
    steps = (await town.get(f"{path}/history", "resident"))["items"][::-1]
    secretary = str(town.accounts["secretary"])
    assert [(s["by"], s["was"], s["status"], s["reason"]) for s in steps] == [
        (str(town.accounts["resident"]), None, "applied", None),
        (secretary, "applied", "in_review", None),
        (secretary, "in_review", "admitted", None),
        (secretary, "admitted", "suspended", "complaint"),
        (secretary, "suspended", "admitted", None),
        (secretary, "admitted", "exited", "closed"),
    ]
    assert [s["at"] for s in steps] == sorted(s["at"] for s in steps)


async def test_a_history_has_pages_and_is_for_its_own_people_and_the_staff(town: Town) -> None:
    path = f"/v1/partners/{town.partner}/history"
    for who, status in {
        "anonymous": 401,
        "resident": 403,
        "sibling_secretary": 403,
        "partner_staff": 200,
        "grid_worker": 403,
        "secretary": 200,
        "officer": 200,
    }.items():
        assert (await town.as_(who, "GET", path)).status_code == status, who
    first = await town.get(f"{path}?limit=1", "secretary")
    assert [step["status"] for step in first["items"]] == ["admitted"]
    second = await town.get(f"{path}?limit=1&cursor={first['next']}", "secretary")
    assert [step["status"] for step in second["items"]] == ["applied"]
    assert second["next"] is None
    answer = await town.as_("secretary", "GET", f"{path}?cursor={'f' * 22}")
    assert answer.json()["errors"][0]["code"] == "bad_cursor"


@pytest.mark.parametrize(
    ("step", "reason"), [("reject", "safety"), ("suspend", "closed"), ("exit", "complaint")]
)
async def test_each_step_out_has_reasons_of_its_own(town: Town, step: str, reason: str) -> None:
    path = f"/v1/partners/{town.partner}/{step}"
    for body in ({"reason": reason}, {}, {"reason": "other", "note": "x"}):
        answer = await town.as_("secretary", "POST", path, json=body)
        assert answer.status_code == 400
    assert (await town.as_("secretary", "POST", path)).status_code == 400


async def test_an_application_is_turned_down_by_who_decides_with_a_reason(town: Town) -> None:
    made = await town.make("/v1/partners", a_partner(town), "resident")
    assert (await _step(town, made["id"], "reject", "resident")).status_code == 403
    path = f"/v1/partners/{made['id']}"
    assert (await town.make(f"{path}/reject", {"reason": "incomplete"}))["status"] == "exited"
    (step, _) = (await town.get(f"{path}/history", "resident"))["items"]
    assert (step["was"], step["status"], step["reason"]) == ("applied", "exited", "incomplete")
    assert (await _step(town, town.partner, "reject")).status_code == 409


async def test_a_suspension_ends_only_with_a_licence_that_is_still_valid(
    town: Town, clock: Clock
) -> None:
    ends = (clock.read() + dt.timedelta(days=30)).date()
    licence = {"kind": "business_licence", "issuer": "局", "number": "1", "valid_to": str(ends)}
    made = await town.make("/v1/partners", a_partner(town, credentials=[licence]), "resident")
    path = f"/v1/partners/{made['id']}"
    await town.make(f"{path}/credentials/{made['credentials'][0]['id']}/verify", None)
    for step in ("admit", "suspend"):
        assert (await _step(town, made["id"], step)).status_code == 200
    clock.advance(days=31)
    answer = await _step(town, made["id"], "admit")
    assert answer.json()["errors"][0]["code"] == "licence_required"


async def test_who_is_suspended_keeps_what_is_confirmed_and_takes_nothing_new(town: Town) -> None:
    space = (await town.make("/v1/offerings", a_space(town), "partner_staff"))["id"]
    shop = (await town.make("/v1/offerings", an_offering(town), "partner_staff"))["id"]
    kept = await _booked(town, space, start="06:00", end="07:00")
    held = await _booked(town, space, start="08:00", end="09:00", hold_s=600)
    proposal = await _proposed(town, shop)
    assert (await _step(town, town.partner, "suspend")).status_code == 200
    assert await _status(town, kept, held) == ["confirmed", "cancelled"]
    path = f"/v1/offerings/{space}/bookings"
    answer = await town.as_("partner_staff", "POST", path, json=a_booking())
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    asked = await town.get(f"/v1/proposals/{proposal}", "secretary")
    assert (asked["status"], asked["decline_reason"]) == ("declined", "other")
    need = await town.make("/v1/needs", a_need(town))
    found = await town.get(f"/v1/needs/{need['id']}/matches")
    assert found["slots"][0]["matches"] == []
    assert (await _step(town, town.partner, "admit")).status_code == 200
    found = await town.get(f"/v1/needs/{need['id']}/matches")
    assert [m["offering"]["id"] for m in found["slots"][0]["matches"]] == [shop]


async def test_who_leaves_gives_back_what_is_to_come_and_no_past(town: Town, clock: Clock) -> None:
    """A12: its offerings, bookings, proposals and projects, all in one step."""
    space = (await town.make("/v1/offerings", a_space(town), "partner_staff"))["id"]
    shop = (await town.make("/v1/offerings", an_offering(town), "partner_staff"))["id"]
    been = await _booked(town, space)
    begins = dt.datetime.fromisoformat(been["starts_at"])
    clock.advance(seconds=(begins - clock.read()).total_seconds())
    coming = await _booked(town, space)
    held = await _booked(town, space, start="09:00", end="10:00", hold_s=600)
    proposal = await _proposed(town, shop)
    project = await town.make("/v1/dockings", a_docking(town))
    answer = await _step(town, town.partner, "exit", "partner_staff")
    assert answer.json()["status"] == "exited"
    assert await _status(town, been, coming, held) == ["confirmed", "cancelled", "cancelled"]
    for offering in (space, shop):
        read = await town.get(f"/v1/offerings/{offering}", "secretary")
        assert read["status"] == "withdrawn"
    assert (await town.get(f"/v1/proposals/{proposal}", "secretary"))["status"] == "declined"
    dropped = await town.get(f"/v1/dockings/{project['id']}/history", "secretary")
    assert dropped["items"][0]["reason"] == "partner_left"
    await town.indexed()
    assert (await town.get("/v1/search?kind=space"))["total"] == 0


async def test_who_is_bound_by_an_agreement_stays_until_it_is_over(town: Town) -> None:
    """A12: exit is refused while an agreement is open, and names it."""
    shop = await town.make("/v1/offerings", an_offering(town), "partner_staff")
    made = await _agreement(town, shop["id"])
    answer = await _agree(town, made, "accept", "partner_staff")
    assert answer.json()["state"] == "active", answer.text
    for who in ("partner_staff", "secretary", "operator"):
        answer = await _step(town, town.partner, "exit", who)
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
        assert made["id"] in answer.json()["detail"]
    booked = (await town.get("/v1/bookings?limit=100", "secretary"))["items"]
    assert {one["status"] for one in booked} == {"confirmed"}
    assert (await town.get(f"/v1/offerings/{shop['id']}"))["status"] == "active"
    # A suspension leaves it as it is, too, and so binds all the same.
    assert (await _step(town, town.partner, "suspend")).status_code == 200
    agreed = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert agreed["state"] == "active"
    assert (await _step(town, town.partner, "exit")).json()["code"] == "in_use"
    answer = await _agree(town, made, "end", "secretary", reason="other")
    assert answer.json()["state"] == "ended", answer.text
    assert (await _step(town, town.partner, "exit", "partner_staff")).status_code == 200


async def test_who_is_only_asked_is_free_to_leave_and_the_asking_is_over(town: Town) -> None:
    shop = await town.make("/v1/offerings", an_offering(town), "partner_staff")
    made = await _agreement(town, shop["id"])
    assert (await _step(town, town.partner, "exit")).status_code == 200
    asked = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert asked["state"] == "declined"


async def test_what_is_asked_of_a_partner_in_suspension_cannot_be_accepted(town: Town) -> None:
    shop = await town.make("/v1/offerings", an_offering(town), "partner_staff")
    made = await _agreement(town, shop["id"])
    assert (await _step(town, town.partner, "suspend")).status_code == 200
    answer = await _agree(town, made, "accept", "partner_staff")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")


async def test_of_concurrent_bookings_and_an_exit_no_booking_is_left(town: Town) -> None:
    """Nobody has a time of a partner that has left: whoever was faster is given back."""
    shop = (await town.make("/v1/offerings", an_offering(town, capacity=80), "secretary"))["id"]
    path = f"/v1/offerings/{shop}/bookings"

    async def book(number: int) -> int:
        await asyncio.sleep(0.002 * number)
        return (await town.as_("secretary", "POST", path, json=a_booking())).status_code

    booking = [asyncio.create_task(book(number)) for number in range(30)]
    await asyncio.sleep(0.02)
    assert (await _step(town, town.partner, "exit")).status_code == 200
    assert set(await asyncio.gather(*booking)) <= {201, 409, 404}
    made = (await town.get(f"/v1/bookings?offering={shop}&limit=100", "secretary"))["items"]
    assert {booking["status"] for booking in made} <= {"cancelled"}
