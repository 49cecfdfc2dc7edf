"""Training and study visits of a place, and the skills they grant until a day.

Whoever records that a volunteer or vanguard has completed one stands for it: the skill becomes a
credential of the offering, verified by that member of staff, which its holder can neither state
nor change. The day it ends it is no longer matched; the record of it stays.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
import uuid
import zoneinfo
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from piccolo.columns import UUID, Date, ForeignKey, Integer, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, offerings, outbox, partners, places, values

TrainingKind = Literal["training", "study_visit"]
TrainingStatus = Literal["active", "withdrawn"]
CompletionStatus = Literal["valid", "expired", "withdrawn"]
# Who can be trained: people.
KINDS = frozenset({"volunteer", "vanguard"})
# So far back a completion can be recorded.
BACK = dt.timedelta(days=3660)
_DURATION = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?\Z")
Duration = Annotated[
    str,
    Meta(
        pattern=r"^P(?=[0-9])(?:[0-9]{1,2}Y)?(?:[0-9]{1,3}M)?(?:[0-9]{1,3}W)?(?:[0-9]{1,4}D)?\Z",
        description="ISO 8601 duration in years, months, weeks and days: P2Y, P18M, P90D",
    ),
]
_PUBLIC = "t.status = 'active'"
_COMPLETED = (
    "SELECT c.*, t.skill, l.timezone FROM completion c JOIN training t ON t.id = c.training"
    " JOIN place l ON l.id = c.place"
)


class Training(Table):
    """A training or study visit, and for how long its skill is good: a duration or a last day."""

    id = UUID(primary_key=True)
    kind = Varchar(length=16, null=False)
    place = ForeignKey(places.Place, null=False)
    title_zh = Varchar(length=200, null=False)
    title_en = Varchar(length=200, null=False)
    provider_zh = Varchar(length=200, null=False)
    provider_en = Varchar(length=200, null=False)
    skill = Varchar(length=64, null=False)
    valid_for = Varchar(length=32, null=True, default=None)
    valid_until = Date(null=True, default=None)
    status = Varchar(length=16, null=False)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class Completion(Table):
    """An offering's person has completed a training. Both dates are inclusive, of the place."""

    id = UUID(primary_key=True)
    training = ForeignKey(Training, null=False)
    # The training's: its staff read it.
    place = ForeignKey(places.Place, null=False)
    partner = ForeignKey(partners.Partner, null=False)
    offering = ForeignKey(offerings.Offering, null=False)
    # What it granted; gone when it is withdrawn.
    credential = UUID(null=False)
    completed_on = Date(null=False)
    valid_to = Date(null=False)
    recorded_by = UUID(null=False)
    recorded_at = Timestamptz(null=False)
    withdrawn_at = Timestamptz(null=True, default=None)


class TrainingDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """A training of a place. `skill` is what slots ask for among their `credentials`; it is good
    for a duration from the day of completion, or until a last day."""

    kind: TrainingKind = "training"
    place_id: uuid.UUID
    title: values.Bilingual
    provider: values.Bilingual
    skill: values.Slug
    valid_for: Duration | None = None
    valid_until: dt.date | None = None

    def __post_init__(self) -> None:
        if (self.valid_for is None) == (self.valid_until is None):
            raise ValueError("valid_for: either this or valid_until")
        if self.valid_for and not re.search(r"[1-9]", self.valid_for):
            raise ValueError("valid_for: at least a day")


class TrainingChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What may change of a training: its words. What it grants stays as those were told who came;
    withdraw it and make another."""

    title: values.Bilingual | UnsetType = UNSET
    provider: values.Bilingual | UnsetType = UNSET


class TrainingRecord(Struct, kw_only=True):
    """A training as it is read."""

    id: uuid.UUID
    kind: TrainingKind
    place_id: uuid.UUID
    title: values.Bilingual
    provider: values.Bilingual
    skill: str
    valid_for: str | None
    valid_until: dt.date | None
    status: TrainingStatus
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


class CompletionDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whose offering, and on which day of the training's place it was completed."""

    offering_id: uuid.UUID
    completed_on: dt.date


class CompletionRecord(Struct, kw_only=True):
    """A completed training. `status` is as of today: what is expired stays on record."""

    id: uuid.UUID
    training_id: uuid.UUID
    place_id: uuid.UUID
    partner_id: uuid.UUID
    offering_id: uuid.UUID
    skill: str
    completed_on: dt.date
    valid_to: dt.date
    status: CompletionStatus
    recorded_by: uuid.UUID
    recorded_at: dt.datetime
    withdrawn_at: dt.datetime | None


