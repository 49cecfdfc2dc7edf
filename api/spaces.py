"""Spaces as things: their tree, their condition and its history, and who uses them now."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, get, post, put
from litestar.params import FromPath, JSONBody

from api import answers, auth, paging
from api.offerings import own_offering
from api.requests import StrictRequest
from models import accounts, errors, offerings, sites, spaces


class SpaceController(Controller):
    """What is particular to offerings of the kind `space`."""

    path = "/v1/offerings/{offering_id:uuid}"
    tags = ("spaces",)

    @get("/site", operation_id="get_site", summary="What goes on at a site")
    async def site(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID]
    ) -> Response[sites.Site]:
        """The tree that a space stands in, whichever of its spaces you name: every space you may
        see, with what it is part of, and the confirmed bookings it has now and next."""
        sees = accounts.visibility(request.user)
        offering = await offerings.read(offering_id, sees)
        if offering.kind != "space":
            raise errors.not_found()
        return answers.shown(request, await sites.of(offering, sees))

    @put(
        "/space",
        operation_id="place_space",
        summary="Say where a space stands",
        status_code=200,
        signed_in=True,
    )
    async def place(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        data: JSONBody[spaces.SpaceDraft],
    ) -> Response[spaces.SpaceRecord]:
        """Make a space a room, floor or site, part of a larger one or of none. Needs If-Match with
        the ETag of the offering. A space is never booked together with what it is part of, so
        bookings at the same time refuse it; and it holds no more people than its parent."""
        offering = await own_offering(request, offering_id)
        answers.require_match(request, offering.version)
        return answers.changed(await spaces.place(offering, data))

    @post(
        "/condition",
        operation_id="convert_space",
        summary="Change the condition of a space",
        signed_in=True,
    )
    async def convert(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        data: JSONBody[spaces.ConditionDraft],
    ) -> Response[spaces.ConditionRecord]:
        """idle → converting → active, and back from each. What is not active is neither matched
        nor booked, so bookings that are to come refuse the step out of use; what comes into use is
        on offer."""
        offering = await own_offering(request, offering_id)
        by = auth.account_of(request)
        return await answers.once(request, lambda: spaces.convert(offering, data, by))

    @get(
        "/history",
        operation_id="list_conditions",
        summary="How the condition of a space changed",
        signed_in=True,
    )
    async def history(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[spaces.ConditionRecord]]:
        """Every change, the last one first: who, when and why. For those who may change it."""
        offering = await own_offering(request, offering_id)
        found = await spaces.history(offering.id, after=paging.after(cursor), limit=limit + 1)
        return answers.listed(request, found, limit, None)
