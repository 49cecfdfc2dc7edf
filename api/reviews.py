"""What the sides of an agreement say of each other once it is over."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from api import answers, paging
from api.agreements import actor_of
from api.requests import StrictRequest
from models import accounts, agreements, places, reviews


class ReviewController(Controller):
    """Reviews of both sides, which are shown together."""

    path = "/v1/agreements/{agreement_id:uuid}/reviews"
    tags = ("reviews",)

    @get(operation_id="list_reviews", summary="List reviews", signed_in=True)
    async def list_reviews(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[reviews.ReviewRecord]]:
        """What the parties have said of each other, newest first: your side's at once, another's
        when both have spoken, or 7 days after the end."""
        sees = accounts.visibility(request.user)
        agreement = await agreements.read(agreement_id, sees)
        found = await reviews.browse(
            agreement,
            await actor_of(request, agreement),
            sees,
            after=paging.after(cursor),
            limit=limit + 1,
        )
        return answers.listed(request, found, limit, None)

    @post(operation_id="write_review", summary="Write a review", signed_in=True)
    async def write(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        data: JSONBody[reviews.ReviewDraft],
    ) -> Response[reviews.ReviewRecord]:
        """Say what your side thinks of another party, once, within 7 days after the agreement is
        completed or has ended: for a partner its people, for the community whoever decides there.
        The stars of a partner count for the offerings it served with as soon as they are shown."""
        sees = accounts.visibility(request.user)
        agreement = await agreements.read(agreement_id, sees)
        actor = await actor_of(request, agreement)
        lineage = await places.ancestors(agreement.place_id)
        theirs = {party.partner_id for party in agreement.parties} & actor.partners
        await accounts.require(
            request.user,
            accounts.DECIDERS,
            place_lineage=lineage,
            partner=next(iter(theirs), None),
        )
        return await answers.once(request, lambda: reviews.write(agreement, data, actor))
