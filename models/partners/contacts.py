"""Contacts of partners, which are shown whole for a reason alone."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from typing import Literal

from msgspec import Struct

from models import audit, base, engine, errors
from models.partners.registering import PartnerRecord

# So many contacts a member of staff is shown within so long.
MAX_REVEALS = 30
REVEALS_COUNT_FOR = dt.timedelta(hours=24)


class Reveal(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a member of staff asks for a contact. A code and no text: it stays in the audit trail
    for ever, which nothing personal may."""

    reason: Literal["arrange_service", "verify", "complaint", "emergency"]


class Contact(Struct, kw_only=True):
    """How to reach a partner."""

    partner_id: uuid.UUID
    contact_name: str | None
    contact_phone: str | None


async def reveal(partner: PartnerRecord, reveal: Reveal, account: uuid.UUID) -> Contact:
    """The whole contact, for a stated reason that the audit trail keeps.

    Refuses more than 30 reveals of an account within 24 hours.
    """
    async with engine.unit_of_work():
        # Two at once are counted one after the other.
        await engine.execute("UPDATE account SET status = status WHERE id = $1", account)
        rows = await engine.rows(
            "SELECT at FROM audit WHERE actor = $1 AND action = 'contact.revealed' AND at > $2"
            f" ORDER BY seq DESC LIMIT {MAX_REVEALS}",
            account,
            base.now() - REVEALS_COUNT_FOR,
        )
        if len(rows) == MAX_REVEALS:
            free = base.moment(rows[-1][0]) + REVEALS_COUNT_FOR - base.now()
            seconds = max(1, math.ceil(free.total_seconds()))
            raise errors.Refusal(
                "too_many_reveals", headers={"Retry-After": str(seconds)}, seconds=seconds
            )
        await audit.append(
            "contact.revealed", partner.id, place=partner.place_id, reason=reveal.reason
        )
    return Contact(
        partner_id=partner.id,
        contact_name=partner.contact_name or None,
        contact_phone=partner.contact_phone or None,
    )
