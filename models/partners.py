"""Partners: who offers. Their admission, their licences, and the places that decline them."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from piccolo.columns import UUID, Date, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, audit, base, engine, errors, outbox, values
from models.places import Place, public_places

PartnerKind = Literal[
    "institution", "enterprise", "sole_trader", "social_org", "resident_group", "resident"
]
PartnerStatus = Literal["applied", "in_review", "admitted", "suspended", "exited"]
# Without this licence, verified and valid today, these kinds cannot be admitted.
LICENCE_OF: dict[str, str] = {"enterprise": "business_licence"}
# transition -> (the states it starts from, the state it leads to)
TRANSITIONS: dict[str, tuple[tuple[PartnerStatus, ...], PartnerStatus]] = {
    "review": (("applied",), "in_review"),
    "admit": (("applied", "in_review", "suspended"), "admitted"),
    "suspend": (("admitted",), "suspended"),
    "exit": (("applied", "in_review", "admitted", "suspended"), "exited"),
}
# The place of such a partner is where somebody lives.
HOME: PartnerKind = "resident"
# So many contacts a member of staff is shown within so long.
MAX_REVEALS = 30
REVEALS_COUNT_FOR = dt.timedelta(hours=24)
# Everybody sees the partners that a community has admitted.
_PUBLIC = "status = 'admitted'"
CreditCode = Annotated[
    str,
    Meta(
        pattern=r"^[0-9A-HJ-NP-RTUW-Y]{18}\Z",
        description="unified social credit code, GB 32100-2015",
    ),
]


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


class BlockedPartner(Table):
    """A place that does not work with a partner; it holds for everything below the place."""

    id = UUID(primary_key=True)
    place = ForeignKey(Place, null=False)
    partner = ForeignKey(Partner, null=False)


class CredentialDraft(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A licence as its holder states it. Both dates are inclusive; verifying is for staff."""

    kind: values.Slug
    issuer: values.Line
    number: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*\Z")]
    valid_from: dt.date | None = None
    valid_to: dt.date | None = None

    def __post_init__(self) -> None:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError("valid_to: on or after valid_from")


class CredentialRecord(Struct, frozen=True, kw_only=True):
    """A licence as it is read, with the account that verified it. Its number is for its holder
    and the staff."""

    id: uuid.UUID
    kind: str
    issuer: str
    number: str | UnsetType = UNSET
    valid_from: dt.date | None
    valid_to: dt.date | None
    verified_by: uuid.UUID | None
    verified_at: dt.datetime | None


class PartnerDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a partner states when it applies."""

    kind: PartnerKind
    place_id: uuid.UUID
    owner_place_id: uuid.UUID | None = None
    name: values.Bilingual
    credit_code: CreditCode | None = None
    contact_name: values.Line | None = None
    contact_phone: Annotated[str, Meta(pattern=r"^\+?[0-9 -]{5,31}\Z")] | None = None
    credentials: Annotated[tuple[CredentialDraft, ...], Meta(max_length=16)] = ()


class PartnerChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What may change of a partner. New credentials replace all and wait to be verified."""

    name: values.Bilingual | UnsetType = UNSET
    credit_code: CreditCode | UnsetType | None = UNSET
    contact_name: values.Line | UnsetType | None = UNSET
    contact_phone: Annotated[str, Meta(pattern=r"^\+?[0-9 -]{5,31}\Z")] | UnsetType | None = UNSET
    credentials: Annotated[tuple[CredentialDraft, ...], Meta(max_length=16)] | UnsetType = UNSET


