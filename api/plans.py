"""Plans: over all open needs of a place at once, who should serve whom."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct, structs

from api import answers, auth, paging, planner, proposing
from api.requests import StrictRequest
from models import (
    accounts,
    agreements,
    engine,
    errors,
    needs,
    offerings,
    places,
    plans,
    proposals,
)
from search import planning
from search.planning import recheck

# What one transaction may check again.
MOST_SEATS = 1_000
First = Annotated[
    int,
    QueryParameter(name="first", ge=0, le=10**6, description="The first assignment to answer."),
]


class AssignmentOut(Struct):
    """One seat of a role of a need, and the offering that takes it. `kept` if it did in the plan
    that this one keeps to."""

    need_id: uuid.UUID
    role: str
    seat: int
    offering_id: uuid.UUID
    partner_id: uuid.UUID
    score: float
    minutes_week: int
    kept: bool


class UnservedOut(Struct):
    """A need that is not served in full: `no_candidates` where fewer fit than are wanted, `outbid`
    where others are worth more."""

    need_id: uuid.UUID
    seats: int
    filled: int
    because: str


class ShareOut(Struct):
    """How many needs of a group are served; `possible` have enough candidates for every seat. What
    it is given: hours a week, and money a year, in minor units."""

    group: str
    needs: int
    possible: int
    served: int
    seats: int
    filled: int
    hours_week: float
    price_year: int


class RuleOut(Struct):
    """A fairness rule, whether it changed who is served, and its price: what a plan without it
    would gain in points and in needs. Null where there was no time to find out."""

    rule: str
    binding: bool | None
    price_points: float | None
    price_needs: int | None


class GreedyOut(Struct):
    """What is had without a planner, taking the best first."""

    value: float
    served: int


class SummaryOut(Struct):
    """What a plan is worth. `value` and `bound` are in points beyond no plan at all: weighed
    scores, served needs and fairness; no plan can exceed `bound`, `gap` is the share between."""

    value: float
    bound: float
    gap: float
    optimal: bool
    score: float
    needs: int
    served: int
    seats: int
    filled: int
    greedy: GreedyOut
    former: int
    kept: int
    hours_week_used: float
    hours_week_open: float
    idle_offerings_used: int
    idle_hours_week_used: float
    pins_left_out: int
    by_priority: list[ShareOut]
    by_community: list[ShareOut]
    by_place: list[ShareOut]
    rules: list[RuleOut]


class PlanOut(plans.PlanRecord):
    """A plan, and once it is done what came of it: a page of its assignments, from `first` on, and
    as many of the needs that are not served in full."""

    summary: SummaryOut | None = None
    assignments: tuple[AssignmentOut, ...] = ()
    assignments_total: int = 0
    unserved: tuple[UnservedOut, ...] = ()
    unserved_total: int = 0


class ProposeDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which needs of the plan to propose for; null is all of them."""

    need_ids: Annotated[tuple[uuid.UUID, ...], Meta(max_length=1000)] | None = None


class LeftOutOut(Struct):
    """A seat that is not proposed: `need_closed`, `role_gone`, `offering_gone`, `gates` (and which
    are shut now), `seat_taken`, `clash` (its time or its week is taken), `budget`, `no_space`."""

    need_id: uuid.UUID
    role: str
    seat: int
    offering_id: uuid.UUID
    because: str
    gates: tuple[str, ...]


class ProposedOut(Struct):
    """The proposals made just now, how many the plan has made in all, and what was left out."""

    made: list[proposals.ProposalRecord]
    proposed_total: int
    left_out: list[LeftOutOut]


