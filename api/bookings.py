"""Bookings of an offering's time."""

from __future__ import annotations

import uuid
from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, bookings, errors, needs, offerings, places
from search import windows

Offering = Annotated[
    uuid.UUID | None, QueryParameter(name="offering", description="Only of this offering.")
]
Need = Annotated[uuid.UUID | None, QueryParameter(name="need", description="Only for this need.")]


class BookingController(Controller):
    """Booking, confirming, giving back: by the staff of the offering's place and its partner. What
    is booked for a resident group is given back by its leaders, too."""

    path = "/v1"
    tags = ("bookings",)

    @get(
        "/bookings",
        operation_id="list_bookings",
        summary="List bookings",
        signed_in=True,
    )
    async def list_bookings(
        self,
        request: StrictRequest,
        offering: Offering = None,
        need: Need = None,
        status: FromQuery[bookings.BookingStatus | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[bookings.BookingRecord]]:
        """Bookings of your own places and partners, newest first."""
        names = answers.fields_of(bookings.BookingRecord, fields)
        found = await bookings.browse(
            accounts.visibility(request.user),
            after=paging.after(cursor),
            limit=limit + 1,
            offering=offering,
            need=need,
            status=status,
        )
        return answers.listed(request, found, limit, names)

    @post(
        "/offerings/{offering_id:uuid}/bookings",
        operation_id="book_offering",
        summary="Book a time",
        signed_in=True,
    )
    async def book(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        data: JSONBody[bookings.BookingDraft],
    ) -> Response[bookings.BookingRecord]:
        """Book a time at which the offering is open: all of a space or person, or `quantity` places
        of a merchant's service or goods. `hold_s` only holds it, until it is confirmed or the time
        is over. A need is matched with what is left."""
        sees = accounts.visibility(request.user)
        offering = await offerings.read(offering_id, sees)
        await _require(request, offering.place_id, offering.partner_id)
        if data.need_id:
            reading = needs.read(data.need_id, sees)
            await auth.referred("need_id", "need", data.need_id, reading)
        account = auth.account_of(request)

        async def booked() -> bookings.BookingRecord:
            _refuse_closed(offering, data)
            return await bookings.book(offering, data, account)

        return await answers.once(request, booked, lambda made: f"/v1/bookings/{made.id}")

    @get(
        "/bookings/{booking_id:uuid}",
        operation_id="get_booking",
        summary="Read a booking",
        signed_in=True,
    )
    async def read(
        self, request: StrictRequest, booking_id: FromPath[uuid.UUID]
    ) -> Response[bookings.BookingRecord]:
        """One booking of your own places or partners, or of a group that you lead."""
        found = await bookings.read(booking_id, accounts.visibility(request.user))
        return answers.shown(request, found, tag=answers.etag(found.version))

    @post(
        "/bookings/{booking_id:uuid}/confirm",
        operation_id="confirm_booking",
        summary="Confirm a booking",
        status_code=200,
        signed_in=True,
    )
    async def confirm(
        self, request: StrictRequest, booking_id: FromPath[uuid.UUID]
    ) -> Response[bookings.BookingRecord]:
        """Keep a held time for good."""
        found = await _own(request, booking_id)
        return await answers.once(request, lambda: bookings.confirm(found), status=200)

    @post(
        "/bookings/{booking_id:uuid}/cancel",
        operation_id="cancel_booking",
        summary="Cancel a booking",
        status_code=200,
        signed_in=True,
    )
    async def cancel(
        self, request: StrictRequest, booking_id: FromPath[uuid.UUID]
    ) -> Response[bookings.BookingRecord]:
        """Give the time back: others may book it from now on."""
        found = await _own(request, booking_id)
        return await answers.once(request, lambda: bookings.cancel(found), status=200)


async def _own(request: StrictRequest, booking_id: uuid.UUID) -> bookings.BookingRecord:
    found = await bookings.read(booking_id, accounts.visibility(request.user))
    if found.group_id not in request.user.partners:
        await _require(request, found.place_id, found.partner_id)
    return found


async def _require(request: StrictRequest, place: uuid.UUID, partner: uuid.UUID) -> None:
    lineage = await places.ancestors(place)
    await accounts.require(request.user, accounts.STAFF, place_lineage=lineage, partner=partner)


def _refuse_closed(offering: offerings.OfferingRecord, draft: bookings.BookingDraft) -> None:
    """What has no availability is never open, as for the matcher."""
    asked = bookings.times(draft)
    if not windows.is_open(offering.availability, asked):
        raise errors.Refusal("closed_then")
