"""One row per fact, written in the transaction of the change itself.

The worker reads these rows, re-reads what they name and carries it to the index. Nothing leaves
the process before the commit: appending only asks for the worker to be woken after it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from piccolo.columns import UUID, BigSerial, Timestamptz, Varchar
from piccolo.table import Table

from models import audit, base, engine

# Called after each commit that appended a row. The worker of this process puts itself here.
listeners: set[Callable[[], None]] = set()


class Outbox(Table):
    """A change still to be carried out of the database. Deleted once it has been."""

    seq = BigSerial(primary_key=True)
    topic = Varchar(length=64, null=False)
    subject = UUID(null=False)
    happened_at = Timestamptz(null=False)


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
    await engine.execute(
        "INSERT INTO outbox (topic, subject, happened_at) VALUES ($1, $2, $3)",
        topic,
        subject,
        base.now(),
    )
    work.after_commit(_wake)


def _wake() -> None:
    for listener in tuple(listeners):
        listener()
