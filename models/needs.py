"""Needs: what a community asks for, the roles it takes, and the windows it takes them in."""

from __future__ import annotations

import datetime as dt
import functools
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs
from piccolo.columns import UUID, BigInt, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, disclosure, engine, errors, outbox, services, values
from models.places import Place, located, public_places

# Everybody sees what a community asks for.
PUBLIC = "status = 'open'"
# What `shape` takes. By their names, the columns of a page took as long to read as all else of it.
COLUMNS = (
    "id, service_type, place, title_zh, title_en, description_zh, description_en, lat_e6, lon_e6,"
    " radius_m, beneficiary, beneficiaries, priority, windows, min_coverage_bp, budget_amount,"
    " budget_currency, budget_per, slots, status, version, created_at, updated_at"
)
NeedStatus = Literal["draft", "open", "withdrawn", "closed"]
# For whom: the community, or one person at home, who asks or for whom somebody asks.
Beneficiary = Literal["community", "self", "minor", "dependent_elder", "other"]
# Whoever asks for these asks on somebody's behalf, and says who agreed to it.
ON_BEHALF = frozenset({"minor", "dependent_elder", "other"})


class Need(Table):
    """What a community asks for. Slots and windows are JSON text: they live and die with it."""

    id = UUID(primary_key=True)
    place = ForeignKey(Place, null=False)
    posted_by = ForeignKey(accounts.Account, null=False)
    service_type = ForeignKey(services.ServiceType, null=False)
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
    # For whom: the community, or one person who asks for themselves or has somebody ask.
    beneficiary = Varchar(length=16, null=False, default="community")
    radius_m = Integer(null=True, default=None)
    beneficiaries = Integer(null=False)
    priority = Varchar(length=16, null=False)
    windows = Text(null=False)
    slots = Text(null=False)
    # Basis points: 10000 means every minute of the windows.
    min_coverage_bp = Integer(null=False)
    budget_amount = BigInt(null=True, default=None)
    budget_currency = Varchar(length=3, null=True, default=None)
    budget_per = Varchar(length=8, null=True, default=None)
    status = Varchar(length=16, null=False)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class Consent(Table):
    """That a person agreed to a need entered for them: who said so, to what text, when, how."""

    id = UUID(primary_key=True)
    need = ForeignKey(Need, null=False)
    given_by = Varchar(length=200, null=False)
    relation = Varchar(length=16, null=False)
    text = Text(null=False)
    channel = Varchar(length=16, null=False)
    given_at = Timestamptz(null=False)
    recorded_by = ForeignKey(accounts.Account, null=False)
    withdrawn_at = Timestamptz(null=True, default=None)


class ConsentDraft(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who agreed to a need on somebody's behalf, to which words, when and how."""

    given_by: values.Line
    relation: Literal["self", "parent", "guardian", "relative", "caregiver"]
    text: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4000,
            pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]*\Z",
            description="the words agreed to",
        ),
    ]
    channel: Literal["in_person", "phone", "paper", "app"]
    given_at: Annotated[dt.datetime, Meta(tz=True)]

    def __post_init__(self) -> None:
        # Times before it are slips of the pen, and the first ones of all overflow in UTC.
        if self.given_at.year < 1900:
            raise ValueError("given_at: in 1900 or later")


class ConsentRecord(Struct, kw_only=True):
    """A consent as the staff of the need's place read it, with the account that recorded it."""

    id: uuid.UUID
    need_id: uuid.UUID
    given_by: str
    relation: str
    text: str
    channel: str
    given_at: dt.datetime
    recorded_by: uuid.UUID
    withdrawn_at: dt.datetime | None


class NeedDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a community asks for.

    `radius_m` null means anywhere (help by phone); a radius needs a `location`, which is the
    place's own when it is left out. `min_coverage` is the share of the windows that one offering
    must cover, 0 to 1. To post for a minor, a dependent elder or somebody else takes a `consent`.
    """

    service_type: values.Slug
    place_id: uuid.UUID
    title: values.Bilingual
    description: values.BilingualProse = values.BilingualProse()
    location: values.Point | None = None
    radius_m: values.Metres | None = None
    beneficiary: Beneficiary = "community"
    consent: ConsentDraft | None = None
    beneficiaries: values.Quantity = 0
    priority: values.Priority = "normal"
    windows: Annotated[tuple[values.Window, ...], Meta(min_length=1, max_length=32)]
    min_coverage: Annotated[float, Meta(ge=0, le=1)] = 1.0
    budget: values.Price | None = None
    slots: Annotated[tuple[values.Slot, ...], Meta(min_length=1, max_length=16)]
    status: Literal["draft", "open"] = "open"

    def __post_init__(self) -> None:
        if len({slot.role for slot in self.slots}) != len(self.slots):
            raise ValueError("slots: each role once")


class NeedChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What may change of a need: everything but its place, its service type and for whom it is."""

    title: values.Bilingual | UnsetType = UNSET
    description: values.BilingualProse | UnsetType = UNSET
    location: values.Point | UnsetType | None = UNSET
    radius_m: values.Metres | UnsetType | None = UNSET
    beneficiaries: values.Quantity | UnsetType = UNSET
    priority: values.Priority | UnsetType = UNSET
    windows: Annotated[tuple[values.Window, ...], Meta(min_length=1, max_length=32)] | UnsetType = (
        UNSET
    )
    min_coverage: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    budget: values.Price | UnsetType | None = UNSET
    slots: Annotated[tuple[values.Slot, ...], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    status: Literal["draft", "open"] | UnsetType = UNSET


class NeedRecord(Struct, kw_only=True):
    """A need as it is read. `beneficiary` is for the staff of its place. Unless `location_exact`,
    its location is the middle of a cell of some 300 m in which somebody lives, and its place no
    building."""

    id: uuid.UUID
    service_type: str
    place_id: uuid.UUID
    title: values.Bilingual
    description: values.BilingualProse
    location: values.Point | None
    location_exact: bool = True
    radius_m: int | None
    beneficiary: Beneficiary | UnsetType = UNSET
    beneficiaries: int
    priority: values.Priority
    windows: tuple[values.Window, ...]
    min_coverage: float
    budget: values.Price | None
    slots: tuple[values.Slot, ...]
    status: NeedStatus
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime

    @property
    def is_home(self) -> bool:
        """Whether where it is exactly is for the staff of its place alone."""
        return self.beneficiary != "community"

    @property
    def owner(self) -> None:
        """Needs belong to places, not to partners."""


async def post(draft: NeedDraft, posted_by: uuid.UUID) -> NeedRecord:
    """Post a need. Refuses unknown references, a radius without a centre, and a need on somebody's
    behalf to which nobody has agreed."""
    if draft.beneficiary in ON_BEHALF and draft.consent is None:
        raise errors.refuse_field("consent", "consent_required")
    draft = await complete(draft)
    moment, need_id = base.now(), base.new_id()
    public = draft.place_id
    if draft.beneficiary != "community":
        public = (await public_places([draft.place_id]))[draft.place_id]
    row = {
        "id": need_id,
        "place": draft.place_id,
        "public_place": public,
        "posted_by": posted_by,
        "service_type": draft.service_type,
        "beneficiary": draft.beneficiary,
        "version": 1,
        "created_at": moment,
        "updated_at": moment,
        **columns(draft),
    }
    async with engine.unit_of_work() as work:
        await base.insert(Need, row)
        agreed = await _record(need_id, draft, posted_by)
        await outbox.append(
            work, "need.changed", need_id, place=draft.place_id, action="need.posted", **agreed
        )
        return shape([row[name] for name in COLUMNS.split(", ")])


async def _record(
    need: uuid.UUID, draft: NeedDraft, recorded_by: uuid.UUID
) -> dict[str, str | int]:
    """Keep the consent of a draft; answers what the audit trail says of it."""
    consent = draft.consent
    if consent is None:
        return {}
    if consent.given_at > base.now():
        raise errors.refuse_field("consent.given_at", "out_of_range", needed="not in the future")
    consent_id = base.new_id()
    await Consent.insert(
        Consent(id=consent_id, need=need, recorded_by=recorded_by, **structs.asdict(consent))
    )
    return {"on_behalf": int(draft.beneficiary in ON_BEHALF), "consent": str(consent_id)}


async def consent_of(need: uuid.UUID) -> ConsentRecord:
    """The consent to a need, or the not-found refusal."""
    rows = await engine.fetch("SELECT * FROM consent WHERE need = $1", need)
    if not rows:
        raise errors.not_found()
    return base.record({**rows[0], "need_id": rows[0]["need"]}, ConsentRecord)


async def withdraw_consent(need: NeedRecord) -> ConsentRecord:
    """Whoever agreed no longer does: the need is withdrawn with it. The consent stays on record.

    Refuses a consent that was withdrawn before.
    """
    consent = await consent_of(need.id)
    async with engine.unit_of_work() as work:
        withdrawn = await engine.fetch(
            "UPDATE consent SET withdrawn_at = $1 WHERE id = $2 AND withdrawn_at IS NULL"
            " RETURNING id",
            base.now(),
            consent.id,
        )
        if not withdrawn:
            raise errors.Refusal("wrong_state", has="withdrawn", needed="given")
        await engine.execute(
            "UPDATE need SET status = 'withdrawn', version = version + 1, updated_at = $1"
            " WHERE id = $2 AND status <> 'withdrawn'",
            base.now(),
            need.id,
        )
        await outbox.append(
            work,
            "need.changed",
            need.id,
            place=need.place_id,
            action="consent.withdrawn",
            consent=str(consent.id),
        )
        return await consent_of(need.id)


async def complete(draft: NeedDraft) -> NeedDraft:
    """Check what a draft refers to, and take the place's location when it names none."""
    await services.refer("service_type", (draft.service_type,))
    place = await located(draft.place_id)
    if place is None:
        raise errors.refuse_field(
            "place_id", "unknown_reference", what="place", value=str(draft.place_id)
        )
    if draft.location is None:
        draft.location = place.location
    if draft.radius_m is not None and draft.location is None:
        raise errors.refuse_field("location", "required")
    return draft


async def change(need: NeedRecord, change: NeedChange) -> NeedRecord:
    """Apply a change. The caller holds the version it read (If-Match)."""
    if need.status not in ("draft", "open"):
        raise errors.Refusal("wrong_state", has=need.status, needed="draft | open")
    draft = await complete(NeedDraft(**(as_draft(need) | base.given(change))))
    async with engine.unit_of_work() as work:
        await base.update(Need, need, columns(draft))
        await outbox.append(work, "need.changed", need.id, place=need.place_id)
        return await read(need.id)


async def hold(need_id: uuid.UUID) -> NeedRecord:
    """A need as it is, locked until the end of the transaction: nobody takes it back meanwhile."""
    held = f"UPDATE need SET status = status WHERE id = $1 RETURNING {COLUMNS}"
    rows = await engine.rows(held, need_id)
    if not rows:
        raise errors.not_found()
    return shape(rows[0])


async def close(need_id: uuid.UUID) -> None:
    """Everything a need asks for is there. One that is not open stays as it is."""
    await _turn(need_id, "open", "closed", "need.filled")


async def reopen(need_id: uuid.UUID) -> None:
    """Something of a need is missing again. One that is not closed stays as it is."""
    await _turn(need_id, "closed", "open", "need.reopened")


async def _turn(need_id: uuid.UUID, before: NeedStatus, after: NeedStatus, action: str) -> None:
    async with engine.unit_of_work() as work:
        rows = await engine.rows(
            "UPDATE need SET status = $1, version = version + 1, updated_at = $2"
            " WHERE id = $3 AND status = $4 RETURNING place",
            after,
            base.now(),
            need_id,
            before,
        )
        for (place,) in rows:
            await outbox.append(
                work, "need.changed", need_id, place=base.as_id(place), action=action
            )


async def withdraw(need: NeedRecord) -> NeedRecord:
    """Take a need back; it stays readable to the staff of its place as history."""
    async with engine.unit_of_work() as work:
        await base.update(Need, need, {"status": "withdrawn"})
        await outbox.append(
            work, "need.changed", need.id, place=need.place_id, action="need.withdrawn"
        )
        return await read(need.id)


async def read(need_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING) -> NeedRecord:
    """One need, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("id = {}", need_id)
    sees.restrict(where, PUBLIC, "place", None)
    rows = await engine.rows(f"SELECT {COLUMNS} FROM need WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return shape(rows[0])


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    status: str | None = None,
    service_type: str | None = None,
    priority: str | None = None,
    within: uuid.UUID | None = None,
) -> list[NeedRecord]:
    """Up to `limit` needs that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, PUBLIC, "place", None)
    if status:
        where.state("status", status)
    if service_type:
        where.add("service_type = {}", service_type)
    if priority:
        where.add("priority = {}", priority)
    if within:
        sees.within(where, within, "place", "public_place", None)
    where.page("id", after)
    page = f"{where} ORDER BY id DESC LIMIT {int(limit)}"
    rows = await engine.rows(f"SELECT {COLUMNS} FROM need WHERE {page}", *where.args)
    return [shape(row) for row in rows]


