"""Resident groups: their members, and the sessions they have in a space."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Sequence
from typing import Literal

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, base, bookings, errors, groups, offerings, partners, places
from search import windows

_DAY = dt.timedelta(days=1)


class GroupController(Controller):
    """Partners of the kind `resident_group`, named by their id."""

    path = "/v1/groups/{group_id:uuid}"
    tags = ("groups",)

    @get("/members", operation_id="list_members", summary="List members", signed_in=True)
    async def members(
        self,
        request: StrictRequest,
        group_id: FromPath[uuid.UUID],
        status: FromQuery[groups.MemberStatus | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[groups.MembershipRecord]]:
        """Who has asked, who is a member and who was. For the group's own people and the staff of
        its place."""
        group = await _inside(request, group_id)
        found = await groups.members(
            group.id, after=paging.after(cursor), limit=limit + 1, status=status
        )
        return answers.listed(request, found, limit, None)

    @post("/members", operation_id="join_group", summary="Ask to join", signed_in=True)
    async def join(
        self, request: StrictRequest, group_id: FromPath[uuid.UUID]
    ) -> Response[groups.MembershipRecord]:
        """Ask to become a member; a leader admits you."""
        group = await partners.read(group_id, accounts.visibility(request.user))
        account = auth.account_of(request)
        return await answers.once(request, lambda: groups.ask(group, account))

    @post(
        "/members/{account_id:uuid}/{step:str}",
        operation_id="move_member",
        summary="Admit a member or end a membership",
        status_code=200,
        signed_in=True,
    )
    async def move(
        self,
        request: StrictRequest,
        group_id: FromPath[uuid.UUID],
        account_id: FromPath[uuid.UUID],
        step: FromPath[Literal["admit", "leave"]],
    ) -> Response[groups.MembershipRecord]:
        """Leaders admit whoever has asked, and end memberships; everybody may leave by
        themselves."""
        group = await partners.read(group_id, accounts.visibility(request.user))
        if not (step == "leave" and account_id == auth.account_of(request)):
            await accounts.require(request.user, frozenset(), partner=group.id)
        verb = groups.admit if step == "admit" else groups.leave
        return await answers.once(request, lambda: verb(group, account_id), status=200)

    @get("/sessions", operation_id="list_sessions", summary="Sessions", signed_in=True)
    async def sessions(
        self,
        request: StrictRequest,
        group_id: FromPath[uuid.UUID],
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[bookings.BookingRecord]]:
        """The bookings of the group that are not over. For its own people, its members, and the
        staff of its place."""
        group = await _inside(request, group_id)
        found = await groups.to_come(group.id, after=paging.after(cursor), limit=limit + 1)
        return answers.listed(request, found, limit, None)

    @post(
        "/series",
        operation_id="book_series",
        summary="Book a series of sessions",
        signed_in=True,
    )
    async def book(
        self,
        request: StrictRequest,
        group_id: FromPath[uuid.UUID],
        data: JSONBody[groups.SeriesDraft],
    ) -> Response[groups.Series]:
        """Book a space of the same community for every occurrence of weekly windows between two
        dates: all of them or none, and a refusal names every date in the way. By the leaders of
        the group, the staff of the space's place, or the space's partner."""
        sees = accounts.visibility(request.user)
        group = await partners.read(group_id, sees)
        reading = offerings.read(data.offering_id, sees)
        await auth.referred("offering_id", "offering", data.offering_id, reading)
        offering = await offerings.read(data.offering_id, sees)
        if group.id not in request.user.partners:
            lineage = await places.ancestors(offering.place_id)
            partner = offering.partner_id
            await accounts.require(
                request.user, accounts.STAFF, place_lineage=lineage, partner=partner
            )
        account = auth.account_of(request)

        async def booked() -> groups.Series:
            asked = _times(data)
            _refuse_closed(offering, asked)
            return await groups.book(group, offering, asked, account)

        return await answers.once(request, booked)

    @post(
        "/series/{series_id:uuid}/cancel",
        operation_id="cancel_series",
        summary="Give a series back",
        status_code=200,
        signed_in=True,
    )
    async def cancel(
        self,
        request: StrictRequest,
        group_id: FromPath[uuid.UUID],
        series_id: FromPath[uuid.UUID],
    ) -> Response[groups.Series]:
        """Cancel every session of a series that has not begun. By the leaders of the group; whoever
        may cancel a booking of the space cancels them one by one."""
        group = await partners.read(group_id, accounts.visibility(request.user))
        await accounts.require(request.user, frozenset(), partner=group.id)
        return await answers.once(request, lambda: groups.give_up(group, series_id), status=200)


async def _inside(request: StrictRequest, group_id: uuid.UUID) -> partners.PartnerRecord:
    """A group of which the caller is a leader or member, or staff of its place."""
    group = await partners.read(group_id, accounts.visibility(request.user))
    if not await groups.is_member(group.id, auth.account_of(request)):
        lineage = await places.ancestors(group.place_id)
        await accounts.require(
            request.user, accounts.STAFF, place_lineage=lineage, partner=group.id
        )
    return group


def _times(data: groups.SeriesDraft) -> list[bookings.Time]:
    """The occurrences of a series, earliest first. Refuses what is no series to book, by its
    field."""
    today = base.now().date()
    # Somewhere it is still yesterday; of what is over, the sessions themselves are asked below.
    if data.first < today - _DAY:
        raise errors.refuse_field("first", "out_of_range", needed="today or later")
    if not data.first <= data.last <= today + bookings.AHEAD:
        needed = f"from first on, at most {bookings.AHEAD.days} days ahead"
        raise errors.refuse_field("last", "out_of_range", needed=needed)
    found = windows.occurrences(data.windows, data.first, data.last)
    if not found:
        needed = "windows with an occurrence between first and last"
        raise errors.refuse_field("windows", "out_of_range", needed=needed)
    if len(found) > groups.MAX_SESSIONS:
        raise errors.Refusal(
            "too_many", count=len(found), what="sessions", limit=groups.MAX_SESSIONS
        )
    if found[0][0] < bookings.minute(base.now()):
        raise errors.refuse_field("first", "out_of_range", needed="no session before now")
    if any(before[1] > after[0] for before, after in itertools.pairwise(found)):
        raise errors.refuse_field("windows", "out_of_range", needed="no two at the same time")
    return [bookings.Time(starts, ends, 1) for starts, ends in found]


def _refuse_closed(offering: offerings.OfferingRecord, asked: Sequence[bookings.Time]) -> None:
    closed = [
        time
        for time in asked
        if not windows.is_open(offering.availability, (time.starts, time.ends))
    ]
    if closed:
        raise errors.Refusal("closed_on", times=bookings.named(closed, len(asked)))
