"""Offerings: a space, a merchant's service, a volunteer, a vanguard, goods."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, json
from piccolo.columns import UUID, BigInt, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import (
    accounts,
    base,
    disclosure,
    engine,
    errors,
    outbox,
    partners,
    services,
    values,
)
from models.places import Place, public_places

# A space out of use is idle, or being converted for its next one (`models/spaces.py`).
OfferingStatus = Literal["draft", "active", "paused", "withdrawn", "idle", "converting"]
OUT_OF_USE = frozenset({"idle", "converting"})
# Everybody sees what is on offer by an admitted partner.
PUBLIC = "(o.status = 'active' AND p.status = 'admitted')"
_SELECT = "SELECT o.* FROM offering o JOIN partner p ON p.id = o.partner"
# Where these are is where somebody lives.
AT_HOME = frozenset({"volunteer", "vanguard"})
# A cell of the candidate table is 0.0045 degrees, 500 m from south to north.
CELL_E6 = 4_500
_COLUMNS_PER_ROW = 100_000


class Offering(Table):
    """What is offered. Lists whose parts nothing else refers to are JSON text."""

    id = UUID(primary_key=True)
    kind = Varchar(length=16, null=False)
    partner = ForeignKey(partners.Partner, null=False)
    place = ForeignKey(Place, null=False)
    title_zh = Varchar(length=200, null=False)
    title_en = Varchar(length=200, null=False)
    description_zh = Text(null=False)
    description_en = Text(null=False)
    lat_e6 = Integer(null=True, default=None)
    lon_e6 = Integer(null=True, default=None)
    # What everybody may know: the position itself, or for a person's home a snapped one; and the
    # place, or what the building stands in that is a person's home.
    public_lat_e6 = Integer(null=True, default=None)
    public_lon_e6 = Integer(null=True, default=None)
    public_place = ForeignKey(Place, null=False)
    cell = BigInt(null=True, default=None)
    reach_m = Integer(null=True, default=None)
    capacity = Integer(null=True, default=None)
    price_amount = BigInt(null=False)
    price_currency = Varchar(length=3, null=False)
    price_per = Varchar(length=8, null=False)
    price_tier = Varchar(length=20, null=False)
    service_types = Text(null=False)
    features = Text(null=False)
    requires_features = Text(null=False)
    languages = Text(null=False)
    availability = Text(null=False)
    max_hours_week = Integer(null=True, default=None)
    max_contacts_week = Integer(null=True, default=None)
    # The record of service; agreements will keep it. rating_sum counts hundredths of a star.
    ratings = Integer(null=False)
    rating_sum = Integer(null=False)
    jobs_agreed = Integer(null=False)
    jobs_kept = Integer(null=False)
    status = Varchar(length=16, null=False)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class OfferingService(Table):
    """One row per offering and service type: where candidates for a slot are looked up."""

    id = UUID(primary_key=True)
    offering = ForeignKey(Offering, null=False)
    service_type = ForeignKey(services.ServiceType, null=False)
    kind = Varchar(length=16, null=False)
    cell = BigInt(null=True, default=None)


class ServiceRecord(Table):
    """How often an offering has served a place: continuity is worth something."""

    id = UUID(primary_key=True)
    offering = ForeignKey(Offering, null=False)
    place = ForeignKey(Place, null=False)
    times = Integer(null=False)


class Record(Struct, frozen=True):
    """What is known from past service. `rating` is the mean in stars, null before the first."""

    ratings: int
    rating: float | None
    jobs_agreed: int
    jobs_kept: int


class OfferingDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a partner says of an offering.

    `reach_m` is how far its people go (null: anywhere); spaces stay where they are. `features`
    is what it has, `requires_features` what it needs of a space. `capacity` counts people per
    occurrence.
    """

    kind: values.OfferingKind
    partner_id: uuid.UUID
    place_id: uuid.UUID
    title: values.Bilingual
    description: values.BilingualProse = values.BilingualProse()
    location: values.Point | None = None
    reach_m: values.Metres | None = None
    service_types: Annotated[tuple[values.Slug, ...], Meta(min_length=1, max_length=16)]
    features: Annotated[tuple[values.Slug, ...], Meta(max_length=64)] = ()
    requires_features: Annotated[tuple[values.Slug, ...], Meta(max_length=64)] = ()
    capacity: values.Quantity | None = None
    price: values.Price = values.Price(amount=0)
    price_tier: values.PriceTier = "public"
    availability: Annotated[tuple[values.Window, ...], Meta(max_length=64)] = ()
    credentials: Annotated[tuple[partners.CredentialDraft, ...], Meta(max_length=16)] = ()
    languages: Annotated[tuple[values.Language, ...], Meta(max_length=16)] = ()
    max_hours_week: Annotated[int, Meta(ge=0, le=168)] | None = None
    max_contacts_week: Annotated[int, Meta(ge=0, le=1000)] | None = None
    status: Literal["draft", "active", "paused"] = "active"

    def __post_init__(self) -> None:
        if len(set(self.service_types)) != len(self.service_types):
            raise ValueError("service_types: each one once")


class OfferingChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What may change of an offering: everything but its kind, partner and place."""

    title: values.Bilingual | UnsetType = UNSET
    description: values.BilingualProse | UnsetType = UNSET
    location: values.Point | UnsetType | None = UNSET
    reach_m: values.Metres | UnsetType | None = UNSET
    service_types: (
        Annotated[tuple[values.Slug, ...], Meta(min_length=1, max_length=16)] | UnsetType
    ) = UNSET
    features: Annotated[tuple[values.Slug, ...], Meta(max_length=64)] | UnsetType = UNSET
    requires_features: Annotated[tuple[values.Slug, ...], Meta(max_length=64)] | UnsetType = UNSET
    capacity: values.Quantity | UnsetType | None = UNSET
    price: values.Price | UnsetType = UNSET
    price_tier: values.PriceTier | UnsetType = UNSET
    availability: Annotated[tuple[values.Window, ...], Meta(max_length=64)] | UnsetType = UNSET
    credentials: (
        Annotated[tuple[partners.CredentialDraft, ...], Meta(max_length=16)] | UnsetType
    ) = UNSET
    languages: Annotated[tuple[values.Language, ...], Meta(max_length=16)] | UnsetType = UNSET
    max_hours_week: Annotated[int, Meta(ge=0, le=168)] | UnsetType | None = UNSET
    max_contacts_week: Annotated[int, Meta(ge=0, le=1000)] | UnsetType | None = UNSET
    status: Literal["draft", "active", "paused"] | UnsetType = UNSET


class OfferingRecord(Struct, kw_only=True):
    """An offering as it is read. Unless `location_exact`, its location is the middle of a cell of
    some 300 m in which somebody lives, and its place no building."""

    id: uuid.UUID
    kind: values.OfferingKind
    partner_id: uuid.UUID
    place_id: uuid.UUID
    title: values.Bilingual
    description: values.BilingualProse
    location: values.Point | None
    location_exact: bool = True
    reach_m: int | None
    service_types: tuple[str, ...]
    features: tuple[str, ...]
    requires_features: tuple[str, ...]
    capacity: int | None
    price: values.Price
    price_tier: values.PriceTier
    availability: tuple[values.Window, ...]
    credentials: tuple[partners.CredentialRecord, ...]
    languages: tuple[str, ...]
    max_hours_week: int | None
    max_contacts_week: int | None
    record: Record
    status: OfferingStatus
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime

    @property
    def is_home(self) -> bool:
        """Whether where it is exactly is for its own people alone."""
        return self.kind in AT_HOME

    @property
    def owner(self) -> uuid.UUID:
        """The partner whose people see all of it."""
        return self.partner_id


async def register(draft: OfferingDraft) -> OfferingRecord:
    """Register one offering. Refuses unknown references and partners that have left."""
    return (await register_all([draft]))[0]


async def register_all(drafts: list[OfferingDraft]) -> list[OfferingRecord]:
    """Register many at once, all or none."""
    async with engine.unit_of_work() as work:
        made = []
        for draft in drafts:
            offering_id = await _insert(draft)
            await outbox.append(
                work,
                "offering.changed",
                offering_id,
                place=draft.place_id,
                action="offering.registered",
            )
            made.append(offering_id)
        return await read_many(made)


async def change(offering: OfferingRecord, change: OfferingChange) -> OfferingRecord:
    """Apply a change. The caller holds the version it read (If-Match)."""
    if offering.status == "withdrawn":
        raise errors.Refusal("wrong_state", has="withdrawn", needed="draft | active | paused")
    given = base.given(change)
    if "status" in given and offering.status in OUT_OF_USE:
        raise errors.Refusal("wrong_state", has=offering.status, needed="condition: active")
    draft = OfferingDraft(**(as_draft(offering) | given))
    async with engine.unit_of_work() as work:
        if "service_types" in given:
            await services.refer("service_types", draft.service_types)
        await base.update(Offering, offering, columns(draft))
        await engine.execute("DELETE FROM offering_service WHERE offering = $1", offering.id)
        await _index(offering.id, draft)
        if "credentials" in given:
            await partners.state_credentials(offering.partner_id, offering.id, draft.credentials)
        await outbox.append(work, "offering.changed", offering.id, place=offering.place_id)
        return await read(offering.id)


async def withdraw(offering: OfferingRecord) -> OfferingRecord:
    """Take an offering back for good; it stays readable to its own people as history."""
    async with engine.unit_of_work() as work:
        await base.update(Offering, offering, {"status": "withdrawn"})
        await outbox.append(
            work,
            "offering.changed",
            offering.id,
            place=offering.place_id,
            action="offering.withdrawn",
        )
        return await read(offering.id)


async def read(
    offering_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> OfferingRecord:
    """One offering, or the not-found refusal: for a missing one and a hidden one alike."""
    found = await read_many([offering_id], sees)
    if not found:
        raise errors.not_found()
    return found[0]


async def read_many(
    offering_ids: Sequence[uuid.UUID], sees: accounts.Visibility = accounts.EVERYTHING
) -> list[OfferingRecord]:
    """Those of the offerings that exist and may be seen, by id."""
    if not offering_ids:
        return []
    where = base.Where()
    where.add(f"o.id IN ({where.values(offering_ids)})")
    sees.restrict(where, PUBLIC, "o.place", "o.partner")
    return await shape(await engine.fetch(f"{_SELECT} WHERE {where} ORDER BY o.id", *where.args))


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    kind: str | None = None,
    status: str | None = None,
    service_type: str | None = None,
    partner: uuid.UUID | None = None,
    within: uuid.UUID | None = None,
) -> list[OfferingRecord]:
    """Up to `limit` offerings that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, PUBLIC, "o.place", "o.partner")
    if kind:
        where.add("o.kind = {}", kind)
    if status:
        where.state("o.status", status)
    if service_type:
        where.add(
            "o.id IN (SELECT offering FROM offering_service WHERE service_type = {})", service_type
        )
    if partner:
        where.add("o.partner = {}", partner)
    if within:
        sees.within(where, within, "o.place", "o.public_place", "o.partner")
    where.page("o.id", after)
    rows = await engine.fetch(
        f"{_SELECT} WHERE {where} ORDER BY o.id DESC LIMIT {int(limit)}", *where.args
    )
    return await shape(rows)


