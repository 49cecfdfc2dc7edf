"""Saved searches against what has changed in the index: what is new to somebody becomes a notice.

The worker notes what it has carried to the index, and compares it when there is nothing left to
carry. A search is compared as its owner may see then, and with its own text and filters, by the
index itself; only searches that a changed document may fit at all are asked.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from models import accounts, base, notices, saved
from search import engine as index
from search import hours, scopes
from search.documents import OFFERED, Document

# Things looked at together, and saved searches read at a time.
BATCH = 100
_SEARCHES = 500


async def note_searches(rows: Iterable[dict[str, Any]]) -> None:
    """Searches that these outbox rows say are new."""
    await saved.put_due(
        [
            ("saved_search", base.as_id(row["subject"]))
            for row in rows
            if row["topic"] == "saved_search.changed"
        ]
    )


async def note_documents(ops: Iterable[index.Op]) -> None:
    """What the index has now and somebody may want to be told of."""
    await saved.put_due(
        [
            (_kind(op.document), uuid.UUID(op.document.id))
            for op in ops
            if isinstance(op, index.Upsert) and op.document.kind in OFFERED
        ]
    )


async def tell(target: index.SearchEngine) -> int:
    """Compare one batch of what was noted; answers how many there were. Doing so twice tells
    nobody twice."""
    due = await saved.due(BATCH)
    if not due:
        return 0
    for item in due:
        if item.kind == "saved_search":
            await _settle(target, item.subject)
    changed = {str(item.subject) for item in due if item.kind != "saved_search"}
    searches = await saved.watched(None, _SEARCHES) if changed else []
    # Where nobody watches the index need not be asked.
    documents = await _documents(target, sorted(changed)) if searches else []
    while documents and searches:
        news = []
        for search in searches:
            fitting = [document for document in documents if _may_fit(search.query, document)]
            if fitting:
                news += await _news(target, search, fitting)
        if news:
            await notices.tell(news)
        searches = await saved.watched(searches[-1].id, _SEARCHES)
    await saved.done(due)
    return len(due)


async def _settle(target: index.SearchEngine, subject: uuid.UUID) -> None:
    """What a new search finds already is no news; what was made after it is."""
    search = await saved.unsettled(subject)
    if search is None:
        return
    caller = await accounts.acting(search.account) or accounts.ANONYMOUS
    query = structs.replace(_query(search.query), sort="newest")
    found, _ = await hours.every_id(target, query, scopes.of(caller))
    await saved.settle(search.id, [one for one in found if uuid.UUID(one) < search.id])


async def _documents(target: index.SearchEngine, ids: Sequence[str]) -> list[Document]:
    if not ids:
        return []
    query = index.Query(ids=tuple(ids), statuses=(), page_size=BATCH)
    page = await target.search(query, index.Scope(everything=True))
    return [hit.document for hit in page.hits]


def _may_fit(query: saved.SavedQuery, document: Document) -> bool:
    """The first cut, without text, nearness and scope."""
    return (
        (not query.kinds or document.kind in query.kinds)
        and _share(query.service_types, document.service_types)
        and _share(query.tags, document.tags)
        and _share(query.communities, (document.community,))
        and _share(query.weekdays, document.weekdays)
    )


def _share(wanted: Iterable[object], has: Iterable[object]) -> bool:
    some = set(wanted)
    return not some or not some.isdisjoint(has)


async def _news(
    target: index.SearchEngine, search: saved.Watched, fitting: Sequence[Document]
) -> list[notices.News]:
    """Which of these documents the search finds, and did not find when it was saved."""
    caller = await accounts.acting(search.account)
    if caller is None:
        return []
    ids = tuple(document.id for document in fitting)
    query = structs.replace(_query(search.query), ids=ids, page_size=BATCH)
    hits = (await target.search(query, scopes.of(caller))).hits
    known = await saved.known(search.id) if hits else frozenset()
    return [
        notices.News(search.id, _kind(hit.document), uuid.UUID(hit.document.id))
        for hit in hits
        if hit.document.id not in known
    ]


def _kind(document: Document) -> notices.SubjectKind:
    return "need" if document.kind == "need" else "offering"


def _query(asked: saved.SavedQuery) -> index.Query:
    return index.Query(
        text=asked.text,
        match=asked.match,
        kinds=asked.kinds or OFFERED,
        service_types_any=asked.service_types,
        tags=asked.tags,
        communities=asked.communities,
        weekdays=asked.weekdays,
        price_max=asked.price_max,
        capacity_min=asked.capacity_min,
        near=asked.near,
        radius_m=asked.radius_m,
    )
