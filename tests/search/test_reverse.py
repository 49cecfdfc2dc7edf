"""The reverse: which needs an offering fits, looked for nearby and found as among all of them."""

from __future__ import annotations

import pytest

from models import accounts, base, disclosure, engine, needs, offerings, places, services
from search import candidates, matching, scoring
from tests.bench import _city


@pytest.mark.parametrize("who", ["anybody", "staff", "operator"])
async def test_an_offering_is_told_of_the_needs_that_going_through_all_of_them_finds(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(base, "clock", lambda: _city.TODAY)
    city = _city.City(900)
    await city.settle()
    await city.post(city.asks(150))
    sees = {
        "anybody": accounts.Visibility(),
        "staff": accounts.Visibility(places=frozenset({city.communities[0].id})),
        "operator": accounts.EVERYTHING,
    }[who]
    asked = await needs.browse(sees, after=None, limit=1_000)
    asked = await disclosure.all_shown(sees, asked)
    assert len(asked) > 200
    offered = await offerings.browse(accounts.Visibility(), after=None, limit=1_000)
    fits = 0
    for offering in offered[::9]:
        found = await matching.needs_for(offering, sees, limit=100)
        expected = await _one_by_one(offering, asked, sees)
        assert [(entry.need_id, entry.role, entry.match.score) for entry in found] == expected[:100]
        fits += len(expected)
    assert fits > 30


async def _one_by_one(
    offering: offerings.OfferingRecord, asked: list[needs.NeedRecord], sees: accounts.Visibility
) -> list[tuple[str, str, int]]:
    at = {need.place_id for need in asked}
    facts, zones = await candidates.by_place(offering.id, at, sees), await places.timezones(at)
    weights = {
        service.slug: candidates.weights_of(service)
        for service in await services.refer("service_types", offering.service_types)
    }
    found = []
    for need in asked:
        if need.service_type not in weights:
            continue
        compared = candidates.need_facts(need, zones[need.place_id])
        for slot in need.slots:
            match = scoring.evaluate(
                compared, slot, facts[need.place_id], weights[need.service_type]
            )
            if isinstance(match, scoring.Match):
                key = (*scoring.sort_key(match)[:2], str(need.id), slot.role)
                found.append((key, (str(need.id), slot.role, match.score)))
    return [entry for _, entry in sorted(found)]
