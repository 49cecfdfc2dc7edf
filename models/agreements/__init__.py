"""Agreements: what the parties have accepted, what each of them gives, and when.

`lifecycle` is the life of an agreement as data. `proposing` asks, `answering` says yes or no and
takes, `changing` does what comes after and what time does. `filling` counts how much of a need is
taken, `enrolments` who has a place. `terms` is what is paid for what, `arrears`, `rent`, `revenue`
and `contracts` what comes of it, `postings` what the ledger gets.
"""

from models.agreements import enrolments, lifecycle
from models.agreements.answering import accept, decline, hold_asking, seat_declined
from models.agreements.arrears import RentAccount, RentMonth, ServiceHours
from models.agreements.bargaining import TermsDraft, change_terms
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
from models.agreements.contracts import Assessment, Milestone
from models.agreements.enrolments import (
    EnrolmentDraft,
    EnrolmentRecord,
    EnrolmentStatus,
    PlacesRecord,
    enrol,
    places_of,
    send_home,
)
from models.agreements.filling import change_need
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
    PledgeDraft,
    StepDraft,
    TimeRecord,
)
from models.agreements.revenue import Revenue
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
from models.agreements.terms import Money, Terms

__all__ = [
    "Actor",
    "Agreement",
    "AgreementDraft",
    "AgreementEvent",
    "AgreementRecord",
    "Assessment",
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
    "Milestone",
    "Money",
    "NeedFill",
    "Occurrence",
    "Party",
    "PlacesRecord",
    "PledgeDraft",
    "Proposing",
    "RentAccount",
    "RentMonth",
    "Revenue",
    "ServiceHours",
    "StepDraft",
    "Terms",
    "TermsDraft",
    "TimeRecord",
    "accept",
    "browse",
    "call_off",
    "change_need",
    "change_terms",
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
    "hold_asking",
    "lifecycle",
    "open_of",
    "places_of",
    "propose",
    "read",
    "restrict",
    "resume",
    "seat_declined",
    "send_home",
    "shown",
    "suspend",
    "swap",
    "tick",
    "times",
    "withdraw",
]
