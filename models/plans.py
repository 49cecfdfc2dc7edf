"""Plans: who should serve whom, over all open needs of a place at once, and the queue of them.

Whoever works on a plan holds a lease on it; a lease that ran out, or whose process was killed, is
taken by the next. What a plan was made from and what came of it are JSON of the planner's own.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from piccolo.columns import UUID, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine, errors, needs, offerings, outbox, values
from models.places import Place

PlanStatus = Literal["queued", "running", "interrupted", "done", "cancelled", "failed"]
PlanPhase = Literal[
    "waiting", "gathering", "bounding", "choosing", "proving", "improving", "accounting", "over"
]
_WAITING = ("queued", "interrupted", "running")
# A plan that took its process down so often will do so again.
MOST_ATTEMPTS = 3
LEASE_S = 30
# All but what a plan was made from and what came of it, which may be megabytes.
COLUMNS = (
    "id, place, objective, options, status, phase, share_bp, needs, candidates, asked_by,"
    " time_limit_s, attempts, version, input_digest, failure, created_at, started_at, finished_at"
)

# What the outbox calls a plan that was asked for, or has come further.
TOPIC = "plan.changed"


class Plan(Table):
    """A plan from its question to its answer. `worker` holds it until `lease_until`."""

    id = UUID(primary_key=True)
    place = ForeignKey(Place, null=False)
    objective = Varchar(length=16, null=False)
    options = Text(null=False)
    status = Varchar(length=16, null=False)
    phase = Varchar(length=16, null=False)
    share_bp = Integer(null=False)
    needs = Integer(null=False)
    candidates = Integer(null=False)
    asked_by = ForeignKey(accounts.Account, null=False)
    time_limit_s = Integer(null=False)
    attempts = Integer(null=False)
    worker = UUID(null=True, default=None)
    lease_until = Timestamptz(null=True, default=None)
    version = Integer(null=False)
    input_digest = Varchar(length=64, null=True, default=None)
    input = Text(null=True, default=None)
    result = Text(null=True, default=None)
    failure = Varchar(length=1000, null=True, default=None)
    created_at = Timestamptz(null=False)
    started_at = Timestamptz(null=True, default=None)
    finished_at = Timestamptz(null=True, default=None)
    updated_at = Timestamptz(null=False)


class PinDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """An offering that is to serve a role of a need, whatever else would be better."""

    need_id: uuid.UUID
    role: values.Slug
    offering_id: uuid.UUID


class BudgetDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """Money for all needs of a place and what lies below it."""

    place_id: uuid.UUID
    amount: values.Money
    currency: values.Currency = "CNY"
    per: Literal["week", "month"] = "month"


class PlanDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a plan is asked for.

    `objective` `utility` serves the most and best, `stable` leaves no pair that would rather have
    each other. `keep` is a finished plan of the same place whose assignments are worth
    `keep_points` more, so that a small change moves little. `time_limit_s` is for the solver.
    """

    place_id: uuid.UUID
    objective: Literal["utility", "stable"] = "utility"
    time_limit_s: Annotated[int, Meta(ge=1, le=600)] = 30
    keep: uuid.UUID | None = None
    keep_points: Annotated[int, Meta(ge=0, le=100)] = 5
    pins: Annotated[tuple[PinDraft, ...], Meta(max_length=100)] = ()
    budgets: Annotated[tuple[BudgetDraft, ...], Meta(max_length=100)] = ()


class Options(Struct):
    """What of a draft only the planner reads."""

    keep: uuid.UUID | None
    keep_points: int
    pins: tuple[PinDraft, ...]
    budgets: tuple[BudgetDraft, ...]


class PlanRecord(Struct, kw_only=True):
    """A plan as it is read. `progress` is 0 to 1; `needs` and `candidates` are those gathered so
    far; `failure` says why a failed one failed."""

    id: uuid.UUID
    place_id: uuid.UUID
    objective: Literal["utility", "stable"]
    status: PlanStatus
    phase: PlanPhase
    progress: float
    needs: int
    candidates: int
    asked_by: uuid.UUID
    time_limit_s: int
    attempts: int
    keep: uuid.UUID | None
    keep_points: int
    pins: tuple[PinDraft, ...]
    budgets: tuple[BudgetDraft, ...]
    input_digest: str | None
    failure: str | None
    version: int
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None


