"""The migration history: the same schema on both databases, as the tables say, all or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import pkgutil
import re
import shutil
import sys
import uuid
from collections.abc import AsyncIterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from piccolo.columns import Column, ForeignKey
from piccolo.table import Table

import models
from models import engine, migrate, piccolo_app, services, tables
from tests import databases, postgres

ROOT = Path(__file__).parents[2]
HISTORY = sorted(path.stem for path in migrate.FOLDER.glob("community_*.py"))
_INTEGERS = ("INTEGER", "BIGINT", "SMALLINT", "BIGSERIAL", "SERIAL")


class Index(Struct, frozen=True):
    """An index; a column that is an expression has no name."""

    unique: bool
    columns: tuple[str | None, ...]
    partial: bool


class Shape(Struct):
    """What a table looks like. `columns`: type and whether it may be null; `foreign`: by column
    the table and column it refers to, and what happens there on delete."""

    columns: dict[str, tuple[str, bool]]
    primary: tuple[str, ...]
    foreign: dict[str, tuple[str, str, str]]
    indexes: dict[str, Index]


# The schema as it is


async def schema() -> dict[str, Shape]:
    """Every table of the database in use but Piccolo's own.

    Read in a transaction, so on SQLite by the connection that migrated: another one that has asked
    nothing since then answers some pragmas by the schema it read before.
    """
    async with engine.unit_of_work():
        return await _schema()


async def _schema() -> dict[str, Shape]:
    if engine.current().dialect == "sqlite":
        listed = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        shape = _on_sqlite
    else:
        listed = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        shape = _on_postgres
    names = {name for (name,) in await engine.rows(listed)}
    return {name: await shape(name) for name in sorted(names - {"migration"})}


async def _on_sqlite(table: str) -> Shape:
    columns = await engine.fetch(f"PRAGMA table_info({table})")
    indexes = {}
    for row in await engine.fetch(f"PRAGMA index_list({table})"):
        if row["origin"] != "pk":
            inside = await engine.fetch(f"PRAGMA index_info({row['name']})")
            named = tuple(column["name"] for column in inside)
            indexes[row["name"]] = Index(bool(row["unique"]), named, bool(row["partial"]))
    return Shape(
        columns={row["name"]: (row["type"].upper(), not row["notnull"]) for row in columns},
        primary=tuple(row["name"] for row in columns if row["pk"]),
        foreign={
            row["from"]: (row["table"], row["to"], row["on_delete"])
            for row in await engine.fetch(f"PRAGMA foreign_key_list({table})")
        },
        indexes=indexes,
    )


async def _on_postgres(table: str) -> Shape:
    columns = await engine.rows(
        "SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute"
        " WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    indexes = await engine.rows(
        "SELECT indexrelid::regclass::text, indisunique, ARRAY(SELECT a.attname::text"
        " FROM unnest(indkey::int2[]) WITH ORDINALITY k (attnum, place) LEFT JOIN pg_attribute a"
        " ON a.attrelid = indrelid AND a.attnum = k.attnum AND k.attnum > 0 ORDER BY k.place),"
        " indpred IS NOT NULL, indisprimary FROM pg_index WHERE indrelid = $1::text::regclass"
        # An exclusion constraint; SQLite has triggers instead.
        " AND NOT indisexclusion",
        table,
    )
    foreign = await engine.rows(
        "SELECT a.attname, confrelid::regclass::text, f.attname, confdeltype::text"
        " FROM pg_constraint JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = conkey[1]"
        " JOIN pg_attribute f ON f.attrelid = confrelid AND f.attnum = confkey[1]"
        " WHERE contype = 'f' AND conrelid = $1::text::regclass",
        table,
    )
    actions = {"c": "CASCADE", "r": "RESTRICT", "n": "SET NULL", "a": "NO ACTION"}
    return Shape(
        columns={name: (_as_piccolo(kind), null) for name, kind, null in columns},
        primary=next(tuple(named) for *_, named, _, first in indexes if first),
        foreign={
            column: (to_table, to_column, actions[deleted])
            for column, to_table, to_column, deleted in foreign
        },
        indexes={
            name: Index(unique, tuple(named), partial)
            for name, unique, named, partial, first in indexes
            if not first
        },
    )


def _as_piccolo(kind: str) -> str:
    kind = kind.replace("character varying", "varchar").replace("timestamp with time zone", "ts")
    return kind.upper().replace("TS", "TIMESTAMPTZ")


def _wanted(table: type[Table]) -> tuple[dict[str, tuple[str, bool]], tuple[str, ...], Any]:
    """Columns, primary key and foreign keys as the class says, for the engine in use."""
    every: list[Column] = table._meta.columns
    columns = {
        column._meta.db_column_name: (
            column.column_type.upper().replace("SERIAL", "INT").replace("BIGINTEGER", "BIGINT"),
            column._meta.null,
        )
        for column in every
    }
    foreign = {
        column._meta.db_column_name: (
            column._foreign_key_meta.resolved_references._meta.tablename,
            column._foreign_key_meta.resolved_target_column._meta.db_column_name,
            column._foreign_key_meta.on_delete.value,
        )
        for column in every
        if isinstance(column, ForeignKey)
    }
    return columns, (table._meta.primary_key._meta.db_column_name,), foreign


@contextlib.asynccontextmanager
async def _both(server: postgres.Server) -> AsyncIterator[dict[str, dict[str, Shape]]]:
    """The schemas of both databases after the whole history."""
    async with databases.sqlite_engine():
        await migrate.migrate()
        sqlite = await schema()
    async with databases.postgres_engine(server):
        await migrate.migrate()
        yield {"sqlite": sqlite, "postgres": await schema()}


# The same everywhere


async def test_both_databases_get_the_same_schema(postgres_server: postgres.Server) -> None:
    async with _both(postgres_server) as found:
        sqlite, on_postgres = found["sqlite"], found["postgres"]
    assert sqlite.keys() == on_postgres.keys()
    for table, shape in sqlite.items():
        other = on_postgres[table]
        assert _families(shape) == _families(other), table
        assert shape.primary == other.primary, table
        assert shape.foreign == other.foreign, table
        assert shape.indexes == other.indexes, table


def _families(shape: Shape) -> dict[str, tuple[str, bool]]:
    """SQLite has one kind of integer."""
    return {
        name: ("INTEGER" if kind in _INTEGERS else kind, null)
        for name, (kind, null) in shape.columns.items()
    }


async def test_the_schema_is_what_the_tables_say(db: engine.Engine) -> None:
    found = await schema()
    assert found.keys() == {table._meta.tablename for table in tables.TABLES}
    for table in tables.TABLES:
        shape = found[table._meta.tablename]
        assert (shape.columns, shape.primary, shape.foreign) == _wanted(table), table


async def test_no_migration_is_missing() -> None:
    """`piccolo migrations new --auto` would find nothing to do."""
    # Not at the top: it formats code, and every worker loads this file.
    from piccolo.apps.migrations.commands.new import AutoMigrationManager

    manager = AutoMigrationManager(auto_input="n")
    with migrate._import_path():
        changes = await manager.get_alter_statements(app_config=piccolo_app.APP_CONFIG)
    assert list(chain(*(change.statements for change in changes))) == []


def test_every_table_is_registered_after_those_it_refers_to() -> None:
    for module in pkgutil.walk_packages(models.__path__, "models."):
        if not module.name.startswith("models.migrations."):
            import_module(module.name)
    ours = {
        table for table in _below(Table) if re.match(r"models\.(?!migrations)", table.__module__)
    }
    assert set(tables.TABLES) == ours
    assert len(tables.TABLES) == len(ours)
    for place, table in enumerate(tables.TABLES):
        for column in table._meta.foreign_key_columns:
            target = column._foreign_key_meta.resolved_references
            assert tables.TABLES.index(target) <= place, f"{table} before {target}"


def _below(parent: type[Table]) -> set[type[Table]]:
    return {found for child in parent.__subclasses__() for found in (child, *_below(child))}


# All or nothing, once


async def test_a_second_run_finds_nothing_to_do(db: engine.Engine) -> None:
    assert await migrate.pending() == []
    assert await migrate.migrate() == 0
    rows = await engine.fetch("SELECT count(*) AS n FROM service_type")
    assert rows[0]["n"] == len(services.shipped())


_FAILS = """
from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from models import engine
ID = "9999-01-01T00:00:00:000000"
VERSION = "1.0"
DESCRIPTION = "fails half-way"

