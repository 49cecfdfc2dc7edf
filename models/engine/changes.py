"""Which tables have been written, so that what was read of them may be kept until they are.

Every statement of the program goes through an engine, and each unit of work tells here, before
anybody hears that it is committed, which tables it may have written. So whoever reads after a write
was acknowledged never gets what was kept from before it. That holds in one process. Of another
one's writes PostgreSQL tells a moment later (`hearing.py`), and while it does not, nothing is kept.
Nor is anything kept for longer than KEPT_S, whatever happens.
"""

from __future__ import annotations

import asyncio
import functools
import re
import secrets
import time
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextvars import ContextVar
from typing import Generic, TypeVar

from piccolo.table import Table

V = TypeVar("V")
KEPT_S = 1.0
# The tables that are read from here on, for whoever put a set in it.
reading: ContextVar[set[str] | None] = ContextVar("reading", default=None)

EVERYTHING = frozenset({"*"})
# Written with nearly everything else, and read by nothing that is kept.
UNTOLD = frozenset({"outbox", "audit"})
_NOTHING: frozenset[str] = frozenset()
_TARGETS = re.compile(
    r"\b(INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM)\s+"
    r'"?(\w+)"?',
    re.IGNORECASE,
)
# What may begin a statement that writes nothing but its targets.
_KNOWN = re.compile(
    r"[\s(]*(SELECT|VALUES|WITH|INSERT|REPLACE|UPDATE|DELETE|SAVEPOINT|RELEASE|ROLLBACK|EXPLAIN"
    r"|SET\s+LOCAL)\b",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\w+")


class Changes:
    """Counts the writes of one engine, and when each table had its last one."""

    def __init__(self) -> None:
        self.keep = False
        # By which others know whose a notice is, and we our own.
        self.name = secrets.token_hex(8)
        # What is told of each write of our own.
        self.tell: Callable[[frozenset[str]], None] | None = None
        self._count = 0
        self._last: dict[str, int] = {}

    def moment(self) -> int:
        """Now, to be asked for before reading what is to be kept."""
        return self._count

    def note(self, tables: Iterable[str]) -> None:
        """These may have been written here."""
        written = frozenset(tables)
        self.heard(written)
        if self.tell:
            self.tell(written)

    def heard(self, tables: Iterable[str]) -> None:
        """These may have been written, here or elsewhere."""
        self._count += 1
        for table in tables:
            self._last[table] = self._count

    def since(self, moment: int, tables: Iterable[str]) -> bool:
        """Whether one of these may have been written after that moment."""
        if moment == self._count:
            return False
        last = self._last.get
        return last("*", 0) > moment or any(last(table, 0) > moment for table in tables)


class Memo(Generic[V]):
    """Keeps up to `most` values that are read from some tables alone, until one is written.

    What is kept is shared: never change it. None is not kept, so that asking for what is not there
    pushes nothing out. Whoever asks for what is being read just now waits for that.
    """

    def __init__(self, tables: Iterable[str], most: int) -> None:
        self._tables, self._most = frozenset(tables), most
        self._kept: OrderedDict[Hashable, tuple[Changes, int, float, V]] = OrderedDict()
        self._under_way: dict[Hashable, tuple[Changes, int, asyncio.Future[None]]] = {}

    def find(self, changes: Changes, key: Hashable) -> V | None:
        """What is kept and still holds."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        kept_for, moment, until, value = entry
        if kept_for is not changes or until < time.monotonic():
            return None
        if changes.since(moment, self._tables):
            return None
        self._kept.move_to_end(key)
        seen = reading.get()
        if seen is not None:
            seen |= self._tables
        return value

    async def read(
        self, changes: Changes, key: Hashable, read: Callable[[], Awaitable[V | None]]
    ) -> V | None:
        """Read it anew and keep it. Never in a unit of work, which sees what is not committed."""
        other = self._under_way.get(key)
        # One that began before a write may not have seen it.
        if other and other[0] is changes and not changes.since(other[1], self._tables):
            await asyncio.wait([other[2]])
            value = self.find(changes, key)
            if value is not None:
                return value
        moment, done = changes.moment(), asyncio.get_running_loop().create_future()
        self._under_way[key] = mine = (changes, moment, done)
        try:
            value = await read()
        finally:
            done.set_result(None)
            if self._under_way.get(key) is mine:
                del self._under_way[key]
        if value is not None:
            self._kept[key] = (changes, moment, time.monotonic() + KEPT_S, value)
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value


def learn(tables: Iterable[type[Table]]) -> None:
    """These tables there are, too, and these refer to which others."""
    fresh = [table for table in tables if table not in _learnt]
    if not fresh:
        return
    for table in fresh:
        name = table._meta.tablename
        _names.add(name)
        for column in table._meta.foreign_key_columns:
            target = column._foreign_key_meta.resolved_references._meta.tablename
            _referring.setdefault(target, set()).add(name)
    _learnt.update(fresh)
    written.cache_clear()
    mentioned.cache_clear()


# Migrations make classes of their own, which nobody else keeps.
_learnt: weakref.WeakSet[type[Table]] = weakref.WeakSet()
_names: set[str] = set()
# By table, those with a foreign key to it.
_referring: dict[str, set[str]] = {}


@functools.lru_cache(maxsize=4096)
def written(sql: str) -> frozenset[str]:
    """The tables that a statement may write, those included whose rows go with a deleted row; `*`
    for a statement of another kind, which may do anything."""
    if not _KNOWN.match(sql):
        return EVERYTHING
    found: set[str] = set()
    for verb, table in _TARGETS.findall(sql):
        found |= below(table.lower()) if verb[0] in "Dd" else {table.lower()}
    return frozenset(found) if found else _NOTHING


@functools.lru_cache(maxsize=4096)
def mentioned(sql: str) -> frozenset[str]:
    """The tables that a statement may read: every one whose name is in it."""
    return frozenset(_WORDS.findall(sql.lower())) & _names


def below(table: str) -> frozenset[str]:
    """A table and every other whose rows may be deleted with its rows."""
    found, waiting = {table}, [table]
    while waiting:
        for other in _referring.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return frozenset(found)