async def ask(draft: PlanDraft, asked_by: uuid.UUID) -> PlanRecord:
    """Put a plan into the queue. Refuses references to what does not exist, and a plan to keep
    that is not finished or is of another place."""
    await base.refer("place_id", Place, draft.place_id)
    await _check(draft)
    moment, plan_id = base.now(), base.new_id()
    options = Options(draft.keep, draft.keep_points, draft.pins, draft.budgets)
    async with engine.unit_of_work() as work:
        await Plan.insert(
            Plan(
                id=plan_id,
                place=draft.place_id,
                objective=draft.objective,
                options=base.pack(options),
                status="queued",
                phase="waiting",
                share_bp=0,
                needs=0,
                candidates=0,
                asked_by=asked_by,
                time_limit_s=draft.time_limit_s,
                attempts=0,
                version=1,
                created_at=moment,
                updated_at=moment,
            )
        )
        await outbox.append(work, TOPIC, plan_id, place=draft.place_id, action="plan.asked")
        return await read(plan_id)


async def _check(draft: PlanDraft) -> None:
    if draft.keep is not None:
        rows = await engine.fetch(
            "SELECT 1 FROM plan WHERE id = $1 AND place = $2 AND status = 'done'",
            draft.keep,
            draft.place_id,
        )
        if not rows:
            raise errors.refuse_field(
                "keep", "unknown_reference", what="finished plan", value=str(draft.keep)
            )
    for at, pin in enumerate(draft.pins):
        await base.refer(f"pins[{at}].need_id", needs.Need, pin.need_id)
        await base.refer(f"pins[{at}].offering_id", offerings.Offering, pin.offering_id)
    for at, budget in enumerate(draft.budgets):
        await base.refer(f"budgets[{at}].place_id", Place, budget.place_id)


async def read(plan_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING) -> PlanRecord:
    """One plan, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("id = {}", plan_id)
    sees.restrict(where, "1 = 0", "place", None)
    rows = await engine.fetch(f"SELECT {COLUMNS} FROM plan WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return shape(rows[0])


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    within: uuid.UUID | None = None,
    status: str | None = None,
) -> list[PlanRecord]:
    """Up to `limit` plans that the caller may see, newest first."""
    where = base.Where()
    sees.restrict(where, "1 = 0", "place", None)
    if within:
        where.within("place", within)
    if status:
        where.add("status = {}", status)
    where.page("id", after)
    rows = await engine.fetch(
        f"SELECT {COLUMNS} FROM plan WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [shape(row) for row in rows]


async def result_of(plan_id: uuid.UUID) -> str | None:
    """What came of a plan: JSON of the planner's own, null until it is done."""
    return await _text(plan_id, "result")


async def input_of(plan_id: uuid.UUID) -> str | None:
    """What a plan was made from: JSON of the planner's own, null until it is done."""
    return await _text(plan_id, "input")


async def _text(plan_id: uuid.UUID, column: str) -> str | None:
    rows = await engine.rows(f"SELECT {column} FROM plan WHERE id = $1", plan_id)
    return rows[0][0] if rows else None


async def cancel(plan: PlanRecord) -> PlanRecord:
    """Give a plan up before it is done; a planner at work stops. Refuses one that is over."""
    async with engine.unit_of_work() as work:
        moment = base.now()
        gone = await engine.fetch(
            "UPDATE plan SET status = 'cancelled', phase = 'over', worker = NULL,"
            " finished_at = $1, updated_at = $1, version = version + 1"
            f" WHERE id = $2 AND status IN ({base.placeholders(len(_WAITING), 3)}) RETURNING id",
            moment,
            plan.id,
            *_WAITING,
        )
        if not gone:
            has = (await read(plan.id)).status
            raise errors.Refusal("wrong_state", has=has, needed=" | ".join(_WAITING))
        await outbox.append(work, TOPIC, plan.id, place=plan.place_id, action="plan.cancelled")
        return await read(plan.id)


# The queue. `worker` is an id that a process gives itself anew at every start.


async def claim(worker: uuid.UUID) -> PlanRecord | None:
    """Take the oldest plan that waits, or whose worker is gone; None if there is none.

    Of several processes one gets it. What was begun too often is given up as failed.
    """
    while True:
        plan = await _take(worker)
        if plan is None or plan.attempts <= MOST_ATTEMPTS:
            return plan
        await fail(plan, worker, f"It was begun {MOST_ATTEMPTS} times and never finished.")


