"""Saved searches: what somebody wants to be told of, and what the worker still has to look at."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from piccolo.columns import UUID, BigSerial, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, outbox, values
from models.accounts import sessions

MOST = 20
SearchedKind = Literal["space", "merchant", "volunteer", "vanguard", "goods", "need"]
DueKind = Literal["saved_search", "offering", "need"]
_Text = Annotated[
    str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]*\Z", description="words")
]
_Slugs = Annotated[tuple[values.Slug, ...], Meta(max_length=16)]


class SavedSearch(Table):
    """What an account wants to be told of. Lists whose parts nothing else refers to are JSON."""

    id = UUID(primary_key=True)
    account = ForeignKey(accounts.Account, null=False)
    name = Varchar(length=200, null=False)
    query = Text(null=False)
    # JSON: ids of what it found when it was saved, which is no news.
    known = Text(null=False)
    settled_at = Timestamptz(null=True, default=None)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class AlertDue(Table):
    """What has changed in the index since the worker last compared it with the saved searches."""

    seq = BigSerial(primary_key=True)
    kind = Varchar(length=16, null=False)
    subject = UUID(null=False)


class SavedQuery(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A search as it is saved; each field narrows it, as those of `GET /v1/search` do."""

    text: _Text = ""
    match: Literal["any", "all"] = "all"
    kinds: Annotated[tuple[SearchedKind, ...], Meta(max_length=6)] = ()
    service_types: _Slugs = ()
    tags: _Slugs = ()
    communities: _Slugs = ()
    weekdays: Annotated[tuple[Annotated[int, Meta(ge=1, le=7)], ...], Meta(max_length=7)] = ()
    price_max: values.Money | None = None
    capacity_min: values.Quantity | None = None
    near: values.Point | None = None
    radius_m: values.Metres | None = None

    def __post_init__(self) -> None:
        if self.radius_m is not None and self.near is None:
            raise ValueError("near: needed with radius_m")
        narrows = (self.kinds, self.service_types, self.tags, self.communities, self.weekdays)
        limits = (self.price_max, self.capacity_min, self.radius_m)
        if not (self.text.strip() or any(narrows) or any(n is not None for n in limits)):
            raise ValueError("text: say what to look for")


class SavedSearchDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """A search to save, and what to call it."""

    name: values.Line
    query: SavedQuery


class SavedSearchRecord(Struct, kw_only=True):
    """A saved search as its owner reads it."""

    id: uuid.UUID
    name: str
    query: SavedQuery
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


class Watched(Struct, frozen=True):
    """A saved search as the worker compares it."""

    id: uuid.UUID
    account: uuid.UUID
    query: SavedQuery


class Due(Struct, frozen=True):
    """One thing to look at."""

    seq: int
    kind: DueKind
    subject: uuid.UUID


async def save(draft: SavedSearchDraft, account: uuid.UUID) -> SavedSearchRecord:
    """Save a search; from then on its owner is told of what it finds newly. Refuses more than MOST
    of one account."""
    saved, moment = base.new_id(), base.now()
    async with engine.unit_of_work() as work:
        # Whoever saves two at once is counted one after the other.
        await sessions.hold(account)
        ((has,),) = await engine.rows(
            "SELECT count(*) FROM saved_search WHERE account = $1", account
        )
        if has >= MOST:
            raise errors.Refusal("too_many", count=has + 1, what="saved searches", limit=MOST)
        await SavedSearch.insert(
            SavedSearch(
                id=saved,
                account=account,
                name=draft.name,
                query=base.pack(draft.query),
                known="[]",
                version=1,
                created_at=moment,
                updated_at=moment,
            )
        )
        await outbox.append(work, "saved_search.changed", saved, action="saved_search.made")
        return await read(saved, account)


async def remove(saved: SavedSearchRecord) -> None:
    """Forget a saved search. What it has told stays told."""
    async with engine.unit_of_work() as work:
        await engine.execute(
            "UPDATE notice SET saved_search = NULL WHERE saved_search = $1", saved.id
        )
        await engine.execute("DELETE FROM saved_search WHERE id = $1", saved.id)
        await outbox.append(work, "saved_search.changed", saved.id, action="saved_search.removed")


async def read(saved: uuid.UUID, account: uuid.UUID) -> SavedSearchRecord:
    """One of the account's own, or the not-found refusal."""
    rows = await engine.fetch(
        "SELECT * FROM saved_search WHERE id = $1 AND account = $2", saved, account
    )
    if not rows:
        raise errors.not_found()
    return _shape(rows[0])


async def browse(
    account: uuid.UUID, *, after: uuid.UUID | None, limit: int
) -> list[SavedSearchRecord]:
    """Up to `limit` of the account's own, newest first."""
    where = base.Where()
    where.add("account = {}", account)
    where.page("id", after)
    rows = await engine.fetch(
        f"SELECT * FROM saved_search WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [_shape(row) for row in rows]


async def put_due(items: Sequence[tuple[DueKind, uuid.UUID]]) -> None:
    """Have the worker compare these; nothing if nobody has saved a search."""
    if not items or not await engine.rows("SELECT 1 FROM saved_search LIMIT 1"):
        return
    async with engine.unit_of_work():
        for kind, subject in items:
            await engine.execute(
                "INSERT INTO alert_due (kind, subject) VALUES ($1, $2)", kind, subject
            )


async def due(most: int) -> list[Due]:
    """Up to `most` of what is to be compared, in the order in which it changed."""
    rows = await engine.fetch(
        f"SELECT seq, kind, subject FROM alert_due ORDER BY seq LIMIT {int(most)}"
    )
    return [base.record(row, Due) for row in rows]


async def done(items: Iterable[Due]) -> None:
    """These have been compared."""
    numbers = [item.seq for item in items]
    await engine.execute(
        f"DELETE FROM alert_due WHERE seq IN ({base.placeholders(len(numbers))})", *numbers
    )


async def watched(after: uuid.UUID | None, most: int) -> list[Watched]:
    """Up to `most` settled searches, in the order of their ids."""
    where = base.Where()
    where.add("settled_at IS NOT NULL")
    if after:
        where.add("id > {}", after)
    rows = await engine.fetch(
        f"SELECT id, account, query FROM saved_search WHERE {where} ORDER BY id LIMIT {int(most)}",
        *where.args,
    )
    return [_watched(row) for row in rows]


async def unsettled(saved: uuid.UUID) -> Watched | None:
    """A search of which nobody knows yet what it finds; None once that is known, or it is gone."""
    rows = await engine.fetch(
        "SELECT id, account, query FROM saved_search WHERE id = $1 AND settled_at IS NULL", saved
    )
    return _watched(rows[0]) if rows else None


async def settle(saved: uuid.UUID, known: Sequence[str]) -> None:
    """What it finds at first is known and no news."""
    await engine.execute(
        "UPDATE saved_search SET known = $1, settled_at = $2 WHERE id = $3",
        base.pack(known),
        base.now(),
        saved,
    )


async def known(saved: uuid.UUID) -> frozenset[str]:
    """What the search found at first."""
    rows = await engine.rows("SELECT known FROM saved_search WHERE id = $1", saved)
    return frozenset(base.unpack(rows[0][0], list[str])) if rows else frozenset()


def _watched(row: dict[str, Any]) -> Watched:
    return Watched(
        base.as_id(row["id"]), base.as_id(row["account"]), base.unpack(row["query"], SavedQuery)
    )


def _shape(row: dict[str, Any]) -> SavedSearchRecord:
    query = base.unpack(row["query"], SavedQuery)
    return base.record({**row, "query": query}, SavedSearchRecord)
