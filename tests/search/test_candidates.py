"""Candidates: nobody who fits is missed, wherever on earth, and the index does the work."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import re
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models import accounts, base, disclosure, engine, needs, offerings, partners, places, values
from search import candidates, cells, gates, matching, scoring
from search.gates import NeedFacts, OfferingFacts
from tests.bench import _city

ANYBODY = accounts.Visibility()
_LATS = st.integers(-90_000_000, 90_000_000)
_LONS = st.integers(-180_000_000, 180_000_000)
_SMALL = st.integers(-30_000, 30_000)


def _held(lat_e6: int, lon_e6: int, radius_m: int, position: tuple[int, int]) -> bool:
    cell = offerings.cell(*position)
    ranges = cells.ranges(cells.Around(lat_e6, lon_e6, radius_m))
    return any(low <= cell <= high for low, high in ranges)


# Cells


@given(_LATS, _LONS, st.integers(0, 1_000_000), st.floats(-1, 1), st.floats(-1, 1))
@example(89_980_000, 0, 1_000, 0.0, 1.0)
@example(-89_999_999, 179_000_000, 500, -1.0, 1.0)
@example(10_000_000, 179_999_990, 500, 0.0, 1.0)
@example(0, -180_000_000, 100, 1.0, -1.0)
@example(-33_870_000, 151_210_000, 1_500, 0.5, 0.5)
def test_the_cells_hold_every_position_within_the_radius(
    lat: int, lon: int, radius: int, north: float, east: float
) -> None:
    around = cells.Around(lat, lon, radius)
    other_lat = max(-90_000_000, min(90_000_000, lat + round(around.reach * north)))
    reach = 180_000_000 if around.sideways is None else around.sideways
    other_lon = (lon + round(reach * east) + 180_000_000) % 360_000_000 - 180_000_000
    if gates.distance_m(lat, lon, other_lat, other_lon) <= radius:
        assert _held(lat, lon, radius, (other_lat, other_lon))


@given(_LATS, _LONS, st.integers(0, 20_000), _SMALL, _SMALL)
def test_the_cells_hold_every_near_position(
    lat: int, lon: int, radius: int, north: int, east: int
) -> None:
    other = max(-90_000_000, min(90_000_000, lat + north)), lon + east
    if abs(other[1]) <= 180_000_000 and gates.distance_m(lat, lon, *other) <= radius:
        assert _held(lat, lon, radius, other)


@given(st.integers(-60_000_000, 60_000_000), st.integers(-170_000_000, 170_000_000))
def test_the_cells_are_few_and_go_hardly_further_than_the_radius(lat: int, lon: int) -> None:
    ranges = cells.ranges(cells.Around(lat, lon, 1_500))
    assert len(ranges) <= 8
    assert sum(high - low + 1 for low, high in ranges) <= 8 * 16
    assert not _held(lat, lon, 1_500, (lat + 30_000, lon))
    assert not _held(lat, lon, 1_500, (lat, lon + 60_000))


# Through the database


class Setting:
    """One community and one partner in the database in use, for offerings put anywhere."""

    def __init__(self, place: uuid.UUID, partner: uuid.UUID) -> None:
        self.place, self.partner = place, partner

    async def offer(self, lat_e6: int | None, lon_e6: int | None, **change: Any) -> str:
        """An offering at a position, free at any time, with the columns changed."""
        identity = base.new_id()
        always = values.Window(days=(1, 2, 3, 4, 5, 6, 7), start="00:00", end="24:00")
        row = {
            "id": identity,
            "kind": "merchant",
            "partner": self.partner,
            "place": self.place,
            "public_place": self.place,
            "lat_e6": lat_e6,
            "lon_e6": lon_e6,
            "service_types": '["repair"]',
            "availability": base.pack((always,)),
            "features": "[]",
            "requires_features": "[]",
            "languages": "[]",
            "price_currency": "CNY",
            "price_per": "session",
            "status": "active",
            "public_lat_e6": lat_e6,
            "public_lon_e6": lon_e6,
            **change,
        }
        known = lat_e6 is not None and lon_e6 is not None
        row["cell"] = offerings.cell(lat_e6, lon_e6) if known else None
        await _city.copy(offerings.Offering, [row])
        link = {"offering": identity, "service_type": "repair", "kind": row["kind"]}
        link |= {"id": base.new_id(), "cell": row["cell"]}
        await _city.copy(offerings.OfferingService, [link])
        return str(identity)


@pytest.fixture
async def setting(db: engine.Engine) -> Setting:
    place, partner = base.new_id(), base.new_id()
    name = {"name_zh": "名", "name_en": "Name", "status": "active"}
    row = {"id": place, "slug": "here", "kind": "community", "timezone": "Asia/Shanghai"}
    await _city.copy(places.Place, [row | name])
    pair = {"id": base.new_id(), "ancestor": place, "descendant": place, "depth": 0}
    await _city.copy(places.PlaceClosure, [pair])
    row = {"id": partner, "kind": "resident_group", "place": place, "public_place": place}
    await _city.copy(partners.Partner, [row | name | {"status": "admitted"}])
    return Setting(place, partner)


def _need(lat_e6: int | None, lon_e6: int | None, **change: Any) -> NeedFacts:
    facts: dict[str, Any] = {
        "id": "need",
        "version": 1,
        "service_type": "repair",
        "as_of": dt.date(2026, 11, 4),
        "lat_e6": lat_e6,
        "lon_e6": lon_e6,
        "radius_m": 1_000,
    }
    return NeedFacts(**facts | change)


def _slot(**change: Any) -> values.Slot:
    return values.Slot(**{"role": "helper", "kind": "merchant", **change})


async def _found(need: NeedFacts, place: uuid.UUID, slot: values.Slot) -> dict[str, OfferingFacts]:
    several = await candidates.fitting(need, place, slot, ANYBODY)
    assert len({offering.id for offering in several}) == len(several)
    return {offering.id: offering for offering in several}


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        (29_570_000, 106_550_000),
        (-33_870_000, 151_210_000),
        (40_710_000, -74_010_000),
        (-22_910_000, -43_170_000),
        (0, 0),
        (-100, -100),
        (65_000_000, 179_999_900),
        (-16_500_000, -179_999_900),
        (88_995_000, 30_000_000),
        (89_999_000, 0),
        (-90_000_000, 0),
    ],
)
async def test_whoever_is_just_within_the_radius_is_a_candidate_anywhere_on_earth(
    setting: Setting, lat: int, lon: int
) -> None:
    need, slot = _need(lat, lon), _slot()
    near, far = set(), set()
    for north, east in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.6, 0.8), (-0.8, -0.6)):
        edge = _edge(lat, lon, north, east)
        if edge is not None:
            near.add(await setting.offer(*edge))
        if abs(lat) < 80_000_000 and abs(lon) < 179_000_000:
            far.add(await setting.offer(round(lat + north * 90_000), round(lon + east * 90_000)))
    found = await _found(need, setting.place, slot)
    assert near
    assert near <= found.keys()
    # Near a pole and across the 180th meridian more are looked at; nowhere less.
    assert not far & found.keys()
    assert all(gates.passes(gates.case_of(need, slot, found[name])) for name in near)


def _edge(lat: int, lon: int, north: float, east: float) -> tuple[int, int] | None:
    """The furthest position in a direction that is still within 1,000 m."""

    def at(step: int) -> tuple[int, int]:
        across = (lon + round(east * step * 60) + 180_000_000) % 360_000_000 - 180_000_000
        return lat + round(north * step * 60 * (0.8 if east else 1)), across

    low, high = 0, 3_000_000
    while high - low > 1:
        middle = (low + high) // 2
        where = at(middle)
        inside = abs(where[0]) <= 90_000_000 and gates.distance_m(lat, lon, *where) <= 1_000
        low, high = (middle, high) if inside else (low, middle)
    return at(low) if low else None


async def test_a_home_is_near_by_its_public_point_or_for_its_staff_by_itself(
    setting: Setting,
) -> None:
    lat, lon = 29_570_000, 106_550_000
    by_eyes = {}
    staff = accounts.Visibility(places=frozenset({setting.place}))
    homes = {}
    for east in range(6_000, 16_000, 250):
        public_lat, public_lon = disclosure.snapped(lat, lon + east)
        public = {"public_lat_e6": public_lat, "public_lon_e6": public_lon}
        homes[await setting.offer(lat, lon + east, kind="volunteer", **public)] = east
    need, slot = _need(lat, lon), _slot(kind="volunteer")
    for name, sees in (("anybody", ANYBODY), ("staff", staff), ("all", accounts.EVERYTHING)):
        found = await candidates.fitting(need, setting.place, slot, sees)
        by_eyes[name] = {o.id for o in found if gates.passes(gates.case_of(need, slot, o))}

    def within(of: Callable[[int], tuple[int, int]]) -> set[str]:
        metres = {name: gates.distance_m(lat, lon, *of(east)) for name, east in homes.items()}
        return {name for name, far in metres.items() if far <= 1_000}

    exactly = within(lambda east: (lat, lon + east))
    publicly = within(lambda east: disclosure.snapped(lat, lon + east))
    assert by_eyes == {"anybody": publicly, "staff": exactly, "all": exactly}
    assert exactly != publicly


async def test_without_a_radius_or_a_position_distance_does_not_matter(setting: Setting) -> None:
    here = await setting.offer(29_570_000, 106_550_000)
    far = await setting.offer(-33_870_000, 151_210_000, reach_m=500)
    nowhere = await setting.offer(None, None)
    slot = _slot()
    phone = _need(29_570_000, 106_550_000, radius_m=None)
    assert (await _found(phone, setting.place, slot)).keys() == {here, far, nowhere}
    lost = await _found(_need(None, None), setting.place, slot)
    assert lost.keys() == {here, far, nowhere}
    assert not any(gates.passes(gates.case_of(_need(None, None), slot, o)) for o in lost.values())
    found = await _found(_need(29_570_000, 106_550_000), setting.place, slot)
    assert found.keys() == {here}
    around = _need(29_570_000, 106_550_000)
    several = await candidates.around(around, setting.place, slot, ANYBODY)
    assert {offering.id for offering in several} == {here}


async def test_a_position_of_two_decimals_and_the_largest_radius_are_asked_for(
    setting: Setting,
) -> None:
    far = await setting.offer(33_000_000, 106_000_000)
    further = await setting.offer(50_000_000, 106_000_000)
    need = _need(29_570_000, 106_550_000, radius_m=1_000_000)
    found = await _found(need, setting.place, _slot())
    assert far in found
    assert further not in found


async def test_what_is_known_from_before_comes_with_the_candidate(setting: Setting) -> None:
    offering = await setting.offer(29_570_000, 106_550_000)
    other = await setting.offer(29_570_000, 106_550_000)
    record = {"id": base.new_id(), "offering": offering, "place": setting.place, "times": 3}
    await _city.copy(offerings.ServiceRecord, [record])
    licence = {
        "issuer": "市监局",
        "number": "1",
        "partner": setting.partner,
        "valid_to": dt.date(2027, 1, 1),
    }
    rows = [
        {"id": base.new_id(), "kind": "food_licence", "offering": offering, **licence},
        {"id": base.new_id(), "kind": "food_licence", **licence},
        {"id": base.new_id(), "kind": "first_aid", **licence},
    ]
    await _city.copy(partners.Credential, rows)
    need = _need(29_570_000, 106_550_000)
    found = await _found(need, setting.place, _slot(preferred_credentials=("food_licence",)))
    assert (found[offering].served_here, found[other].served_here) == (3, 0)
    assert [held.kind for held in found[offering].licences] == ["food_licence"] * 2
    assert [held.kind for held in found[other].licences] == ["food_licence"]
    # What no gate and no part of this slot asks for is not read.
    found = await _found(need, setting.place, _slot())
    assert found[offering].licences == ()


async def test_a_blocked_partner_is_no_candidate_but_can_be_asked_about(setting: Setting) -> None:
    offering = await setting.offer(29_570_000, 106_550_000)
    row = {"id": base.new_id(), "place": setting.place, "partner": setting.partner}
    await _city.copy(partners.BlockedPartner, [row])
    need, slot = _need(29_570_000, 106_550_000), _slot()
    assert await _found(need, setting.place, slot) == {}
    (asked,) = await candidates.around(need, setting.place, slot, ANYBODY)
    assert (asked.id, asked.blocked) == (offering, True)


# Against the whole city


async def test_looking_only_at_candidates_changes_no_answer(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same need asked of everybody, one by one, gives the same ranking."""
    monkeypatch.setattr(base, "clock", lambda: _city.TODAY)
    city = _city.City(600)
    await city.settle()
    matched = 0
    for identity, draft in city.asks(30):
        need = candidates.facts_of(str(identity), 1, draft, "Asia/Shanghai")
        (slot,) = draft.slots
        ranking = await matching.rank(
            need, draft.place_id, draft.slots, ANYBODY, limit=100, excluded=False
        )
        results = [
            scoring.evaluate(need, slot, offering, ranking.content.weights)
            for offering in await _everybody(need, draft, slot)
        ]
        best = sorted((r for r in results if isinstance(r, scoring.Match)), key=scoring.sort_key)
        assert ranking.slots[0].matches == tuple(best[:100])
        matched += len(best)
    assert matched > 20