async def _take(worker: uuid.UUID) -> PlanRecord | None:
    moment = base.now()
    waiting = "status IN ('queued', 'interrupted') OR (status = 'running' AND lease_until < {})"
    # Asked often and nearly always in vain: not as a writer.
    if not await engine.rows(f"SELECT 1 FROM plan WHERE {waiting.format('$1')} LIMIT 1", moment):
        return None
    lock = " FOR UPDATE SKIP LOCKED" if engine.current().dialect == "postgres" else ""
    async with engine.unit_of_work():
        rows = await engine.fetch(
            "UPDATE plan SET status = 'running', phase = 'gathering', share_bp = 0, worker = $1,"
            " lease_until = $2, attempts = attempts + 1, version = version + 1,"
            " started_at = COALESCE(started_at, $3), updated_at = $3 WHERE id = ("
            f"SELECT id FROM plan WHERE {waiting.format('$3')} ORDER BY id LIMIT 1{lock})"
            f" RETURNING {COLUMNS}",
            worker,
            moment + dt.timedelta(seconds=LEASE_S),
            moment,
        )
    return shape(rows[0]) if rows else None


async def beat(plan: PlanRecord, worker: uuid.UUID, **progress: str | int) -> bool:
    """Renew the lease and say how far it is (`phase`, `share_bp`, `needs`, `candidates`). False
    when the plan is no longer this worker's: cancelled, or somebody else's."""
    where = base.Where()
    moment = base.now()
    columns = {
        **progress,
        "lease_until": moment + dt.timedelta(seconds=LEASE_S),
        "updated_at": moment,
    }
    changes = ", ".join(f"{name} = {where.value(value)}" for name, value in columns.items())
    where.add("id = {} AND status = 'running' AND worker = {}", plan.id, worker)
    rows = await engine.fetch(
        f"UPDATE plan SET {changes}, version = version + 1 WHERE {where} RETURNING id", *where.args
    )
    return bool(rows)


async def finish(
    plan: PlanRecord, worker: uuid.UUID, *, content: str, digest: str, result: str
) -> bool:
    """The answer, in one transaction. False when the plan is no longer this worker's."""
    return await _end(
        plan, worker, "plan.finished", status="done", share_bp=10_000, phase="over",
        input=content, input_digest=digest, result=result,
    )  # fmt: skip


async def fail(plan: PlanRecord, worker: uuid.UUID, reason: str) -> bool:
    """Give a plan up, saying why. False when the plan is no longer this worker's."""
    return await _end(
        plan, worker, "plan.failed", status="failed", phase="over", failure=reason[:1000]
    )


async def give_back(plan: PlanRecord, worker: uuid.UUID) -> None:
    """A clean stop: the plan waits for the next start, and this one does not count."""
    await engine.execute(
        "UPDATE plan SET status = 'interrupted', phase = 'waiting', worker = NULL,"
        " attempts = attempts - 1, version = version + 1, updated_at = $1"
        " WHERE id = $2 AND status = 'running' AND worker = $3",
        base.now(),
        plan.id,
        worker,
    )


async def interrupt_all() -> None:
    """At the start of the only process there is: what was running was cut off. It waits again."""
    await engine.execute(
        "UPDATE plan SET status = 'interrupted', phase = 'waiting', worker = NULL,"
        " version = version + 1, updated_at = $1 WHERE status = 'running'",
        base.now(),
    )


async def _end(plan: PlanRecord, worker: uuid.UUID, action: str, **columns: Any) -> bool:
    moment = base.now()
    where = base.Where()
    columns = {**columns, "finished_at": moment, "updated_at": moment}
    changes = ", ".join(f"{name} = {where.value(value)}" for name, value in columns.items())
    where.add("id = {} AND status = 'running' AND worker = {}", plan.id, worker)
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            f"UPDATE plan SET {changes}, worker = NULL, version = version + 1 WHERE {where}"
            " RETURNING id",
            *where.args,
        )
        if rows:
            await outbox.append(work, TOPIC, plan.id, place=plan.place_id, action=action)
    return bool(rows)


def shape(row: dict[str, Any]) -> PlanRecord:
    """A row of `plan` as a record."""
    options = base.unpack(row["options"], Options)
    return base.record(
        {
            **row,
            "place_id": row["place"],
            "progress": row["share_bp"] / 10_000,
            "keep": options.keep,
            "keep_points": options.keep_points,
            "pins": options.pins,
            "budgets": options.budgets,
        },
        PlanRecord,
    )
