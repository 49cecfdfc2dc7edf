"""From the outbox to the index, and the whole index anew.

The truth is the database. Rows of the outbox only say what to look at again: the documents are
built from the rows as they are now, so carrying out a row twice, or late, does no harm.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import structlog

from models import base, engine
from models.engine import forgetting
from search import alerts, needs, offerings
from search import engine as index

log = structlog.get_logger()
BATCH = 500
# So often is SQLite's file tried to be written anew, between readers and writers.
_TRIES = 50

_ITSELF = "itself"
# topic of an outbox row -> the query that finds the offerings, and the one that finds the needs,
# whose documents it touches. `$1` is the row's subject.
_TOUCHED: dict[str, tuple[str | None, str | None]] = {
    "offering.changed": (_ITSELF, None),
    "need.changed": (None, _ITSELF),
    "partner.changed": ("SELECT id FROM offering WHERE partner = $1", None),
    "place.changed": (
        "SELECT id FROM offering WHERE place IN"
        " (SELECT descendant FROM place_closure WHERE ancestor = $1)",
        "SELECT id FROM need WHERE place IN"
        " (SELECT descendant FROM place_closure WHERE ancestor = $1)",
    ),
}
# What the index does not show: agreements, bookings, enrolments.
_NEITHER: tuple[None, None] = (None, None)


async def drain(target: index.SearchEngine) -> int:
    """Carry one batch of outbox rows to the index; answers how many rows there were.

    The rows are deleted only when the index has them, and exactly those: a change that commits
    meanwhile has a row of its own.
    """
    rows = await engine.fetch(f"SELECT seq, topic, subject FROM outbox ORDER BY seq LIMIT {BATCH}")
    if not rows:
        return 0
    # New searches before what came after them.
    await alerts.note_searches(rows)
    for ops in await _operations(rows):
        await _carry(target, ops)
        await alerts.note_documents(ops)
    if any(row["topic"] == "account.erased" for row in rows):
        await _forget(target)
    done = [row["seq"] for row in rows]
    await engine.execute(f"DELETE FROM outbox WHERE seq IN ({base.placeholders(len(done))})", *done)
    return len(rows)


async def rebuild(
    target: index.SearchEngine, progress: Callable[[int, int], None] | None = None
) -> int:
    """Fill a new index beside the one in use and swap it in; answers how many documents it has."""
    total = await _count()
    fresh = await target.begin_rebuild()
    done = 0
    try:
        async for ops in _everything():
            documents = [op.document for op in ops if isinstance(op, index.Upsert)]
            _report(await fresh.add(documents))
            done += len(ops)
            if progress:
                progress(done, total)
        await fresh.commit()
    except BaseException:
        await fresh.abort()
        raise
    return done


async def lag() -> float:
    """Seconds since the oldest change that the index has not seen; 0 when it has seen all."""
    rows = await engine.fetch("SELECT min(happened_at) AS oldest FROM outbox")
    if rows[0]["oldest"] is None:
        return 0.0
    oldest = base.moment(rows[0]["oldest"])
    return max((base.now() - oldest).total_seconds(), 0.0)


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


async def _operations(rows: Iterable[dict[str, Any]]) -> list[list[index.Op]]:
    """The index operations of outbox rows, each object once, in batches."""
    touched: tuple[dict[uuid.UUID, None], dict[uuid.UUID, None]] = ({}, {})
    for row in rows:
        for found, query in zip(touched, _TOUCHED.get(row["topic"], _NEITHER), strict=True):
            if query == _ITSELF:
                found[base.as_id(row["subject"])] = None
            elif query:
                for hit in await engine.fetch(query, row["subject"]):
                    found[base.as_id(hit["id"])] = None
    batches = []
    for build, found in zip((offerings.operations, needs.operations), touched, strict=True):
        ids = list(found)
        for start in range(0, len(ids), BATCH):
            batches.append(await build(ids[start : start + BATCH]))
    return batches


async def _carry(target: index.SearchEngine, ops: list[index.Op]) -> None:
    _report(await target.wait(await target.apply(ops)))


def _report(failures: Iterable[index.Failure]) -> None:
    for failure in failures:
        log.error("search.document_refused", id=failure.id, detail=failure.detail)


async def _everything() -> AsyncIterator[list[index.Op]]:
    for table, build in (("offering", offerings.operations), ("need", needs.operations)):
        after = uuid.UUID(int=0)
        while True:
            rows = await engine.fetch(
                f"SELECT id FROM {table} WHERE id > $1 ORDER BY id LIMIT {BATCH}", after
            )
            if not rows:
                break
            ids = [base.as_id(row["id"]) for row in rows]
            yield await build(ids)
            after = ids[-1]


async def _count() -> int:
    rows = await engine.fetch(
        "SELECT (SELECT count(*) FROM offering) + (SELECT count(*) FROM need) AS n"
    )
    return int(rows[0]["n"])
