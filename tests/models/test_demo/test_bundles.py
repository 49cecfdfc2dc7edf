"""The demo town's needs of several roles: who fills them together, from the database."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest

from models import accounts, base, demo, engine, migrate, needs
from search import bundles, bundling, candidates
from tests import databases
from tests.models.test_demo.days import TODAY

NOBODY = accounts.Visibility()
# What nobody nearby can do yet, on purpose.
UNFILLED = "Rehabilitation at home after a stroke"


@pytest.fixture(scope="module")
async def loaded() -> AsyncIterator[engine.Engine]:
    """A database with the town in it, for tests that leave it as it is."""
    async with databases.sqlite_engine() as opened:
        with pytest.MonkeyPatch.context() as patch:
            noon = dt.datetime.combine(TODAY, dt.time(4), dt.UTC)
            patch.setattr(base, "clock", lambda: noon)
            await migrate.migrate()
            await demo.load()
            yield opened


async def _found(
    opened: engine.Engine, monkeypatch: pytest.MonkeyPatch, need: needs.NeedRecord
) -> bundling.Bundling:
    engine.use(opened)
    noon = dt.datetime.combine(TODAY, dt.time(4), dt.UTC)
    monkeypatch.setattr(base, "clock", lambda: noon)
    facts = candidates.need_facts(need, "Asia/Shanghai")
    return await bundling.bundle(facts, need.place_id, need.slots, NOBODY, limit=5)


async def _needs(opened: engine.Engine) -> list[needs.NeedRecord]:
    engine.use(opened)
    return await needs.browse(NOBODY, after=None, limit=100)


def _roles(bundle: bundles.Bundle) -> dict[str, list[str]]:
    filled: dict[str, list[str]] = {}
    for member in bundle.members:
        filled.setdefault(member.slot.role, []).append(member.offering.id)
    return filled


async def test_every_need_of_the_town_is_filled_by_a_bundle(
    loaded: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B1: but the one that nobody can serve yet, whose answer says what is missing."""
    for need in await _needs(loaded):
        found = await _found(loaded, monkeypatch, need)
        if need.title.en == UNFILLED:
            assert not found.found
            assert [short.ranking.role for short in found.short] == ["therapist"]
            continue
        assert found.found, need.title.en
        filled = _roles(found.found[0])
        wanted = {slot.role: slot.quantity for slot in need.slots}
        assert {role: len(several) for role, several in filled.items()} == wanted


async def test_the_senior_cafeteria_has_a_kitchen_a_licence_helpers_and_a_trolley(
    loaded: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B1: space with a kitchen + licensed operator + helpers who take turns + goods."""
    (need,) = [n for n in await _needs(loaded) if n.title.en == "A hot lunch for 120 elders"]
    (bundle, *_) = (await _found(loaded, monkeypatch, need)).found
    kinds = {m.slot.role: m.offering.kind for m in bundle.members}
    assert kinds == {
        "hall": "space",
        "operator": "merchant",
        "helpers": "volunteer",
        "equipment": "goods",
    }
    assert bundle.shared.minutes == bundle.shared.asked


async def test_the_concert_has_a_stage_power_artists_and_a_permit(
    loaded: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: at least four roles, and one of them is a document that must be valid that evening."""
    (need,) = [n for n in await _needs(loaded) if n.title.en.startswith("Community concert")]
    (bundle, *_) = (await _found(loaded, monkeypatch, need)).found
    filled = _roles(bundle)
    assert {"stage", "sound", "artists", "permit"} <= filled.keys()
    members = {member.slot.role: member.offering for member in bundle.members}
    assert "power" in members["sound"].requires_features
    assert "power" in members["stage"].features
    assert [held.kind for held in members["permit"].licences] == ["event_permit"]
    assert len({member.offering.partner for member in bundle.members}) == len(bundle.members)
