"""SQLite for one server process: a writer with group commit, readers, WAL, no thread left over."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from piccolo.engine.sqlite import SQLiteEngine
from piccolo.querystring import QueryString

from models.engine import changes, readers
from models.engine.errors import DatabaseClosed, DatabaseUnavailable
from models.engine.lockfile import LockFile
from models.engine.readers import Readers, Result
from models.engine.work import UnitOfWork, Work, joined
from models.engine.writer import Writer

Part = TypeVar("Part", Writer, Readers)

READER_THREADS = 3
BUSY_MS = 5000
CLOSE_PATIENCE_S = 5.0
# Statements on the loop do not suspend: after so long in one go, other tasks get their turn.
STREAK_S = 0.005

_PRAGMAS = f"""
PRAGMA busy_timeout = {BUSY_MS};
PRAGMA foreign_keys = ON;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -16000;
PRAGMA temp_store = MEMORY;
PRAGMA journal_size_limit = 67108864;
PRAGMA secure_delete = ON;
"""
_TOKENS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$([1-9][0-9]*)""", re.DOTALL
)
_READS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(SELECT|VALUES|EXPLAIN|PRAGMA|WITH)\b",
    re.IGNORECASE | re.DOTALL,
)
_CHANGES = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)


class SQLite(SQLiteEngine):
    """One SQLite file. `exclusive` keeps a second server process away through a lock file."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, path: str | Path, *, exclusive: bool = True) -> None:
        super().__init__(path=str(path))
        self.changes = changes.Changes()
        self._exclusive = exclusive
        self._lock: LockFile | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._streak_ends = 0.0

    async def start(self) -> None:
        """Opens the file, making it and its directory when missing.

        Refuses with DatabaseBusy while another server process has it, and with DatabaseUnavailable
        when it cannot be written.
        """
        if self._writer is not None:
            return
        path = Path(self.path)
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if self._exclusive:
                    self._lock = LockFile(Path(f"{path}.lock"))
                    undo.callback(self._unlock)
                writing = connect(path)
                undo.callback(writing.close)
                reading = functools.partial(_reading, path)
                self._readers = Readers(reading, READER_THREADS, self._loop)
            except (sqlite3.Error, OSError) as problem:
                raise _unusable(path, problem) from problem
            self._writer = Writer(writing, self._loop, self.changes)
            undo.pop_all()

    async def connect_all(self) -> None:
        """Nothing to do: no limit of connections can be met later."""

    async def listen(self) -> None:
        """Lets what was read be kept: this process has the file alone."""
        self.changes.keep = True

    async def close(self) -> None:
        """Refuses new work, lets the running unit of work end (5 s), leaves no thread behind."""
        writer, self._writer = self._writer, None
        reading, self._readers = self._readers, None
        if writer is None or reading is None:
            return
        try:
            # The writer last and alone: of two connections closed at the same moment neither
            # empties the WAL into the file, and a copy of the file would be an old one.
            await reading.close()
            await writer.close(CLOSE_PATIENCE_S)
        finally:
            self._unlock()

    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        return _dicts(await self._run(*placeholders(sql, args)))

    async def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        return (await self._run(*placeholders(sql, args)))[1]

    async def execute(self, sql: str, *args: Any) -> None:
        await self._run(*placeholders(sql, args))

    # Nothing is gained by waiting here: a statement takes a few µs.
    later = execute

    async def open_work(self) -> Work:
        return await self._opened(self._writer).open_work()

    def connections(self) -> tuple[int, int]:
        """The one that writes, and whether it is at work; nobody waits for one that reads."""
        return 1, int(self._writer is not None and self._writer.busy)

    # What Piccolo calls.

    async def run_querystring(
        self, querystring: QueryString, in_pool: bool = True
    ) -> list[dict[str, Any]]:
        sql, args = querystring.compile_string(engine_type="sqlite")
        return _dicts(await (self._run if in_pool else self._run_alone)(sql, args))

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> list[dict[str, Any]]:
        return _dicts(await (self._run if in_pool else self._run_alone)(ddl, ()))

    def transaction(self, *_args: Any, **_options: Any) -> UnitOfWork:  # type: ignore[override]
        """Piccolo's own transactions (migrations, `atomic`) are units of work, too."""
        return UnitOfWork(self)

    async def get_connection(self) -> Any:
        """Piccolo's `batch` asks for one; ours are kept by the writer and the readers."""
        raise NotImplementedError("batch() is not available: page by key instead")

    async def _run(self, sql: str, args: Sequence[Any]) -> Result:
        await self._let_others_run()
        seen = changes.reading.get()
        if seen is not None:
            seen |= changes.mentioned(sql)
        work = joined(self)
        if work is not None:
            result: Result = await work.statement(sql, args)
        elif is_read(sql):
            result = await self._opened(self._readers).run(sql, args)
        else:
            async with UnitOfWork(self) as own:
                result = await own.statement(sql, args)
        return result

    async def _run_alone(self, sql: str, args: Sequence[Any]) -> Result:
        """For Piccolo's `run_sync`, which runs a loop of its own in another thread."""
        connection = connect(Path(self.path))
        try:
            return readers.run(connection, sql, args)
        finally:
            connection.close()
            self.changes.note(changes.EVERYTHING)

    def _opened(self, part: Part | None) -> Part:
        if part is None:
            raise DatabaseClosed("call start() first, and ask nothing after close()")
        if self._loop is not asyncio.get_running_loop():
            raise RuntimeError("this engine was started in another event loop")
        return part

    async def _let_others_run(self) -> None:
        now = time.perf_counter()
        if not self._streak_ends:
            self._streak_ends = now + STREAK_S
            asyncio.get_running_loop().call_soon(self._end_streak)
        elif now > self._streak_ends:
            await asyncio.sleep(0)

    def _end_streak(self) -> None:
        self._streak_ends = 0.0

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


