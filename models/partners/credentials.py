"""Licences and qualifications: of a partner for all it offers, or of one offering."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from models import base, engine, errors, outbox, values
from models.partners.tables import Credential


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
    """A licence as it is read, with the account that verified it, and the training that granted
    it if one did. Its number is for its holder and the staff."""

    id: uuid.UUID
    kind: str
    issuer: str
    number: str | UnsetType = UNSET
    valid_from: dt.date | None
    valid_to: dt.date | None
    verified_by: uuid.UUID | None
    verified_at: dt.datetime | None
    training_id: uuid.UUID | None = None


async def verify(credential_id: uuid.UUID, verifier: uuid.UUID) -> None:
    """A member of staff has seen the licence and stands for it."""
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE credential SET verified_by = $1, verified_at = $2 WHERE id = $3"
            " AND training IS NULL RETURNING partner, offering",
            verifier,
            base.now(),
            credential_id,
        )
        if not rows:
            raise errors.not_found()
        table = "offering" if rows[0]["offering"] else "partner"
        subject = base.as_id(rows[0][table])
        await _show(work, table, subject, "credential.verified", credential_id)


async def _show(
    work: engine.Work, table: str, holder: uuid.UUID, action: str, credential: uuid.UUID
) -> None:
    """A licence shows in its holder's record, so that record has a new version."""
    rows = await engine.fetch(
        f"UPDATE {table} SET version = version + 1, updated_at = $1 WHERE id = $2 RETURNING place",
        base.now(),
        holder,
    )
    await outbox.append(
        work,
        f"{table}.changed",
        holder,
        place=base.as_id(rows[0]["place"]),
        action=action,
        credential=str(credential),
    )


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
        found[key] = (
            *found.get(key, ()),
            base.record({**row, "training_id": row["training"]}, CredentialRecord),
        )
    return found


async def state_credentials(
    partner: uuid.UUID, offering: uuid.UUID | None, drafts: tuple[CredentialDraft, ...]
) -> None:
    """Replace the credentials that a holder has stated. One that is stated unchanged stays
    verified; what a training has granted stays as it is."""
    where, holder = (
        ("offering = $1", offering) if offering else ("partner = $1 AND offering IS NULL", partner)
    )
    where += " AND training IS NULL"
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


async def grant(
    draft: CredentialDraft,
    *,
    partner: uuid.UUID,
    offering: uuid.UUID,
    training: uuid.UUID,
    verified_by: uuid.UUID,
) -> uuid.UUID:
    """Give an offering a credential that its holder can neither state nor change; answers its
    id."""
    credential_id = base.new_id()
    async with engine.unit_of_work() as work:
        await Credential.insert(
            Credential(
                id=credential_id,
                partner=partner,
                offering=offering,
                training=training,
                verified_by=verified_by,
                verified_at=base.now(),
                **msgspec.structs.asdict(draft),
            )
        )
        await _show(work, "offering", offering, "credential.granted", credential_id)
    return credential_id


async def take_back(credential_id: uuid.UUID) -> None:
    """Remove a credential that a training has granted."""
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "DELETE FROM credential WHERE id = $1 AND training IS NOT NULL RETURNING offering",
            credential_id,
        )
        if not rows:
            raise errors.not_found()
        offering = base.as_id(rows[0]["offering"])
        await _show(work, "offering", offering, "credential.taken_back", credential_id)


def _stated(row: dict[str, Any]) -> CredentialDraft:
    return base.record(
        {name: row[name] for name in CredentialDraft.__struct_fields__}, CredentialDraft
    )
