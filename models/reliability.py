"""What an offering has done so far: jobs agreed and kept, ratings, and the places it has served.

Whoever changes it does so in the transaction of the fact itself; the matcher reads it as it is, and
the index hears of it through the outbox.
"""

from __future__ import annotations

import uuid

from models import base, engine, outbox, places


async def count_job(
    work: engine.Work, offering: uuid.UUID, place: uuid.UUID, *, agreed: int, kept: int
) -> None:
    """Count jobs of an offering for a need of the place: agreed ones, and those of them that were
    kept; below zero they are taken back. A building counts as what it stands in, so that nobody
    learns from the number in which one somebody is helped."""
    if not agreed and not kept:
        return
    await engine.execute(
        "UPDATE offering SET jobs_agreed = jobs_agreed + $1, jobs_kept = jobs_kept + $2,"
        " version = version + 1, updated_at = $3 WHERE id = $4",
        agreed,
        kept,
        base.now(),
        offering,
    )
    if kept:
        await engine.execute(
            "INSERT INTO service_record (id, offering, place, times) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (place, offering)"
            " DO UPDATE SET times = service_record.times + excluded.times",
            base.new_id(),
            offering,
            (await places.public_places([place]))[place],
            kept,
        )
    await outbox.announce(work, "offering.changed", offering)


async def count_rating(work: engine.Work, offering: uuid.UUID, stars: int) -> None:
    """Count one rating of 1 to 5 stars."""
    await engine.execute(
        "UPDATE offering SET ratings = ratings + 1, rating_sum = rating_sum + $1,"
        " version = version + 1, updated_at = $2 WHERE id = $3",
        stars * 100,
        base.now(),
        offering,
    )
    await outbox.announce(work, "offering.changed", offering)