async def read_many(need_ids: Sequence[uuid.UUID]) -> list[NeedRecord]:
    """Those of the needs that exist, by id."""
    if not need_ids:
        return []
    these = f"id IN ({base.placeholders(len(need_ids))}) ORDER BY id"
    rows = await engine.rows(f"SELECT {COLUMNS} FROM need WHERE {these}", *need_ids)
    return [shape(row) for row in rows]


async def open_for(
    service_type: str, sees: accounts.Visibility, where: base.Where
) -> list[NeedRecord]:
    """Every open need of a service type that the caller may see and that meets the conditions."""
    where.add("status = 'open' AND service_type = {}", service_type)
    sees.restrict(where, PUBLIC, "place", None)
    rows = await engine.rows(f"SELECT {COLUMNS} FROM need WHERE {where} ORDER BY id", *where.args)
    return [shape(row) for row in rows]


async def public_places_of(need_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """What everybody may know of where these needs are."""
    if not need_ids:
        return {}
    rows = await engine.rows(
        f"SELECT id, public_place FROM need WHERE id IN ({base.placeholders(len(need_ids))})",
        *need_ids,
    )
    return {base.as_id(need): base.as_id(place) for need, place in rows}


async def count_open(sees: accounts.Visibility, within: uuid.UUID) -> int:
    """How many open needs there are in a place that the caller may see there."""
    where = base.Where()
    where.add(PUBLIC)
    sees.restrict(where, PUBLIC, "place", None)
    sees.within(where, within, "place", "public_place", None)
    ((count,),) = await engine.rows(f"SELECT count(*) FROM need WHERE {where}", *where.args)
    return int(count)


def as_draft(need: NeedRecord) -> dict[str, Any]:
    """A need's own fields, as a draft would state them; a consent is given once and not again."""
    return {
        name: value
        for name in NeedDraft.__struct_fields__
        if name != "consent" and (value := getattr(need, name)) is not UNSET
    }


def shape(row: Sequence[Any]) -> NeedRecord:
    """The COLUMNS of a row of `need` as a record."""
    need_id, service_type, place, title_zh, title_en, description_zh, description_en = row[:7]
    lat_e6, lon_e6, radius_m, beneficiary, beneficiaries, priority, windows = row[7:14]
    coverage, amount, currency, per, slots, status, version, created_at, updated_at = row[14:]
    return NeedRecord(
        id=base.as_id(need_id),
        service_type=service_type,
        place_id=base.as_id(place),
        title=values.Bilingual(title_zh, title_en),
        description=values.BilingualProse(description_zh, description_en),
        location=values.point(lat_e6, lon_e6),
        radius_m=radius_m,
        beneficiary=beneficiary,
        beneficiaries=beneficiaries,
        priority=priority,
        windows=_unpack(windows, _WINDOWS),
        min_coverage=coverage / 10_000,
        budget=None if amount is None else values.Price(amount, currency, per),
        slots=_unpack(slots, _SLOTS),
        status=status,
        version=version,
        created_at=base.moment(created_at),
        updated_at=base.moment(updated_at),
    )


# Many needs have the same times and ask for the same; what comes out is never changed.
_WINDOWS, _SLOTS = tuple[values.Window, ...], tuple[values.Slot, ...]
_unpack: Any = functools.lru_cache(maxsize=8192)(base.unpack)


def columns(draft: NeedDraft) -> dict[str, Any]:
    """What a draft sets of its row."""
    return {
        "title_zh": draft.title.zh,
        "title_en": draft.title.en,
        "description_zh": draft.description.zh,
        "description_en": draft.description.en,
        **values.position(draft.location),
        **disclosure.public_position(draft.location, draft.beneficiary != "community"),
        "radius_m": draft.radius_m,
        "beneficiaries": draft.beneficiaries,
        "priority": draft.priority,
        "windows": base.pack(draft.windows),
        "slots": base.pack(draft.slots),
        "min_coverage_bp": round(draft.min_coverage * 10_000),
        "budget_amount": draft.budget.amount if draft.budget else None,
        "budget_currency": draft.budget.currency if draft.budget else None,
        "budget_per": draft.budget.per if draft.budget else None,
        "status": draft.status,
    }
