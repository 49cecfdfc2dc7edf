"""One row per fact, written in the transaction of the change itself.

The worker reads these rows, re-reads what they name and carries it to the index. Nothing leaves
the process before the commit: appending only asks for the worker to be woken after it.
"""

from __future__ import annotations

import datetime as dt
import functools
import uuid
from collections.abc import Callable, Iterable

from msgspec import Struct
from piccolo.columns import UUID, BigSerial, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import audit, base, engine

_MAX_DETAIL = 1000

# Called after each commit that appended a row, with its topic. Who works on them puts itself here.
listeners: set[Callable[[str], None]] = set()


class Outbox(Table):
    """A change still to be carried out of the database. Deleted once it has been."""

    seq = BigSerial(primary_key=True)
    topic = Varchar(length=64, null=False)
    subject = UUID(null=False)
    happened_at = Timestamptz(null=False)


class DeadLetter(Table):
    """A change that the index cannot take, so that it does not hold up those after it."""

    subject = UUID(primary_key=True)
    topic = Varchar(length=64, null=False)
    detail = Text(null=False)
    failed_at = Timestamptz(null=False)


class Letter(Struct, frozen=True):
    """A dead letter as it is read: what to look at again, why it failed, and when last."""

    subject: uuid.UUID
    topic: str
    detail: str
    failed_at: dt.datetime


async def append(
    work: engine.Work,
    topic: str,
    subject: uuid.UUID,
    *,
    place: uuid.UUID | None = None,
    action: str | None = None,
    **detail: str | int | None,
) -> None:
    """Record that `subject` changed, for the worker and for the audit trail.

    Topics are `offering.changed`, `need.changed`, …; `action` is what the trail calls it when that
    says more (`offering.withdrawn`). `place` and `detail` are those of `audit.append`.
    """
    await announce(work, topic, subject)
    await audit.append(action or topic, subject, place=place, **detail)


async def announce(work: engine.Work, topic: str, subject: uuid.UUID) -> None:
    """Have the worker look at `subject` again, though nobody did anything that counts as an act."""
    await engine.later(
        "INSERT INTO outbox (topic, subject, happened_at) VALUES ($1, $2, $3)",
        topic,
        subject,
        base.now(),
    )
    work.after_commit(functools.partial(_wake, topic))


async def bury(subject: uuid.UUID, topic: str, detail: str) -> None:
    """Put a change aside, in place of an earlier one of the same subject."""
    await engine.execute(
        "INSERT INTO dead_letter (subject, topic, detail, failed_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (subject) DO UPDATE SET topic = excluded.topic, detail = excluded.detail,"
        " failed_at = excluded.failed_at",
        subject,
        topic,
        detail[:_MAX_DETAIL],
        base.now(),
    )


async def letters() -> list[Letter]:
    """Every dead letter, the oldest first."""
    rows = await engine.fetch("SELECT * FROM dead_letter ORDER BY failed_at, subject")
    return [base.record(row, Letter) for row in rows]


async def counts() -> tuple[int, int]:
    """How many changes wait, and how many dead letters there are."""
    ((waiting, dead),) = await engine.rows(
        "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM dead_letter)"
    )
    return waiting, dead


async def settled(subjects: Iterable[uuid.UUID]) -> None:
    """Forget the dead letters of these: the index has them now."""
    dead = {letter.subject for letter in await letters()}
    done = [subject for subject in subjects if subject in dead]
    if done:
        await engine.execute(
            f"DELETE FROM dead_letter WHERE subject IN ({base.placeholders(len(done))})", *done
        )


async def settled_before(moment: dt.datetime) -> None:
    """Forget the dead letters from before this moment: everything was looked at anew since."""
    await engine.execute("DELETE FROM dead_letter WHERE failed_at < $1", moment)


async def revive() -> int:
    """Have the worker try every dead letter again; answers how many there were."""
    async with engine.unit_of_work() as work:
        dead = await letters()
        for letter in dead:
            await announce(work, letter.topic, letter.subject)
        await engine.execute("DELETE FROM dead_letter")
    return len(dead)


def _wake(topic: str) -> None:
    for listener in tuple(listeners):
        listener(topic)