async def test_who_was_left_out_and_why_is_what_going_through_all_of_them_says(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the nearest misses are read in full and scored; counted is everybody."""
    monkeypatch.setattr(base, "clock", lambda: _city.TODAY)
    city = _city.City(600)
    await city.settle()
    gates_seen = set()
    for identity, draft in city.asks(12):
        need = candidates.facts_of(str(identity), 1, draft, "Asia/Shanghai")
        (slot,) = draft.slots
        ranking = await matching.rank(
            need, draft.place_id, draft.slots, ANYBODY, limit=7, excluded=True
        )
        seen = {
            glance.id for glance in await candidates.around(need, draft.place_id, slot, ANYBODY)
        }
        results = [
            scoring.evaluate(need, slot, offering, ranking.content.weights, explain=True)
            for offering in await _everybody(need, draft, slot)
            if offering.id in seen
        ]
        out = [result for result in results if isinstance(result, scoring.Exclusion)]
        out.sort(key=lambda one: (len(one.gates), -one.would_score, one.offering_id))
        (answer,) = ranking.slots
        assert answer.excluded == tuple(out[:7])
        assert answer.excluded_total == len(out)
        counted = {step.gate: (step.excluded, step.alone) for step in answer.funnel or ()}
        assert counted == _counted(out)
        gates_seen |= counted.keys()
    assert gates_seen >= {"service", "radius", "reach", "features", "budget", "load", "capacity"}
    assert gates_seen >= {"credentials", "time", "contacts"}


def _counted(out: list[scoring.Exclusion]) -> dict[str, tuple[int, int]]:
    gates_shut = {gate for exclusion in out for gate in exclusion.gates}
    return {
        gate: (
            sum(gate in exclusion.gates for exclusion in out),
            sum(exclusion.gates == (gate,) for exclusion in out),
        )
        for gate in gates_shut
    }


async def _everybody(
    need: NeedFacts, draft: needs.NeedDraft, slot: values.Slot
) -> list[OfferingFacts]:
    """All of the kind that are not withdrawn, wherever they are."""
    rows = await engine.rows(
        "SELECT CAST(id AS text) FROM offering WHERE kind = $1 AND status <> 'withdrawn'", slot.kind
    )
    return await candidates.known_of(
        [identity for (identity,) in rows], need, draft.place_id, slot, ANYBODY
    )


async def test_where_there_are_too_many_the_nearest_are_asked_why_not(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_MAX_NEARBY", 40)
    chance = random.Random(40)
    near = {
        await setting.offer(29_570_000 + chance.randint(-900, 900), 106_550_000) for _ in range(20)
    }
    # In the cells to the south, which come first in the index.
    for _ in range(60):
        await setting.offer(29_570_000 - chance.randint(15_000, 25_000), 106_550_000)
    need = _need(29_570_000, 106_550_000)
    asked = await candidates.around(need, setting.place, _slot(), ANYBODY)
    assert {offering.id for offering in asked} == near


async def test_how_far_is_looked_tells_nobody_how_many_are_hidden(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_MAX_NEARBY", 40)
    near = {await setting.offer(29_570_000 + step, 106_550_000) for step in range(20)}
    far = {await setting.offer(29_570_000 - 20_000 - step, 106_550_000) for step in range(20)}
    need = _need(29_570_000, 106_550_000)
    before = await candidates.around(need, setting.place, _slot(), ANYBODY)
    for step in range(60):
        await setting.offer(29_570_000 - 20_000 - step, 106_550_000, status="draft")
    after = await candidates.around(need, setting.place, _slot(), ANYBODY)
    assert {seen.id for seen in before} == {seen.id for seen in after} == near | far
    # Whoever sees them has too many to be told of all.
    staff = await candidates.around(need, setting.place, _slot(), accounts.EVERYTHING)
    assert {seen.id for seen in staff} == near


# What the databases make of it


@contextlib.asynccontextmanager
async def _statements(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[tuple[str, Any]]]:
    """What is asked of the database inside."""
    seen: list[tuple[str, Any]] = []
    ask = engine.rows

    async def rows(sql: str, *args: Any) -> list[tuple[Any, ...]]:
        seen.append((sql, args))
        return await ask(sql, *args)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "rows", rows)
        yield seen


async def _plan(sql: str, args: Any) -> str:
    explain = "EXPLAIN" if engine.current().dialect == "postgres" else "EXPLAIN QUERY PLAN"
    return "\n".join(str(row[-1]) for row in await engine.rows(f"{explain} {sql}", *args))


@pytest.mark.parametrize("who", ["anybody", "staff", "operator"])
async def test_candidates_are_looked_up_by_service_kind_and_cell(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    city = _city.City(5_000)
    await city.settle()
    sees = {
        "anybody": ANYBODY,
        "staff": accounts.Visibility(places=frozenset({city.communities[0].id})),
        "operator": accounts.EVERYTHING,
    }[who]
    for identity, draft in city.asks(3):
        need = candidates.facts_of(str(identity), 1, draft, "Asia/Shanghai")
        async with _statements(monkeypatch) as seen:
            await candidates.fitting(need, draft.place_id, draft.slots[0], sees)
            await candidates.around(need, draft.place_id, draft.slots[0], sees)
        plans = [(sql, await _plan(sql, args)) for sql, args in seen]
        (fitting,) = [plan for sql, plan in plans if "FROM offering_service WHERE" in sql]
        assert _looks_up(fitting, "offering_service_cell", ("service_type", "kind", "cell"))
        around = [plan for sql, plan in plans if "FROM offering WHERE" in sql]
        assert len(around) >= 2
        assert all(_looks_up(plan, "offering_cell", ("kind", "cell")) for plan in around)


def _looks_up(plan: str, index: str, columns: tuple[str, ...]) -> bool:
    """Whether the plan goes through the index by all of these columns, and reads the offerings
    in no other way."""
    assert not re.search(r"Seq Scan on offering|SCAN [os]\b", plan), plan
    conditions = [line for line in plan.splitlines() if index in line or "Index Cond" in line]
    return index in plan and any(all(column in line for column in columns) for line in conditions)


async def test_a_ranking_asks_the_database_few_questions(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same few statements, whatever the need: each is prepared once a connection."""
    city = _city.City(600)
    await city.settle()
    texts = set()
    for identity, draft in city.asks(60):
        need = candidates.facts_of(str(identity), 1, draft, "Asia/Shanghai")
        async with _statements(monkeypatch) as seen:
            await candidates.fitting(need, draft.place_id, draft.slots[0], ANYBODY)
        assert len(seen) <= (3 if draft.slots[0].credentials else 1)
        texts |= {sql for sql, _ in seen}
    assert len(texts) <= 24
