"""The docking register: which partner is linked to which practical project of a place.

A link is proposed, docked when both go ahead, and ends delivered, with its result, or dropped,
with a reason. From the moment it is docked it is everybody's to read, and stays so.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, Literal, get_args

from msgspec import UNSET, Struct, UnsetType
from piccolo.columns import UUID, Date, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, needs, outbox, services, spreadsheets, values
from models.partners import Partner
from models.places import Place

DockingStatus = Literal["proposed", "docked", "delivered", "dropped"]
STATUSES: tuple[DockingStatus, ...] = get_args(DockingStatus)
DropReason = Literal[
    "partner_left", "partner_withdrew", "no_longer_needed", "no_funds", "replaced", "other"
]
# So many links one export holds.
MOST = 10_000
_PUBLIC = "d.docked_at IS NOT NULL"
_SELECT = (
    "SELECT d.*, d.partner AS partner_id, d.place AS place_id, d.need AS need_id,"
    " p.name_zh AS partner_zh, p.name_en AS partner_en,"
    " l.name_zh AS place_zh, l.name_en AS place_en"
    " FROM docking d JOIN partner p ON p.id = d.partner JOIN place l ON l.id = d.place"
)
_HEADER = (  # as `_line` has them
    "id status place_zh place_en partner_zh partner_en service_type title_zh title_en brings_zh"
    " brings_en starts_on ends_on result_zh result_en docked_at"
)


class Docking(Table):
    """A partner and a practical project of a place. Both dates are the place's own days."""

    id = UUID(primary_key=True)
    partner = ForeignKey(Partner, null=False)
    place = ForeignKey(Place, null=False)
    service_type = ForeignKey(services.ServiceType, null=False)
    need = ForeignKey(needs.Need, null=True, default=None)
    title_zh = Varchar(length=200, null=False)
    title_en = Varchar(length=200, null=False)
    brings_zh = Text(null=False)
    brings_en = Text(null=False)
    starts_on = Date(null=False)
    ends_on = Date(null=True, default=None)
    result_zh = Text(null=False)
    result_en = Text(null=False)
    status = Varchar(length=16, null=False)
    # Set once and for all: from here on it is public.
    docked_at = Timestamptz(null=True, default=None)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class DockingDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """A project of a place, the partner for it, and what the partner brings. It is for a need, or
    for a service type alone; both dates are inclusive."""

    partner_id: uuid.UUID
    place_id: uuid.UUID
    need_id: uuid.UUID | None = None
    service_type: values.Slug | None = None
    title: values.Bilingual
    brings: values.BilingualProse
    starts_on: dt.date
    ends_on: dt.date | None = None

    def __post_init__(self) -> None:
        if (self.need_id is None) == (self.service_type is None):
            raise ValueError("service_type: either this or need_id")
        if self.ends_on and self.ends_on < self.starts_on:
            raise ValueError("ends_on: on or after starts_on")


class DockingChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What may change of a project until it is over."""

    title: values.Bilingual | UnsetType = UNSET
    brings: values.BilingualProse | UnsetType = UNSET
    starts_on: dt.date | UnsetType = UNSET
    ends_on: dt.date | UnsetType | None = UNSET


class Delivery(Struct, forbid_unknown_fields=True, kw_only=True):
    """What came of a project, in the words of the register."""

    result: values.Bilingual


class Drop(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why nothing comes of a project."""

    reason: DropReason


class DockingRecord(Struct, kw_only=True):
    """A line of the register. `service_type` is the need's where it is for one."""

    id: uuid.UUID
    partner_id: uuid.UUID
    partner_name: values.Bilingual
    place_id: uuid.UUID
    place_name: values.Bilingual
    need_id: uuid.UUID | None
    service_type: str
    title: values.Bilingual
    brings: values.BilingualProse
    starts_on: dt.date
    ends_on: dt.date | None
    result: values.BilingualProse
    status: DockingStatus
    docked_at: dt.datetime | None
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


class Register(Struct, kw_only=True):
    """The register of a place and everything below it, oldest line first."""

    place_id: uuid.UUID
    items: list[DockingRecord]


