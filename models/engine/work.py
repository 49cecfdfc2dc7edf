"""The unit of work: one transaction, the same rules on both engines."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

from models.engine import changes
from models.engine.errors import TransactionFailed

log = logging.getLogger(__name__)

T = TypeVar("T")


class Work(abc.ABC):
    """One open transaction, owned by the task that opened it."""

    def __init__(self) -> None:
        self._owner = asyncio.current_task()
        self._callbacks: list[Callable[[], object]] = []
        self._last: list[tuple[Callable[[list[Any]], Awaitable[None]], Any]] = []
        self._later: list[tuple[str, Sequence[Any]]] = []
        self._context: contextvars.Context | None = None
        self._savepoints = 0
        self._failed: BaseException | None = None
        self._written: set[str] = set()

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Calls `callback` once the rows are safe, in the order asked for; never on rollback.

        It runs outside the transaction, so it may wake or create a task. An error in it is logged:
        the rows are committed, and the caller must not think otherwise.
        """
        self._callbacks.append(callback)

    def before_commit(self, write: Callable[[list[T]], Awaitable[None]], item: T) -> None:
        """Has `write` called with all items given for it, as the last thing before COMMIT.

        For what must hold a lock as short as possible. It runs inside the transaction: what it
        raises rolls everything back. Items of a savepoint that was rolled back are forgotten.
        """
        self._last.append((write, item))

    def put_off(self, sql: str, args: Sequence[Any]) -> None:
        """See `engine.later`."""
        self._written |= changes.written(sql)
        self._later.append((sql, args))

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncIterator[Work]:
        """An error inside rolls back only what was done inside, callbacks included, and goes on."""
        self._savepoints += 1
        name = f"inner_{self._savepoints}"
        callbacks, last = len(self._callbacks), len(self._last)
        await self.statement(f"SAVEPOINT {name}", ())
        try:
            yield self
            await self.statement(f"RELEASE SAVEPOINT {name}", ())
        except BaseException:
            # A statement may have failed inside; the way back has to be open all the same.
            self._failed = None
            # What was put off before the savepoint went before it.
            self._later.clear()
            # Without a way back, as when RELEASE was carried out before it was cut off, the whole
            # unit is doomed. The first error says more.
            with contextlib.suppress(Exception):
                await self.statement(f"ROLLBACK TO SAVEPOINT {name}", ())
                await self.statement(f"RELEASE SAVEPOINT {name}", ())
                del self._callbacks[callbacks:], self._last[last:]
            raise

    async def statement(self, sql: str, args: Any) -> Any:
        """Runs one statement inside the transaction; a failure dooms the whole transaction."""
        if self._failed is not None:
            raise TransactionFailed(_doomed(self._failed)) from self._failed
        # Before it is sent: one that is cut off may have been carried out.
        self._written |= changes.written(sql)
        try:
            return await self._send(sql, args)
        except BaseException as problem:
            self._failed = problem
            raise

    async def _write_last(self) -> None:
        given: dict[Callable[[list[Any]], Awaitable[None]], list[Any]] = {}
        for write, item in self._last:
            given.setdefault(write, []).append(item)
        for write, items in given.items():
            await write(items)

    def _committed(self) -> None:
        for callback in self._callbacks:
            try:
                # Its own context: the commit may be carried out by another request's task.
                self._context.run(callback) if self._context else callback()
            except Exception:
                log.exception("a callback after commit failed")

    # What each engine does in its own way.

    @abc.abstractmethod
    async def _send(self, sql: str, args: Any) -> Any: ...

    @abc.abstractmethod
    async def _commit(self) -> None: ...

    @abc.abstractmethod
    async def _rollback(self, problem: BaseException) -> None: ...


class Opens(Protocol):
    """What a unit of work needs of an engine."""

    current_transaction: contextvars.ContextVar[Any]

    async def open_work(self) -> Work: ...


class UnitOfWork:
    """`async with UnitOfWork(engine) as work`: opens a transaction, or joins the one of this task.

    Leaving the outermost one commits; an exception anywhere inside, a nested unit included, rolls
    everything back. Cancellation at any point leaves the connection clean and free.
    """

    __slots__ = ("_engine", "_outermost", "_token", "_work")

    def __init__(self, engine: Opens) -> None:
        self._engine = engine

    async def __aenter__(self) -> Work:
        outer = joined(self._engine)
        self._outermost = outer is None
        self._work = await self._engine.open_work() if outer is None else outer
        if self._outermost:
            self._token = self._engine.current_transaction.set(self._work)
        return self._work

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        work = self._work
        if not self._outermost:
            if problem is not None and work._failed is None:
                work._failed = problem
            return
        if problem is None and work._failed is None:
            try:
                await work._write_last()
            except BaseException as refused:
                await self._leave(work, refused)
                raise
        await self._leave(work, problem)

    async def _leave(self, work: Work, problem: BaseException | None) -> None:
        # First, so that nothing which starts from here on (callbacks above all) inherits it.
        # A generator closed from elsewhere leaves in another context, which ends with it.
        with contextlib.suppress(ValueError):
            self._engine.current_transaction.reset(self._token)
        failed, work._failed = work._failed, None
        if work._callbacks:
            work._context = contextvars.copy_context()
        cause = problem or failed
        if cause is None:
            await work._commit()
            return
        await work._rollback(cause)
        if problem is None and failed is not None:
            raise TransactionFailed(_doomed(failed)) from failed


def joined(engine: Opens) -> Work | None:
    """The transaction of the running task, if it is in one.

    Refuses with RuntimeError in a task that was started inside somebody else's transaction: it
    inherited the variable, and two tasks on one connection corrupt each other.
    """
    work: Work | None = engine.current_transaction.get()
    if work is not None and work._owner is not asyncio.current_task():
        raise RuntimeError(
            "this task was started inside a transaction of another task; start tasks after the "
            "commit (work.after_commit), and use no gather or wait_for inside a unit_of_work"
        )
    return work


def _doomed(problem: BaseException) -> str:
    return (
        f"an earlier statement of this unit of work failed ({type(problem).__name__}: {problem}), "
        "so nothing of it is kept; put work.savepoint() around what may fail"
    )
