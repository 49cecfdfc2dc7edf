"""Service keys of partners' and communities' own systems."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, places


class KeyController(Controller):
    """Keys `cpk_<prefix>_<secret>`, to call with as a bearer token. Shown once, so no
    Idempotency-Key here."""

    path = "/v1/service-keys"
    tags = ("service keys",)

    @get(operation_id="list_service_keys", summary="List service keys", signed_in=True)
    async def list_keys(
        self,
        request: StrictRequest,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[accounts.KeyRecord]]:
        """Keys of the places you decide for and the partners you act for, newest first."""
        names = answers.fields_of(accounts.KeyRecord, fields)
        found = await accounts.browse_keys(
            accounts.visibility(request.user, accounts.DECIDERS),
            after=paging.after(cursor),
            limit=limit + 1,
        )
        return answers.listed(request, found, limit, names)

    @post(operation_id="make_service_key", summary="Make a service key", signed_in=True)
    async def make(
        self, request: StrictRequest, data: JSONBody[accounts.KeyDraft]
    ) -> accounts.MadeKey:
        """Make a key for a place you decide for, or a partner you act for. It writes as the
        secretary there, or as the partner's people, within its scopes; and only as long as you
        could make it again. A program is not staff: it reads of a place what everybody may, and
        what is not public yet only if it may write there."""
        maker = auth.account_of(request)
        own = await accounts.holder(maker)
        lineage = await places.ancestors(data.place_id) if data.place_id else []
        await accounts.require(
            own, accounts.DECIDERS, place_lineage=lineage, partner=data.partner_id
        )
        return await accounts.make_key(data, maker)

    @delete(
        "/{key_id:uuid}",
        operation_id="revoke_service_key",
        summary="Revoke a service key",
        signed_in=True,
    )
    async def revoke(self, request: StrictRequest, key_id: FromPath[uuid.UUID]) -> None:
        """End a key from the next request on."""
        found = await accounts.browse_keys(
            accounts.visibility(request.user, accounts.DECIDERS), limit=1, key_id=key_id
        )
        auth.found(bool(found))
        await accounts.revoke_key(found[0])
