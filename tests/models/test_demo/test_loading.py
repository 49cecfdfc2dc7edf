"""The demo town on its way into the database and out again."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest

from models import accounts, base, demo, engine, errors, migrate, people, services
from models.demo import town
from tests import databases, postgres
from tests.models.test_demo.days import TODAY


@pytest.fixture(scope="module")
def made() -> town.Town:
    """What is written, whatever the day."""
    return town.town(TODAY)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def written(
    request: pytest.FixtureRequest, postgres_server: postgres.Server
) -> AsyncIterator[engine.Engine]:
    """A database with the town in it, for tests that leave it as it is."""
    async with (
        databases.sqlite_engine()
        if request.param == "sqlite"
        else databases.postgres_engine(postgres_server)
    ) as opened:
        await migrate.migrate()
        await demo.load()
        yield opened


@pytest.fixture
def loaded(written: engine.Engine) -> engine.Engine:
    """The same, in use: another test may have used another since."""
    engine.use(written)
    return written


async def test_the_town_is_written_and_counted(db: engine.Engine, made: town.Town) -> None:
    heard: list[tuple[int, int]] = []
    assert await demo.wanted()
    await demo.load(lambda done, total: heard.append((done, total)))
    assert await demo.present()
    assert not await demo.wanted()
    assert heard[0][0] == 1
    assert heard[-1][0] == heard[-1][1] == len(heard)
    for table in ("place", "partner", "offering", "need"):
        rows = await db.fetch(f"SELECT count(*) AS n FROM {table}")
        assert rows[0]["n"] == len(getattr(made, f"{table}s"))


async def test_the_summary_of_jiangbei_returns_the_published_numbers(loaded: engine.Engine) -> None:
    below = (
        "IN (SELECT c.descendant FROM place_closure c JOIN place p ON p.id = c.ancestor"
        " WHERE p.slug = 'jiangbei')"
    )
    admitted = await loaded.fetch(
        f"SELECT count(*) AS n FROM partner WHERE status = 'admitted' AND place {below}"
    )
    kinds = await loaded.fetch(
        "SELECT s.service_type AS slug, count(*) AS n FROM offering_service s"
        f" JOIN offering o ON o.id = s.offering WHERE o.place {below}"
        " GROUP BY s.service_type"
    )
    counts = {row["slug"]: row["n"] for row in kinds}
    assert admitted[0]["n"] == 62
    assert (counts["senior_home"], counts["activity_station"]) == (3, 34)


async def test_everybody_can_sign_in_and_has_one_role(loaded: engine.Engine) -> None:
    hour = dt.timedelta(hours=1)
    for person in demo.PEOPLE:
        session = await accounts.sign_in(person.login, demo.PASSWORD, hour, hour)
        caller = await accounts.caller_of(session.access_token)
        assert caller is not None
        names = {role.name for role in caller.roles}
        assert person.role in names
        assert names <= {person.role, "partner_staff"}
    shops = await loaded.fetch(
        "SELECT p.name_en FROM partner p JOIN role r ON r.partner = p.id"
        " JOIN account a ON a.id = r.account WHERE a.login = 'partner@demo'"
    )
    assert [shop["name_en"] for shop in shops] == ["Zhou's Breakfast"]


async def test_licences_are_verified_except_those_the_story_leaves_open(
    loaded: engine.Engine,
) -> None:
    rows = await loaded.fetch(
        "SELECT o.title_en FROM credential c JOIN offering o ON o.id = c.offering"
        " WHERE c.verified_by IS NULL AND o.title_en LIKE 'Dr Tang%'"
    )
    assert len(rows) == 1
    zhou = await loaded.fetch(
        "SELECT count(*) AS n FROM credential c JOIN account a ON a.id = c.verified_by"
        " JOIN partner p ON p.id = c.partner"
        " WHERE p.name_en = 'Zhou''s Breakfast' AND a.login = 'secretary@demo'"
    )
    assert zhou[0]["n"] == 3


async def test_past_service_is_remembered_for_the_grid_and_its_community(
    loaded: engine.Engine,
) -> None:
    rows = await loaded.fetch(
        "SELECT p.slug, s.times, o.ratings, o.rating_sum, o.jobs_agreed, o.jobs_kept"
        " FROM service_record s JOIN offering o ON o.id = s.offering"
        " JOIN place p ON p.id = s.place"
        " WHERE o.title_en LIKE 'Zhou''s breakfast: soya%' ORDER BY p.slug"
    )
    assert [(row["slug"], row["times"]) for row in rows] == [("qiaobei", 9), ("qiaobei-grid-2", 9)]
    assert (rows[0]["ratings"], rows[0]["rating_sum"]) == (86, 86 * 480)
    assert (rows[0]["jobs_agreed"], rows[0]["jobs_kept"]) == (120, 118)


async def test_loading_twice_is_refused_and_changes_nothing(loaded: engine.Engine) -> None:
    before = await loaded.fetch("SELECT count(*) AS n FROM outbox")
    with pytest.raises(errors.Refusal):
        await demo.load()
    assert await loaded.fetch("SELECT count(*) AS n FROM outbox") == before


async def test_a_load_that_fails_half_way_leaves_nothing(db: engine.Engine) -> None:
    def stumble(done: int, _: int) -> None:
        if done == 200:
            raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="lights"):
        await demo.load(stumble)
    assert await demo.wanted()
    assert await db.fetch("SELECT * FROM outbox") == []


async def test_a_reset_leaves_the_taxonomy_and_tells_the_index(
    db: engine.Engine, made: town.Town
) -> None:
    await demo.load()
    await demo.reset()
    assert await demo.wanted()
    assert len(await services.every()) == len(services.shipped())
    facts = await db.fetch("SELECT topic, count(*) AS n FROM outbox GROUP BY topic")
    assert {fact["topic"]: fact["n"] for fact in facts} == {
        "offering.changed": len(made.offerings),
        "need.changed": len(made.needs),
    }
    await demo.load()
    assert await demo.present()


async def test_a_reset_refuses_where_somebody_else_has_an_account(db: engine.Engine) -> None:
    await demo.load()
    await accounts.register("he.jing@qiaobei.example", "a long password", "He Jing")
    with pytest.raises(errors.Refusal) as refused:
        await demo.reset()
    assert refused.value.code == "in_use"
    assert await demo.present()


async def test_a_reset_does_not_mind_that_somebody_of_the_demo_was_erased(
    db: engine.Engine,
) -> None:
    """The login of an erased account names nobody; that its traces are to go is not forgotten."""
    await demo.load()
    for login in ("resident@demo", "vanguard@demo"):
        ((account,),) = await engine.rows("SELECT id FROM account WHERE login = $1", login)
        await people.erase(base.as_id(account), demo.PASSWORD)
    await demo.reset()
    assert await demo.wanted()
    topics = await engine.rows("SELECT topic FROM outbox WHERE topic = 'account.erased'")
    assert len(topics) == 2
    await demo.load()
    assert await demo.present()
