"""Who finds an agreement held by somebody else waits, and then sees what was left behind."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Literal

import pytest

from models import (
    agreements,
    departures,
    engine,
    errors,
    needs,
    offerings,
    partners,
    plans,
    proposals,
)
from models.agreements import steps
from models.agreements.steps import Held
from tests import balance, crowds
from tests.api.test_agreements import _offer, _propose
from tests.api.test_partner_walk import _proposed
from tests.crowds import Scene
from tests.models.test_agreement_crowds import COOK, Step
from tests.towns import Setting, Town, a_need

What = Literal["partner", "offering", "need"]


class Pause:
    """Whoever first is about to hold an agreement has come `there`, and waits till it `goes_on`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.there, self.goes_on = asyncio.Event(), asyncio.Event()
        self._hold = steps.hold
        patch.setattr(steps, "hold", self._waits)

    async def _waits(self, agreement: uuid.UUID) -> Held:
        if not self.there.is_set():
            self.there.set()
            await self.goes_on.wait()
        return await self._hold(agreement)


def _skip_where_one_writes() -> None:
    if engine.current().dialect == "sqlite":
        pytest.skip("there the whole transaction keeps everybody else out")


async def _take_back(scene: Scene, what: What) -> None:
    """A partner leaves, or an offering or a need is withdrawn."""
    (shop,), (need,) = scene.offered, scene.asked
    if what == "partner":
        partner = await partners.read(shop.partner_id)
        await departures.leave(partner, "exit", "other", scene.account)
        return
    async with engine.unit_of_work():
        await agreements.call_off(what, need.id if what == "need" else shop.id, "other")
        await (needs.withdraw(need) if what == "need" else offerings.withdraw(shop))


async def _taking_back(
    settled: Setting, patch: pytest.MonkeyPatch, what: What
) -> tuple[agreements.AgreementRecord, agreements.Actor, asyncio.Task[None], Pause]:
    """What is proposed, who may answer it, and somebody about to hold it to take it back."""
    _skip_where_one_writes()
    scene = await crowds.settle(settled, 2)
    need, shop = await scene.ask(COOK), await scene.offer("merchant", 1)
    made = await scene.propose(need, [scene.member(shop, "cook", [scene.time(0)])])
    pause = Pause(patch)
    taking = asyncio.create_task(_take_back(scene, what))
    await pause.there.wait()
    return made, scene.people_of(shop.partner_id), taking, pause


@pytest.mark.parametrize("what", ["partner", "offering", "need"])
async def test_what_was_accepted_while_it_is_taken_back_stands(
    settled: Setting, monkeypatch: pytest.MonkeyPatch, what: What
) -> None:
    made, by, taking, pause = await _taking_back(settled, monkeypatch, what)
    await agreements.accept(made, Step(), by)
    pause.goes_on.set()
    with pytest.raises(errors.Refusal) as refused:
        await taking
    assert refused.value.code == "in_use"
    assert (await agreements.read(made.id)).state == "active"
    assert await balance.flaws() == []


@pytest.mark.parametrize("what", ["partner", "need"])
async def test_what_was_declined_while_it_is_taken_back_stays_declined(
    settled: Setting, monkeypatch: pytest.MonkeyPatch, what: What
) -> None:
    made, by, taking, pause = await _taking_back(settled, monkeypatch, what)
    await agreements.decline(made, Step(reason="time"), by)
    pause.goes_on.set()
    await taking
    assert (await agreements.read(made.id)).state == "declined"
    assert await balance.flaws() == []


async def test_a_partner_with_two_seats_of_one_agreement_is_suspended_and_both_are_declined(
    town: Town,
) -> None:
    shops = [await _offer(town), await _offer(town)]
    roles = ("cook", "help")
    need = await town.make(
        "/v1/needs", a_need(town, slots=[{"role": role, "kind": "merchant"} for role in roles])
    )
    place = uuid.UUID(town.community)
    plan = await plans.ask(plans.PlanDraft(place_id=place), town.accounts["secretary"])
    seats = [
        proposals.Seat(
            need=uuid.UUID(need["id"]),
            place=place,
            role=role,
            seat=0,
            offering=uuid.UUID(shop["id"]),
            partner=uuid.UUID(town.partner),
            score=5_000,
            snapshot="0" * 64,
        )
        for role, shop in zip(roles, shops, strict=True)
    ]
    proposed = await proposals.make(plan.id, place, seats)
    made = await _propose(town, need, *zip(roles, shops, strict=True))
    for commitment, proposal in zip(made["commitments"], proposed, strict=True):
        await engine.execute(
            "UPDATE commitment SET proposal = $1 WHERE id = $2",
            proposal.id,
            uuid.UUID(commitment["id"]),
        )
    await town.make(f"/v1/partners/{town.partner}/suspend", {"reason": "complaint"}, "operator")
    assert await engine.rows("SELECT DISTINCT status FROM proposal") == [("declined",)]
    assert (await town.get(f"/v1/agreements/{made['id']}", "operator"))["state"] == "declined"


@pytest.mark.parametrize(
    ("who", "path", "body", "said"),
    [
        ("secretary", "/v1/proposals/{proposal}/decline", {"reason": "time"}, (409, "wrong_state")),
        ("operator", "/v1/partners/{partner}/suspend", {"reason": "complaint"}, (200, None)),
    ],
    ids=["decline", "suspend"],
)
async def test_who_declines_a_seat_holds_its_agreement_before_the_proposal(
    town: Town,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
    path: str,
    body: Any,
    said: tuple[int, str | None],
) -> None:
    """As whoever accepts does: otherwise each would wait for the other."""
    _skip_where_one_writes()
    shop = await _offer(town)
    seat = await _proposed(town, shop["id"])
    need = (await town.get(f"/v1/proposals/{seat}", "secretary"))["need_id"]
    made = await _propose(town, {"id": need}, ("cook", shop))
    await engine.execute("UPDATE commitment SET proposal = $1", uuid.UUID(seat))
    pause = Pause(monkeypatch)
    path = path.format(proposal=seat, partner=town.partner)
    declining = asyncio.create_task(town.as_(who, "POST", path, json=body))
    await pause.there.wait()
    try:
        accept = f"/v1/agreements/{made['id']}/accept"
        accepted = await town.as_("partner_staff", "POST", accept, json={})
    finally:
        pause.goes_on.set()
    answer = await declining
    assert (accepted.status_code, accepted.json()["state"]) == (200, "active")
    assert (answer.status_code, answer.json().get("code")) == said
    found = await town.get(f"/v1/agreements/{made['id']}", "secretary")
    assert found["state"] == "active"
    assert await balance.flaws() == []
