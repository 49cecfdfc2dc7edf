"""Notices: what an account is told of, in its own feed, each object once."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from piccolo.columns import UUID, ForeignKey, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, needs, offerings, saved, values

NoticeTopic = Literal["search.match"]
SubjectKind = Literal["offering", "need"]


class Notice(Table):
    """One thing that an account was told of. Its title is read anew each time, so that it tells no
    more than its owner may still see."""

    id = UUID(primary_key=True)
    account = ForeignKey(accounts.Account, null=False)
    topic = Varchar(length=32, null=False)
    subject_kind = Varchar(length=16, null=False)
    subject = UUID(null=False)
    saved_search = ForeignKey(saved.SavedSearch, null=True, default=None)
    made_at = Timestamptz(null=False)
    read_at = Timestamptz(null=True, default=None)


class NoticeRecord(Struct, kw_only=True):
    """A notice as its owner reads it. `title` is null when what it tells of is not to be seen any
    more, `saved_search_id` when that search is gone."""

    id: uuid.UUID
    topic: NoticeTopic
    subject_kind: SubjectKind
    subject_id: uuid.UUID
    title: values.Bilingual | None
    saved_search_id: uuid.UUID | None
    saved_search_name: str | None
    made_at: dt.datetime
    read_at: dt.datetime | None


class News(Struct, frozen=True):
    """What to tell the owner of a saved search."""

    saved_search: uuid.UUID
    subject_kind: SubjectKind
    subject: uuid.UUID


async def tell(news: Sequence[News]) -> None:
    """Put these into the feeds; what an account has been told of before it is not told again."""
    moment = base.now()
    async with engine.unit_of_work():
        for item in news:
            # The search or the whole account may have gone meanwhile.
            await engine.execute(
                "INSERT INTO notice (id, account, topic, subject_kind, subject, saved_search,"
                " made_at) SELECT $1, account, 'search.match', $2, $3, id, $4 FROM saved_search"
                " WHERE id = $5 ON CONFLICT (account, topic, subject) DO NOTHING",
                base.new_id(),
                item.subject_kind,
                item.subject,
                moment,
                item.saved_search,
            )


async def browse(
    sees: accounts.Visibility,
    account: uuid.UUID,
    *,
    after: uuid.UUID | None,
    limit: int,
    unread: bool = False,
) -> list[NoticeRecord]:
    """Up to `limit` notices of an account, newest first."""
    where = base.Where()
    where.add("n.account = {}", account)
    if unread:
        where.add("n.read_at IS NULL")
    where.page("n.id", after)
    return await _read(sees, where, limit)


async def mark_read(
    sees: accounts.Visibility, account: uuid.UUID, notice: uuid.UUID
) -> NoticeRecord:
    """The account has read it; once it has, nothing changes. Refuses (not found) any other's."""
    await engine.execute(
        "UPDATE notice SET read_at = COALESCE(read_at, $1) WHERE id = $2 AND account = $3",
        base.now(),
        notice,
        account,
    )
    where = base.Where()
    where.add("n.account = {} AND n.id = {}", account, notice)
    found = await _read(sees, where, 1)
    if not found:
        raise errors.not_found()
    return found[0]


async def _read(sees: accounts.Visibility, where: base.Where, limit: int) -> list[NoticeRecord]:
    rows = await engine.fetch(
        "SELECT n.*, n.subject AS subject_id, n.saved_search AS saved_search_id,"
        " s.name AS saved_search_name FROM notice n"
        f" LEFT JOIN saved_search s ON s.id = n.saved_search WHERE {where}"
        f" ORDER BY n.id DESC LIMIT {int(limit)}",
        *where.args,
    )
    titles = await _titles(sees, [base.as_id(row["subject"]) for row in rows])
    return [
        base.record({**row, "title": titles.get(str(row["subject"]))}, NoticeRecord) for row in rows
    ]


async def _titles(
    sees: accounts.Visibility, subjects: Sequence[uuid.UUID]
) -> dict[str, values.Bilingual]:
    """The titles of those that these eyes may see."""
    if not subjects:
        return {}
    offered, asked = base.Where(), base.Where()
    offered.add(f"o.id IN ({offered.values(subjects)})")
    sees.restrict(offered, offerings.PUBLIC, "o.place", "o.partner")
    asked.add(f"id IN ({asked.values(subjects)})")
    sees.restrict(asked, needs.PUBLIC, "place", None)
    rows = await engine.rows(
        "SELECT CAST(o.id AS text), o.title_zh, o.title_en FROM offering o"
        f" JOIN partner p ON p.id = o.partner WHERE {offered}",
        *offered.args,
    )
    rows += await engine.rows(
        f"SELECT CAST(id AS text), title_zh, title_en FROM need WHERE {asked}", *asked.args
    )
    return {identity: values.Bilingual(zh, en) for identity, zh, en in rows}
