"""A need and those who could serve it, made straight through the models' verbs: for tests and
benchmarks of what many do at once.

    scene = await crowds.settle(setting)
    need, room = await scene.ask(values.Slot(role="room", kind="space")), await scene.offer("space")
    made = await scene.propose(need, [scene.member(room, "room", [scene.time(0)])])
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, structs

from models import agreements, base, bookings, needs, offerings, partners, values
from models.agreements.records import PledgeDraft
from tests.towns import Setting

HOUR = 60
DAY = 24 * HOUR
ALWAYS = (values.Window(days=(1, 2, 3, 4, 5, 6, 7), start="00:00", end="24:00"),)


class Scene(Struct):
    """Who is there. `begins` is the first minute of a day at least a day away."""

    place: uuid.UUID
    account: uuid.UUID
    partners: list[uuid.UUID]
    begins: int
    offered: list[offerings.OfferingRecord]
    asked: list[needs.NeedRecord]

    @property
    def decider(self) -> agreements.Actor:
        """Who decides for the place."""
        return agreements.Actor(self.account, True)

    def people_of(self, partner: uuid.UUID | None) -> agreements.Actor:
        """Who answers for a party."""
        if partner is None:
            return self.decider
        return agreements.Actor(self.account, False, frozenset({partner}))

    def time(self, day: int, hour: int = 8, hours: int = 1) -> tuple[int, int]:
        """An hour, or several, of a day, in UTC minutes."""
        starts = self.begins + day * DAY + hour * HOUR
        return starts, starts + hours * HOUR

    async def offer(self, kind: str, partner: int = 0, **change: Any) -> offerings.OfferingRecord:
        """One more offering, open at any time."""
        draft: dict[str, Any] = {
            "kind": kind,
            "partner_id": self.partners[partner],
            "place_id": self.place,
            "title": values.Bilingual("资源", kind.title()),
            "service_types": ("breakfast_point",),
            "availability": ALWAYS,
        }
        made = await offerings.register(offerings.OfferingDraft(**(draft | change)))
        self.offered.append(made)
        return made

    async def ask(self, *slots: values.Slot, beneficiaries: int = 0) -> needs.NeedRecord:
        """One more need."""
        draft = needs.NeedDraft(
            service_type="breakfast_point",
            place_id=self.place,
            title=values.Bilingual("早餐", "Breakfast"),
            windows=ALWAYS,
            slots=slots,
            beneficiaries=beneficiaries,
        )
        made = await needs.post(draft, self.account)
        self.asked.append(made)
        return made

    def member(
        self,
        offering: offerings.OfferingRecord,
        role: str,
        times: Iterable[tuple[int, int]],
        quantity: int = 1,
    ) -> agreements.Member:
        """An offering asked to take a seat."""
        return agreements.Member(
            role=role,
            seat=0,
            offering=offering.id,
            partner=offering.partner_id,
            kind=offering.kind,
            quantity=quantity,
            times=tuple(times),
        )

    async def propose(
        self,
        need: needs.NeedRecord,
        members: Sequence[agreements.Member],
        *,
        places: int = 0,
        respond_in: dt.timedelta = dt.timedelta(hours=20),
        by: uuid.UUID | None = None,
        pledges: tuple[PledgeDraft, ...] = (),
    ) -> agreements.AgreementRecord:
        """Propose an agreement, for the community or for the partner `by`."""
        today = base.now().date()
        what = agreements.Proposing(
            need=need,
            starts_on=today,
            ends_on=today + dt.timedelta(days=60),
            respond_by=base.now() + respond_in,
            places=places,
            members=seated(members),
            pledges=pledges,
        )
        return await agreements.propose(what, self.account, by)


async def settle(setting: Setting, partner_count: int = 1) -> Scene:
    """A scene in Qiaobei with so many admitted partners, the setting's own among them."""
    account = setting.accounts["operator"]
    ours = [setting.partner]
    for number in range(1, partner_count):
        draft = partners.PartnerDraft(
            kind="sole_trader",
            place_id=setting.community,
            name=values.Bilingual("伙伴", f"Partner {number}"),
        )
        ours.append((await partners.move(await partners.apply(draft, account), "admit")).id)
    midnight = base.now().replace(hour=0, minute=0, second=0, microsecond=0)
    begins = bookings.minute(midnight + dt.timedelta(days=2))
    return Scene(setting.community, account, ours, begins, [], [])


def seated(members: Sequence[agreements.Member]) -> tuple[agreements.Member, ...]:
    """Members with their seats: the first of a role has seat 0."""
    taken: Counter[str] = Counter()
    found = []
    for one in members:
        found.append(structs.replace(one, seat=taken[one.role]))
        taken[one.role] += 1
    return tuple(found)
