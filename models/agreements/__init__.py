"""Agreements: what the parties have accepted, what each of them gives, and when.

`lifecycle` is the life of an agreement as data. `proposing` asks, `answering` says yes or no and
takes, `changing` does what comes after and what time does. `filling` counts how much of a need is
taken, `enrolments` who has a place.
"""

from models.agreements import enrolments, lifecycle
from models.agreements.answering import accept, decline, seat_declined
from models.agreements.changing import (
    call_off,
    end,
    gone,
    resume,
    suspend,
    swap,
    tick,
    withdraw,
)
from models.agreements.enrolments import (
    EnrolmentDraft,
    EnrolmentRecord,
    EnrolmentStatus,
    PlacesRecord,
    enrol,
    places_of,
)
from models.agreements.forgetting import forget_account, forget_need, forget_partner
from models.agreements.proposing import Member, Proposing, propose
from models.agreements.reading import (
    browse,
    declined,
    events,
    open_of,
    read,
    restrict,
    shown,
    times,
)
from models.agreements.records import (
    AgreementDraft,
    AgreementRecord,
    CommitmentRecord,
    EventRecord,
    MemberDraft,
    Money,
    PledgeDraft,
    StepDraft,
    TimeRecord,
)
from models.agreements.steps import Actor
from models.agreements.tables import (
    Agreement,
    AgreementEvent,
    Commitment,
    Enrolment,
    Intake,
    NeedFill,
    Occurrence,
    Party,
)

__all__ = [
    "Actor",
    "Agreement",
    "AgreementDraft",
    "AgreementEvent",
    "AgreementRecord",
    "Commitment",
    "CommitmentRecord",
    "Enrolment",
    "EnrolmentDraft",
    "EnrolmentRecord",
    "EnrolmentStatus",
    "EventRecord",
    "Intake",
    "Member",
    "MemberDraft",
    "Money",
    "NeedFill",
    "Occurrence",
    "Party",
    "PlacesRecord",
    "PledgeDraft",
    "Proposing",
    "StepDraft",
    "TimeRecord",
    "accept",
    "browse",
    "call_off",
    "decline",
    "declined",
    "end",
    "enrol",
    "enrolments",
    "events",
    "forget_account",
    "forget_need",
    "forget_partner",
    "gone",
    "lifecycle",
    "open_of",
    "places_of",
    "propose",
    "read",
    "restrict",
    "resume",
    "seat_declined",
    "shown",
    "suspend",
    "swap",
    "tick",
    "times",
    "withdraw",
]
