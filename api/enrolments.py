"""Places of a service, for people; and the line of those who wait for one."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, agreements, places
from models.agreements import enrolments


class EnrolmentController(Controller):
    """Taking a place, waiting for one, giving it back."""

    path = "/v1"
    tags = ("enrolments",)

    @get(
        "/needs/{need_id:uuid}/places",
        operation_id="count_places",
        summary="How many places there are",
    )
    async def count_places(
        self, request: StrictRequest, need_id: FromPath[uuid.UUID]
    ) -> Response[agreements.PlacesRecord]:
        """Of what a community asks for: places asked for, promised by active agreements and still
        missing; taken, and people who wait. Also of a need that is filled, and so no longer on the
        list."""
        return answers.shown(request, await agreements.places_of(need_id))

    @post(
        "/needs/{need_id:uuid}/enrolments",
        operation_id="enrol",
        summary="Take a place",
        signed_in=True,
    )
    async def enrol(
        self,
        request: StrictRequest,
        need_id: FromPath[uuid.UUID],
        data: JSONBody[agreements.EnrolmentDraft],
    ) -> Response[agreements.EnrolmentRecord]:
        """Take a place for yourself, or for whom you name; where none is left you wait, and move up
        by yourself when somebody gives a place back or a provider joins."""
        account = auth.account_of(request)
        return await answers.once(
            request,
            lambda: agreements.enrol(need_id, data, account),
            lambda made: f"/v1/enrolments/{made.id}",
        )

    @get(
        "/enrolments",
        operation_id="list_enrolments",
        summary="List enrolments",
        signed_in=True,
    )
    async def list_enrolments(
        self,
        request: StrictRequest,
        need: FromQuery[uuid.UUID | None] = None,
        status: FromQuery[agreements.EnrolmentStatus | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[agreements.EnrolmentRecord]]:
        """Your own, those at your places, and those whom your partners serve; newest first."""
        names = answers.fields_of(agreements.EnrolmentRecord, fields)
        found = await enrolments.browse(
            accounts.visibility(request.user),
            auth.account_of(request),
            after=paging.after(cursor),
            limit=limit + 1,
            need=need,
            status=status,
        )
        return answers.listed(request, found, limit, names)

    @get(
        "/enrolments/{enrolment_id:uuid}",
        operation_id="get_enrolment",
        summary="Read an enrolment",
        signed_in=True,
    )
    async def read(
        self, request: StrictRequest, enrolment_id: FromPath[uuid.UUID]
    ) -> Response[agreements.EnrolmentRecord]:
        """One enrolment; of one that waits, how many wait before it."""
        sees = accounts.visibility(request.user)
        found = await enrolments.read(enrolment_id, sees, auth.account_of(request))
        return answers.shown(request, found)

    @post(
        "/enrolments/{enrolment_id:uuid}/cancel",
        operation_id="cancel_enrolment",
        summary="Give a place back",
        status_code=200,
        signed_in=True,
    )
    async def cancel(
        self, request: StrictRequest, enrolment_id: FromPath[uuid.UUID]
    ) -> Response[agreements.EnrolmentRecord]:
        """Give a place, or a place in the line, back: whoever has taken it, or the staff of the
        place. The first who waits moves up at once."""
        account = auth.account_of(request)
        sees = accounts.visibility(request.user)
        found = await enrolments.read(enrolment_id, sees, account)
        if found.account_id != account:
            lineage = await places.ancestors(found.place_id)
            await accounts.require(request.user, accounts.STAFF, place_lineage=lineage)
        return await answers.once(request, lambda: enrolments.cancel(found), status=200)
