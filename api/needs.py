"""Needs: what a community asks for."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, agreements, disclosure, engine, needs, places, values


class NeedController(Controller):
    """Posting, reading and changing needs; `api/matches.py` answers who fits them."""

    path = "/v1/needs"
    tags = ("needs",)

    @get(operation_id="list_needs", summary="List needs")
    async def list_needs(
        self,
        request: StrictRequest,
        status: FromQuery[needs.NeedStatus | None] = None,
        service_type: paging.Slug = None,
        priority: FromQuery[values.Priority | None] = None,
        within: FromQuery[uuid.UUID | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[needs.NeedRecord]]:
        """Needs you may see, newest first: the open ones, and all of your own places."""
        names = answers.fields_of(needs.NeedRecord, fields)
        sees = accounts.visibility(request.user)
        found = await needs.browse(
            sees,
            after=paging.after(cursor),
            limit=limit + 1,
            status=status,
            service_type=service_type,
            priority=priority,
            within=within,
        )
        return answers.listed(request, await disclosure.all_shown(sees, found), limit, names)

    @post(operation_id="post_need", summary="Post a need", signed_in=True)
    async def post_need(
        self, request: StrictRequest, data: JSONBody[needs.NeedDraft]
    ) -> Response[needs.NeedRecord]:
        """Post a need of a place you work for. `GET …/matches` then says who fits it. One on behalf
        of a minor, a dependent elder or somebody else carries the consent to it."""
        lineage = await places.ancestors(data.place_id)
        await accounts.require(request.user, accounts.STAFF, place_lineage=lineage)
        account = auth.account_of(request)
        return await answers.once(
            request, lambda: _shown(request, needs.post(data, account)), _location
        )

    @get("/{need_id:uuid}", operation_id="get_need", summary="Read a need")
    async def read(
        self, request: StrictRequest, need_id: FromPath[uuid.UUID], fields: paging.Fields = None
    ) -> Response[needs.NeedRecord]:
        """One need. Where a person needs help is shown to the staff of its place; to everybody else
        only roughly, with `location_exact` false."""
        names = answers.fields_of(needs.NeedRecord, fields)
        sees = accounts.visibility(request.user)
        need = await disclosure.shown(sees, await needs.read(need_id, sees))
        return answers.shown(request, answers.sparse(need, names), tag=answers.etag(need.version))

    @patch(
        "/{need_id:uuid}",
        operation_id="change_need",
        summary="Change a need",
        signed_in=True,
    )
    async def change(
        self,
        request: StrictRequest,
        need_id: FromPath[uuid.UUID],
        data: JSONBody[needs.NeedChange],
    ) -> Response[needs.NeedRecord]:
        """Change a need; one that asks for no more than is taken is closed. Needs If-Match."""
        need = await _own(request, need_id)
        return answers.changed(await _shown(request, agreements.change_need(need, data)))

    @delete(
        "/{need_id:uuid}",
        operation_id="withdraw_need",
        summary="Withdraw a need",
        status_code=200,
        signed_in=True,
    )
    async def withdraw(
        self, request: StrictRequest, need_id: FromPath[uuid.UUID]
    ) -> Response[needs.NeedRecord]:
        """Take a need back, and what is proposed for it; whoever waits for a place waits no longer.
        Refuses while an agreement is active: that is ended first. Needs If-Match."""
        need = await _own(request, need_id)
        async with engine.unit_of_work():
            await agreements.call_off("need", need.id, "no_longer_needed")
            withdrawn = await _shown(request, needs.withdraw(need))
            await agreements.call_off("need", need.id, "no_longer_needed")
            if need.beneficiary == "community":
                await agreements.send_home(need)
        return answers.changed(withdrawn)


class ConsentController(Controller):
    """Who agreed to a need on somebody's behalf. For people: service keys have no part in it."""

    path = "/v1/needs/{need_id:uuid}/consent"
    tags = ("consents",)

    @get(
        operation_id="get_consent",
        summary="Who agreed to a need",
        signed_in=True,
    )
    async def consent(
        self, request: StrictRequest, need_id: FromPath[uuid.UUID]
    ) -> Response[needs.ConsentRecord]:
        """The consent to a need on somebody's behalf. For the staff of its place alone."""
        need = await _of_own_place(request, need_id)
        return answers.shown(request, await needs.consent_of(need.id))

    @post(
        "/withdraw",
        operation_id="withdraw_consent",
        summary="Withdraw a consent",
        status_code=200,
        signed_in=True,
    )
    async def withdraw_consent(
        self, request: StrictRequest, need_id: FromPath[uuid.UUID]
    ) -> Response[needs.ConsentRecord]:
        """Whoever agreed no longer does: the need is withdrawn, every agreement for it is over, and
        the consent stays on record."""
        need = await _of_own_place(request, need_id)

        async def withdrawn() -> needs.ConsentRecord:
            async with engine.unit_of_work():
                await agreements.gone("need", need.id, "no_longer_needed")
                return await needs.withdraw_consent(need)

        return await answers.once(request, withdrawn, status=200)


async def _shown(request: StrictRequest, found: Awaitable[needs.NeedRecord]) -> needs.NeedRecord:
    return await disclosure.shown(accounts.visibility(request.user), await found)


async def _own(request: StrictRequest, need_id: uuid.UUID) -> needs.NeedRecord:
    need = await _of_own_place(request, need_id)
    answers.require_match(request, need.version)
    return need


async def _of_own_place(request: StrictRequest, need_id: uuid.UUID) -> needs.NeedRecord:
    need = await needs.read(need_id, accounts.visibility(request.user))
    lineage = await places.ancestors(need.place_id)
    await accounts.require(request.user, accounts.STAFF, place_lineage=lineage)
    return need


def _location(need: needs.NeedRecord) -> str:
    return f"/v1/needs/{need.id}"
