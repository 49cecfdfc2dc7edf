"""What if: the difference that changes would make to a plan, before anybody decides."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Literal

import msgspec
from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from api import answers, auth
from api.requests import StrictRequest
from models import accounts, base, errors, needs, offerings, partners, places, plans
from search import planning
from search.planning import imagine, whynot

Role = Annotated[
    str,
    QueryParameter(name="role", pattern=r"^[a-z0-9_-]{1,64}\Z", description="In this role."),
]
# Planned twice while somebody waits.
MOST_NEEDS = 500
SECONDS = 10.0
# One after the other: each takes a processor for itself.
_one_at_a_time = asyncio.Semaphore(1)


class NeedChanged(Struct, forbid_unknown_fields=True):
    """An open need, and what would be different."""

    id: uuid.UUID
    changes: needs.NeedChange


class Change(Struct, forbid_unknown_fields=True, kw_only=True):
    """One thing that would be different; exactly one of these."""

    remove_partner: uuid.UUID | UnsetType = UNSET
    close_offering: uuid.UUID | UnsetType = UNSET
    add_offering: offerings.OfferingDraft | UnsetType = UNSET
    change_need: NeedChanged | UnsetType = UNSET

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not UNSET for name in self.__struct_fields__) != 1:
            raise ValueError("exactly one change in each entry")


class WhatIf(Struct, forbid_unknown_fields=True, kw_only=True):
    """A place, and what would be different."""

    place_id: uuid.UUID
    changes: Annotated[tuple[Change, ...], Meta(min_length=1, max_length=20)]


class Side(Struct):
    """One of the two plans, in short."""

    needs: int
    served: int
    seats: int
    filled: int
    score: float
    hours_week_used: float
    hours_week_idle: float
    gap: float


class CoverageChange(Struct):
    """Needs of a service at a place, and how many of them either plan serves."""

    service_type: str
    place_id: uuid.UUID
    needs: int
    served_before: int
    served_after: int


class DifferenceOut(Struct):
    """Both plans, the needs that only one of them serves, and where the coverage differs."""

    before: Side
    after: Side
    lost: list[uuid.UUID]
    won: list[uuid.UUID]
    coverage: list[CoverageChange]


class WhatIfController(Controller):
    """Nothing of it is kept."""

    path = "/v1/plans/what-if"
    tags = ("plans",)

    @post(
        operation_id="what_if",
        summary="What if a partner leaves, a space opens, a need changes?",
        status_code=200,
        signed_in=True,
    )
    async def what_if(
        self, request: StrictRequest, data: JSONBody[WhatIf]
    ) -> Response[DifferenceOut]:
        """Plan all open needs of a place twice, as things are and as they would be, and answer the
        difference. Nothing is kept. Licences of an added offering count as verified. For up to 500
        open needs; for more, ask for a smaller place."""
        lineage = await places.ancestors(data.place_id)
        await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)
        await base.refer("place_id", places.Place, data.place_id)
        changes = await _changes(request, data)
        count = await needs.count_open(accounts.visibility(request.user), data.place_id)
        if count > MOST_NEEDS:
            raise errors.Refusal("too_many", what="needs", count=count, limit=MOST_NEEDS)
        async with _one_at_a_time:
            found = await imagine.compare(data.place_id, changes, SECONDS)
        return answers.plain(_difference(found))


class MoveOut(Struct):
    """Who would serve a role of a need instead of whom."""

    need_id: uuid.UUID
    role: str
    gone: list[uuid.UUID]
    come: list[uuid.UUID]


class WhyNotOut(Struct):
    """What it would cost to have this offering in this plan. `answer` is `assigned` (it is in it),
    `no_candidate` (a gate was shut or twenty others fitted better: see the need's matches),
    `impossible` (who stays takes its time), or `price`: so many points and needs served less, and
    who would move."""

    answer: Literal["assigned", "no_candidate", "impossible", "price"]
    price_points: float | None = None
    price_needs: int | None = None
    moves: tuple[MoveOut, ...] = ()


class WhyNotController(Controller):
    """The pair is forced and its neighbourhood planned anew. Nothing of it is kept."""

    path = "/v1/plans/{plan_id:uuid}/why-not"
    tags = ("plans",)

    @get(
        operation_id="why_not_in_plan",
        summary="Why not this offering in this plan?",
        signed_in=True,
    )
    async def why_not(
        self,
        request: StrictRequest,
        plan_id: FromPath[uuid.UUID],
        need: FromQuery[uuid.UUID],
        role: Role,
        offering: FromQuery[uuid.UUID],
    ) -> Response[WhyNotOut]:
        """What it would cost to have the offering in that role of the need, as things were when
        the plan was made, and who else would move."""
        plan = await plans.read(plan_id, accounts.visibility(request.user))
        content, result = await plans.input_of(plan.id), await plans.result_of(plan.id)
        if not content or not result:
            raise errors.Refusal("wrong_state", has=plan.status, needed="done")
        pin = planning.Pin(str(need), role, str(offering))
        return answers.shown(request, await _why_not(content, result, pin))


async def _why_not(content: str, result: str, pin: planning.Pin) -> WhyNotOut:
    assigned = msgspec.json.decode(result, type=planning.Report).assignments
    if any((a.need, a.role, a.offering) == (pin.need, pin.role, pin.offering) for a in assigned):
        return WhyNotOut("assigned")
    problem = await asyncio.to_thread(whynot.small_problem, content, result, pin)
    if problem is None:
        return WhyNotOut("no_candidate")
    async with _one_at_a_time:
        found = await whynot.price(problem, pin, SECONDS)
    if not found.possible:
        return WhyNotOut("impossible")
    return WhyNotOut(
        "price",
        found.price / 100,
        found.needs,
        tuple(
            MoveOut(
                uuid.UUID(move.need),
                move.role,
                [uuid.UUID(offering) for offering in move.gone],
                [uuid.UUID(offering) for offering in move.come],
            )
            for move in found.moves
        ),
    )


async def _changes(request: StrictRequest, data: WhatIf) -> imagine.Changes:
    """The changes as the planner takes them. Refuses references to what is not there."""
    sees = accounts.visibility(request.user)
    added, changed = [], {}
    gone: dict[str, set[str]] = {"partner": set(), "offering": set()}
    for at, change in enumerate(data.changes):
        if change.remove_partner is not UNSET:
            partner = change.remove_partner
            reading = partners.read(partner, sees)
            await auth.referred(f"changes[{at}].remove_partner", "partner", partner, reading)
            gone["partner"].add(str(partner))
        if change.close_offering is not UNSET:
            offering = change.close_offering
            found = offerings.read(offering, sees)
            await auth.referred(f"changes[{at}].close_offering", "offering", offering, found)
            gone["offering"].add(str(offering))
        if change.add_offering is not UNSET:
            partner, field = change.add_offering.partner_id, "add_offering.partner_id"
            reading = partners.read(partner, sees)
            await auth.referred(f"changes[{at}].{field}", "partner", partner, reading)
            added.append(change.add_offering)
        if change.change_need is not UNSET:
            need = await needs.read(change.change_need.id, sees)
            draft = needs.as_draft(need) | base.given(change.change_need.changes)
            changed[need.id] = await needs.complete(needs.NeedDraft(**draft))
    imagined, blocked = await imagine.imagined(added)
    return imagine.Changes(
        frozenset(gone["partner"]), frozenset(gone["offering"]), imagined, blocked, changed
    )


def _difference(found: imagine.Difference) -> DifferenceOut:
    before, after = found.before, found.after
    missing = [{w.need for w in report.without} for report in (before, after)]
    shares = {share.group: share for share in after.by_service}
    coverage = []
    for share in before.by_service:
        would = shares[share.group].served if share.group in shares else 0
        if share.served != would:
            service, place = share.group.split(" ")
            coverage.append(
                CoverageChange(service, uuid.UUID(place), share.needs, share.served, would)
            )
    return DifferenceOut(
        _side(before),
        _side(after),
        [uuid.UUID(need) for need in sorted(missing[1] - missing[0])],
        [uuid.UUID(need) for need in sorted(missing[0] - missing[1])],
        coverage,
    )


def _side(report: planning.Report) -> Side:
    missing = report.bound - report.value
    return Side(
        needs=report.needs,
        served=report.served,
        seats=report.seats,
        filled=report.filled,
        score=report.score / 100,
        hours_week_used=report.minutes_used / 60,
        hours_week_idle=(report.minutes_open - report.minutes_used) / 60,
        gap=round(missing / report.bound, 6) if missing else 0.0,
    )
