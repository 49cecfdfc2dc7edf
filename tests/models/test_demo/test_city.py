"""The synthetic city: always the same, as dense as it was described, and what the verbs write."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from pathlib import Path

import pytest

from models import (
    accounts,
    base,
    demo,
    disclosure,
    engine,
    errors,
    needs,
    offerings,
    partners,
    places,
)
from models.demo import citizens, city
from search import engine as index
from search import names, sync
from tests.models.test_demo.days import TODAY

OFFICIAL = citizens.Official(uuid.UUID(int=7), dt.datetime(2026, 11, 22, tzinfo=dt.UTC))


def _digest(made: city.City) -> str:
    """Of every row in the order in which it is written."""
    found = hashlib.sha256()
    for row, above in made.place_rows():
        found.update(repr((sorted(row.items()), above)).encode())
    for community in made.communities:
        filling = citizens.Filling(community, made.today, OFFICIAL)
        for table, rows in filling.rows.items():
            found.update(repr((table._meta.tablename, rows)).encode())
    return found.hexdigest()[:16]


@pytest.mark.parametrize(
    ("size", "digest"), [(700, "129bfb44255921f4"), (4_000, "0b2ee67469bf1eb2")]
)
def test_the_same_size_is_the_same_city_on_every_machine(size: int, digest: str) -> None:
    assert _digest(city.City(size, TODAY)) == digest


def test_needs_to_measure_with_are_the_same_whenever_they_are_asked_for() -> None:
    made = city.City(3_500, TODAY)
    asked = citizens.asks(made, 40)
    assert asked == citizens.asks(made, 40)
    assert len({identity for identity, _ in asked}) == 40
    assert all(len(draft.slots) == 1 for _, draft in asked)
    assert {draft.slots[0].kind for _, draft in asked} >= {"volunteer", "vanguard", "merchant"}


def test_a_larger_city_begins_like_a_smaller_one_and_is_wider_and_not_denser() -> None:
    small, large = city.City(3_500, TODAY), city.City(35_000, TODAY)
    first = [citizens.Filling(made.communities[2], TODAY, OFFICIAL) for made in (small, large)]
    titles = [[row["title_en"] for row in f.rows[offerings.Offering]] for f in first]
    assert titles[0] == titles[1]
    for made in (small, large):
        ground = sum(one.kind.east_km * one.kind.north_km for one in made.communities)
        assert 990 <= made.size / ground <= 1_010
    corners = {(community.east, community.north) for community in large.communities}
    assert len(corners) == len(large.communities)
    assert len({community.id for community in large.communities}) == 50


def test_a_community_like_zhanggong_has_what_was_published_of_it() -> None:
    made = city.City(3_500, TODAY)
    zhanggong = made.communities[4]
    assert zhanggong.size == 2_300
    filling = citizens.Filling(zhanggong, TODAY, OFFICIAL)
    vanguards = [row for row in filling.rows[offerings.Offering] if row["kind"] == "vanguard"]
    assert len(vanguards) == 801
    rows = {row["slug"]: row for row, _ in made.place_rows()}
    place = rows["city-5"]
    assert (place["population"], place["households"], place["area_m2"]) == (
        60_000,
        9_760,
        2_300_000,
    )
    assert sum(row["kind"] == "grid" and row["parent"] == place["id"] for row in rows.values()) == 9
    qiaobei = rows["city-1"]
    assert (qiaobei["population"], qiaobei["area_m2"]) == (11_000, 300_000)


def test_needs_of_several_roles_and_of_one_are_asked_in_both_languages() -> None:
    filling = citizens.Filling(city.City(3_500, TODAY).communities[4], TODAY, OFFICIAL)
    asked = filling.rows[needs.Need]
    assert len(asked) == 230
    slots = [base.unpack(row["slots"], list[dict[str, object]]) for row in asked]
    together = [several for several in slots if len(several) > 1]
    assert 60 <= len(together) <= 120
    assert all(several[0]["kind"] == "space" for several in together)
    assert any(slot["mode"] == "rota" for several in together for slot in several)
    titles = {(row["title_zh"], row["title_en"]) for row in filling.rows[offerings.Offering]}
    assert len(titles) > 1_500


def test_a_size_out_of_bounds_is_refused() -> None:
    for size in (0, 1_000_001):
        with pytest.raises(ValueError, match="1 to 1,000,000"):
            city.City(size, TODAY)


async def test_what_is_written_is_what_the_verbs_would_write(
    db: engine.Engine, tmp_path: Path
) -> None:
    heard: list[tuple[int, int]] = []
    made = await demo.settle(500, lambda done, total: heard.append((done, total)))
    assert heard[-1] == (500, 500)
    assert await demo.present()
    # Whoever reads them finds nothing amiss, and every column as a change without a change has it.
    found = await offerings.browse(accounts.EVERYTHING, after=None, limit=600)
    assert len(found) == 500
    rows = {str(row["id"]): row for row in await engine.fetch("SELECT * FROM offering")}
    for offering in found:
        draft = offerings.OfferingDraft(**{**offerings.as_draft(offering), "status": "active"})
        columns = offerings.columns(draft) | {"status": offering.status}
        row = rows[str(offering.id)]
        assert {name: row[name] for name in columns} == columns
        if offering.kind in offerings.AT_HOME:
            home = row["lat_e6"], row["lon_e6"]
            assert (row["public_lat_e6"], row["public_lon_e6"]) == disclosure.snapped(*home)
    posted = await needs.browse(accounts.EVERYTHING, after=None, limit=100)
    assert len(posted) == 50
    links = await engine.fetch("SELECT count(*) AS n FROM offering_service")
    assert links[0]["n"] == sum(len(offering.service_types) for offering in found)
    district = (await places.read(made.communities[0].id)).parent_id
    assert district
    below = await partners.browse(accounts.EVERYTHING, after=None, limit=999, within=district)
    assert len(below) > 100
    # The index has all of it once it is built, and no change waits to be carried there.
    target = index.open_engine(tmp_path / "index")
    ((districts,),) = await engine.rows("SELECT count(*) FROM place WHERE kind <> 'building'")
    named = districts + len(await names.service_types())
    assert await sync.rebuild(target) == 500 + len(posted) + named
    assert await sync.lag() == 0
    await target.close()
    with pytest.raises(errors.Refusal):
        await demo.settle(1)


async def test_the_secretary_of_the_first_community_signs_in_and_decides_there(
    db: engine.Engine,
) -> None:
    made = await demo.settle(1)
    hour = dt.timedelta(hours=1)
    session = await accounts.sign_in("secretary@demo", demo.PASSWORD, hour, hour)
    caller = await accounts.caller_of(session.access_token)
    assert caller
    assert caller.places_as({"secretary"}) == {made.communities[0].id}
    assert [row["n"] for row in await db.fetch("SELECT count(*) AS n FROM offering")] == [1]
    await demo.reset()
    assert await demo.wanted()


async def test_rows_that_break_a_rule_of_the_database_are_refused_as_a_whole(
    db: engine.Engine,
) -> None:
    made = city.City(1, TODAY)
    (first, _), *_ = made.place_rows()
    row = {"timezone": "Asia/Shanghai", "status": "active", "version": 1, **first}
    row |= {"created_at": OFFICIAL.moment, "updated_at": OFFICIAL.moment}
    lost = {"id": base.new_id(), "ancestor": row["id"], "descendant": base.new_id(), "depth": 0}
    loads: list[engine.Load] = [
        ("place", list(row), [tuple(row.values())]),
        ("place_closure", list(lost), [tuple(lost.values())]),
    ]
    with pytest.raises(engine.CONFLICTS):
        await engine.copy(loads)
    assert await db.fetch("SELECT 1 FROM place") == []
    with pytest.raises(RuntimeError, match="transaction of its own"):
        async with engine.unit_of_work():
            await engine.copy(loads)