async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="community", description=DESCRIPTION)

    async def run():
        await engine.execute("CREATE TABLE half_done (id INTEGER)")
        await engine.execute("UPDATE service_type SET category = 'half done'")
        await engine.execute("INSERT INTO nowhere VALUES (1)")

    manager.add_raw(run)
    return manager
"""


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The history with one more migration, which fails; undone by `broken.undo()`."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.FOLDER, folder)
    (folder / "community_9999_fails.py").write_text(_FAILS)
    monkeypatch.setattr(piccolo_app.APP_CONFIG, "migrations_folder_path", str(folder))
    monkeypatch.setattr(migrate, "FOLDER", folder)
    # Imported by its bare name; nobody else is to find it.
    monkeypatch.setitem(sys.modules, "community_9999_fails", None)
    monkeypatch.delitem(sys.modules, "community_9999_fails")
    return monkeypatch


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_migration_that_fails_leaves_nothing_half_done(
    kind: str, broken: pytest.MonkeyPatch, postgres_server: postgres.Server
) -> None:
    fresh = (
        databases.sqlite_engine()
        if kind == "sqlite"
        else databases.postgres_engine(postgres_server)
    )
    async with fresh:
        with pytest.raises(Exception, match="nowhere"):
            await migrate.migrate()
        assert await schema() == {}
        assert len(await migrate.pending()) > 1
        broken.undo()
        assert await migrate.migrate() > 0
        assert await migrate.pending() == []


async def test_a_migration_that_fails_leaves_what_was_there(
    db: engine.Engine, broken: pytest.MonkeyPatch
) -> None:
    before = await schema()
    types = await services.every()
    assert len(await migrate.pending()) == 1
    with pytest.raises(Exception, match="nowhere"):
        await migrate.migrate()
    assert await schema() == before
    assert await services.every() == types
    assert len(await migrate.pending()) == 1
    broken.undo()
    assert await migrate.pending() == []


_PROCESS = """
import asyncio, sys
from models import engine, migrate
async def main():
    opened = engine.open_engine(sys.argv[1])
    await opened.start()
    engine.use(opened)
    print("ready", flush=True)
    sys.stdin.readline()
    print(await migrate.migrate(), len(await migrate.pending()), flush=True)
    await opened.close()
asyncio.run(main())
"""


async def test_three_processes_may_migrate_one_database_at_once(
    postgres_server: postgres.Server,
) -> None:
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name)
    pipe = asyncio.subprocess.PIPE
    url = postgres_server.url(name)
    try:
        async with asyncio.timeout(60):
            processes = [
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", _PROCESS, url), cwd=ROOT, stdin=pipe, stdout=pipe
                )
                for _ in range(3)
            ]
            for process in processes:
                assert process.stdout
                assert await process.stdout.readline() == b"ready\n"
            said = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert [process.returncode for process in processes] == [0, 0, 0]
        ran = len(HISTORY)
        assert sorted(out for out, _ in said) == [b"0 0\n", b"0 0\n", f"{ran} 0\n".encode()]
    finally:
        await postgres_server.drop_database(name)
