"""Partners: registering, admission, credentials."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from typing import Literal

from litestar import Controller, Response, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, departures, disclosure, history, partners, places

# What the trail calls the steps; erased is a resident whose account is.
_STEPS = (*partners.STATUSES, "erased")


class PartnerController(Controller):
    """Who offers."""

    path = "/v1/partners"
    tags = ("partners",)

    @get(operation_id="list_partners", summary="List partners")
    async def list_partners(
        self,
        request: StrictRequest,
        kind: FromQuery[partners.PartnerKind | None] = None,
        status: FromQuery[partners.PartnerStatus | None] = None,
        within: FromQuery[uuid.UUID | None] = None,
        owner: FromQuery[uuid.UUID | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[partners.PartnerRecord]]:
        """Partners you may see, newest first: the admitted ones, and those of your own places."""
        names = answers.fields_of(partners.PartnerRecord, fields)
        sees = accounts.visibility(request.user)
        found = await partners.browse(
            sees,
            after=paging.after(cursor),
            limit=limit + 1,
            kind=kind,
            status=status,
            within=within,
            owner=owner,
        )
        return answers.listed(request, await disclosure.all_shown(sees, found), limit, names)

    @post(operation_id="apply_as_partner", summary="Register a partner", signed_in=True)
    async def apply(
        self, request: StrictRequest, data: JSONBody[partners.PartnerDraft]
    ) -> Response[partners.PartnerRecord]:
        """Apply as a partner; whoever applies becomes its first partner_staff. Only who decides
        for a place registers an enterprise of that place's own (`owner_place_id`)."""
        if data.owner_place_id:
            lineage = await places.ancestors(data.owner_place_id)
            await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)
        applicant = auth.account_of(request)
        return await answers.once(
            request, lambda: _shown(request, partners.apply(data, applicant)), _location
        )

    @get("/{partner_id:uuid}", operation_id="get_partner", summary="Read a partner")
    async def read(
        self, request: StrictRequest, partner_id: FromPath[uuid.UUID], fields: paging.Fields = None
    ) -> Response[partners.PartnerRecord]:
        """One partner. The contact is shown to its own people and to the staff of its place, who
        read the phone masked."""
        names = answers.fields_of(partners.PartnerRecord, fields)
        sees = accounts.visibility(request.user)
        partner = await disclosure.shown(sees, await partners.read(partner_id, sees))
        return answers.shown(
            request, answers.sparse(partner, names), tag=answers.etag(partner.version)
        )

    @patch(
        "/{partner_id:uuid}",
        operation_id="change_partner",
        summary="Change a partner",
        signed_in=True,
    )
    async def change(
        self,
        request: StrictRequest,
        partner_id: FromPath[uuid.UUID],
        data: JSONBody[partners.PartnerChange],
    ) -> Response[partners.PartnerRecord]:
        """Change a partner. Needs If-Match. New credentials wait to be verified."""
        partner = await self._own(request, partner_id, own_people=True)
        answers.require_match(request, partner.version)
        return answers.changed(await _shown(request, partners.change(partner, data)))

    @post(
        "/{partner_id:uuid}/{transition:str}",
        operation_id="move_partner",
        summary="Walk one step of the admission",
        status_code=200,
        signed_in=True,
    )
    async def move(
        self,
        request: StrictRequest,
        partner_id: FromPath[uuid.UUID],
        transition: FromPath[Literal["review", "admit"]],
    ) -> Response[partners.PartnerRecord]:
        """applied → in_review → admitted; `admit` ends a suspension, too. An enterprise needs a
        verified licence that is valid today."""
        partner = await self._own(request, partner_id, own_people=False)
        return await answers.once(
            request, lambda: _shown(request, partners.move(partner, transition)), status=200
        )

    @post(
        "/{partner_id:uuid}/reject",
        operation_id="reject_partner",
        summary="Turn an application down",
        status_code=200,
        signed_in=True,
    )
    async def reject(
        self,
        request: StrictRequest,
        partner_id: FromPath[uuid.UUID],
        data: JSONBody[partners.Rejection],
    ) -> Response[partners.PartnerRecord]:
        """Turn down who applied, for a reason that the applicant reads in the history."""
        partner = await self._own(request, partner_id, own_people=False)
        account = auth.account_of(request)
        return await answers.once(
            request,
            lambda: _shown(request, departures.leave(partner, "reject", data.reason, account)),
            status=200,
        )

    @post(
        "/{partner_id:uuid}/suspend",
        operation_id="suspend_partner",
        summary="Suspend a partner",
        status_code=200,
        signed_in=True,
    )
    async def suspend(
        self,
        request: StrictRequest,
        partner_id: FromPath[uuid.UUID],
        data: JSONBody[partners.Suspension],
    ) -> Response[partners.PartnerRecord]:
        """Let an admitted partner offer nothing new until it is admitted again. Agreements
        and confirmed bookings stay; what is only held is given back, what a plan has proposed to
        it declined."""
        partner = await self._own(request, partner_id, own_people=False)
        account = auth.account_of(request)
        return await answers.once(
            request,
            lambda: _shown(request, departures.suspend(partner, data.reason, account)),
            status=200,
        )

    @post(
        "/{partner_id:uuid}/exit",
        operation_id="exit_partner",
        summary="Leave for good",
        status_code=200,
        signed_in=True,
    )
    async def exit(
        self,
        request: StrictRequest,
        partner_id: FromPath[uuid.UUID],
        data: JSONBody[partners.Departure],
    ) -> Response[partners.PartnerRecord]:
        """The partner leaves: its offerings are withdrawn, bookings to come given back, proposals
        declined and projects dropped. Refused while an agreement is open that everybody has
        accepted, naming it: end it, or let another take the partner's place."""
        partner = await self._own(request, partner_id, own_people=True)
        account = auth.account_of(request)
        return await answers.once(
            request,
            lambda: _shown(request, departures.leave(partner, "exit", data.reason, account)),
            status=200,
        )

    @get(
        "/{partner_id:uuid}/history",
        operation_id="partner_history",
        summary="The walk of a partner",
        signed_in=True,
    )
    async def walk(
        self,
        request: StrictRequest,
        partner_id: FromPath[uuid.UUID],
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[history.Step]]:
        """Who took which step when and why, the last one first: for the partner's own people and
        the staff of its place."""
        partner = await partners.read(partner_id, accounts.visibility(request.user))
        lineage = await places.ancestors(partner.place_id)
        await accounts.require(
            request.user, accounts.STAFF, place_lineage=lineage, partner=partner_id
        )
        steps = await history.of(
            partner_id, "partner", _STEPS, before=paging.number(cursor), limit=limit + 1
        )
        return answers.shown(request, paging.page(steps, limit, paging.numbered))

    @post(
        "/{partner_id:uuid}/credentials/{credential_id:uuid}/verify",
        operation_id="verify_partner_credential",
        summary="Verify a partner's credential",
        status_code=200,
        signed_in=True,
    )
    async def verify(
        self,
        request: StrictRequest,
        partner_id: FromPath[uuid.UUID],
        credential_id: FromPath[uuid.UUID],
    ) -> Response[partners.PartnerRecord]:
        """Stand for a licence you have seen; the record names you."""
        partner = await self._own(request, partner_id, own_people=False)
        held = (credential.id for credential in partner.credentials)
        auth.found(credential_id in held)
        verifier = auth.account_of(request)

        async def verified() -> partners.PartnerRecord:
            await partners.verify(credential_id, verifier)
            sees = accounts.visibility(request.user)
            return await disclosure.shown(sees, await partners.read(partner_id, sees))

        return await answers.once(request, verified, status=200)

    @post(
        "/{partner_id:uuid}/contact/reveal",
        operation_id="reveal_contact",
        summary="See a partner's whole contact",
        status_code=200,
        signed_in=True,
    )
    async def reveal(
        self,
        request: StrictRequest,
        partner_id: FromPath[uuid.UUID],
        data: JSONBody[partners.Reveal],
    ) -> Response[partners.Contact]:
        """The contact with its whole phone number, for the staff of the partner's place. The audit
        trail keeps who asked and why; at most 30 in 24 hours."""
        partner = await partners.read(partner_id, accounts.visibility(request.user))
        lineage = await places.ancestors(partner.place_id)
        await accounts.require(request.user, accounts.STAFF, place_lineage=lineage)
        account = auth.account_of(request)
        return await answers.once(
            request, lambda: partners.reveal(partner, data, account), status=200
        )

    async def _own(
        self, request: StrictRequest, partner_id: uuid.UUID, *, own_people: bool
    ) -> partners.PartnerRecord:
        partner = await partners.read(partner_id, accounts.visibility(request.user))
        await accounts.require(
            request.user,
            accounts.DECIDERS,
            place_lineage=await places.ancestors(partner.place_id),
            partner=partner_id if own_people else None,
        )
        return partner


async def _shown(
    request: StrictRequest, found: Awaitable[partners.PartnerRecord]
) -> partners.PartnerRecord:
    return await disclosure.shown(accounts.visibility(request.user), await found)


def _location(partner: partners.PartnerRecord) -> str:
    return f"/v1/partners/{partner.id}"
