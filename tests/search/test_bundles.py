"""Bundles: the best that go together, equal to trying every one, and no rule ever broken."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from models.values import Slot
from search import bundles, gates
from tests.search import bundle_oracle
from tests.search.matching_facts import (
    DEFAULTS,
    LAT,
    LON,
    a_licence,
    a_need,
    an_offering,
    at,
    weekly,
)

Offered = list[tuple[Slot, list[gates.OfferingFacts]]]

# Two occurrences of an hour, so that counting minutes one by one is quick.
_ONCE = {"from_": dt.date(2027, 3, 1), "until": dt.date(2027, 3, 7)}
_HOURS = (
    ("08:00", "12:00"),
    ("08:00", "12:00"),
    ("08:00", "12:00"),
    ("08:00", "12:00"),
    ("08:00", "12:00"),
    ("09:00", "09:40"),
    ("09:20", "10:00"),
    ("09:00", "09:59"),
)


def _case(chance: random.Random) -> tuple[gates.NeedFacts, Offered, frozenset[str]]:
    """A small need with 1 to 4 slots, and offerings that nearly fit."""
    need = a_need(
        windows=(weekly("24", "09:00", "10:00", **_ONCE),)
        + ((weekly("2", "09:30", "10:30", **_ONCE),) if chance.random() < 0.2 else ()),
        min_coverage=chance.choice([10_000, 10_000, 6_600, 3_000, 0]),
        budget_amount=chance.choice([None, 1_500, 4_000]),
        per=chance.choice(["session", "week"]),
        radius_m=chance.choice([None, 1_000]),
    )
    slots = [
        Slot("room", "space", features=("power",) if chance.random() < 0.3 else ()),
        Slot("cook", "merchant", credentials=("food",) if chance.random() < 0.3 else ()),
        Slot(
            "helpers",
            "volunteer",
            quantity=chance.choice([1, 2, 2, 3]),
            mode=chance.choice(["each", "rota"]),
        ),
        Slot("supervisor", chance.choice(["merchant", "vanguard", "space"])),
    ]
    slots = chance.sample(slots, chance.choice([1, 2, 3, 3, 4]))
    made = [[_someone(chance, slot, n) for n in range(chance.randint(2, 5))] for slot in slots]
    everybody = [offering for several in made for offering in several]
    offered = [(slot, [o for o in everybody if o.kind == slot.kind]) for slot in slots]
    return need, offered, frozenset(chance.sample(["a", "b", "c", "d"], 2))


def _someone(chance: random.Random, slot: Slot, number: int) -> gates.OfferingFacts:
    start, end = chance.choice(_HOURS)
    busy = at("2027-03-02 09:10") + chance.randint(-60, 60)
    return an_offering(
        id=f"{slot.role}-{number}",
        kind=slot.kind,
        partner=chance.choice(
            ["a", "b", "c", "d", "e", "f", "g", "h", f"own-{slot.role}-{number}"]
        ),
        lat_e6=chance.choice([None, *[LAT + chance.randint(-7, 7) * 1_000] * 9]),
        lon_e6=LON + chance.choice([-3_000, 0, 2_000]),
        reach_m=chance.choice([None, None, 300, 900]),
        price_amount=chance.choice([0, 0, 300, 700, 1_200]),
        per=chance.choice(["session", "week"]),
        availability=(weekly("1234567", start, end),),
        busy=((busy, busy + 7),) if chance.random() < 0.1 else (),
        licences=(a_licence(verified=chance.random() < 0.8),),
        features=tuple(chance.sample(["power", "water", "kitchen"], chance.randint(0, 3))),
        requires_features=tuple(chance.choice([(), (), (), ("power",), ("water", "kitchen")])),
        ratings=1,
        rating_sum=chance.choice([300, 300, 500]),
    )


def _found(
    need: gates.NeedFacts, offered: Offered, persons: frozenset[str], limit: int
) -> tuple[bundles.Bundle, ...]:
    return bundles.top(bundles.prepare(need, offered, DEFAULTS, persons), limit)


@pytest.mark.parametrize("seed", range(10))
def test_the_best_bundles_are_those_that_trying_every_one_finds(seed: int) -> None:
    """60 random small needs each, and up to 4 bundles that differ in half of their members."""
    chance = random.Random(seed)
    counts = []
    for _ in range(60):
        need, offered, persons = _case(chance)
        town = bundle_oracle.Town(need, offered, DEFAULTS, persons)
        wanted = town.top(4)
        found = _found(need, offered, persons, 4)
        shown = [[m.offering.id for m in bundle.members] for bundle in found]
        assert [sorted(names) for names in shown] == [
            sorted(o.id for team in bundle for o in team) for bundle in wanted
        ]
        assert [bundle.score for bundle in found] == [town.score(bundle) for bundle in wanted]
        counts.append(len(found))
    assert counts.count(0) < 40
    assert counts.count(4) > 5
