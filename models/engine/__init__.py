"""The database: two engines with one small interface. Nothing else knows which one it is.

    from models import engine
    e = engine.open_engine("sqlite:///data/town.sqlite")     # or postgres://…; connects to nothing
    await e.start()
    engine.use(e)
    async with engine.unit_of_work() as work:
        await engine.execute("UPDATE place SET name = $1 WHERE id = $2", name, place_id)
        work.after_commit(wake_the_worker)
    rows = await engine.fetch("SELECT … WHERE id = $1", place_id)
    await e.close()

Rules:
- `unit_of_work` is the only way to open a transaction; Piccolo's `DB.transaction()` and `atomic()`
  are the same thing here. Nested ones join. A statement that fails dooms the whole unit, even when
  the error is caught, unless it ran inside `work.savepoint()`.
- Nothing starts inside: a task created there that touches the database gets a RuntimeError.
- Statements outside a unit of work see only committed rows. A single write outside is a unit of
  its own.
- On SQLite only one unit of work runs at a time: await nothing slow in it but the database. Values
  come back raw: UUID and timestamps as text, booleans as 0 and 1.

Piccolo asks `models/piccolo_conf.py` for `DB` (each migration does, and each table that `use` has
not seen), so `DB` there is no constant but the current engine, by a module `__getattr__`:

    def __getattr__(name: str) -> object:
        if name == "DB":
            return engine.current()
        raise AttributeError(name)

Tables need no `db=`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

from piccolo.table import Table

from models.engine import bulk, changes
from models.engine.bulk import Load
from models.engine.changes import Memo
from models.engine.errors import (
    CONFLICTS,
    PASSING,
    DatabaseBusy,
    DatabaseClosed,
    DatabaseUnavailable,
    TransactionFailed,
)
from models.engine.postgres import Postgres
from models.engine.sqlite import SQLite
from models.engine.work import UnitOfWork, Work

__all__ = [
    "CONFLICTS",
    "PASSING",
    "DatabaseBusy",
    "DatabaseClosed",
    "DatabaseUnavailable",
    "Engine",
    "Load",
    "Memo",
    "Postgres",
    "SQLite",
    "TransactionFailed",
    "UnitOfWork",
    "Work",
    "copy",
    "current",
    "execute",
    "fetch",
    "in_transaction",
    "kept",
    "later",
    "open_engine",
    "rows",
    "unit_of_work",
    "use",
]

Engine = SQLite | Postgres
V = TypeVar("V")

_current: Engine | None = None


def open_engine(url: str, *, exclusive: bool = True) -> Engine:
    """The engine for `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgres://…`.

    `exclusive=False` lets a command work on a SQLite file beside the server that holds it.
    """
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        return Postgres(url)
    path = rest.removeprefix("/")
    if scheme == "sqlite" and rest.startswith("/") and path and path != ":memory:":
        return SQLite(path, exclusive=exclusive)
    raise ValueError(
        "DATABASE_URL must look like sqlite:///data/town.sqlite or postgres://user@host/name"
    )


def use(engine: Engine) -> None:
    """Makes `engine` the current one of this process, for every Piccolo table there is."""
    global _current
    _current = engine
    tables = list(_tables(Table))
    for table in tables:
        table._meta.db = engine
    changes.learn(tables)


def current() -> Engine:
    """The engine given to `use`; refuses with RuntimeError before that."""
    if _current is None:
        raise RuntimeError("no database is in use: call engine.use(engine) first")
    return _current


def unit_of_work() -> UnitOfWork:
    """`async with unit_of_work() as work`: one transaction of the current engine, or the outer."""
    return UnitOfWork(current())


def fetch(sql: str, *args: Any) -> Awaitable[list[dict[str, Any]]]:
    """Rows as dicts, from the current engine; in the running unit of work if there is one."""
    return current().fetch(sql, *args)


def rows(sql: str, *args: Any) -> Awaitable[list[tuple[Any, ...]]]:
    """The same as tuples."""
    return current().rows(sql, *args)


def execute(sql: str, *args: Any) -> Awaitable[None]:
    """One statement without an answer, on the current engine."""
    return current().execute(sql, *args)


def later(sql: str, *args: Any) -> Awaitable[None]:
    """A statement that writes and whose answer nobody waits for: in a unit of work it may go
    together with others, in one round trip, before the next one that is asked and at the latest
    with COMMIT.

    What goes together must not touch the same rows: none sees what the others write. Only foreign
    keys are looked at when all of it is there.
    """
    return current().later(sql, *args)


def copy(loads: Sequence[bulk.Load]) -> Awaitable[None]:
    """Very many rows at once, on the current engine: see `bulk.copy`."""
    return bulk.copy(current(), loads)


async def kept(memo: Memo[V], key: Hashable, read: Callable[[], Awaitable[V | None]]) -> V | None:
    """What `read` answers, or what it answered before if none of the memo's tables was written
    since. In a unit of work, and where others' writes are not heard, it is always read."""
    known = current().changes
    if not known.keep or current().current_transaction.get() is not None:
        return await read()
    value = memo.find(known, key)
    return await memo.read(known, key, read) if value is None else value


def in_transaction() -> bool:
    """Whether the running code is inside a unit of work, where nothing may be started."""
    return _current is not None and _current.current_transaction.get() is not None


def _tables(parent: type[Table]) -> Iterator[type[Table]]:
    for table in parent.__subclasses__():
        yield table
        yield from _tables(table)