class Reveal(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a member of staff asks for a contact. A code and no text: it stays in the audit trail
    for ever, which nothing personal may."""

    reason: Literal["arrange_service", "verify", "complaint", "emergency"]


class Contact(Struct, kw_only=True):
    """How to reach a partner."""

    partner_id: uuid.UUID
    contact_name: str | None
    contact_phone: str | None


class PartnerRecord(Struct, kw_only=True, omit_defaults=True):
    """A partner as it is read. The contact is for its own people and the staff of its place, who
    read its phone masked (`+86 ** **** 0001`); so is the building of a resident."""

    id: uuid.UUID
    kind: PartnerKind
    place_id: uuid.UUID
    owner_place_id: uuid.UUID | None
    name: values.Bilingual
    credit_code: str | None
    contact_name: str | UnsetType | None = UNSET
    contact_phone: str | UnsetType | None = UNSET
    credentials: tuple[CredentialRecord, ...]
    status: PartnerStatus
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime

    @property
    def owner(self) -> uuid.UUID:
        """The partner itself: its people see all of it."""
        return self.id

    @property
    def is_home(self) -> bool:
        """Whether in which building it is, is for its own people and the staff alone."""
        return self.kind == HOME


async def apply(draft: PartnerDraft, applicant: uuid.UUID) -> PartnerRecord:
    """Register a partner; the applicant becomes its first partner_staff."""
    await base.refer("place_id", Place, draft.place_id)
    if draft.owner_place_id:
        await base.refer("owner_place_id", Place, draft.owner_place_id)
    moment, partner_id = base.now(), base.new_id()
    public = await public_places([draft.place_id])
    async with engine.unit_of_work() as work:
        await Partner.insert(
            Partner(
                id=partner_id,
                kind=draft.kind,
                place=draft.place_id,
                public_place=public[draft.place_id] if draft.kind == HOME else draft.place_id,
                owner_place=draft.owner_place_id,
                status="applied",
                version=1,
                created_at=moment,
                updated_at=moment,
                **_columns(draft),
            )
        )
        await state_credentials(partner_id, None, draft.credentials)
        await accounts.grant(applicant, "partner_staff", partner=partner_id)
        await outbox.append(
            work, "partner.changed", partner_id, place=draft.place_id, action="partner.applied"
        )
        return await read(partner_id)


async def change(partner: PartnerRecord, change: PartnerChange) -> PartnerRecord:
    """Apply a change. The caller holds the version it read (If-Match)."""
    given = base.given(change)
    credentials = given.pop("credentials", None)
    columns = {**given}
    if "name" in columns:
        name = columns.pop("name")
        columns |= {"name_zh": name.zh, "name_en": name.en}
    async with engine.unit_of_work() as work:
        await base.update(Partner, partner, columns)
        if credentials is not None:
            await state_credentials(partner.id, None, credentials)
        await outbox.append(work, "partner.changed", partner.id, place=partner.place_id)
        return await read(partner.id)


async def move(partner: PartnerRecord, transition: str) -> PartnerRecord:
    """Walk one admission transition. An enterprise is admitted only with a licence valid today."""
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
        )
        return await read(partner.id)


async def verify(credential_id: uuid.UUID, verifier: uuid.UUID) -> None:
    """A member of staff has seen the licence and stands for it."""
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE credential SET verified_by = $1, verified_at = $2 WHERE id = $3"
            " RETURNING partner, offering",
            verifier,
            base.now(),
            credential_id,
        )
        if not rows:
            raise errors.not_found()
        table, subject = (
            ("offering", rows[0]["offering"])
            if rows[0]["offering"]
            else ("partner", rows[0]["partner"])
        )
        # The licence shows in its holder's record, so that record has a new version.
        holder = await engine.fetch(
            f"UPDATE {table} SET version = version + 1, updated_at = $1 WHERE id = $2"
            " RETURNING place",
            base.now(),
            subject,
        )
        await outbox.append(
            work,
            f"{table}.changed",
            base.as_id(subject),
            place=base.as_id(holder[0]["place"]),
            action="credential.verified",
            credential=str(credential_id),
        )


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


async def block(place: uuid.UUID, partner: uuid.UUID) -> None:
    """This place and everything below it no longer works with the partner."""
    await base.refer("partner_id", Partner, partner)
    async with engine.unit_of_work() as work:
        if not await _blocked(place, partner):
            await BlockedPartner.insert(
                BlockedPartner(id=base.new_id(), place=place, partner=partner)
            )
            await outbox.append(work, "partner.blocked", partner, place=place)


async def unblock(place: uuid.UUID, partner: uuid.UUID) -> None:
    """Lift a block; lifting what is not there changes nothing."""
    async with engine.unit_of_work() as work:
        if await _blocked(place, partner):
            await engine.execute(
                "DELETE FROM blocked_partner WHERE place = $1 AND partner = $2", place, partner
            )
            await outbox.append(work, "partner.unblocked", partner, place=place)


async def _blocked(place: uuid.UUID, partner: uuid.UUID) -> bool:
    return bool(
        await engine.fetch(
            "SELECT 1 FROM blocked_partner WHERE place = $1 AND partner = $2", place, partner
        )
    )


async def read(
    partner_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> PartnerRecord:
    """One partner, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("id = {}", partner_id)
    sees.restrict(where, _PUBLIC, "place", "id")
    rows = await engine.fetch(f"SELECT * FROM partner WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return (await shape(rows))[0]


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    kind: str | None = None,
    status: str | None = None,
    within: uuid.UUID | None = None,
) -> list[PartnerRecord]:
    """Up to `limit` partners that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, _PUBLIC, "place", "id")
    if kind:
        where.add("kind = {}", kind)
    if status:
        where.add("status = {}", status)
    if within:
        sees.within(where, within, "place", "public_place", "id")
    where.page("id", after)
    rows = await engine.fetch(
        f"SELECT * FROM partner WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return await shape(rows)


async def shape(rows: list[dict[str, Any]]) -> list[PartnerRecord]:
    """Rows of `partner` as records, with their own credentials in one further query."""
    if not rows:
        return []
    held = await credentials_of("partner", [row["id"] for row in rows])
    return [
        base.record(
            {
                **row,
                "place_id": row["place"],
                "owner_place_id": row["owner_place"],
                "name": {"zh": row["name_zh"], "en": row["name_en"]},
                "credentials": held.get(str(row["id"]), ()),
            },
            PartnerRecord,
        )
        for row in rows
    ]


async def credentials_of(
    holder: Literal["partner", "offering"], holders: list[Any]
) -> dict[str, tuple[CredentialRecord, ...]]:
    """Credentials by holder id (as text). Those of an offering are not listed for its partner."""
    only_own = " AND offering IS NULL" if holder == "partner" else ""
    rows = await engine.fetch(
        f"SELECT * FROM credential WHERE {holder} IN ({base.placeholders(len(holders))})"
        f"{only_own} ORDER BY id",
        *holders,
    )
    found: dict[str, tuple[CredentialRecord, ...]] = {}
    for row in rows:
        key = str(row[holder])
        found[key] = (*found.get(key, ()), base.record(row, CredentialRecord))
    return found


async def state_credentials(
    partner: uuid.UUID, offering: uuid.UUID | None, drafts: tuple[CredentialDraft, ...]
) -> None:
    """Replace the credentials of a holder. One that is stated unchanged stays verified."""
    where, holder = (
        ("offering = $1", offering) if offering else ("partner = $1 AND offering IS NULL", partner)
    )
    known = await engine.fetch(f"SELECT * FROM credential WHERE {where}", holder)
    verified = {_stated(row): (row["verified_by"], row["verified_at"]) for row in known}
    await engine.execute(f"DELETE FROM credential WHERE {where}", holder)
    for draft in drafts:
        by, at = verified.get(draft, (None, None))
        await Credential.insert(
            Credential(
                id=base.new_id(),
                partner=partner,
                offering=offering,
                verified_by=by,
                verified_at=at,
                **msgspec.structs.asdict(draft),
            )
        )


def _stated(row: dict[str, Any]) -> CredentialDraft:
    return base.record(
        {name: row[name] for name in CredentialDraft.__struct_fields__}, CredentialDraft
    )


def _holds(partner: PartnerRecord, kind: str, day: dt.date) -> bool:
    return any(
        held.kind == kind
        and held.verified_by
        and (held.valid_from is None or held.valid_from <= day)
        and (held.valid_to is None or day <= held.valid_to)
        for held in partner.credentials
    )


def _columns(draft: PartnerDraft) -> dict[str, Any]:
    return {
        "name_zh": draft.name.zh,
        "name_en": draft.name.en,
        "credit_code": draft.credit_code,
        "contact_name": draft.contact_name,
        "contact_phone": draft.contact_phone,
    }
