"""Places that do not work with a partner."""

from __future__ import annotations

import uuid

from models import base, engine, outbox
from models.partners.tables import BlockedPartner, Partner


async def block(place: uuid.UUID, partner: uuid.UUID) -> None:
    """This place and everything below it no longer works with the partner."""
    await base.refer("partner_id", Partner, partner)
    async with engine.unit_of_work() as work:
        if not await _blocked(place, partner):
            await BlockedPartner.insert(
                BlockedPartner(id=base.new_id(), place=place, partner=partner)
            )
            await outbox.append(work, "partner.blocked", partner, place=place)


async def unblock(place: uuid.UUID, partner: uuid.UUID) -> None:
    """Lift a block; lifting what is not there changes nothing."""
    async with engine.unit_of_work() as work:
        if await _blocked(place, partner):
            await engine.execute(
                "DELETE FROM blocked_partner WHERE place = $1 AND partner = $2", place, partner
            )
            await outbox.append(work, "partner.unblocked", partner, place=place)


async def _blocked(place: uuid.UUID, partner: uuid.UUID) -> bool:
    return bool(
        await engine.fetch(
            "SELECT 1 FROM blocked_partner WHERE place = $1 AND partner = $2", place, partner
        )
    )
