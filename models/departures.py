"""What follows when a partner is suspended or leaves: for what it offers, and who counted on it.

A partner leaves when no agreement that has been accepted binds it any more. It takes back all it
offers: its offerings are withdrawn, times that have not begun are given back, what is proposed to
it is declined and its projects are dropped, all in the transaction of the step itself. A suspension
is for a while: agreements and times that are confirmed stay, what is only held or proposed does
not, and nothing new can be booked or accepted.
"""

from __future__ import annotations

import uuid
from typing import Literal

from models import agreements, base, bookings, docking, engine, outbox, partners, proposals


async def suspend(
    partner: partners.PartnerRecord, reason: str, account: uuid.UUID
) -> partners.PartnerRecord:
    """Let a partner offer nothing new until it is admitted again."""
    async with engine.unit_of_work():
        await _decline(partner.id, account)
        suspended = await partners.move(partner, "suspend", reason)
        await bookings.hold_still(partner.id)
        await bookings.give_back_ahead(partner.id, ("held",))
        return suspended


async def leave(
    partner: partners.PartnerRecord,
    transition: Literal["reject", "exit"],
    reason: str,
    account: uuid.UUID,
) -> partners.PartnerRecord:
    """End a partner's walk for good, and take back all that it offers.

    Refuses while an agreement that everybody has accepted is open, and names it.
    """
    async with engine.unit_of_work() as work:
        # Agreements first, then the partner, then its times: as whoever accepts locks them.
        await agreements.call_off("partner", partner.id, "member_left")
        await _decline(partner.id, account)
        left = await partners.move(partner, transition, reason)
        await bookings.hold_still(partner.id)
        await agreements.call_off("partner", partner.id, "member_left")
        await bookings.give_back_ahead(partner.id, ("held", "confirmed"))
        await docking.drop_all(partner.id)
        await _withdraw(work, partner.id)
        return left


async def _decline(partner: uuid.UUID, account: uuid.UUID) -> None:
    """Decline what plans have proposed to a partner, and the agreements that came of it."""
    await agreements.hold_asking([one.id for one in await proposals.of_partner(partner)])
    # What was accepted meanwhile stands no longer among them; nor does, once one is declined, what
    # the same agreement asks for beside it.
    while standing := await proposals.of_partner(partner):
        await proposals.decline(standing[0], proposals.Decline(reason="other"))
        await agreements.seat_declined(standing[0].id, "other", "", account)


async def _withdraw(work: engine.Work, partner: uuid.UUID) -> None:
    rows = await engine.fetch(
        "UPDATE offering SET status = 'withdrawn', version = version + 1, updated_at = $1"
        " WHERE partner = $2 AND status <> 'withdrawn' RETURNING id, place",
        base.now(),
        partner,
    )
    for row in rows:
        await outbox.append(
            work,
            "offering.changed",
            base.as_id(row["id"]),
            place=base.as_id(row["place"]),
            action="offering.withdrawn",
        )
