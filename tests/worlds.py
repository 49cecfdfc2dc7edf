"""Small random worlds: places, roles with dates, partners, offerings and needs in every state.

A plan says what to make, in numbers; `build` makes it through the models' verbs. What it answers
knows who may see what from the words of the architecture alone, and asks the program nothing:

- public are needs that are open, partners that are admitted, and active offerings of those;
- the rest is seen by grid workers, secretaries and officers of its place and of every place
  above, by the people of its partner, and by operators;
- a role holds from its first moment until its last, and a lent one no longer than the original.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from msgspec import Struct

from models import (
    accounts,
    base,
    engine,
    needs,
    offerings,
    partners,
    places,
    tables,
    values,
)
from tests.clocks import Clock

ACCOUNTS = (
    "resident",
    "volunteer",
    "vanguard",
    "grid_worker",
    "secretary",
    "officer",
    "partner_staff",
    "other_staff",
    "sibling_secretary",
    "operator",
)
KEY = "service key"
CALLERS = ("anonymous", *ACCOUNTS, KEY)
STAFF = {"grid_worker", "secretary", "officer"}
SEATS = {
    "officer": ("municipality", "district", "subdistrict"),
    "secretary": ("community",),
    "grid_worker": ("community", "grid", "building"),
}
NAMES = ("resident", "volunteer", "vanguard", "grid_worker", "secretary", "officer", "operator")
# The transitions that lead to each state.
WALKS: dict[str, tuple[str, ...]] = {
    "applied": (),
    "in_review": ("review",),
    "admitted": ("admit",),
    "suspended": ("admit", "suspend"),
    "exited": ("exit",),
}
# Hours: roles are given at 0 and asked about at 2.
ASKED = 2
FOREVER = 10**6
_DATES = st.sampled_from([(0, FOREVER), (0, FOREVER), (0, 1), (0, 3), (1, FOREVER), (3, FOREVER)])
_SOME = st.integers(0, 999)
# At least 15 things, so that 12 callers make 180 cases of a world.
PLAN = st.fixed_dictionaries(
    {
        # Of each place: its parent, and how many levels lower it lies.
        "places": st.lists(st.tuples(_SOME, st.integers(1, 2)), min_size=5, max_size=9),
        # Of each role: account, name, place, dates; whether it is revoked; to whom it is lent.
        "roles": st.lists(
            st.tuples(
                _SOME,
                st.sampled_from(NAMES),
                _SOME,
                _DATES,
                st.booleans(),
                st.none() | st.sampled_from(ACCOUNTS),
            ),
            min_size=8,
            max_size=14,
        ),
        # Of each partner: place, state, applicant.
        "partners": st.lists(
            st.tuples(_SOME, st.sampled_from(sorted(WALKS)), _SOME), min_size=3, max_size=5
        ),
        # Of each offering: partner, place, state.
        "offerings": st.lists(
            st.tuples(
                _SOME, _SOME, st.sampled_from(["active", "active", "draft", "paused", "withdrawn"])
            ),
            min_size=6,
            max_size=9,
        ),
        "needs": st.lists(
            st.tuples(_SOME, st.sampled_from(["open", "draft", "draft", "withdrawn"])),
            min_size=6,
            max_size=9,
        ),
        # Of the service key: whether it is a partner's, which one's or of which place, and whether
        # it writes.
        "key": st.tuples(st.booleans(), _SOME, st.booleans()),
    }
)


T = TypeVar("T")
# The ids of the accounts, by name.
People = dict[str, uuid.UUID]


class Held(Struct):
    """A role of an account, with the hours between which it holds."""

    account: str
    name: str
    place: uuid.UUID | None
    partner: uuid.UUID | None
    begins: int
    ends: int


class Thing(Struct):
    """A partner, an offering or a need, and all that decides who sees it."""

    kind: str
    id: uuid.UUID
    place: uuid.UUID
    partner: uuid.UUID | None
    status: str
    is_public: bool


class World(Struct):
    """What was made, and the rule of who sees what."""

    above: dict[uuid.UUID, list[uuid.UUID]]
    communities: dict[uuid.UUID, str]
    held: list[Held]
    things: list[Thing]
    key: str

    def seen(self, caller: str, kind: str) -> list[Thing]:
        """What the caller sees of a kind, newest first."""
        found = [t for t in self.things if t.kind == kind and self.sees(caller, t)]
        return sorted(found, key=lambda thing: thing.id, reverse=True)

    def sees(self, caller: str, thing: Thing) -> bool:
        """Whether this caller sees this thing."""
        if thing.is_public:
            return True
        for role in self.held:
            if role.account != caller or not role.begins <= ASKED < role.ends:
                continue
            if role.name == "operator":
                return True
            if role.name in STAFF and role.place in self.above[thing.place]:
                return True
            if role.name == "partner_staff" and role.partner == thing.partner:
                return True
        return False

    def found(self, caller: str) -> list[Thing]:
        """What a search for nothing in particular finds: of all seen, what is open or active."""
        return [thing for thing in self._indexed(caller) if thing.status in ("open", "active")]

    def statuses(self, caller: str) -> Counter[str]:
        """What its facet counts: also what another status would bring."""
        return Counter(thing.status for thing in self._indexed(caller))

    def _indexed(self, caller: str) -> list[Thing]:
        both = self.seen(caller, "needs") + self.seen(caller, "offerings")
        return [thing for thing in both if thing.status != "withdrawn"]

    def communities_of(self, things: list[Thing]) -> Counter[str]:
        """How many of the things lie in each community."""
        slugs = (self.communities.get(place) for t in things for place in self.above[t.place])
        return Counter(slug for slug in slugs if slug)


async def wipe() -> None:
    """Forget the world before, but for its accounts."""
    emptied = ("outbox", "need", "offering_service", "offering", "role", "service_key", "partner")
    # What refers to these goes with them, also what is never to be deleted.
    everything = [table._meta.tablename for table in tables.TABLES]
    async with engine.unit_of_work(), base.rules_lifted(everything):
        for table in emptied:
            await engine.execute(f"DELETE FROM {table}")


async def build(plan: dict[str, Any], people: People, clock: Clock) -> World:
    """Make a world after `wipe`, and let two hours pass."""
    world = World({}, {}, [], [], "")
    kinds = await _places(plan["places"], world)
    sites = list(kinds)
    made = []
    for site, state, applicant in plan["partners"]:
        who = _pick(ACCOUNTS, applicant)
        draft = partners.PartnerDraft(
            kind="sole_trader", place_id=_pick(sites, site), name=values.Bilingual("店", "Shop")
        )
        partner = await partners.apply(draft, people[who])
        world.held.append(Held(who, "partner_staff", None, partner.id, 0, FOREVER))
        made.append((partner, state))
    await _offerings(plan["offerings"], made, sites, world)
    for partner, state in made:
        for transition in WALKS[state]:
            partner = await partners.move(partner, transition)
        public = state == "admitted"
        world.things.append(
            Thing("partners", partner.id, partner.place_id, partner.id, state, public)
        )
    await _needs(plan["needs"], sites, people["operator"], world)
    await _roles(plan["roles"], kinds, people, world, clock)
    of_partner, which, writes = plan["key"]
    partner_id, site = _pick(made, which)[0].id, _pick(sites, which)
    await _key(world, people, *((partner_id, None) if of_partner else (None, site)), writes)
    clock.advance(hours=ASKED)
    return world


def _pick(several: Sequence[T], number: int) -> T:
    return several[number % len(several)]


async def _places(plan: list[tuple[int, int]], world: World) -> dict[uuid.UUID, str]:
    """A municipality and what lies in it; the kind of each place."""
    kinds: dict[uuid.UUID, str] = {}
    for parent, deeper in ((0, 0), *plan):
        above = _pick(list(kinds), parent) if kinds else None
        level = places.KINDS.index(kinds[above]) + deeper if above else 0
        if level >= len(places.KINDS):
            continue
        draft = places.PlaceDraft(
            slug=f"p{uuid.uuid4().hex}",
            kind=places.KINDS[level],  # type: ignore[arg-type]
            parent_id=above,
            name=values.Bilingual("地方", "Place"),
        )
        made = await places.found(draft)
        kinds[made.id] = made.kind
        world.above[made.id] = [made.id, *(world.above[above] if above else ())]
        if made.kind == "community":
            world.communities[made.id] = made.slug
    return kinds


async def _offerings(
    plan: list[tuple[int, int, str]],
    made: list[tuple[partners.PartnerRecord, str]],
    sites: list[uuid.UUID],
    world: World,
) -> None:
    for whose, site, state in plan:
        partner, leads_to = _pick(made, whose)
        draft = offerings.OfferingDraft(
            kind="merchant",
            partner_id=partner.id,
            place_id=_pick(sites, site),
            title=values.Bilingual("早餐", "Breakfast"),
            service_types=("breakfast_point",),
            status="active" if state == "withdrawn" else state,  # type: ignore[arg-type]
        )
        offering = await offerings.register(draft)
        if state == "withdrawn":
            await offerings.withdraw(offering)
        public = state == "active" and leads_to == "admitted"
        world.things.append(
            Thing("offerings", offering.id, offering.place_id, partner.id, state, public)
        )


async def _needs(
    plan: list[tuple[int, str]], sites: list[uuid.UUID], by: uuid.UUID, world: World
) -> None:
    for site, state in plan:
        draft = needs.NeedDraft(
            service_type="breakfast_point",
            place_id=_pick(sites, site),
            title=values.Bilingual("早餐", "Breakfast"),
            windows=(values.Window(days=(1,), start="06:30", end="09:00"),),
            slots=(values.Slot(role="cook", kind="merchant"),),
            status="draft" if state == "draft" else "open",
        )
        need = await needs.post(draft, by)
        if state == "withdrawn":
            await needs.withdraw(need)
        world.things.append(Thing("needs", need.id, need.place_id, None, state, state == "open"))


async def _roles(
    plan: list[tuple[int, str, int, tuple[int, int], bool, str | None]],
    kinds: dict[uuid.UUID, str],
    people: People,
    world: World,
    clock: Clock,
) -> None:
    now = clock.read()
    await accounts.grant(people["operator"], "operator")
    world.held.append(Held("operator", "operator", None, None, 0, FOREVER))
    taken = {("operator", "operator", None)}
    for number, name, site, (begins, ends), is_revoked, lent_to in plan:
        who, seats = _pick(ACCOUNTS, number), SEATS.get(name, places.KINDS)
        fitting = [place for place, kind in kinds.items() if kind in seats]
        place = None if name == "operator" or not fitting else _pick(fitting, site)
        if (place is None and name != "operator") or (who, name, place) in taken:
            continue
        taken.add((who, name, place))
        draft = accounts.RoleDraft(
            account_id=people[who],
            role=name,  # type: ignore[arg-type]
            place_id=place,
            valid_from=now + dt.timedelta(hours=begins),
            valid_to=None if ends == FOREVER else now + dt.timedelta(hours=ends),
        )
        role = await accounts.give(draft, people["operator"])
        held = [Held(who, name, place, None, begins, ends)]
        if lent_to and begins == 0 and (lent_to, name, place) not in taken:
            taken.add((lent_to, name, place))
            lending = accounts.Delegation(
                account_id=people[lent_to], valid_to=now + dt.timedelta(hours=3)
            )
            await accounts.delegate(role, lending, people[who])
            held.append(Held(lent_to, name, place, None, 0, min(3, ends)))
        if is_revoked:
            await accounts.revoke(role)
        else:
            world.held += held


async def _key(
    world: World,
    people: People,
    partner: uuid.UUID | None,
    place: uuid.UUID | None,
    writes: bool,
) -> None:
    """A service key that writes is a secretary of its place, one of a partner one of its people;
    one that only reads a place is nobody."""
    scopes: tuple[accounts.KeyScope, ...] = ("read", "needs") if writes else ("read",)
    draft = accounts.KeyDraft(name="kiosk", scopes=scopes, place_id=place, partner_id=partner)
    world.key = (await accounts.make_key(draft, people["operator"])).key
    if partner or writes:
        name = "partner_staff" if partner else "secretary"
        world.held.append(Held(KEY, name, place, partner, 0, FOREVER))