class PlanController(Controller):
    """Asking for plans and reading them. `api/planner.py` makes them."""

    path = "/v1/plans"
    tags = ("plans",)

    @get(operation_id="list_plans", summary="List plans", signed_in=True)
    async def list_plans(
        self,
        request: StrictRequest,
        place: FromQuery[uuid.UUID | None] = None,
        status: FromQuery[plans.PlanStatus | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[plans.PlanRecord]]:
        """Plans of the places you work for, newest first."""
        names = answers.fields_of(plans.PlanRecord, fields)
        found = await plans.browse(
            accounts.visibility(request.user),
            after=paging.after(cursor),
            limit=limit + 1,
            within=place,
            status=status,
        )
        return answers.listed(request, found, limit, names)

    @post(
        operation_id="ask_for_plan",
        summary="Ask for a plan",
        status_code=202,
        signed_in=True,
    )
    async def ask_for_plan(
        self, request: StrictRequest, data: JSONBody[plans.PlanDraft]
    ) -> Response[plans.PlanRecord]:
        """Put a plan over all open needs of a place into the queue. `GET` of its address tells how
        far it is, and the plan when it is done."""
        await _decides(request, data.place_id)
        account = auth.account_of(request)
        return await answers.once(request, lambda: plans.ask(data, account), _location, 202)

    @get(
        "/{plan_id:uuid}",
        operation_id="get_plan",
        summary="Read a plan",
        signed_in=True,
    )
    async def read(
        self,
        request: StrictRequest,
        plan_id: FromPath[uuid.UUID],
        first: First = 0,
        limit: paging.Limit = 20,
    ) -> Response[PlanOut]:
        """How far a plan is; and of a finished one what it is worth, who is served, who is not,
        and what each fairness rule costs."""
        plan = await plans.read(plan_id, accounts.visibility(request.user))
        report = await planner.report_of(plan.id) if plan.status == "done" else None
        out = _out(plan, report, first, limit)
        return answers.shown(request, out, tag=answers.etag(plan.version))

    @post(
        "/{plan_id:uuid}/cancel",
        operation_id="cancel_plan",
        summary="Cancel a plan",
        status_code=200,
        signed_in=True,
    )
    async def cancel(
        self, request: StrictRequest, plan_id: FromPath[uuid.UUID]
    ) -> Response[plans.PlanRecord]:
        """Give up a plan that waits or is being made."""
        plan = await plans.read(plan_id, accounts.visibility(request.user))
        await _decides(request, plan.place_id)
        return await answers.once(request, lambda: plans.cancel(plan), status=200)

    @post(
        "/{plan_id:uuid}/propose",
        operation_id="propose_plan",
        summary="Propose what a plan assigns",
        status_code=200,
        signed_in=True,
    )
    async def propose(
        self,
        request: StrictRequest,
        plan_id: FromPath[uuid.UUID],
        data: JSONBody[ProposeDraft],
    ) -> Response[ProposedOut]:
        """Make proposals of a finished plan's assignments, and one agreement a need that asks the
        parties for them, all in one transaction. Each is checked
        again on the data as they are now; what no longer holds is left out and says why. What was
        proposed before stays as it is, so it does no harm to ask twice."""
        plan = await plans.read(plan_id, accounts.visibility(request.user))
        await _decides(request, plan.place_id)
        account = auth.account_of(request)
        return await answers.once(request, lambda: _propose(plan, data, account), status=200)


async def _propose(plan: plans.PlanRecord, data: ProposeDraft, account: uuid.UUID) -> ProposedOut:
    report = await planner.report_of(plan.id)
    if plan.status != "done" or report is None:
        raise errors.Refusal("wrong_state", has=plan.status, needed="done")
    async with engine.unit_of_work():
        known = {(p.need_id, p.role, p.seat) for p in await proposals.of_plan(plan.id)}
        wanted = [
            entry
            for entry in report.assignments
            if (data.need_ids is None or uuid.UUID(entry.need) in data.need_ids)
            and (uuid.UUID(entry.need), entry.role, entry.seat) not in known
        ]
        if len(wanted) > MOST_SEATS:
            raise errors.Refusal("too_many", what="seats", count=len(wanted), limit=MOST_SEATS)
        holding = await recheck.holding(plan, wanted)
        made = await proposals.make(plan.id, plan.place_id, holding.seats)
        fresh = [p for p in made if (p.need_id, p.role, p.seat) not in known]
        await _ask(fresh, plan.place_id, account)
    return ProposedOut(
        fresh,
        len(made),
        [
            LeftOutOut(uuid.UUID(o.need), o.role, o.seat, uuid.UUID(o.offering), o.because, o.gates)
            for o in holding.left_out
        ],
    )


async def _ask(
    made: Sequence[proposals.ProposalRecord], place: uuid.UUID, account: uuid.UUID
) -> None:
    """Ask the parties of each need: one agreement for all that is proposed for it."""
    sees = accounts.Visibility(places=frozenset({place}))
    offered = {
        one.id: one for one in await offerings.read_many([p.offering_id for p in made], sees)
    }
    for need in await needs.read_many(sorted({p.need_id for p in made})):
        seats = [p for p in made if p.need_id == need.id]
        await agreements.propose(await proposing.from_plan(need, seats, offered), account)


async def _decides(request: StrictRequest, place: uuid.UUID) -> None:
    lineage = await places.ancestors(place)
    await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)


def _location(plan: plans.PlanRecord) -> str:
    return f"/v1/plans/{plan.id}"


def _out(plan: plans.PlanRecord, report: planning.Report | None, first: int, limit: int) -> PlanOut:
    out = PlanOut(**structs.asdict(plan))
    if report is None:
        return out
    out.summary = _summary(report)
    out.assignments = tuple(_assignment(a) for a in report.assignments[first : first + limit])
    out.assignments_total = len(report.assignments)
    out.unserved = tuple(
        UnservedOut(uuid.UUID(w.need), w.seats, w.filled, w.because)
        for w in report.without[first : first + limit]
    )
    out.unserved_total = len(report.without)
    return out


def _summary(report: planning.Report) -> SummaryOut:
    missing = report.bound - report.value
    return SummaryOut(
        value=report.value / 100,
        bound=report.bound / 100,
        gap=round(missing / report.bound, 6) if missing else 0.0,
        optimal=report.optimal,
        score=report.score / 100,
        needs=report.needs,
        served=report.served,
        seats=report.seats,
        filled=report.filled,
        greedy=GreedyOut(report.greedy_value / 100, report.greedy_served),
        former=report.former,
        kept=report.kept,
        hours_week_used=report.minutes_used / 60,
        hours_week_open=report.minutes_open / 60,
        idle_offerings_used=report.idle_used,
        idle_hours_week_used=report.idle_minutes_used / 60,
        pins_left_out=report.pins_left_out,
        by_priority=_shares(report.by_priority),
        by_community=_shares(report.by_community),
        by_place=_shares(report.by_place),
        rules=[
            RuleOut(
                rule.rule,
                rule.binding,
                None if rule.price_score is None else rule.price_score / 100,
                rule.price_needs,
            )
            for rule in report.rules
        ],
    )


def _shares(shares: tuple[planning.Share, ...]) -> list[ShareOut]:
    return [
        ShareOut(
            share.group,
            share.needs,
            share.possible,
            share.served,
            share.seats,
            share.filled,
            share.minutes / 60,
            share.price,
        )
        for share in shares
    ]


def _assignment(entry: planning.Assignment) -> AssignmentOut:
    return AssignmentOut(
        uuid.UUID(entry.need),
        entry.role,
        entry.seat,
        uuid.UUID(entry.offering),
        uuid.UUID(entry.partner),
        entry.score / 100,
        entry.minutes,
        entry.kept,
    )
