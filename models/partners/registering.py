"""Registering partners, changing and reading them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from models import accounts, base, engine, errors, outbox, values
from models.partners.credentials import (
    CredentialDraft,
    CredentialRecord,
    credentials_of,
    state_credentials,
)
from models.partners.tables import HOME, Partner, PartnerKind, PartnerStatus
from models.places import Place, public_places

# Everybody sees the partners that a community has admitted.
_PUBLIC = "status = 'admitted'"
CreditCode = Annotated[
    str,
    Meta(
        pattern=r"^[0-9A-HJ-NP-RTUW-Y]{18}\Z",
        description="unified social credit code, GB 32100-2015",
    ),
]


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
    owner: uuid.UUID | None = None,
) -> list[PartnerRecord]:
    """Up to `limit` partners that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, _PUBLIC, "place", "id")
    if kind:
        where.add("kind = {}", kind)
    if status:
        where.state("status", status)
    if within:
        sees.within(where, within, "place", "public_place", "id")
    if owner:
        where.add("owner_place = {}", owner)
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


def _columns(draft: PartnerDraft) -> dict[str, Any]:
    return {
        "name_zh": draft.name.zh,
        "name_en": draft.name.en,
        "credit_code": draft.credit_code,
        "contact_name": draft.contact_name,
        "contact_phone": draft.contact_phone,
    }
