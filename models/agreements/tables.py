"""What is kept of agreements."""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, Date, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import needs, offerings
from models.partners import Partner
from models.places import Place


class Agreement(Table):
    """What the parties are asked to accept, or have accepted. `due` is what time does next."""

    id = UUID(primary_key=True)
    need = ForeignKey(needs.Need, null=False)
    # The need's own place, whose staff decide, and what everybody may know of it.
    place = ForeignKey(Place, null=False)
    public_place = ForeignKey(Place, null=False)
    plan = UUID(null=True, default=None)
    title_zh = Varchar(length=200, null=False)
    title_en = Varchar(length=200, null=False)
    service_type = Varchar(length=64, null=False)
    state = Varchar(length=16, null=False)
    state_since = Timestamptz(null=False)
    # Local dates, both inclusive; the times themselves are the commitments' own.
    starts_on = Date(null=False)
    ends_on = Date(null=False)
    # UTC minutes: when the last occurrence ends.
    last_ends = BigInt(null=False)
    respond_by = Timestamptz(null=False)
    due = Varchar(length=16, null=True, default=None)
    due_at = Timestamptz(null=True, default=None)
    # How many people it serves: what it takes of the need's beneficiaries.
    places = Integer(null=False)
    cost_amount = BigInt(null=True, default=None)
    cost_currency = Varchar(length=3, null=True, default=None)
    # Terms of payment and rent, as JSON; `null` where nothing was agreed on.
    terms = Text(null=False, default="null")
    proposed_by = UUID(null=False)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class Party(Table):
    """Who accepts: the community of the need (no partner), or a partner."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    partner = ForeignKey(Partner, null=True, default=None)
    answer = Varchar(length=16, null=False)
    answered_by = UUID(null=True, default=None)
    answered_at = Timestamptz(null=True, default=None)
    decline_reason = Varchar(length=20, null=True, default=None)
    decline_note = Text(null=False, default="")


class Commitment(Table):
    """What a party gives: an offering's time in a role, or goods, money or their worth."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    party = ForeignKey(Party, null=False)
    partner = ForeignKey(Partner, null=True, default=None)
    offering = ForeignKey(offerings.Offering, null=True, default=None)
    # The need's slot and seat it takes; empty for what is given beside the roles.
    role = Varchar(length=64, null=False, default="")
    seat = Integer(null=False, default=0)
    kind = Varchar(length=16, null=False)
    # Of each occurrence: places of a service or of goods; 1 of a space or person.
    quantity = Integer(null=False)
    # What cash is, or what goods and work are worth, in minor units.
    value_amount = BigInt(null=True, default=None)
    value_currency = Varchar(length=3, null=True, default=None)
    description_zh = Text(null=False, default="")
    description_en = Text(null=False, default="")
    # JSON list of [starts, ends] in UTC minutes: the times that are accepted with it.
    times = Text(null=False, default="[]")
    score = Integer(null=True, default=None)
    snapshot = Varchar(length=64, null=True, default=None)
    proposal = UUID(null=True, default=None)
    replaces = UUID(null=True, default=None)
    status = Varchar(length=16, null=False)
    live_from = Timestamptz(null=True, default=None)
    left_at = Timestamptz(null=True, default=None)


class Occurrence(Table):
    """One time at which an active agreement is served: UTC minutes, half-open."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    starts = BigInt(null=False)
    ends = BigInt(null=False)
    status = Varchar(length=16, null=False)
    version = Integer(null=False)
    updated_at = Timestamptz(null=False)


class AgreementEvent(Table):
    """One step in the life of an agreement: who led from which state to which, and why."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    at = Timestamptz(null=False)
    transition = Varchar(length=16, null=False)
    was = Varchar(length=16, null=False)
    state = Varchar(length=16, null=False)
    # None is time itself, or the program.
    actor = UUID(null=True, default=None)
    party = UUID(null=True, default=None)
    commitment = UUID(null=True, default=None)
    reason = Varchar(length=20, null=True, default=None)
    note = Text(null=False, default="")


class NeedFill(Table):
    """How much of a need is taken by active agreements: seats of each role, and (role empty) places
    of its beneficiaries. Nobody reads it to decide; they take by one conditional UPDATE."""

    id = UUID(primary_key=True)
    need = ForeignKey(needs.Need, null=False)
    role = Varchar(length=64, null=False)
    wanted = Integer(null=False)
    taken = Integer(null=False)


class Intake(Table):
    """How many of the places of an active agreement are taken by enrolments."""

    id = UUID(primary_key=True)
    agreement = ForeignKey(Agreement, null=False)
    places = Integer(null=False)
    taken = Integer(null=False)


class Enrolment(Table):
    """One place of a service for one person; without an agreement, on the waiting list."""

    id = UUID(primary_key=True)
    need = ForeignKey(needs.Need, null=False)
    place = ForeignKey(Place, null=False)
    agreement = UUID(null=True, default=None)
    account = UUID(null=False)
    # Whom an account enrols beside itself: a first name, for the staff and the provider.
    label = Varchar(length=200, null=False, default="")
    status = Varchar(length=16, null=False)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)
