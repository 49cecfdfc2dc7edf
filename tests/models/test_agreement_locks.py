"""Who finds an agreement held by somebody else waits, and then sees what was left behind."""

from __future__ import annotations

import asyncio
import uuid
from typing import Literal

import pytest

from models import agreements, departures, engine, errors, needs, offerings, partners
from models.agreements import steps
from models.agreements.steps import Held
from tests import balance, crowds
from tests.crowds import Scene
from tests.models.test_agreement_crowds import COOK, Step
from tests.towns import Setting

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


@pytest.mark.parametrize("what", ["partner", "offering", "need"])
async def test_what_was_accepted_while_it_is_taken_back_stands(
    settled: Setting, monkeypatch: pytest.MonkeyPatch, what: What
) -> None:
    if engine.current().dialect == "sqlite":
        pytest.skip("there the whole transaction keeps everybody else out")
    scene = await crowds.settle(settled, 2)
    need, shop = await scene.ask(COOK), await scene.offer("merchant", 1)
    made = await scene.propose(need, [scene.member(shop, "cook", [scene.time(0)])])
    pause = Pause(monkeypatch)
    taking = asyncio.create_task(_take_back(scene, what))
    await pause.there.wait()
    await agreements.accept(made, Step(), scene.people_of(shop.partner_id))
    pause.goes_on.set()
    with pytest.raises(errors.Refusal) as refused:
        await taking
    assert refused.value.code == "in_use"
    assert (await agreements.read(made.id)).state == "active"
    assert await balance.flaws() == []