async def propose(draft: DockingDraft) -> DockingRecord:
    """Propose a project to a partner, which the caller may see, as the need. Refuses a partner
    that has left."""
    await base.refer("place_id", Place, draft.place_id)
    service = await _service(draft)
    moment, docking_id = base.now(), base.new_id()
    async with engine.unit_of_work() as work:
        await _refuse_unless(draft.partner_id, ("applied", "in_review", "admitted", "suspended"))
        await Docking.insert(
            Docking(
                id=docking_id,
                partner=draft.partner_id,
                place=draft.place_id,
                service_type=service,
                need=draft.need_id,
                starts_on=draft.starts_on,
                ends_on=draft.ends_on,
                result_zh="",
                result_en="",
                status="proposed",
                version=1,
                created_at=moment,
                updated_at=moment,
                **_texts({"title": draft.title, "brings": draft.brings}),
            )
        )
        await _announce(work, docking_id, draft.place_id, "docking.proposed")
        return await read(docking_id)


async def change(docking: DockingRecord, change: DockingChange) -> DockingRecord:
    """Apply a change. The caller holds the version it read (If-Match). Refuses a project that is
    over."""
    _refuse_state(docking, ("proposed", "docked"))
    given = base.given(change)
    ends, starts = given.get("ends_on", docking.ends_on), given.get("starts_on", docking.starts_on)
    if ends and ends < starts:
        raise errors.refuse_field("ends_on", "out_of_range", needed="on or after starts_on")
    async with engine.unit_of_work() as work:
        await base.update(Docking, docking, _texts(given))
        await _announce(work, docking.id, docking.place_id, "docking.changed")
        return await read(docking.id)


async def dock(docking: DockingRecord) -> DockingRecord:
    """Both go ahead: the line is public from now on. Refuses a partner that is not admitted."""
    async with engine.unit_of_work():
        await _refuse_unless(docking.partner_id, ("admitted",))
        return await _move(docking, ("proposed",), "docked", {"docked_at": base.now()})


async def deliver(docking: DockingRecord, delivery: Delivery) -> DockingRecord:
    """The project is done, and this came of it."""
    return await _move(docking, ("docked",), "delivered", _texts({"result": delivery.result}))


async def drop(docking: DockingRecord, reason: DropReason) -> DockingRecord:
    """Nothing comes of it; the line stays in the register."""
    return await _move(docking, ("proposed", "docked"), "dropped", {}, reason)


async def drop_all(partner: uuid.UUID) -> None:
    """Drop every project of a partner that leaves and is not over."""
    rows = await engine.fetch(
        f"{_SELECT} WHERE d.partner = $1 AND d.status IN ('proposed', 'docked') ORDER BY d.id",
        partner,
    )
    for row in rows:
        await drop(_shape(row), "partner_left")


async def read(
    docking_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> DockingRecord:
    """One line, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("d.id = {}", docking_id)
    sees.restrict(where, _PUBLIC, "d.place", "d.partner")
    rows = await engine.fetch(f"{_SELECT} WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return _shape(rows[0])


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    within: uuid.UUID | None = None,
    partner: uuid.UUID | None = None,
    status: str | None = None,
) -> list[DockingRecord]:
    """Up to `limit` lines that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, _PUBLIC, "d.place", "d.partner")
    if within:
        where.within("d.place", within)
    if partner:
        where.add("d.partner = {}", partner)
    if status:
        where.add("d.status = {}", status)
    where.page("d.id", after)
    rows = await engine.fetch(
        f"{_SELECT} WHERE {where} ORDER BY d.id DESC LIMIT {int(limit)}", *where.args
    )
    return [_shape(row) for row in rows]


