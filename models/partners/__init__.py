"""Partners: who offers. Their admission, their licences, and the places that decline them.

From the ground up: `tables`, `credentials`, `registering`, `admission`, `contacts`, `blocking`.
"""

from __future__ import annotations

from models.partners.admission import (
    Departure,
    Rejection,
    Suspension,
    move,
)
from models.partners.blocking import block, unblock
from models.partners.contacts import Contact, Reveal, reveal
from models.partners.credentials import (
    CredentialDraft,
    CredentialRecord,
    credentials_of,
    grant,
    state_credentials,
    take_back,
    verify,
)
from models.partners.registering import (
    PartnerChange,
    PartnerDraft,
    PartnerRecord,
    apply,
    browse,
    change,
    read,
    shape,
)
from models.partners.tables import (
    STATUSES,
    BlockedPartner,
    Credential,
    Partner,
    PartnerKind,
    PartnerStatus,
)

__all__ = [
    "STATUSES",
    "BlockedPartner",
    "Contact",
    "Credential",
    "CredentialDraft",
    "CredentialRecord",
    "Departure",
    "Partner",
    "PartnerChange",
    "PartnerDraft",
    "PartnerKind",
    "PartnerRecord",
    "PartnerStatus",
    "Rejection",
    "Reveal",
    "Suspension",
    "apply",
    "block",
    "browse",
    "change",
    "credentials_of",
    "grant",
    "move",
    "read",
    "reveal",
    "shape",
    "state_credentials",
    "take_back",
    "unblock",
    "verify",
]
