"""Agreements: what the parties have accepted, what each of them gives, and when.

`lifecycle` is the life of an agreement as data; `tables` what is kept.
"""

from models.agreements import lifecycle
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
    "Agreement",
    "AgreementEvent",
    "Commitment",
    "Enrolment",
    "Intake",
    "NeedFill",
    "Occurrence",
    "Party",
    "lifecycle",
]
