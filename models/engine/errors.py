"""What a database can refuse, as errors of ours. Errors of one statement stay the driver's own."""

from __future__ import annotations

import sqlite3

import asyncpg  # type: ignore[import-untyped]

# What the drivers raise when a statement would break a constraint: somebody was faster.
CONFLICTS: tuple[type[Exception], ...] = (
    sqlite3.IntegrityError,
    asyncpg.IntegrityConstraintViolationError,
)
# What passes when it is tried again: deadlocks, serialization, a statement over its time.
PASSING: tuple[type[Exception], ...] = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.QueryCanceledError,
)


class DatabaseUnavailable(RuntimeError):
    """The database cannot be reached, opened or written. One line, no secrets."""


class DatabaseBusy(DatabaseUnavailable):
    """Another process holds the SQLite file, or no pooled connection came free in time."""


class DatabaseClosed(DatabaseUnavailable):
    """The engine has not been started, or is closed already."""


class TransactionFailed(RuntimeError):
    """A statement of this unit of work failed earlier and was caught, so nothing was kept.

    PostgreSQL then refuses every further statement and turns COMMIT into ROLLBACK; SQLite would go
    on and commit the half. Here both refuse. Put `work.savepoint()` around what may fail.
    """
