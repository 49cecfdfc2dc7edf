"""PostgreSQL through one asyncpg pool; every path gives its connection back."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Coroutine, Sequence
from typing import Any, Literal

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from piccolo.engine.postgres import PostgresEngine
from piccolo.querystring import QueryString

from models.engine import changes
from models.engine.errors import DatabaseClosed, DatabaseUnavailable
from models.engine.hearing import Hearing
from models.engine.lending import RELEASE_S, Lending, is_gone
from models.engine.work import UnitOfWork, Work, joined

POOL_SIZE = 8
CONNECT_S = 10.0
CLOSE_PATIENCE_S = 3.0
# So many statements that were put off go in one.
TOGETHER = 8
_PLACE = re.compile(r"\$(\d+)")

# Sent with the connection, so that no RESET and no SET costs a round trip later.
_SETTINGS = {
    "application_name": "community-partners",
    "timezone": "UTC",
    "statement_timeout": "30s",
    # Somebody who holds locks and does nothing is cut off, not waited for.
    "idle_in_transaction_session_timeout": "60s",
    # Disks without seek: an index is worth using for more rows than the default thinks.
    "random_page_cost": "1.1",
    # Short statements by key; compiling them costs more than running them.
    "jit": "off",
}

_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    # Asked between PostgreSQL's last word and the end of the connection.
    asyncpg.InternalClientError,
)
_PERHAPS_LOST = (*_LOST, asyncpg.InterfaceError)
_UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InternalClientError)


class Postgres(PostgresEngine):
    """A PostgreSQL database by URL. Nothing connects before `start()`."""

    dialect: Literal["postgres"] = "postgres"

    def __init__(self, url: str, *, pool_size: int = POOL_SIZE) -> None:
        super().__init__(config={"dsn": url, "server_settings": _SETTINGS, "timeout": CONNECT_S})
        self.changes = changes.Changes()
        self._pool_size = pool_size
        self._hearing: Hearing | None = None
        self._lending: Lending | None = None
        self._finishing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Opens the pool with one connection; a command needs no more. Others are opened when they
        are needed, and stay. Refuses with DatabaseUnavailable, in one line, when that fails."""
        if self.pool is not None:
            return
        try:
            self.pool = await asyncpg.create_pool(
                **self.config,
                min_size=1,
                max_size=self._pool_size,
                max_inactive_connection_lifetime=0,
                reset=_no_reset,
            )
        except ValueError:
            # It quotes the address, password included.
            raise DatabaseUnavailable("the address of the PostgreSQL server is malformed") from None
        except _UNREACHABLE as problem:
            raise _unavailable("cannot connect to PostgreSQL", problem) from problem
        self._lending = Lending(self.pool, self._pool_size)

    async def connect_all(self) -> None:
        """Opens every connection that will ever be needed, so that a limit of PostgreSQL is met
        now (DatabaseUnavailable) and not under load."""
        lending = self.lending()
        asked = (_taken(lending) for _ in range(self._pool_size))
        found = await asyncio.gather(*asked, return_exceptions=True)
        for one in found:
            if not isinstance(one, BaseException):
                await lending.give(one, is_fine=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one

    async def listen(self) -> None:
        """Hears what other processes write, so that what was read may be kept until they do."""
        self._hearing = Hearing(self.changes, self.config)
        await self._hearing.ready()

    async def close(self) -> None:
        """Waits for running work (3 s), then closes every connection."""
        if self._hearing:
            await self._hearing.stop()
        at_work = self._finishing or self.connections()[1]
        pool, self.pool = self.pool, None
        lending, self._lending = self._lending, None
        if pool is None or lending is None:
            return
        lending.close()
        try:
            async with asyncio.timeout(CLOSE_PATIENCE_S if at_work else RELEASE_S):
                await asyncio.gather(*self._finishing, return_exceptions=True)
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        return [dict(record) for record in await self._run(sql, args)]

    async def rows(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        return [tuple(record) for record in await self._run(sql, args)]

    async def execute(self, sql: str, *args: Any) -> None:
        await self._run(sql, args)

    async def later(self, sql: str, *args: Any) -> None:
        """See `engine.later`."""
        work = joined(self)
        if work is None:
            await self._run(sql, args)
        else:
            work.put_off(sql, args)

    async def open_work(self) -> Work:
        lending = self.lending()
        return PostgresWork(self, lending, await _taken(lending))

    # What Piccolo calls.

    async def check_version(self) -> None:
        """Piccolo would connect here, while modules are being imported."""

    async def prep_database(self) -> None:
        """No extensions are needed."""

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> Any:
        sql, args = querystring.compile_string(engine_type="postgres")
        return await (self._run if in_pool else self._run_alone)(sql, args)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> Any:
        return await (self._run if in_pool else self._run_alone)(ddl, ())

    async def _run_alone(self, sql: str, args: Sequence[Any]) -> Any:
        """For Piccolo's `run_sync`, which runs a loop of its own in another thread."""
        try:
            return await self._run_in_new_connection(sql, args)
        finally:
            self.changes.note(changes.EVERYTHING)

    def transaction(self, *_args: Any, **_options: Any) -> UnitOfWork:  # type: ignore[override]
        """Piccolo's own transactions (migrations, `atomic`) are units of work, too."""
        return UnitOfWork(self)

    async def _run(self, sql: str, args: Sequence[Any]) -> Any:
        seen = changes.reading.get()
        if seen is not None:
            seen |= changes.mentioned(sql)
        work = joined(self)
        if work is not None:
            return await work.statement(sql, args)
        lending = self.lending()
        connection = await _taken(lending)
        is_fine = False
        try:
            found = await _fetch(connection, sql, args)
            is_fine = True
            return found
        finally:
            if written := changes.written(sql):
                self.changes.note(written)
            await lending.give(connection, is_fine=is_fine)

    def connections(self) -> tuple[int, int]:
        """How many connections there are, and how many of them are at work."""
        if self.pool is None:
            return 0, 0
        size: int = self.pool.get_size()
        return size, size - self.pool.get_idle_size()

    def lending(self) -> Lending:
        """The connections; refuses with DatabaseClosed before `start` and after `close`."""
        if self._lending is None:
            raise DatabaseClosed("call start() first, and ask nothing after close()")
        return self._lending

    async def _finish(self, ending: Coroutine[Any, Any, None]) -> None:
        """Lets `ending` run to its end even when the caller is cancelled meanwhile."""
        task = asyncio.ensure_future(ending)
        self._finishing.add(task)
        task.add_done_callback(self._finished)
        await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._finishing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever was cancelled does not wait for it any more


class PostgresWork(Work):
    """One transaction on one pooled connection.

    It begins with the first statement that must have its answer. Where there is none, all that was
    put off is one statement, which is a transaction of its own: one round trip instead of three.
    """

    def __init__(self, engine: Postgres, lending: Lending, connection: Any) -> None:
        super().__init__()
        self._engine = engine
        self._lending = lending
        self.connection = connection
        self._transaction: Any = None

    async def _send(self, sql: str, args: Sequence[Any]) -> Any:
        await self._flush()
        return await _fetch(self.connection, sql, args)

    async def _write_last(self) -> None:
        await super()._write_last()
        if self._transaction or len(self._later) > TOGETHER:
            await self._flush()

    async def _flush(self) -> None:
        """Begin, and send what was put off."""
        if not self._transaction:
            await self._begin()
        while self._later:
            some, self._later = self._later[:TOGETHER], self._later[TOGETHER:]
            await _fetch(self.connection, *_together(some))

    async def _begin(self) -> None:
        # Entered and left by hand, in different methods: for asyncpg it is an `async with`.
        try:
            transaction = self.connection.transaction()
            await transaction.__aenter__()
        except _PERHAPS_LOST as problem:
            _tell_lost(self.connection, problem)
            raise
        self._transaction = transaction

    async def _commit(self) -> None:
        await self._engine._finish(self._end(None))

    async def _rollback(self, problem: BaseException) -> None:
        await self._engine._finish(self._end(problem))

    async def _end(self, problem: BaseException | None) -> None:
        is_fine = False
        try:
            if problem is not None:
                await self._undo(problem)
            elif self._transaction:
                await self._transaction.__aexit__(None, None, None)
            elif self._later:
                sql, args = _together(self._later)
                await self.connection.fetch(sql, *args)
            is_fine = problem is None
        except _PERHAPS_LOST as lost:
            raise _unavailable("PostgreSQL was lost during COMMIT", lost) from lost
        finally:
            # Also when it failed: a COMMIT whose answer was lost may have been carried out.
            self._engine.changes.note(self._written)
            await self._lending.give(self.connection, is_fine=is_fine)
        if problem is None:
            self._committed()

    async def _undo(self, problem: BaseException) -> None:
        if not self._transaction:
            return
        # Whoever was cancelled must not be held up; after an error there is time.
        limit = None if isinstance(problem, Exception) else RELEASE_S
        try:
            async with asyncio.timeout(limit):
                await self._transaction.__aexit__(type(problem), problem, None)
        except Exception:
            # The first error says more. Without a connection it has rolled back by itself.
            if not is_gone(self.connection):
                self.connection.terminate()


def _together(several: Sequence[tuple[str, Sequence[Any]]]) -> tuple[str, list[Any]]:
    """Several statements as one, and its arguments."""
    if len(several) == 1:
        return several[0][0], list(several[0][1])
    args = [value for _, values in several for value in values]
    return _joined(tuple((sql, len(values)) for sql, values in several)), args


@functools.lru_cache(maxsize=1024)
def _joined(several: tuple[tuple[str, int], ...]) -> str:
    """The text of it. PostgreSQL carries out the last of such clauses first."""
    clauses: list[str] = []
    before = 0
    for number, (sql, width) in enumerate(several):
        clauses.insert(0, f"_{number} AS ({_moved(sql, before)})")
        before += width
    return f"WITH {', '.join(clauses)} SELECT"


def _moved(sql: str, by: int) -> str:
    """A statement whose arguments come after so many others."""
    return _PLACE.sub(lambda place: f"${int(place[1]) + by}", sql)


async def _taken(lending: Lending) -> Any:
    try:
        return await lending.take()
    except _UNREACHABLE as problem:
        raise _unavailable("cannot connect to PostgreSQL", problem) from problem


async def _fetch(connection: Any, sql: str, args: Sequence[Any]) -> Any:
    try:
        return await connection.fetch(sql, *args)
    except _PERHAPS_LOST as problem:
        _tell_lost(connection, problem)
        raise


def _tell_lost(connection: Any, problem: BaseException) -> None:
    """Raises DatabaseUnavailable, unless it is the caller who uses the connection wrongly."""
    if is_gone(connection) or not isinstance(problem, asyncpg.InterfaceError):
        raise _unavailable("the connection to PostgreSQL was lost", problem) from problem


def _unavailable(what: str, problem: BaseException) -> DatabaseUnavailable:
    reason = " ".join(str(problem).split()) or type(problem).__name__
    return DatabaseUnavailable(f"{what}: {reason}")


async def _no_reset(connection: object) -> None:
    """Nothing to undo: a transaction ends in `_end`, and settings are only ever SET LOCAL."""
