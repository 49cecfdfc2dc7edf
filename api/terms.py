"""What an agreement's terms lead to: rent in hours, revenue shares, milestones of a contract."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, errors, places
from models.agreements import contracts, deals, rent, revenue


class RentController(Controller):
    """The rent that the holder of a space pays in hours of public-benefit service."""

    path = "/v1/agreements/{agreement_id:uuid}"
    tags = ("terms",)

    @get("/rent", operation_id="get_rent", summary="Read the rent", signed_in=True)
    async def read(
        self, request: StrictRequest, agreement_id: FromPath[uuid.UUID]
    ) -> Response[rent.RentRecord]:
        """The rent of an agreement, month by month, in minutes: what was owed when each was over,
        what was served, and what is carried to the next. Not found before the agreement holds, or
        without a rent in its terms."""
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        return answers.shown(request, await rent.read(deal))

    @post(
        "/service-hours",
        operation_id="record_service_hours",
        summary="Record hours of service",
        signed_in=True,
    )
    async def record(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        data: JSONBody[rent.HoursDraft],
    ) -> Response[rent.HoursRecord]:
        """Count public-benefit service beside the agreement's own times: by the staff of the place,
        who have seen it, and not by who owes it. It pays the oldest debt first."""
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        await _require_staff(request, deal, accounts.STAFF)
        account = auth.account_of(request)
        return await answers.once(request, lambda: rent.record(deal, data, account))

    @post(
        "/service-hours/{hours_id:uuid}/reverse",
        operation_id="reverse_service_hours",
        summary="Take recorded hours back",
        signed_in=True,
    )
    async def take_back(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        hours_id: FromPath[uuid.UUID],
    ) -> Response[rent.HoursRecord]:
        """Hours that were recorded by mistake count no more: as many are taken off the month that
        is open now; months that are closed stay as they were."""
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        await _require_staff(request, deal, accounts.STAFF)
        account = auth.account_of(request)
        return await answers.once(request, lambda: rent.take_back(deal, hours_id, account))


class RevenueController(Controller):
    """The community fund's share of what a partner earns."""

    path = "/v1/agreements/{agreement_id:uuid}/revenue"
    tags = ("terms",)

    @get(operation_id="list_revenue", summary="List revenue", signed_in=True)
    async def list_revenue(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[revenue.RevenueRecord]]:
        """What was earned month by month, newest first, and what of it the fund got."""
        names = answers.fields_of(revenue.RevenueRecord, fields)
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        found = await revenue.browse(deal, after=paging.after(cursor), limit=limit + 1)
        return answers.listed(request, found, limit, names)

    @post(operation_id="state_revenue", summary="State revenue", signed_in=True)
    async def state(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        data: JSONBody[revenue.RevenueDraft],
    ) -> Response[revenue.RevenueRecord]:
        """State what the partner earned in a month: by its own people, or whoever decides for the
        place. The fund gets its share at once; each month is stated once."""
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        share = deal.terms.revenue_share if deal.terms else None
        await accounts.require(
            request.user,
            accounts.DECIDERS,
            place_lineage=await places.ancestors(deal.place_id),
            partner=share.partner_id if share else None,
        )
        account = auth.account_of(request)
        return await answers.once(request, lambda: revenue.state(deal, data, account))

    @post(
        "/{revenue_id:uuid}/reverse",
        operation_id="reverse_revenue",
        summary="Reverse revenue",
        status_code=200,
        signed_in=True,
    )
    async def reverse(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        revenue_id: FromPath[uuid.UUID],
    ) -> Response[revenue.RevenueRecord]:
        """A month was stated wrongly: the fund gives its share back, and the month may be stated
        anew. By whoever decides for the place."""
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        await _require(request, deal, accounts.DECIDERS)
        return await answers.once(request, lambda: revenue.reverse(deal, revenue_id), status=200)


class MilestoneController(Controller):
    """Milestones of a service contract: assessed, then paid for."""

    path = "/v1/agreements/{agreement_id:uuid}/milestones"
    tags = ("terms",)

    @get(operation_id="list_milestones", summary="List milestones", signed_in=True)
    async def list_milestones(
        self, request: StrictRequest, agreement_id: FromPath[uuid.UUID]
    ) -> Response[list[contracts.MilestoneRecord]]:
        """The milestones of an agreement's contract, lot by lot: approved, withheld, paid. None
        before the agreement holds."""
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        return answers.shown(request, await contracts.browse(deal))

    @post(
        "/{milestone:str}/inspect",
        operation_id="inspect_milestone",
        summary="Inspect a milestone",
        status_code=200,
        signed_in=True,
    )
    async def inspect(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        milestone: FromPath[str],
        data: JSONBody[contracts.Inspection],
    ) -> Response[contracts.MilestoneRecord]:
        """Say what share of a milestone may be paid: by the staff of the place, and not by the
        provider's people. Inspected again, the last word counts."""
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        await _require_staff(request, deal, accounts.STAFF)
        account = auth.account_of(request)
        return await answers.once(
            request, lambda: contracts.inspect(deal, milestone, data, account), status=200
        )

    @post(
        "/{milestone:str}/score",
        operation_id="score_milestone",
        summary="Score a milestone",
        status_code=200,
        signed_in=True,
    )
    async def score(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        milestone: FromPath[str],
        data: JSONBody[contracts.Score],
    ) -> Response[contracts.ScoreRecord]:
        """Say how good it was, 1 to 5: by whoever has enrolled or is named in the contract, and not
        by the provider's people. Given again, the last score counts."""
        # With the program's eyes: who is served need not see the agreement.
        deal = await deals.read(agreement_id)
        contract = contracts.require_contract(deal)
        account = auth.account_of(request)
        if contract.partner_id in request.user.partners:
            raise errors.Refusal("own_work")
        return await answers.once(
            request, lambda: contracts.score(deal, milestone, data, account), status=200
        )

    @post(
        "/{milestone:str}/pay",
        operation_id="pay_milestone",
        summary="Pay for a milestone",
        status_code=200,
        signed_in=True,
    )
    async def pay(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        milestone: FromPath[str],
        data: JSONBody[contracts.Payment],
    ) -> Response[contracts.MilestoneRecord]:
        """Pay for a milestone, in all no more than is approved: by whoever decides for the place,
        and not by the provider's people."""
        deal = await deals.read(agreement_id, accounts.visibility(request.user))
        await _require_staff(request, deal, accounts.DECIDERS)
        return await answers.once(request, lambda: contracts.pay(deal, milestone, data), status=200)


async def _require(request: StrictRequest, deal: deals.Deal, roles: frozenset[str]) -> None:
    lineage = await places.ancestors(deal.place_id)
    await accounts.require(request.user, roles, place_lineage=lineage)


async def _require_staff(request: StrictRequest, deal: deals.Deal, roles: frozenset[str]) -> None:
    """Staff of the place who do not act for a partner of the agreement: nobody judges or pays
    themselves."""
    await _require(request, deal, roles)
    if deal.partners & request.user.partners:
        raise errors.Refusal("own_work")
