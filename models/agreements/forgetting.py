"""When a person is forgotten: what they were asked and gave is over, and no word of theirs left."""

from __future__ import annotations

import uuid

from models import base, engine, tasks
from models.agreements import changing, contracts, enrolments, rent


async def forget_partner(partner: uuid.UUID) -> None:
    """Whoever offered is gone: with what is proposed, and for what is active a newcomer is sought;
    their notes and descriptions are erased."""
    async with engine.unit_of_work():
        await changing.gone("partner", partner, "member_left")
        await engine.execute("UPDATE party SET decline_note = '' WHERE partner = $1", partner)
        await engine.execute(
            "UPDATE commitment SET description_zh = '', description_en = '' WHERE partner = $1",
            partner,
        )
        await engine.execute(
            "UPDATE agreement_event SET note = '' WHERE party IN"
            " (SELECT id FROM party WHERE partner = $1)",
            partner,
        )


async def forget_need(need: uuid.UUID, gone_zh: str, gone_en: str) -> None:
    """What somebody asked for themselves is asked no more, and its texts are erased."""
    async with engine.unit_of_work():
        await changing.gone("need", need, "no_longer_needed")
        await engine.execute(
            "UPDATE agreement SET title_zh = $1, title_en = $2, place = public_place"
            " WHERE need = $3",
            gone_zh,
            gone_en,
            need,
        )
        await engine.execute(
            "UPDATE agreement_event SET note = '' WHERE agreement IN"
            " (SELECT id FROM agreement WHERE need = $1)",
            need,
        )
        for (agreement,) in await engine.rows("SELECT id FROM agreement WHERE need = $1", need):
            await tasks.forget(base.as_id(agreement), gone_zh, gone_en)


async def forget_account(account: uuid.UUID) -> None:
    """Their places go to those who wait, and whom they named is erased."""
    async with engine.unit_of_work():
        rows = await engine.rows(
            "SELECT id FROM enrolment WHERE account = $1 AND status <> 'cancelled' ORDER BY id",
            account,
        )
        for (enrolment,) in rows:
            await enrolments.cancel(await enrolments.read(base.as_id(enrolment)))
        await engine.execute("UPDATE agreement_event SET note = '' WHERE actor = $1", account)
        await contracts.forget(account)
        await rent.forget(account)