@functools.lru_cache(maxsize=4096)
def _positional(sql: str) -> tuple[str, tuple[int, ...], bool]:
    order: list[int] = []

    def swap(token: re.Match[str]) -> str:
        if token[1] is None:
            return token[0]
        order.append(int(token[1]) - 1)
        return "?"

    text = _TOKENS.sub(swap, sql)
    return text, tuple(order), order == list(range(len(order)))


def placeholders(sql: str, args: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """`$1 … $n` as SQLite's `?`, with the values in the order the statement mentions them.

    Plain `?` and not `?1`, which early Python 3.12 reports as deprecated. Quoted text and comments
    stay as they are.
    """
    text, order, in_order = _positional(sql)
    if len(args) != max(order, default=-1) + 1:
        raise TypeError(f"the statement takes {max(order, default=-1) + 1} values, got {len(args)}")
    return text, args if in_order else [args[i] for i in order]


@functools.lru_cache(maxsize=4096)
def is_read(sql: str) -> bool:
    """Whether a statement may run on a reader. In doubt it is a write, which is always right."""
    kind = _READS.match(sql)
    return kind is not None and (kind[1].upper() != "WITH" or not _CHANGES.search(sql))


def _dicts(result: Result) -> list[dict[str, Any]]:
    description, rows = result
    if not rows:
        return []
    names = [column[0] for column in description]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _reading(path: Path) -> sqlite3.Connection:
    """For a thread that reads. Long after the start there may be no file to be opened any more."""
    try:
        return connect(path, read=True)
    except (sqlite3.Error, OSError) as problem:
        raise _unusable(path, problem) from problem


def _unusable(path: Path, problem: Exception) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"cannot use the SQLite file {path}: {problem}")


def connect(path: str | Path, *, read: bool = False) -> sqlite3.Connection:
    """A connection as the engine uses them; whoever opens it closes it."""
    connection = sqlite3.connect(
        path,
        detect_types=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        connection.executescript(_PRAGMAS)
        if read:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
