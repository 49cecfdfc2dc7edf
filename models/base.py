"""The ground every table stands on: ids, the clock, and rows to structs."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import uuid_utils.compat
from piccolo.table import Table

from models import engine, errors

T = TypeVar("T")
# Rows of one INSERT: the text of the statement stays small enough to be kept prepared.
_AT_ONCE = 100


class Versioned(Protocol):
    """A record that knows which version of its row it was read from."""

    id: uuid.UUID
    version: int


def _system_clock() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


# One clock for the whole process, so that a test can stop it.
clock: Callable[[], dt.datetime] = _system_clock


def now() -> dt.datetime:
    """The present moment in UTC, whole microseconds."""
    return clock()


def new_id() -> uuid.UUID:
    """A UUIDv7: unique, and sorted by the time it was made."""
    return uuid_utils.compat.uuid7()


def pack(value: Any) -> str:
    """A value as the JSON text that a column keeps."""
    return msgspec.json.encode(value).decode()


def unpack(text: str, kind: type[T]) -> T:
    """The JSON text of a column as a typed value."""
    return msgspec.json.decode(text, type=kind)


def record(row: dict[str, Any], kind: type[T]) -> T:
    """A row as a struct. SQLite gives ids, times and booleans as text and integers."""
    return msgspec.convert(row, kind, strict=False)


def placeholders(count: int, first: int = 1) -> str:
    """`$1, $2, …` for an IN list of `count` values."""
    return ", ".join(f"${number}" for number in range(first, first + count))


def as_id(value: str | uuid.UUID) -> uuid.UUID:
    """An id of a row: text on SQLite, already a UUID on PostgreSQL."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def moment(value: str | dt.datetime) -> dt.datetime:
    """A time of a row: text on SQLite, already a datetime on PostgreSQL."""
    return value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)


def day(value: str | dt.date) -> dt.date:
    """A date of a row: text on SQLite, already a date on PostgreSQL."""
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)


def given(change: msgspec.Struct) -> dict[str, Any]:
    """The fields that a PATCH body carries, by name; the unset ones are left out."""
    return {
        name: value
        for name in change.__struct_fields__
        if (value := getattr(change, name)) is not msgspec.UNSET
    }


async def update(table: type[Table], record: Versioned, columns: dict[str, Any]) -> None:
    """Write columns of one row if it still has the version that was read; bump the version.

    Refuses with `stale` (412) when somebody else was faster.
    """
    columns = {**columns, "version": record.version + 1, "updated_at": now()}
    where = Where()
    where.add("id = {} AND version = {}", record.id, record.version)
    changes = ", ".join(f"{name} = {where.value(value)}" for name, value in columns.items())
    changed = await engine.fetch(
        f"UPDATE {table._meta.tablename} SET {changes} WHERE {where} RETURNING id", *where.args
    )
    if not changed:
        raise errors.Refusal("stale")


async def insert(table: type[Table], row: dict[str, Any]) -> None:
    """Write one row, of which every column is given; see `engine.later` for when."""
    await engine.later(_inserting(table, tuple(row), 1), *row.values())


async def insert_all(table: type[Table], rows: Sequence[dict[str, Any]]) -> None:
    """Write rows, of which every column is given, in the same order in each."""
    for at in range(0, len(rows), _AT_ONCE):
        some = rows[at : at + _AT_ONCE]
        values = [value for row in some for value in row.values()]
        await engine.execute(_inserting(table, tuple(some[0]), len(some)), *values)


@functools.lru_cache(maxsize=256)
def _inserting(table: type[Table], names: tuple[str, ...], count: int) -> str:
    columns = {column._meta.db_column_name for column in table._meta.columns}
    if columns != set(names):
        raise TypeError(f"{table._meta.tablename}: {columns.symmetric_difference(names)}")
    width = len(names)
    rows = (f"({placeholders(width, 1 + row * width)})" for row in range(count))
    return f"INSERT INTO {table._meta.tablename} ({', '.join(names)}) VALUES {', '.join(rows)}"


async def refer(field: str, table: type[Table], subject: uuid.UUID) -> None:
    """Refuse a reference to a row that does not exist, naming the field that holds it."""
    name = table._meta.tablename
    if not await engine.fetch(f"SELECT 1 FROM {name} WHERE id = $1", subject):
        raise errors.refuse_field(field, "unknown_reference", what=name, value=str(subject))


@contextlib.asynccontextmanager
async def rules_lifted(tables: Iterable[str]) -> AsyncIterator[None]:
    """Inside, the triggers of these tables refuse nothing; inside the caller's unit of work.

    It is what they are there to refuse: the caller must have made sure that nothing in this
    database ever happened (a demo).
    """
    assert engine.in_transaction()
    names = set(tables)
    if engine.current().dialect == "postgres":
        ruled = await engine.rows(
            "SELECT DISTINCT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal"
        )
        found = sorted(name for (name,) in ruled if name in names)
        again = [f"ALTER TABLE {name} ENABLE TRIGGER USER" for name in found]
        lift = [f"ALTER TABLE {name} DISABLE TRIGGER USER" for name in found]
    else:
        triggers = await engine.rows(
            "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
        )
        again = [sql for _, table, sql in triggers if table in names]
        lift = [f"DROP TRIGGER {name}" for name, table, _ in triggers if table in names]
    for statement in lift:
        await engine.execute(statement)
    yield
    for statement in again:
        await engine.execute(statement)


_STATUS = re.compile(r"[a-z_]+\Z")


class Where:
    """A WHERE clause put together from conditions, its parameters numbered as they come."""

    def __init__(self) -> None:
        self._clauses: list[str] = []
        self.args: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """Add a condition; each `{}` in it takes the next value."""
        self._clauses.append(condition.format(*(self.value(value) for value in values)))

    def value(self, value: Any) -> str:
        """The placeholder of one more parameter."""
        self.args.append(value)
        return f"${len(self.args)}"

    def values(self, several: Iterable[Any]) -> str:
        """The placeholders of several parameters, for an IN list."""
        return ", ".join(self.value(value) for value in several)

    def state(self, column: str, status: str) -> None:
        """Rows of a status, which the statement names: PostgreSQL then knows how rare they are. As
        a parameter it soon would not, and look for drafts among all there is."""
        if not _STATUS.match(status):
            raise ValueError(f"{status!r} is no status")
        self._clauses.append(f"{column} = '{status}'")

    def within(self, column: str, place: uuid.UUID) -> None:
        """Rows whose place is `place` or lies below it."""
        self.add(f"{column} IN (SELECT descendant FROM place_closure WHERE ancestor = {{}})", place)

    def page(self, column: str, after: uuid.UUID | None) -> None:
        """Rows that come after the last one seen, newest first."""
        if after is not None:
            self.add(f"{column} < {{}}", after)

    def __str__(self) -> str:
        return " AND ".join(self._clauses) or "1 = 1"
