"""Roles and the invitations to them."""

from __future__ import annotations

import uuid
from typing import Annotated

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, errors

Place = Annotated[
    uuid.UUID | None,
    QueryParameter(name="place", description="Only at this place and everything below it."),
]
Holder = Annotated[
    uuid.UUID | None, QueryParameter(name="account", description="Only of this account.")
]


class RoleController(Controller):
    """Who may act where. Moving a person is revoking one role and giving another."""

    path = "/v1/roles"
    tags = ("roles",)

    @get(operation_id="list_roles", summary="List roles", signed_in=True)
    async def list_roles(
        self,
        request: StrictRequest,
        place: Place = None,
        account: Holder = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[accounts.RoleRecord]]:
        """Roles that have not ended, newest first: your own, those of your places and partners,
        and those of the partners of your places."""
        names = answers.fields_of(accounts.RoleRecord, fields)
        found = await accounts.browse_roles(
            accounts.visibility(request.user),
            auth.account_of(request),
            after=paging.after(cursor),
            limit=limit + 1,
            place=place,
            account=account,
        )
        return answers.listed(request, found, limit, names)

    @post(operation_id="give_role", summary="Give a role", signed_in=True)
    async def give(
        self, request: StrictRequest, data: JSONBody[accounts.RoleDraft]
    ) -> Response[accounts.RoleRecord]:
        """Give a role. Operators give all; officers within their places, other officers strictly
        below; secretaries what is no office; partners' people their partner's."""
        giver = auth.account_of(request)
        await _require_grant(giver, data.role, data.place_id, data.partner_id)
        return await answers.once(request, lambda: accounts.give(data, giver))

    @get("/{role_id:uuid}", operation_id="get_role", summary="Read a role", signed_in=True)
    async def read(
        self, request: StrictRequest, role_id: FromPath[uuid.UUID], fields: paging.Fields = None
    ) -> Response[accounts.RoleRecord]:
        """One role that has not ended."""
        names = answers.fields_of(accounts.RoleRecord, fields)
        return answers.shown(request, answers.sparse(await _seen(request, role_id), names))

    @delete(
        "/{role_id:uuid}",
        operation_id="revoke_role",
        summary="Revoke a role",
        signed_in=True,
    )
    async def revoke(self, request: StrictRequest, role_id: FromPath[uuid.UUID]) -> None:
        """End a role, and all that was lent from it, from the next request on: by whoever may
        give it, who lent it, or who holds it. The last operator stays one."""
        role = await _seen(request, role_id)
        me = auth.account_of(request)
        lent_by_me = role.delegated_from is not None and role.granted_by == me
        if role.account_id != me and not lent_by_me:
            await _require_grant(me, role.role, role.place_id, role.partner_id)
        await accounts.revoke(role)

    @post(
        "/{role_id:uuid}/delegate",
        operation_id="delegate_role",
        summary="Lend a role",
        signed_in=True,
    )
    async def delegate(
        self,
        request: StrictRequest,
        role_id: FromPath[uuid.UUID],
        data: JSONBody[accounts.Delegation],
    ) -> Response[accounts.RoleRecord]:
        """Lend your own role until a time. It ends sooner when yours does, gives no role to
        others, and cannot be lent on."""
        role = await _seen(request, role_id)
        me = auth.account_of(request)
        if role.account_id != me:
            raise errors.Refusal("forbidden", roles=role.role)
        return await answers.once(request, lambda: accounts.delegate(role, data, me))


class InvitationController(Controller):
    """A role for whoever holds the token. The token is shown once, so no Idempotency-Key here."""

    path = "/v1/invitations"
    tags = ("invitations",)

    @get(operation_id="list_invitations", summary="List invitations", signed_in=True)
    async def list_invitations(
        self,
        request: StrictRequest,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[accounts.InvitationRecord]]:
        """Invitations, newest first: your own, and those to the places you decide for and the
        partners you act for; the accepted and the expired ones, too. Never their tokens."""
        names = answers.fields_of(accounts.InvitationRecord, fields)
        found = await accounts.browse_invitations(
            accounts.visibility(request.user, accounts.DECIDERS),
            auth.account_of(request),
            after=paging.after(cursor),
            limit=limit + 1,
        )
        return answers.listed(request, found, limit, names)

    @post(operation_id="invite", summary="Invite somebody to a role", signed_in=True)
    async def invite(
        self, request: StrictRequest, data: JSONBody[accounts.InvitationDraft]
    ) -> accounts.Invited:
        """Offer a role that you may give. The token is shown here only, and good for 7 days."""
        sender = auth.account_of(request)
        await _require_grant(sender, data.role, data.place_id, data.partner_id)
        return await accounts.invite(data, sender)

    @delete(
        "/{invitation_id:uuid}",
        operation_id="withdraw_invitation",
        summary="Withdraw an invitation",
        signed_in=True,
    )
    async def withdraw(self, request: StrictRequest, invitation_id: FromPath[uuid.UUID]) -> None:
        """Take back what nobody has accepted yet: by who sent it, or who may give its role."""
        me = auth.account_of(request)
        found = await accounts.browse_invitations(
            accounts.visibility(request.user, accounts.DECIDERS),
            me,
            limit=1,
            invitation_id=invitation_id,
        )
        auth.found(bool(found))
        if found[0].invited_by != me:
            await _require_grant(me, found[0].role, found[0].place_id, found[0].partner_id)
        await accounts.withdraw_invitation(found[0])

    @post("/accept", operation_id="accept_invitation", summary="Accept an invitation")
    async def accept(
        self, request: StrictRequest, data: JSONBody[accounts.Acceptance]
    ) -> accounts.RoleRecord:
        """Take up the role, once: signed in with the token alone, else with login, password and
        display_name for an account that is opened at once."""
        me = request.user.account
        if me is None:
            return await accounts.accept(data.token, await accounts.newcomer(data))
        given = [name for name in ("login", "password", "display_name") if getattr(data, name)]
        if given:
            raise errors.Refusal(
                "invalid", *(errors.FieldError(name, "unknown_field") for name in given)
            )
        return await accounts.accept(data.token, me)


async def _seen(request: StrictRequest, role_id: uuid.UUID) -> accounts.RoleRecord:
    """A role that the caller sees and that has not ended."""
    found = await accounts.browse_roles(
        accounts.visibility(request.user), auth.account_of(request), limit=1, role_id=role_id
    )
    auth.found(bool(found))
    return found[0]


async def _require_grant(
    giver: uuid.UUID, role: str, place: uuid.UUID | None, partner: uuid.UUID | None
) -> None:
    """Only roles of one's own give others: what is lent may be used, not multiplied."""
    if not await accounts.may_grant(await accounts.holder(giver), role, place, partner):
        raise errors.Refusal("forbidden", roles=_GIVERS.get(role, "officer, operator, secretary"))


_GIVERS = {
    "operator": "operator",
    "officer": "officer, operator",
    "secretary": "officer, operator",
    "partner_staff": "operator, partner_staff",
}
