"""What if: the same needs planned twice, as things are and as they would be. Nothing is kept."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from models import base, engine, needs, offerings, places, values
from search import candidates, windows
from search.gates import Licence, OfferingFacts
from search.planning import gather, process
from search.planning.gather import Asked, Builder, Candidate, Finder
from search.planning.report import Report


class Changes(Struct):
    """What would be different: partners and offerings gone, offerings new, needs changed."""

    without_partners: frozenset[str] = frozenset()
    without_offerings: frozenset[str] = frozenset()
    added: tuple[OfferingFacts, ...] = ()
    # Partners of what is new, and places that do not work with them.
    blocked: frozenset[tuple[str, uuid.UUID]] = frozenset()
    needs: Mapping[uuid.UUID, needs.NeedDraft] = {}


class Difference(Struct, frozen=True):
    """The plan as things are, and as they would be."""

    before: Report
    after: Report


async def compare(place: uuid.UUID, changes: Changes, seconds: float) -> Difference:
    """Plan the open needs of the place twice."""
    finder = Finder(gather.eyes_of(place))
    at = await gather.communities(place)
    before, after = Builder({}), Builder({})
    async for need, zone in gather.open_needs(place):
        here = need.place_id
        facts = changed = candidates.need_facts(need, zone)
        found = [(slot, await finder.find(facts, here, slot)) for slot in need.slots]
        before.add(Asked(facts, here, found), at[here])
        draft = changes.needs.get(need.id)
        if draft is not None:
            changed = candidates.facts_of(str(need.id), need.version, draft, zone)
            found = [(slot, await finder.find(changed, here, slot)) for slot in draft.slots]
        if draft is not None and draft.status != "open":
            continue
        more = [
            structs.replace(o, blocked=(o.partner, here) in changes.blocked) for o in changes.added
        ]
        would = [
            (slot, _with(there, await finder.fits(changed, slot, more), changes))
            for slot, there in found
        ]
        after.add(Asked(changed, here, would), at[here])
    return Difference(*await process.run([before.problem(), after.problem()], seconds))


def _with(found: list[Candidate], more: list[Candidate], changes: Changes) -> list[Candidate]:
    """The candidates without those who would be gone, and with those who would come."""
    stay = [
        candidate
        for candidate in found
        if candidate.offering.partner not in changes.without_partners
        and candidate.offering.id not in changes.without_offerings
    ]
    return sorted(stay + more, key=lambda candidate: (-candidate.score, candidate.offering.id))


async def imagined(
    drafts: Sequence[offerings.OfferingDraft],
) -> tuple[tuple[OfferingFacts, ...], frozenset[tuple[str, uuid.UUID]]]:
    """Offerings that do not exist, as the matcher would see them, and the places that do not work
    with one of their partners. What they state of licences counts as verified."""
    made = []
    blocked: set[tuple[str, uuid.UUID]] = set()
    for number, draft in enumerate(drafts):
        (partner,) = await engine.rows(
            "SELECT status FROM partner WHERE id = $1", draft.partner_id
        ) or [("",)]
        zone = (await places.timezones([draft.place_id])).get(draft.place_id, "Asia/Shanghai")
        made.append(_facts(f"imagined-{number}", draft, partner[0], zone))
        rows = await engine.rows(
            "SELECT c.descendant FROM blocked_partner b"
            " JOIN place_closure c ON c.ancestor = b.place WHERE b.partner = $1",
            draft.partner_id,
        )
        blocked |= {(str(draft.partner_id), base.as_id(place)) for (place,) in rows}
    return tuple(made), frozenset(blocked)


def _facts(
    identity: str, draft: offerings.OfferingDraft, partner_status: str, zone: str
) -> OfferingFacts:
    hours = draft.max_hours_week
    located = values.position(draft.location)
    return OfferingFacts(
        id=identity,
        version=0,
        kind=draft.kind,
        partner=str(draft.partner_id),
        services=draft.service_types,
        status=draft.status,
        partner_status=partner_status,
        lat_e6=located["lat_e6"],
        lon_e6=located["lon_e6"],
        reach_m=draft.reach_m,
        capacity=draft.capacity,
        price_amount=draft.price.amount,
        currency=draft.price.currency,
        per=draft.price.per,
        availability=draft.availability,
        licences=tuple(
            Licence(
                held.kind,
                held.issuer,
                "",
                None if held.valid_from is None else windows.start_of_day(held.valid_from, zone),
                None if held.valid_to is None else windows.end_of_day(held.valid_to, zone),
                True,
            )
            for held in draft.credentials
        ),
        features=draft.features,
        requires_features=draft.requires_features,
        languages=draft.languages,
        max_minutes_week=None if hours is None else hours * 60,
        max_contacts_week=draft.max_contacts_week,
    )
