"""The walk of a partner: applied, in review, admitted, suspended, exited."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from msgspec import Struct

from models import base, engine, errors, outbox
from models.partners.registering import PartnerRecord, read
from models.partners.tables import Partner, PartnerStatus

# Without this licence, verified and valid today, these kinds cannot be admitted.
LICENCE_OF: dict[str, str] = {"enterprise": "business_licence"}
# transition -> (the states it starts from, the state it leads to)
TRANSITIONS: dict[str, tuple[tuple[PartnerStatus, ...], PartnerStatus]] = {
    "review": (("applied",), "in_review"),
    "admit": (("applied", "in_review", "suspended"), "admitted"),
    "reject": (("applied", "in_review"), "exited"),
    "suspend": (("admitted",), "suspended"),
    "exit": (("applied", "in_review", "admitted", "suspended"), "exited"),
}

# Why, as codes: they are counted, and stay in the audit trail, which no text may.
RejectReason = Literal["incomplete", "not_eligible", "duplicate", "not_needed", "other"]
SuspendReason = Literal["licence_expired", "complaint", "safety", "no_show", "own_request", "other"]
ExitReason = Literal["own_request", "closed", "moved_away", "licence_lost", "breach", "other"]


class Rejection(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why an application is turned down."""

    reason: RejectReason


class Suspension(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a partner may offer nothing new for a while."""

    reason: SuspendReason


class Departure(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a partner leaves for good."""

    reason: ExitReason


async def move(partner: PartnerRecord, transition: str, reason: str | None = None) -> PartnerRecord:
    """Walk one admission transition. An enterprise is admitted only with a licence valid today.

    What follows for what the partner offers, when it is suspended or leaves, is in
    `models/departures.py`.
    """
    starts, leads_to = TRANSITIONS[transition]
    if partner.status not in starts:
        raise errors.Refusal("wrong_state", has=partner.status, needed=" | ".join(starts))
    needed = LICENCE_OF.get(partner.kind)
    if transition == "admit" and needed and not _holds(partner, needed, base.now().date()):
        raise errors.refuse_field("credentials", "licence_required", needed=needed)
    async with engine.unit_of_work() as work:
        await base.update(Partner, partner, {"status": leads_to})
        await outbox.append(
            work,
            "partner.changed",
            partner.id,
            place=partner.place_id,
            action=f"partner.{leads_to}",
            was=partner.status,
            reason=reason,
        )
        return await read(partner.id)


def _holds(partner: PartnerRecord, kind: str, day: dt.date) -> bool:
    return any(
        held.kind == kind
        and held.verified_by
        and (held.valid_from is None or held.valid_from <= day)
        and (held.valid_to is None or day <= held.valid_to)
        for held in partner.credentials
    )
