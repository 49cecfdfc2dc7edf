"""Statements, values and what Piccolo does with them."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from models import engine
from tests import databases
from tests.models.test_engine.shelves import Book, Shelf, put, titles


async def test_piccolo_tables_work_on_both(db: engine.Engine) -> None:
    shelf = Shelf(title="tools", quantity=3)
    inserted = await Shelf.insert(shelf, Shelf(title="toys"))
    assert str(inserted[0]["id"]) == str(shelf.id)
    await Book.insert(Book(shelf=shelf.id, text="On saws"))
    assert await Shelf.exists().where(Shelf.title == "tools")
    assert await Shelf.count() == 3
    changed = (
        await Shelf.update({Shelf.quantity: Shelf.quantity + 1})
        .where(Shelf.title == "tools", Shelf.quantity < 4)
        .returning(Shelf.quantity)
    )
    assert changed == [{"quantity": 4}]
    joined = await Book.select(Book.text, Book.shelf.title).first()
    assert joined == {"text": "On saws", "shelf.title": "tools"}
    gone = await Shelf.delete().where(Shelf.title == "toys").returning(Shelf.title)
    assert gone == [{"title": "toys"}]

    async def failing() -> None:
        async with db.transaction():
            await Shelf.update({Shelf.title: "never"}).where(Shelf.title == "tools")
            raise LookupError

    with pytest.raises(LookupError):
        await failing()
    assert await titles() == ["tools"]
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await Book.insert(Book(shelf=uuid.uuid4()))


async def test_a_piccolo_migration_is_undone_as_a_whole_when_it_fails(db: engine.Engine) -> None:
    async def extra() -> None:
        await engine.execute("CREATE TABLE extra (name TEXT)")

    def migration(table: str) -> MigrationManager:
        manager = MigrationManager(migration_id="1", app_name="", description="")
        manager.add_raw(extra)
        manager.add_table("Tool", tablename=table)
        manager.add_column("Tool", table, "name", column_class_name="Varchar", params={})
        return manager

    with pytest.raises(Exception, match="already exists"):
        await migration("shelf").run()
    await migration("tool").run()
    await engine.execute("INSERT INTO tool (name) VALUES ('saw')")
    assert await engine.rows("SELECT tool.name FROM tool, (SELECT 1 FROM extra) AS e") == []
    assert await engine.rows("SELECT name FROM tool") == [("saw",)]


async def test_piccolos_run_sync_works_beside_the_loop(db: engine.Engine) -> None:
    assert await asyncio.to_thread(lambda: Shelf.count().run_sync()) == 1


async def test_tables_follow_when_another_engine_comes_into_use(db: engine.Engine) -> None:
    async with databases.sqlite_engine() as other:
        assert engine.current() is other
        assert not await Shelf.table_exists()
        assert Shelf._meta.db is other
    assert engine.current() is db
    assert await Shelf.count() == 1


async def test_placeholders_may_repeat_come_in_any_order_and_stand_in_quotes(
    db: engine.Engine,
) -> None:
    await put("it's $1", 5)
    found = await db.fetch(
        "SELECT title, '$2 -- ''$9' AS \"$3\" FROM shelf -- $4\n"
        "WHERE quantity = $2 AND title = $1 AND $1 <> 'x' /* $7 */",
        "it's $1",
        5,
    )
    assert found == [{"title": "it's $1", "$3": "$2 -- '$9"}]
    for values in ([], ["a", "b"]):
        with pytest.raises(Exception, match=r"(?i)the statement takes 1|expects 1 argument"):
            await db.rows("SELECT title FROM shelf WHERE title = $1", *values)


async def test_writes_hidden_in_a_with_clause_are_writes(db: engine.Engine) -> None:
    await db.execute(
        "/* careful */ WITH old AS (SELECT id FROM shelf) "
        "UPDATE shelf SET quantity = 7 WHERE id IN (SELECT id FROM old)"
    )
    counted = await db.rows("WITH q AS (SELECT quantity FROM shelf) SELECT quantity FROM q")
    assert counted == [(7,)]


@pytest.mark.parametrize(
    "text",
    [
        "社区老年食堂",
        "🏘️👵🏽",
        "'; DROP TABLE shelf; --",
        '"$1" ? :name %s {}',
        "\u202egnp.exe\x01\x7f\t\n",
        "e\u0301 ≠ é \ufeff\u2028",
        " ",
    ],
)
async def test_nasty_text_comes_back_as_it_went_in(db: engine.Engine, text: str) -> None:
    await put(text)
    assert await titles() == [text]
    assert await Shelf.select(Shelf.title).where(Shelf.title == text) == [{"title": text}]


@pytest.mark.parametrize("value", ["\ud800", 2**63, -(2**63) - 1])
async def test_values_no_database_can_keep_are_refused_by_both(
    db: engine.Engine, value: str | int
) -> None:
    async def unit() -> None:
        async with engine.unit_of_work():
            await put("a")
            if isinstance(value, str):
                await put(value)
            else:
                await put("b", value)

    with pytest.raises(Exception, match=r"surrogates|too large|out of int"):
        await unit()
    assert await titles() == []
