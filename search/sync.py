"""From the outbox to the index, and the whole index anew.

The truth is the database. Rows of the outbox only say what to look at again: the documents are
built from the rows as they are now, so carrying out a row twice, or late, does no harm. One batch
is on its way at a time; the next is read when the index has it, so a slow index is never flooded.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import sqlite3
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import structlog

from models import base, engine, outbox
from models.engine import forgetting
from search import alerts, names, needs, offerings
from search import engine as index

T = TypeVar("T")
Build = Callable[[Sequence[uuid.UUID]], Awaitable[list[index.Op]]]

log = structlog.get_logger()
BATCH = 500
# So many rows of the outbox are read at once, since many may be about the same thing.
ROWS, _AT_ONCE = 20_000, 5_000
# What passes by itself: it is tried again later, and nothing is given up because of it.
PASSING = (
    index.SearchUnavailable,
    engine.DatabaseUnavailable,
    *engine.PASSING,
    # A full disk, a lost connection.
    sqlite3.OperationalError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    OSError,
)
# So often is SQLite's file tried to be written anew, between readers and writers.
_TRIES = 50

OFFERING, NEED, PLACE = "offering.changed", "need.changed", "place.changed"
# topic -> what builds the documents, and which rows may have one.
_BUILDERS: tuple[tuple[str, Build, str], ...] = (
    (OFFERING, offerings.operations, "offering WHERE 1 = 1"),
    (NEED, needs.operations, "need WHERE 1 = 1"),
    (PLACE, names.operations, "place WHERE kind <> 'building'"),
)
_ITSELF = "itself"
# topic of an outbox row -> the queries that find the offerings, the needs and the places whose
# documents it touches. `$1` is the row's subject.
_TOUCHED: dict[str, tuple[str | None, str | None, str | None]] = {
    OFFERING: (_ITSELF, None, None),
    NEED: (None, _ITSELF, None),
    "partner.changed": ("SELECT id FROM offering WHERE partner = $1", None, None),
    PLACE: (
        "SELECT id FROM offering WHERE place IN"
        " (SELECT descendant FROM place_closure WHERE ancestor = $1)",
        "SELECT id FROM need WHERE place IN"
        " (SELECT descendant FROM place_closure WHERE ancestor = $1)",
        _ITSELF,
    ),
}
# What the index does not show: agreements, bookings, enrolments.
_NEITHER: tuple[None, None, None] = (None, None, None)


async def drain(target: index.SearchEngine) -> int:
    """Carry what the outbox names to the index, each thing once; answers how many rows there were.

    The rows are deleted only when the index has them, and exactly those: a change that commits
    meanwhile has a row of its own. What cannot be carried at all becomes a dead letter.
    """
    rows = await engine.fetch(f"SELECT seq, topic, subject FROM outbox ORDER BY seq LIMIT {ROWS}")
    if not rows:
        return 0
    # New searches before what came after them.
    await alerts.note_searches(rows)

    async def carry(some: Sequence[dict[str, Any]]) -> None:
        async for topic, ops in _operations(some):
            await _carry(target, topic, ops)
            await alerts.note_documents(ops)

    async def bury(row: dict[str, Any], error: Exception) -> None:
        await _bury(row["topic"], base.as_id(row["subject"]), error)

    named = {(row["topic"], str(row["subject"])): row for row in rows}
    await _bisect(list(named.values()), carry, bury)
    if any(row["topic"] == "account.erased" for row in rows):
        await _forget(target)
    for start in range(0, len(rows), _AT_ONCE):
        done = [row["seq"] for row in rows[start : start + _AT_ONCE]]
        holes = base.placeholders(len(done))
        await engine.execute(f"DELETE FROM outbox WHERE seq IN ({holes})", *done)
    return len(rows)


async def rebuild(
    target: index.SearchEngine, progress: Callable[[int, int], None] | None = None
) -> int:
    """Fill a new index beside the one in use and swap it in; answers how many documents were
    looked at. One that the index cannot take becomes a dead letter, and the others go on."""
    types = await names.service_types()
    began, done = base.now(), len(types)
    total = await _count() + done
    fresh = await target.begin_rebuild()
    try:
        await fresh.add(types)
        async for topic, build, ids in everything():
            await _bisect(
                ids,
                functools.partial(_add, fresh, topic, build),
                functools.partial(_bury, topic),
            )
            done += len(ids)
            if progress:
                progress(done, total)
        await fresh.commit()
        await outbox.settled_before(began)
    except BaseException:
        await fresh.abort()
        raise
    return done


async def lag() -> float:
    """Seconds since the oldest change that the index has not seen; 0 when it has seen all."""
    found = await engine.kept(_oldest, None, _read_oldest)
    if not found or found[0] is None:
        return 0.0
    return max((base.now() - found[0]).total_seconds(), 0.0)


_oldest: engine.Memo[tuple[dt.datetime | None]] = engine.Memo(("outbox",), 1)


async def _read_oldest() -> tuple[dt.datetime | None]:
    ((oldest,),) = await engine.rows("SELECT min(happened_at) FROM outbox")
    return (None if oldest is None else base.moment(oldest),)


async def _forget(target: index.SearchEngine) -> None:
    """Leave no trace of what was erased: an index and SQLite keep what is deleted in their files
    until these are written anew. PostgreSQL has its own vacuum."""
    await rebuild(target)
    database = engine.current()
    if not isinstance(database, engine.SQLite):
        return
    for _ in range(_TRIES):
        if await forgetting.forget(database):
            return
        await asyncio.sleep(0.1)
    log.warning("database.not_rewritten")


async def _bisect(
    things: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[None]],
    give_up: Callable[[T, Exception], Awaitable[None]],
) -> None:
    """Do this with all of them together; if that fails, find out with which it does."""
    try:
        await work(things)
    except PASSING:
        raise
    except Exception as error:
        if len(things) == 1:
            await give_up(things[0], error)
            return
        half = len(things) // 2
        await _bisect(things[:half], work, give_up)
        await _bisect(things[half:], work, give_up)


async def _bury(topic: str, subject: uuid.UUID, error: Exception | str) -> None:
    known = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    trace = error if isinstance(error, Exception) else None
    log.error("search.dead_letter", id=str(subject), topic=topic, exc_info=trace)
    await outbox.bury(subject, topic, known)


async def _operations(
    rows: Iterable[dict[str, Any]],
) -> AsyncIterator[tuple[str, list[index.Op]]]:
    """The index operations of outbox rows, each object once, in batches."""
    touched: tuple[dict[uuid.UUID, None], ...] = ({}, {}, {})
    for row in rows:
        for found, query in zip(touched, _TOUCHED.get(row["topic"], _NEITHER), strict=True):
            if query == _ITSELF:
                found[base.as_id(row["subject"])] = None
            elif query:
                for hit in await engine.fetch(query, row["subject"]):
                    found[base.as_id(hit["id"])] = None
    for (topic, build, _), found in zip(_BUILDERS, touched, strict=True):
        ids = list(found)
        for start in range(0, len(ids), BATCH):
            yield topic, await build(ids[start : start + BATCH])


async def _carry(target: index.SearchEngine, topic: str, ops: list[index.Op]) -> None:
    failures = await target.wait(await target.apply(ops))
    failed = {uuid.UUID(failure.id): failure.detail for failure in failures}
    ids = [op.document.id if isinstance(op, index.Upsert) else op.id for op in ops]
    # What the index took is a dead letter no more.
    await outbox.settled(id for id in map(uuid.UUID, ids) if id not in failed)
    for subject, detail in failed.items():
        await _bury(topic, subject, detail)


async def _add(fresh: index.Rebuild, topic: str, build: Build, ids: Sequence[uuid.UUID]) -> None:
    documents = [op.document for op in await build(ids) if isinstance(op, index.Upsert)]
    for failure in await fresh.add(documents):
        await _bury(topic, uuid.UUID(failure.id), failure.detail)


async def everything() -> AsyncIterator[tuple[str, Build, list[uuid.UUID]]]:
    """Every object whose document may be in the index: topic, builder and ids, in batches."""
    for topic, build, some in _BUILDERS:
        after = uuid.UUID(int=0)
        while True:
            rows = await engine.fetch(
                f"SELECT id FROM {some} AND id > $1 ORDER BY id LIMIT {BATCH}", after
            )
            if not rows:
                break
            ids = [base.as_id(row["id"]) for row in rows]
            yield topic, build, ids
            after = ids[-1]


async def _count() -> int:
    counted = (f"(SELECT count(*) FROM {some})" for _, _, some in _BUILDERS)
    rows = await engine.fetch(f"SELECT {' + '.join(counted)} AS n")
    return int(rows[0]["n"])
