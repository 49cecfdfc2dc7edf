"""Saved searches: what somebody wants to be told of."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import saved


class SavedSearchController(Controller):
    """The caller's own saved searches; what they find newly comes to `GET /v1/notices`."""

    path = "/v1/saved-searches"
    tags = ("saved searches",)

    @get(operation_id="list_saved_searches", summary="List saved searches", signed_in=True)
    async def list_searches(
        self,
        request: StrictRequest,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[saved.SavedSearchRecord]]:
        """Your own, newest first."""
        names = answers.fields_of(saved.SavedSearchRecord, fields)
        found = await saved.browse(
            auth.account_of(request), after=paging.after(cursor), limit=limit + 1
        )
        return answers.listed(request, found, limit, names)

    @post(operation_id="save_search", summary="Save a search", signed_in=True)
    async def save(
        self, request: StrictRequest, data: JSONBody[saved.SavedSearchDraft]
    ) -> Response[saved.SavedSearchRecord]:
        """Be told of what a search finds newly from now on: of each object once, and only of what
        you may see then. Twenty at most."""
        account = auth.account_of(request)
        return await answers.once(request, lambda: saved.save(data, account), _location)

    @get(
        "/{saved_search_id:uuid}",
        operation_id="get_saved_search",
        summary="Read a saved search",
        signed_in=True,
    )
    async def read(
        self, request: StrictRequest, saved_search_id: FromPath[uuid.UUID]
    ) -> Response[saved.SavedSearchRecord]:
        """One of your own."""
        found = await saved.read(saved_search_id, auth.account_of(request))
        return answers.shown(request, found, tag=answers.etag(found.version))

    @delete(
        "/{saved_search_id:uuid}",
        operation_id="remove_saved_search",
        summary="Remove a saved search",
        status_code=200,
        signed_in=True,
    )
    async def remove(
        self, request: StrictRequest, saved_search_id: FromPath[uuid.UUID]
    ) -> Response[saved.SavedSearchRecord]:
        """Be told no more; answers what it was. The notices that it has brought stay."""
        found = await saved.read(saved_search_id, auth.account_of(request))
        answers.require_match(request, found.version)
        await saved.remove(found)
        return answers.changed(found)


def _location(made: saved.SavedSearchRecord) -> str:
    return f"/v1/saved-searches/{made.id}"