async def shape(rows: list[dict[str, Any]]) -> list[OfferingRecord]:
    """Rows of `offering` as records, with their credentials in one further query."""
    if not rows:
        return []
    held = await partners.credentials_of("offering", [row["id"] for row in rows])
    return [_shape(row, held.get(str(row["id"]), ())) for row in rows]


def cell(lat_e6: int, lon_e6: int) -> int:
    """The candidate-table cell of a position: row-major, so that a row is a range of integers."""
    return (lat_e6 // CELL_E6) * _COLUMNS_PER_ROW + lon_e6 // CELL_E6


def as_draft(offering: OfferingRecord) -> dict[str, Any]:
    """An offering's own fields, as a draft would state them."""
    return {
        **{name: getattr(offering, name) for name in OfferingDraft.__struct_fields__},
        "credentials": tuple(
            msgspec.convert(held, partners.CredentialDraft, from_attributes=True)
            for held in offering.credentials
            if held.training_id is None
        ),
    }


async def _insert(draft: OfferingDraft) -> uuid.UUID:
    await base.refer("place_id", Place, draft.place_id)
    await services.refer("service_types", draft.service_types)
    partner = await engine.fetch("SELECT status FROM partner WHERE id = $1", draft.partner_id)
    if not partner:
        raise errors.refuse_field(
            "partner_id", "unknown_reference", what="partner", value=str(draft.partner_id)
        )
    if partner[0]["status"] == "exited":
        raise errors.Refusal("wrong_state", has="exited", needed="applied | in_review | admitted")
    moment, offering_id = base.now(), base.new_id()
    public = await public_places([draft.place_id])
    row = {
        "id": offering_id,
        "kind": draft.kind,
        "partner": draft.partner_id,
        "place": draft.place_id,
        "public_place": public[draft.place_id] if draft.kind in AT_HOME else draft.place_id,
        "ratings": 0,
        "rating_sum": 0,
        "jobs_agreed": 0,
        "jobs_kept": 0,
        "version": 1,
        "created_at": moment,
        "updated_at": moment,
    }
    await base.insert(Offering, row | columns(draft))
    await _index(offering_id, draft)
    await partners.state_credentials(draft.partner_id, offering_id, draft.credentials)
    return offering_id


async def _index(offering_id: uuid.UUID, draft: OfferingDraft) -> None:
    """Make the candidate rows of an offering."""
    cell = _cell(draft.location)
    rows = [
        {
            "id": base.new_id(),
            "offering": offering_id,
            "service_type": slug,
            "kind": draft.kind,
            "cell": cell,
        }
        for slug in draft.service_types
    ]
    await base.insert_all(OfferingService, rows)


def _cell(location: values.Point | None) -> int | None:
    if location is None:
        return None
    return cell(values.micro(location.lat), values.micro(location.lon))


def columns(draft: OfferingDraft) -> dict[str, Any]:
    """What a draft sets of its row."""
    return {
        "title_zh": draft.title.zh,
        "title_en": draft.title.en,
        "description_zh": draft.description.zh,
        "description_en": draft.description.en,
        **values.position(draft.location),
        **disclosure.public_position(draft.location, draft.kind in AT_HOME),
        "cell": _cell(draft.location),
        "price_amount": draft.price.amount,
        "price_currency": draft.price.currency,
        "price_per": draft.price.per,
        **{name: getattr(draft, name) for name in _PLAIN},
        **{name: base.pack(getattr(draft, name)) for name in _JSON},
    }


_PLAIN = ("reach_m", "capacity", "price_tier", "max_hours_week", "max_contacts_week", "status")
_JSON = ("service_types", "features", "requires_features", "languages", "availability")


def _shape(row: dict[str, Any], held: tuple[partners.CredentialRecord, ...]) -> OfferingRecord:
    return base.record(
        {
            **row,
            "partner_id": row["partner"],
            "place_id": row["place"],
            "title": {"zh": row["title_zh"], "en": row["title_en"]},
            "description": {"zh": row["description_zh"], "en": row["description_en"]},
            "location": values.point(row["lat_e6"], row["lon_e6"]),
            "price": {
                "amount": row["price_amount"],
                "currency": row["price_currency"],
                "per": row["price_per"],
            },
            "credentials": held,
            "record": {
                "ratings": row["ratings"],
                "rating": round(row["rating_sum"] / row["ratings"] / 100, 2)
                if row["ratings"]
                else None,
                "jobs_agreed": row["jobs_agreed"],
                "jobs_kept": row["jobs_kept"],
            },
            **{name: json.decode(row[name]) for name in _JSON},
        },
        OfferingRecord,
    )
