"""When an offering is there: occurrences, and its availability as iCalendar."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated

from litestar import Controller, Response, get, put
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from api import answers, auth
from api.offerings import own_offering
from api.requests import StrictRequest
from models import accounts, calendars, disclosure, errors, offerings
from search import windows

_LONGEST = dt.timedelta(days=366)


class Occurrence(Struct):
    """One time at which the offering is there, half-open, in UTC."""

    start: dt.datetime
    end: dt.datetime


class Occurrences(Struct):
    """The occurrences between two dates."""

    items: list[Occurrence]


class CalendarController(Controller):
    """Availability in time."""

    path = "/v1/offerings/{offering_id:uuid}"
    tags = ("calendars",)

    @get("/occurrences", operation_id="list_occurrences", summary="When an offering is there")
    async def occurrences(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        first: Annotated[dt.date, QueryParameter(name="from", description="First local date.")],
        last: Annotated[dt.date, QueryParameter(name="to", description="Last local date.")],
    ) -> Response[Occurrences]:
        """Every occurrence that begins on the local dates `from` to `to`, exceptions left out."""
        if not dt.timedelta() <= last - first <= _LONGEST:
            raise errors.Refusal(
                "invalid",
                errors.FieldError("to", "out_of_range", {"needed": "from to from + 366 days"}),
            )
        offering = await offerings.read(offering_id, accounts.visibility(request.user))
        found = windows.occurrences(offering.availability, first, last)
        return answers.shown(
            request, Occurrences([Occurrence(_time(start), _time(end)) for start, end in found])
        )

    @get(
        "/availability.ics",
        operation_id="export_availability",
        summary="Availability as iCalendar",
        media_type="text/calendar",
    )
    async def export(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID]
    ) -> Response[bytes]:
        """The weekly windows as RFC 5545 events, for any calendar program."""
        offering = await offerings.read(offering_id, accounts.visibility(request.user))
        return Response(
            calendars.export(offering),
            media_type="text/calendar",
            headers={"ETag": answers.etag(offering.version)},
        )

    @put(
        "/availability.ics",
        operation_id="import_availability",
        summary="Availability from iCalendar",
        status_code=200,
        guards=[auth.signed_in],
    )
    async def replace(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID]
    ) -> Response[offerings.OfferingRecord]:
        """Replace the availability by the weekly events of a calendar. Needs If-Match."""
        if request.content_type[0] != "text/calendar":
            raise errors.Refusal("unsupported_media_type", needed="text/calendar")
        offering = await own_offering(request, offering_id)
        answers.require_match(request, offering.version)
        found = calendars.windows(await request.body())
        change = offerings.OfferingChange(availability=found)
        changed = await offerings.change(offering, change)
        return answers.changed(await disclosure.shown(accounts.visibility(request.user), changed))


def _time(minute: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(minute * 60, dt.UTC)
