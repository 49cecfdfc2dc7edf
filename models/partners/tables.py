"""The tables of partners, and the words for their states."""

from __future__ import annotations

from typing import Literal, get_args

from piccolo.columns import UUID, Date, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts
from models.places import Place

PartnerKind = Literal[
    "institution", "enterprise", "sole_trader", "social_org", "resident_group", "resident"
]
PartnerStatus = Literal["applied", "in_review", "admitted", "suspended", "exited"]
STATUSES: tuple[PartnerStatus, ...] = get_args(PartnerStatus)
# The place of such a partner is where somebody lives.
HOME: PartnerKind = "resident"


class Partner(Table):
    """Who offers: an institution, an enterprise, a neighbour; or the community itself."""

    id = UUID(primary_key=True)
    kind = Varchar(length=16, null=False)
    place = ForeignKey(Place, null=False)
    # What everybody may know: of a resident what their building stands in.
    public_place = ForeignKey(Place, null=False)
    # Set when a community owns the partner: its own enterprise.
    owner_place = ForeignKey(Place, null=True, default=None)
    name_zh = Varchar(length=200, null=False)
    name_en = Varchar(length=200, null=False)
    credit_code = Varchar(length=18, null=True, default=None)
    contact_name = Varchar(length=200, null=True, default=None)
    contact_phone = Varchar(length=32, null=True, default=None)
    status = Varchar(length=16, null=False)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class Credential(Table):
    """A licence or qualification of a partner or of one offering; valid on whole local days."""

    id = UUID(primary_key=True)
    partner = ForeignKey(Partner, null=False)
    # The offering it belongs to; without one it is the partner's own and serves all of them.
    offering = UUID(null=True, default=None)
    kind = Varchar(length=64, null=False)
    issuer = Varchar(length=200, null=False)
    number = Varchar(length=64, null=False)
    valid_from = Date(null=True, default=None)
    valid_to = Date(null=True, default=None)
    verified_by = ForeignKey(accounts.Account, null=True, default=None)
    verified_at = Timestamptz(null=True, default=None)
    # The training that granted it; without one its holder has stated it.
    training = UUID(null=True, default=None)


class BlockedPartner(Table):
    """A place that does not work with a partner; it holds for everything below the place."""

    id = UUID(primary_key=True)
    place = ForeignKey(Place, null=False)
    partner = ForeignKey(Partner, null=False)
