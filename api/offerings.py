"""Offerings: spaces, merchants' services, volunteers, vanguards, goods."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from typing import Annotated, Any

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from api import answers, auth, paging
from api.requests import StrictRequest
from models import (
    accounts,
    agreements,
    disclosure,
    engine,
    offerings,
    partners,
    places,
    spaces,
    values,
)


class Bulk(Struct, forbid_unknown_fields=True):
    """Up to 100 offerings, registered all or none."""

    items: Annotated[list[offerings.OfferingDraft], Meta(min_length=1, max_length=100)]


class Registered(Struct):
    """The offerings of a bulk intake, in no particular order."""

    items: list[offerings.OfferingRecord]


class OfferingController(Controller):
    """What is offered, by whom, where and when."""

    path = "/v1/offerings"
    tags = ("offerings",)

    @get(operation_id="list_offerings", summary="List offerings")
    async def list_offerings(
        self,
        request: StrictRequest,
        kind: FromQuery[values.OfferingKind | None] = None,
        status: FromQuery[offerings.OfferingStatus | None] = None,
        service_type: paging.Slug = None,
        partner: FromQuery[uuid.UUID | None] = None,
        within: FromQuery[uuid.UUID | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[offerings.OfferingRecord]]:
        """Offerings you may see, newest first: what is on offer, and all of your own."""
        names = answers.fields_of(offerings.OfferingRecord, fields)
        sees = accounts.visibility(request.user)
        found = await offerings.browse(
            sees,
            after=paging.after(cursor),
            limit=limit + 1,
            kind=kind,
            status=status,
            service_type=service_type,
            partner=partner,
            within=within,
        )
        return answers.listed(request, await disclosure.all_shown(sees, found), limit, names)

    @post(operation_id="register_offering", summary="Register an offering", signed_in=True)
    async def register(
        self, request: StrictRequest, data: JSONBody[offerings.OfferingDraft]
    ) -> Response[offerings.OfferingRecord]:
        """Register what a partner offers: by its own people, or by the staff of its place."""
        await _may_offer(request, [data])
        return await answers.once(
            request, lambda: _shown(request, offerings.register(data)), _location
        )

    @post(
        "/bulk",
        operation_id="register_offerings",
        summary="Register many offerings at once",
        signed_in=True,
        request_max_body_size=1024 * 1024,
    )
    async def register_all(
        self, request: StrictRequest, data: JSONBody[Bulk]
    ) -> Response[Registered]:
        """Register up to 100 offerings, all or none: the idle rooms of a property company."""
        await _may_offer(request, data.items)

        async def registered() -> Registered:
            sees = accounts.visibility(request.user)
            made = await offerings.register_all(data.items)
            return Registered(await disclosure.all_shown(sees, made))

        return await answers.once(request, registered)

    @get("/{offering_id:uuid}", operation_id="get_offering", summary="Read an offering")
    async def read(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID], fields: paging.Fields = None
    ) -> Response[offerings.OfferingRecord]:
        """One offering. The home of a person is shown to their own people and to the staff of its
        place; to everybody else only roughly, with `location_exact` false."""
        names = answers.fields_of(offerings.OfferingRecord, fields)
        sees = accounts.visibility(request.user)
        offering = await disclosure.shown(sees, await offerings.read(offering_id, sees))
        return answers.shown(
            request, answers.sparse(offering, names), tag=answers.etag(offering.version)
        )

    @patch(
        "/{offering_id:uuid}",
        operation_id="change_offering",
        summary="Change an offering",
        signed_in=True,
    )
    async def change(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        data: JSONBody[offerings.OfferingChange],
    ) -> Response[offerings.OfferingRecord]:
        """Change an offering. Needs If-Match. Credentials stated unchanged stay verified. The
        capacity of a space keeps to its tree, that of a pool to its ledger, and where places are
        booked it is never fewer than those."""
        offering = await own_offering(request, offering_id)
        answers.require_match(request, offering.version)
        return answers.changed(await _shown(request, spaces.change(offering, data)))

    @delete(
        "/{offering_id:uuid}",
        operation_id="withdraw_offering",
        summary="Withdraw an offering",
        status_code=200,
        signed_in=True,
    )
    async def withdraw(
        self, request: StrictRequest, offering_id: FromPath[uuid.UUID]
    ) -> Response[offerings.OfferingRecord]:
        """Take an offering back for good, and what it is asked for. Refuses while an agreement
        stands on it: that is ended, or its member swapped, first. Needs If-Match."""
        offering = await own_offering(request, offering_id)
        answers.require_match(request, offering.version)
        async with engine.unit_of_work():
            await agreements.call_off("offering", offering.id, "member_left")
            withdrawn = await _shown(request, offerings.withdraw(offering))
            await agreements.call_off("offering", offering.id, "member_left")
        return answers.changed(withdrawn)

    @post(
        "/{offering_id:uuid}/credentials/{credential_id:uuid}/verify",
        operation_id="verify_offering_credential",
        summary="Verify an offering's credential",
        status_code=200,
        signed_in=True,
    )
    async def verify(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        credential_id: FromPath[uuid.UUID],
    ) -> Response[offerings.OfferingRecord]:
        """Stand for a licence you have seen; the record names you."""
        offering = await offerings.read(offering_id, accounts.visibility(request.user))
        lineage = await places.ancestors(offering.place_id)
        await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)
        auth.found(credential_id in (credential.id for credential in offering.credentials))
        verifier = auth.account_of(request)

        async def verified() -> offerings.OfferingRecord:
            await partners.verify(credential_id, verifier)
            sees = accounts.visibility(request.user)
            return await disclosure.shown(sees, await offerings.read(offering_id, sees))

        return await answers.once(request, verified, status=200)


async def _shown(
    request: StrictRequest, found: Awaitable[offerings.OfferingRecord]
) -> offerings.OfferingRecord:
    return await disclosure.shown(accounts.visibility(request.user), await found)


async def _may_offer(request: StrictRequest, drafts: list[offerings.OfferingDraft]) -> None:
    """The caller acts for every partner named, or decides for that partner's home place."""
    sees = accounts.visibility(request.user)
    for partner_id in {draft.partner_id for draft in drafts} - request.user.partners:
        partner = await partners.read(partner_id, sees)
        lineage = await places.ancestors(partner.place_id)
        await accounts.require(
            request.user, accounts.DECIDERS, place_lineage=lineage, partner=partner_id
        )


async def own_offering(request: StrictRequest, offering_id: uuid.UUID) -> offerings.OfferingRecord:
    """An offering that the caller may change: its partner's people, or who decides there."""
    offering = await offerings.read(offering_id, accounts.visibility(request.user))
    await accounts.require(
        request.user,
        accounts.DECIDERS,
        place_lineage=await places.ancestors(offering.place_id),
        partner=offering.partner_id,
    )
    return offering


def _location(offering: Any) -> str:
    return f"/v1/offerings/{offering.id}"
