"""When an offering is there, when it is busy, and calendars to subscribe to: as iCalendar."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Annotated

from litestar import Controller, Response, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct

from api import answers, auth, paging
from api.offerings import own_offering
from api.requests import StrictRequest
from models import accounts, base, calendars, disclosure, errors, offerings, places
from search import windows

_LONGEST = dt.timedelta(days=366)
_ICS = "text/calendar"
# A year of a busy person; a calendar of 10 MB is none of ours.
_MAX_BODY = 1024 * 1024


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
        media_type=_ICS,
    )
    async def export(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID]
    ) -> Response[bytes]:
        """The weekly windows as RFC 5545 events, for any calendar program."""
        offering = await offerings.read(offering_id, accounts.visibility(request.user))
        return Response(
            calendars.export(offering),
            media_type=_ICS,
            headers={"ETag": answers.etag(offering.version)},
        )

    @put(
        "/availability.ics",
        operation_id="import_availability",
        summary="Availability from iCalendar",
        status_code=200,
        signed_in=True,
        request_max_body_size=_MAX_BODY,
    )
    async def replace(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID]
    ) -> Response[offerings.OfferingRecord]:
        """Replace the availability by the events of a calendar. Needs If-Match.

        What recurs every week becomes a window; what happens once, or ends and recurs otherwise,
        windows for its dates. An event with a RECURRENCE-ID takes the place of that occurrence.
        Whole days and times without a zone are those of the offering's place. Refuses with the
        reason what could not be kept to the letter: other rules without an end, an event of more
        than a day, a zone nobody knows.
        """
        text = await _calendar(request)
        offering = await own_offering(request, offering_id)
        answers.require_match(request, offering.version)
        zone = await _zone(offering)
        found = await asyncio.to_thread(calendars.windows, text, zone)
        change = offerings.OfferingChange(availability=found)
        changed = await offerings.change(offering, change)
        return answers.changed(await disclosure.shown(accounts.visibility(request.user), changed))

    @get(
        "/busy",
        operation_id="read_busy",
        summary="When an offering is busy elsewhere",
        signed_in=True,
    )
    async def busy(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID]
    ) -> Response[calendars.BusyCalendar]:
        """The times from now on that its outside calendar takes, and the bookings that lie there:
        for its partner's people and those who decide at its place."""
        offering = await own_offering(request, offering_id)
        return answers.shown(request, await calendars.busy.of(offering.id))

    @put(
        "/busy.ics",
        operation_id="import_busy",
        summary="Busy times from iCalendar",
        status_code=200,
        signed_in=True,
        request_max_body_size=_MAX_BODY,
    )
    async def replace_busy(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID]
    ) -> Response[calendars.BusyCalendar]:
        """Have the events of an outside calendar keep the offering from being booked or matched
        then; they replace those of the import before, so a calendar without events frees it.

        Only the times are kept, of the next 397 days. What is cancelled or marked as free takes no
        time. Bookings that are there already stand and are named in `conflicts`. Nothing is lost by
        sending it again, so it takes no If-Match.
        """
        text = await _calendar(request)
        offering = await own_offering(request, offering_id)
        zone = await _zone(offering)
        found = await asyncio.to_thread(calendars.busy.times, text, zone, base.now())
        return answers.changed(await calendars.busy.replace(offering, found))


class FeedController(Controller):
    """Calendars to subscribe to. An address is shown once, so no Idempotency-Key here."""

    path = "/v1/calendars"
    tags = ("calendar feeds",)

    @get(operation_id="list_calendars", summary="List your calendars", signed_in=True)
    async def list_calendars(
        self,
        request: StrictRequest,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[calendars.CalendarRecord]]:
        """The calendars that you have made and not revoked, newest first."""
        names = answers.fields_of(calendars.CalendarRecord, fields)
        account = auth.account_of(request)
        found = await calendars.browse(account, after=paging.after(cursor), limit=limit + 1)
        return answers.listed(request, found, limit, names)

    @post(operation_id="make_calendar", summary="Make a calendar", signed_in=True)
    async def make(
        self, request: StrictRequest, data: JSONBody[calendars.CalendarDraft]
    ) -> calendars.MadeCalendar:
        """Make the secret address of a calendar, for a calendar program: of your own account (what
        your partners have promised, and what you have enrolled in), of an offering, a need or a
        place of yours. Whoever has the address reads it, with your eyes: what you may no longer
        see is gone from it at once. At most 50 of one account."""
        root = str(request.base_url).rstrip("/")
        return await calendars.make(data, request.user, root)

    @delete(
        "/{calendar_id:uuid}",
        operation_id="revoke_calendar",
        summary="Revoke a calendar",
        signed_in=True,
    )
    async def revoke(self, request: StrictRequest, calendar_id: FromPath[uuid.UUID]) -> None:
        """End the address from the next request on."""
        found = await calendars.browse(auth.account_of(request), limit=1, feed_id=calendar_id)
        auth.found(bool(found))
        await calendars.revoke(found[0])

    @get(
        "/{calendar_id:uuid}/{token:str}",
        operation_id="read_calendar",
        summary="A calendar to subscribe to",
        media_type=_ICS,
    )
    async def read(
        self, request: StrictRequest, calendar_id: FromPath[uuid.UUID], token: FromPath[str]
    ) -> Response[bytes]:
        """The events of a calendar from 90 days ago to 366 ahead, the nearest 1,000, each with its
        status and in the time zone of its place. The address ends in `.ics` and needs no
        Authorization. It names no persons, and of a home only the public place."""
        secret, dot, ending = token.rpartition(".")
        auth.found((dot, ending) == (".", "ics"))
        body = await calendars.published(calendar_id, secret)
        return answers.text(request, body, _ICS)


async def _calendar(request: StrictRequest) -> bytes:
    """The body, if it says that it is a calendar."""
    if request.content_type[0] != _ICS:
        raise errors.Refusal("unsupported_media_type", needed=_ICS)
    return await request.body()


async def _zone(offering: offerings.OfferingRecord) -> str:
    return (await places.timezones([offering.place_id]))[offering.place_id]


def _time(minute: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(minute * 60, dt.UTC)
