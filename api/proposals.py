"""Proposals: what was proposed to whom, and who said no and why."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, agreements, engine, places, proposals


class ProposalController(Controller):
    """Reading and declining proposals; `POST /v1/plans/{id}/propose` makes them."""

    path = "/v1/proposals"
    tags = ("proposals",)

    @get(operation_id="list_proposals", summary="List proposals", signed_in=True)
    async def list_proposals(
        self,
        request: StrictRequest,
        need: FromQuery[uuid.UUID | None] = None,
        plan: FromQuery[uuid.UUID | None] = None,
        partner: FromQuery[uuid.UUID | None] = None,
        status: FromQuery[proposals.ProposalStatus | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[proposals.ProposalRecord]]:
        """Proposals for needs of your places and to your partners, newest first."""
        names = answers.fields_of(proposals.ProposalRecord, fields)
        sees = accounts.visibility(request.user)
        found = await proposals.browse(
            sees,
            after=paging.after(cursor),
            limit=limit + 1,
            need=need,
            plan=plan,
            partner=partner,
            status=status,
        )
        return answers.listed(request, await proposals.shown(sees, found), limit, names)

    @get(
        "/{proposal_id:uuid}",
        operation_id="get_proposal",
        summary="Read a proposal",
        signed_in=True,
    )
    async def read(
        self, request: StrictRequest, proposal_id: FromPath[uuid.UUID]
    ) -> Response[proposals.ProposalRecord]:
        """One proposal, for the staff of the need's place and the partner's own people."""
        sees = accounts.visibility(request.user)
        proposal = await _shown(request, proposals.read(proposal_id, sees))
        return answers.shown(request, proposal, tag=answers.etag(proposal.version))

    @post(
        "/{proposal_id:uuid}/decline",
        operation_id="decline_proposal",
        summary="Decline a proposal",
        status_code=200,
        signed_in=True,
    )
    async def decline(
        self,
        request: StrictRequest,
        proposal_id: FromPath[uuid.UUID],
        data: JSONBody[proposals.Decline],
    ) -> Response[proposals.ProposalRecord]:
        """Say no, with a reason that can be counted: the partner's people, or whoever decides for
        the need's place. The agreement that asks for it is declined with it."""
        proposal = await proposals.read(proposal_id, accounts.visibility(request.user))
        lineage = await places.ancestors(proposal.place_id)
        await accounts.require(
            request.user,
            accounts.DECIDERS,
            place_lineage=lineage,
            partner=proposal.partner_id,
        )
        account = auth.account_of(request)

        async def declined() -> proposals.ProposalRecord:
            async with engine.unit_of_work():
                await agreements.hold_asking([proposal.id])
                told = await _shown(request, proposals.decline(proposal, data))
                await agreements.seat_declined(proposal.id, data.reason, data.note, account)
            return told

        return await answers.once(request, declined, status=200)


async def _shown(
    request: StrictRequest, found: Awaitable[proposals.ProposalRecord]
) -> proposals.ProposalRecord:
    sees = accounts.visibility(request.user)
    (told,) = await proposals.shown(sees, [await found])
    return told