async def register(place: uuid.UUID, sees: accounts.Visibility) -> Register:
    """The whole register of a place and everything below it, as far as the caller may see it.
    Refuses more than 10,000 lines."""
    where = base.Where()
    sees.restrict(where, _PUBLIC, "d.place", "d.partner")
    where.within("d.place", place)
    rows = await engine.fetch(
        f"{_SELECT} WHERE {where} ORDER BY d.id LIMIT {MOST + 1}", *where.args
    )
    if len(rows) > MOST:
        raise errors.Refusal("too_many", count=f"> {MOST}", what="dockings", limit=MOST)
    return Register(place_id=place, items=[_shape(row) for row in rows])


def as_csv(found: Register) -> bytes:
    """A register as one table, each bilingual text in two columns."""
    return spreadsheets.table(_HEADER.split(), map(_line, found.items))


async def forget(partner: uuid.UUID, gone: values.Bilingual) -> None:
    """A person is forgotten: what they were to bring is dropped, and `gone` stands where the texts
    have been."""
    async with engine.unit_of_work() as work:
        await drop_all(partner)
        rows = await engine.fetch(
            "UPDATE docking SET title_zh = $1, title_en = $2, brings_zh = '', brings_en = '',"
            " result_zh = '', result_en = '', version = version + 1, updated_at = $3"
            " WHERE partner = $4 RETURNING id",
            gone.zh,
            gone.en,
            base.now(),
            partner,
        )
        for row in rows:
            await outbox.announce(work, "docking.changed", base.as_id(row["id"]))


async def _service(draft: DockingDraft) -> str:
    if draft.need_id:
        return (await needs.read(draft.need_id)).service_type
    await services.refer("service_type", (draft.service_type or "",))
    return draft.service_type or ""


async def _refuse_unless(partner: uuid.UUID, statuses: tuple[str, ...]) -> None:
    """Refuse unless the partner is in one of these states, and keep it so until the end of the
    transaction."""
    rows = await engine.fetch(
        "UPDATE partner SET status = status WHERE id = $1 RETURNING status", partner
    )
    if rows[0]["status"] not in statuses:
        raise errors.Refusal("wrong_state", has=rows[0]["status"], needed=" | ".join(statuses))


def _refuse_state(docking: DockingRecord, before: tuple[DockingStatus, ...]) -> None:
    if docking.status not in before:
        raise errors.Refusal("wrong_state", has=docking.status, needed=" | ".join(before))


async def _move(
    docking: DockingRecord,
    before: tuple[DockingStatus, ...],
    status: DockingStatus,
    columns: Mapping[str, Any],
    reason: str | None = None,
) -> DockingRecord:
    _refuse_state(docking, before)
    async with engine.unit_of_work() as work:
        await base.update(Docking, docking, {"status": status, **columns})
        detail = {"was": docking.status, "reason": reason}
        await _announce(work, docking.id, docking.place_id, f"docking.{status}", **detail)
        return await read(docking.id)


async def _announce(
    work: engine.Work, docking: uuid.UUID, place: uuid.UUID, action: str, **detail: str | None
) -> None:
    await outbox.append(work, "docking.changed", docking, place=place, action=action, **detail)


def _texts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Bilingual fields as their two columns; the others as they are."""
    columns: dict[str, Any] = {}
    for name, value in given.items():
        two = isinstance(value, values.Bilingual | values.BilingualProse)
        columns |= {f"{name}_zh": value.zh, f"{name}_en": value.en} if two else {name: value}
    return columns


def _line(record: DockingRecord) -> tuple[Any, ...]:
    return (
        record.id,
        record.status,
        *_two(record.place_name),
        *_two(record.partner_name),
        record.service_type,
        *_two(record.title),
        *_two(record.brings),
        record.starts_on,
        record.ends_on,
        *_two(record.result),
        record.docked_at,
    )


def _two(text: values.Bilingual | values.BilingualProse) -> tuple[str, str]:
    return text.zh, text.en


def _shape(row: dict[str, Any]) -> DockingRecord:
    texts = {
        name: {"zh": row[f"{column}_zh"], "en": row[f"{column}_en"]}
        for name, column in (
            ("title", "title"),
            ("brings", "brings"),
            ("result", "result"),
            ("partner_name", "partner"),
            ("place_name", "place"),
        )
    }
    return base.record({**row, **texts}, DockingRecord)
