"""The outbox: rows in the order in which they were appended."""

from __future__ import annotations

from models import base, engine, outbox


async def test_rows_of_one_unit_have_the_order_in_which_they_were_appended(
    db: engine.Engine,
) -> None:
    topics = [f"topic.{number}" for number in range(30)]
    async with engine.unit_of_work() as work:
        for topic in topics:
            await outbox.append(work, topic, base.new_id())
    found = await engine.rows("SELECT topic FROM outbox ORDER BY seq")
    assert [topic for (topic,) in found] == topics
    acts = await engine.rows("SELECT action FROM audit ORDER BY seq")
    assert [action for (action,) in acts] == topics
