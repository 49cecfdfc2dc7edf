"""What callers send of agreements, and what they read."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from models import values
from models.agreements import lifecycle
from models.agreements.terms import Money, Terms

CommitmentKind = Literal["space_hours", "service", "person_hours", "goods", "cash", "in_kind"]
PledgeKind = Literal["cash", "in_kind", "goods"]
# proposed: asked and not yet answered; live: accepted; left: given up, or given over to another.
CommitmentStatus = Literal["proposed", "live", "left", "declined"]
# left: gives nothing any more.
Answer = Literal["pending", "accepted", "declined", "left"]
# What an offering of a kind gives.
GIVES: dict[str, CommitmentKind] = {
    "space": "space_hours",
    "merchant": "service",
    "volunteer": "person_hours",
    "vanguard": "person_hours",
    "goods": "goods",
}
Places = Annotated[int, Meta(ge=1, le=1_000_000)]
Moment = Annotated[dt.datetime, Meta(tz=True)]


class MemberDraft(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is asked for a role of the need.

    `quantity` counts places of a service or of goods at each time (by default what the slot asks
    for); `windows` is the member's own share of the need's times, where members share a role.
    """

    role: values.Slug
    offering_id: uuid.UUID
    quantity: Places | None = None
    windows: Annotated[tuple[values.Window, ...], Meta(min_length=1, max_length=32)] | None = None


class PledgeDraft(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a partner, or the community itself (null), gives beside the roles: money, or goods and
    work and what they are worth."""

    partner_id: uuid.UUID | None = None
    kind: PledgeKind
    value: Money
    description: values.BilingualProse = values.BilingualProse()


class AgreementDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is proposed to the parties.

    It begins on `starts_on` (by default tomorrow, or with the need's first window) and ends on
    `ends_on` (84 days later, or with the need's last window), local dates, both inclusive, at most
    366 days apart. `places` are the beneficiaries it serves, by default as many as its members have
    places for and the need still lacks. `cost` is what the need costs in all; pledges count against
    it. `terms` are the price, the rent, the share of the fund, the service contract. Who has not
    answered by `respond_by` lets it lapse: 7 days if nothing is said, and at the latest when it
    begins.
    """

    need_id: uuid.UUID
    members: Annotated[tuple[MemberDraft, ...], Meta(max_length=64)] = ()
    pledges: Annotated[tuple[PledgeDraft, ...], Meta(max_length=64)] = ()
    starts_on: dt.date | None = None
    ends_on: dt.date | None = None
    places: values.Quantity | None = None
    cost: Money | None = None
    terms: Terms | None = None
    respond_by: Moment | None = None

    def __post_init__(self) -> None:
        if not self.members and not self.pledges:
            raise ValueError("members: at least one member or one pledge")
        if self.respond_by is not None and not 2000 <= self.respond_by.year < 2200:
            raise ValueError("respond_by: a time between 2000 and 2199")


class StepDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a step of an agreement's life takes; which fields, the table of its life says."""

    reason: values.Reason | None = None
    note: values.Prose | None = None
    party_id: uuid.UUID | None = None
    places: Places | None = None
    commitment_id: uuid.UUID | None = None
    offering_id: uuid.UUID | None = None


class PartyRecord(Struct, kw_only=True, omit_defaults=True):
    """Who accepts: a partner, or the community of the need (null). Once all have accepted, the
    parties know how to reach each other; others read the phone masked."""

    id: uuid.UUID
    partner_id: uuid.UUID | None
    answer: Answer
    answered_at: dt.datetime | None
    decline_reason: values.Reason | None
    decline_note: str
    contact_name: str | UnsetType | None = UNSET
    contact_phone: str | UnsetType | None = UNSET


class CommitmentRecord(Struct, kw_only=True):
    """What a party gives. `times` counts them, from `first_at` to `last_at`."""

    id: uuid.UUID
    party_id: uuid.UUID
    partner_id: uuid.UUID | None
    offering_id: uuid.UUID | None
    role: str
    seat: int
    kind: CommitmentKind
    quantity: int
    value: Money | None
    description: values.BilingualProse
    times: int
    first_at: dt.datetime | None
    last_at: dt.datetime | None
    score: float | None
    snapshot: str | None
    replaces: uuid.UUID | None
    status: CommitmentStatus


class Funding(Struct, frozen=True, kw_only=True):
    """What the need costs, what is pledged in kind and in cash, and what is missing, in minor
    units. Pledges in another currency are not counted."""

    currency: str
    cost: int
    in_kind: int
    cash: int
    gap: int


class AgreementRecord(Struct, kw_only=True, omit_defaults=True):
    """An agreement, for the staff of the need's place and the people of its parties. Until all have
    accepted, its place and location are what everybody may know."""

    id: uuid.UUID
    need_id: uuid.UUID
    place_id: uuid.UUID
    plan_id: uuid.UUID | None
    title: values.Bilingual
    service_type: str
    state: lifecycle.State
    state_since: dt.datetime
    starts_on: dt.date
    ends_on: dt.date
    respond_by: dt.datetime
    due: lifecycle.Timed | None
    due_at: dt.datetime | None
    places: int
    parties: tuple[PartyRecord, ...]
    commitments: tuple[CommitmentRecord, ...]
    funding: Funding | None
    terms: Terms | None
    location: values.Point | UnsetType | None = UNSET
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


class EventRecord(Struct, kw_only=True):
    """One step of an agreement's life. Without an actor, time did it."""

    id: uuid.UUID
    at: dt.datetime
    transition: str
    was: str
    state: lifecycle.State
    actor: uuid.UUID | None
    party_id: uuid.UUID | None
    commitment_id: uuid.UUID | None
    reason: values.Reason | None
    note: str


class TimeRecord(Struct, frozen=True):
    """A time at which a commitment is asked for."""

    commitment_id: uuid.UUID
    starts_at: dt.datetime
    ends_at: dt.datetime
