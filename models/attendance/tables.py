"""What is kept of who came, what callers send of it, and what they read."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Literal

from msgspec import Meta, Struct
from piccolo.columns import UUID, BigInt, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.table import Table

from models import agreements
from models.attendance.rules import OccurrenceStatus, Outcome

# Why a row is taken back. For counting, so no free text.
CorrectionReason = Literal[
    "forgot_check_in", "forgot_check_out", "wrong_person", "wrong_time", "did_not_come", "other"
]
Moment = Annotated[dt.datetime, Meta(tz=True)]


class Attendance(Table):
    """Somebody, or something, at an occurrence for a commitment. It is open while they are `here`;
    once closed nothing of it changes: a mistake is taken back by a row that `reverses` it."""

    id = UUID(primary_key=True)
    occurrence = ForeignKey(agreements.Occurrence, null=False)
    commitment = ForeignKey(agreements.Commitment, null=False)
    # Whose hours they are; of a commitment that is no person's, nobody's.
    account = UUID(null=True, default=None)
    outcome = Varchar(length=8, null=False)
    # UTC minutes. Nobody came where they are missing.
    came = BigInt(null=True, default=None)
    went = BigInt(null=True, default=None)
    # What counts; below zero it is taken back.
    minutes = Integer(null=False)
    # The transfer of the ledger that credited them, or took them back.
    transfer = UUID(null=True, default=None)
    # None is time itself.
    recorded_by = UUID(null=True, default=None)
    reverses = UUID(null=True, default=None)
    reason = Varchar(length=20, null=True, default=None)
    at = Timestamptz(null=False)


class CheckIn(Struct, forbid_unknown_fields=True, kw_only=True):
    """For which commitment somebody comes or goes. Without `account_id` it is the caller, or the
    one person who acts for the partner."""

    commitment_id: uuid.UUID
    account_id: uuid.UUID | None = None


class Correction(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is true instead of a row: that they were there between two moments, or not at all."""

    reason: CorrectionReason
    came_at: Moment | None = None
    went_at: Moment | None = None
    account_id: uuid.UUID | None = None

    def __post_init__(self) -> None:
        if (self.came_at is None) != (self.went_at is None):
            raise ValueError("went_at: together with came_at, or neither of them")
        for moment in (self.came_at, self.went_at):
            if moment is not None and not 2000 <= moment.year < 2200:
                raise ValueError("came_at: a time between 2000 and 2199")


class AttendanceRecord(Struct, kw_only=True):
    """Who came, or did not. `minutes` are what counts; a row that `reverses` another has it taken
    back. Without `recorded_by`, time did it."""

    id: uuid.UUID
    commitment_id: uuid.UUID
    account_id: uuid.UUID | None
    outcome: Outcome
    came_at: dt.datetime | None
    went_at: dt.datetime | None
    minutes: int
    recorded_by: uuid.UUID | None
    reverses: uuid.UUID | None
    reason: CorrectionReason | None
    at: dt.datetime


class OccurrenceRecord(Struct, kw_only=True):
    """One time of an agreement, and who came."""

    id: uuid.UUID
    agreement_id: uuid.UUID
    starts_at: dt.datetime
    ends_at: dt.datetime
    status: OccurrenceStatus
    attendance: tuple[AttendanceRecord, ...]
    version: int
    updated_at: dt.datetime