async def hold(draft: TrainingDraft) -> TrainingRecord:
    """Announce a training of a place."""
    await base.refer("place_id", places.Place, draft.place_id)
    moment, training_id = base.now(), base.new_id()
    async with engine.unit_of_work() as work:
        await Training.insert(
            Training(
                id=training_id,
                kind=draft.kind,
                place=draft.place_id,
                skill=draft.skill,
                valid_for=draft.valid_for,
                valid_until=draft.valid_until,
                status="active",
                version=1,
                created_at=moment,
                updated_at=moment,
                **_texts({"title": draft.title, "provider": draft.provider}),
            )
        )
        await _announce(work, training_id, draft.place_id, "training.held")
        return await read(training_id)


async def change(training: TrainingRecord, change: TrainingChange) -> TrainingRecord:
    """Apply a change. The caller holds the version it read (If-Match)."""
    async with engine.unit_of_work() as work:
        await base.update(Training, training, _texts(base.given(change)))
        await _announce(work, training.id, training.place_id, "training.changed")
        return await read(training.id)


async def withdraw(training: TrainingRecord) -> TrainingRecord:
    """Grant nothing by it any more; what it has granted stays."""
    async with engine.unit_of_work() as work:
        await base.update(Training, training, {"status": "withdrawn"})
        await _announce(work, training.id, training.place_id, "training.withdrawn")
        return await read(training.id)


async def complete(
    training: TrainingRecord,
    offering: offerings.OfferingRecord,
    completed_on: dt.date,
    recorded_by: uuid.UUID,
) -> CompletionRecord:
    """Record that the person of an offering has completed a training, which grants its skill.

    Refuses an offering that is no person or is withdrawn, a training that is withdrawn, a day to
    come or after the training's last, and the same day twice.
    """
    place = await places.read(training.place_id)
    valid_to = _refuse_unfit(training, offering, completed_on, place.timezone)
    granted = partners.CredentialDraft(
        kind=training.skill,
        issuer=place.name.zh,
        number=str(training.id),
        valid_from=completed_on,
        valid_to=valid_to,
    )
    completion_id = base.new_id()
    try:
        async with engine.unit_of_work() as work:
            credential = await partners.grant(
                granted,
                partner=offering.partner_id,
                offering=offering.id,
                training=training.id,
                verified_by=recorded_by,
            )
            await Completion.insert(
                Completion(
                    id=completion_id,
                    training=training.id,
                    place=training.place_id,
                    partner=offering.partner_id,
                    offering=offering.id,
                    credential=credential,
                    completed_on=completed_on,
                    valid_to=valid_to,
                    recorded_by=recorded_by,
                    recorded_at=base.now(),
                )
            )
            await outbox.append(
                work,
                "completion.changed",
                completion_id,
                place=place.id,
                action="training.completed",
            )
            return await read_completion(completion_id)
    except engine.CONFLICTS:
        raise errors.Refusal("taken", field="completed_on", value=str(completed_on)) from None


async def take_back(completion: CompletionRecord) -> CompletionRecord:
    """It was recorded by mistake: the skill is no longer the offering's. Refuses the second
    time."""
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "UPDATE completion SET withdrawn_at = $1 WHERE id = $2 AND withdrawn_at IS NULL"
            " RETURNING credential",
            base.now(),
            completion.id,
        )
        if not rows:
            raise errors.Refusal("wrong_state", has="withdrawn", needed="valid | expired")
        await partners.take_back(base.as_id(rows[0]["credential"]))
        await outbox.append(
            work,
            "completion.changed",
            completion.id,
            place=completion.place_id,
            action="completion.withdrawn",
        )
        return await read_completion(completion.id)


