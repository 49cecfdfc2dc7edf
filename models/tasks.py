"""Tasks: what somebody has to do at a place by a certain time, and whether it was done.

The program raises them. Of one kind there is one open task for each subject: raised again, it is
brought up to date.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Literal

from msgspec import Struct
from piccolo.columns import UUID, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, outbox, values
from models.places import Place

TaskStatus = Literal["open", "done", "dropped"]


class Task(Table):
    """Something to do at a place, and what it is about."""

    id = UUID(primary_key=True)
    place = ForeignKey(Place, null=False)
    kind = Varchar(length=32, null=False)
    subject = UUID(null=False)
    title_zh = Varchar(length=200, null=False)
    title_en = Varchar(length=200, null=False)
    due_at = Timestamptz(null=True, default=None)
    status = Varchar(length=16, null=False)
    # Who said so; nobody where the program saw that it was done.
    closed_by = UUID(null=True, default=None)
    closed_at = Timestamptz(null=True, default=None)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class TaskRecord(Struct, kw_only=True):
    """A task as the staff of its place read it. `kind` says what `subject` is the id of."""

    id: uuid.UUID
    place_id: uuid.UUID
    kind: str
    subject: uuid.UUID
    title: values.Bilingual
    due_at: dt.datetime | None
    status: TaskStatus
    closed_by: uuid.UUID | None
    closed_at: dt.datetime | None
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


async def raise_(
    kind: str,
    subject: uuid.UUID,
    *,
    place: uuid.UUID,
    title: values.Bilingual,
    due_at: dt.datetime | None = None,
) -> uuid.UUID:
    """Have something done at a place; one that is open for the subject already gets this title and
    this date."""
    async with engine.unit_of_work() as work:
        moment = base.now()
        ((task_id, version),) = await engine.rows(
            "INSERT INTO task (id, place, kind, subject, title_zh, title_en, due_at, status,"
            " version, created_at, updated_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', 1, $8, $8)"
            " ON CONFLICT (kind, subject) WHERE status = 'open' DO UPDATE SET"
            " title_zh = excluded.title_zh, title_en = excluded.title_en, due_at = excluded.due_at,"
            " version = task.version + 1, updated_at = excluded.updated_at"
            " RETURNING CAST(id AS text), version",
            base.new_id(),
            place,
            kind,
            subject,
            title.zh,
            title.en,
            due_at,
            moment,
        )
        action = "task.raised" if version == 1 else "task.renewed"
        await outbox.append(
            work, "task.changed", base.as_id(task_id), place=place, action=action, kind=kind
        )
        return base.as_id(task_id)


async def settle(kind: str, subject: uuid.UUID) -> None:
    """What had to be done for a subject has been done, if anything had."""
    async with engine.unit_of_work():
        for row in await engine.fetch(
            "SELECT * FROM task WHERE kind = $1 AND subject = $2 AND status = 'open'", kind, subject
        ):
            await close(_shape(row), "done", None)


async def close(
    task: TaskRecord, status: Literal["done", "dropped"], by: uuid.UUID | None
) -> TaskRecord:
    """It has been done, or need not be. Refuses one that is not open."""
    moment = base.now()
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE task SET status = $1, closed_by = $2, closed_at = $3, updated_at = $3,"
            " version = version + 1 WHERE id = $4 AND status = 'open' RETURNING *",
            status,
            by,
            moment,
            task.id,
        )
        if not rows:
            raise errors.Refusal("wrong_state", has=(await read(task.id)).status, needed="open")
        await outbox.append(
            work, "task.changed", task.id, place=task.place_id, action=f"task.{status}"
        )
        return _shape(rows[0])


async def forget(subject: uuid.UUID, gone_zh: str, gone_en: str) -> None:
    """What a task is about is forgotten, and so is what it was called."""
    await engine.execute(
        "UPDATE task SET title_zh = $1, title_en = $2, version = version + 1 WHERE subject = $3",
        gone_zh,
        gone_en,
        subject,
    )


async def read(task_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING) -> TaskRecord:
    """One task, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("id = {}", task_id)
    sees.restrict(where, "1 = 0", "place", None)
    rows = await engine.fetch(f"SELECT * FROM task WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return _shape(rows[0])


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    status: str | None = None,
    kind: str | None = None,
    within: uuid.UUID | None = None,
) -> list[TaskRecord]:
    """Up to `limit` tasks of the caller's own places, newest first."""
    where = base.Where()
    sees.restrict(where, "1 = 0", "place", None)
    if status:
        where.add("status = {}", status)
    if kind:
        where.add("kind = {}", kind)
    if within:
        where.within("place", within)
    where.page("id", after)
    rows = await engine.fetch(
        f"SELECT * FROM task WHERE {where} ORDER BY id DESC LIMIT {int(limit)}", *where.args
    )
    return [_shape(row) for row in rows]


def _shape(row: dict[str, Any]) -> TaskRecord:
    title = values.Bilingual(row["title_zh"], row["title_en"])
    return base.record({**row, "place_id": row["place"], "title": title}, TaskRecord)