async def read(
    training_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> TrainingRecord:
    """One training, or the not-found refusal."""
    where = base.Where()
    where.add("t.id = {}", training_id)
    sees.restrict(where, _PUBLIC, "t.place", None)
    rows = await engine.fetch(f"SELECT t.* FROM training t WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return _shape(rows[0])


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    within: uuid.UUID | None = None,
    kind: str | None = None,
    skill: str | None = None,
) -> list[TrainingRecord]:
    """Up to `limit` trainings that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, _PUBLIC, "t.place", None)
    if within:
        where.within("t.place", within)
    if kind:
        where.add("t.kind = {}", kind)
    if skill:
        where.add("t.skill = {}", skill)
    where.page("t.id", after)
    rows = await engine.fetch(
        f"SELECT t.* FROM training t WHERE {where} ORDER BY t.id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [_shape(row) for row in rows]


async def read_completion(
    completion_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> CompletionRecord:
    """One completion, for the staff of the training's place and the partner's own people."""
    where = base.Where()
    where.add("c.id = {}", completion_id)
    sees.restrict(where, "1 = 0", "c.place", "c.partner")
    rows = await engine.fetch(f"{_COMPLETED} WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return _completion(rows[0])


async def browse_completions(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    training: uuid.UUID | None = None,
    offering: uuid.UUID | None = None,
    partner: uuid.UUID | None = None,
) -> list[CompletionRecord]:
    """Up to `limit` completions that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, "1 = 0", "c.place", "c.partner")
    if training:
        where.add("c.training = {}", training)
    if offering:
        where.add("c.offering = {}", offering)
    if partner:
        where.add("c.partner = {}", partner)
    where.page("c.id", after)
    rows = await engine.fetch(
        f"{_COMPLETED} WHERE {where} ORDER BY c.id DESC LIMIT {int(limit)}", *where.args
    )
    return [_completion(row) for row in rows]


def last_day(begins: dt.date, duration: str) -> dt.date:
    """The last day of a time that begins on a day and takes an ISO 8601 duration of at least a day:
    years and months first, by the calendar (a day that a month lacks is its last), then days."""
    found = _DURATION.match(duration)
    assert found, duration
    years, months, weeks, days = (int(part or 0) for part in found.groups())
    month = begins.month - 1 + 12 * years + months
    year, month = begins.year + month // 12, month % 12 + 1
    day = min(begins.day, calendar.monthrange(year, month)[1])
    return dt.date(year, month, day) + dt.timedelta(days=7 * weeks + days - 1)


def _refuse_unfit(
    training: TrainingRecord, offering: offerings.OfferingRecord, day: dt.date, zone: str
) -> dt.date:
    """The last day of the skill. Refuses what cannot be recorded, by its field."""
    if training.status != "active":
        raise errors.Refusal("wrong_state", has=training.status, needed="active")
    if offering.kind not in KINDS:
        raise errors.refuse_field("offering_id", "out_of_range", needed="a volunteer or a vanguard")
    if offering.status == "withdrawn":
        raise errors.Refusal("wrong_state", has="withdrawn", needed="draft | active | paused")
    today = _today(zone)
    if not today - BACK <= day <= min(today, training.valid_until or today):
        until = f", at most {training.valid_until}" if training.valid_until else ""
        needed = f"a day of the last ten years, not to come{until}"
        raise errors.refuse_field("completed_on", "out_of_range", needed=needed)
    return training.valid_until or last_day(day, training.valid_for or "")


def _today(zone: str) -> dt.date:
    return base.now().astimezone(zoneinfo.ZoneInfo(zone)).date()


async def _announce(work: engine.Work, training: uuid.UUID, place: uuid.UUID, action: str) -> None:
    await outbox.append(work, "training.changed", training, place=place, action=action)


def _texts(given: dict[str, values.Bilingual]) -> dict[str, Any]:
    return {
        f"{name}_{tongue}": getattr(text, tongue)
        for name, text in given.items()
        for tongue in ("zh", "en")
    }


def _shape(row: dict[str, Any]) -> TrainingRecord:
    return base.record(
        {
            **row,
            "place_id": row["place"],
            "title": {"zh": row["title_zh"], "en": row["title_en"]},
            "provider": {"zh": row["provider_zh"], "en": row["provider_en"]},
        },
        TrainingRecord,
    )


def _completion(row: dict[str, Any]) -> CompletionRecord:
    valid_to = dt.date.fromisoformat(str(row["valid_to"]))
    expired = valid_to < _today(row["timezone"])
    return base.record(
        {
            **row,
            "training_id": row["training"],
            "place_id": row["place"],
            "partner_id": row["partner"],
            "offering_id": row["offering"],
            "status": "withdrawn" if row["withdrawn_at"] else "expired" if expired else "valid",
        },
        CompletionRecord,
    )
