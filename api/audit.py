"""The audit trail, for those who answer for a place."""

from __future__ import annotations

import uuid
from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import QueryParameter

from api import answers, paging
from api.requests import StrictRequest
from models import accounts, audit, base

# A secretary's own acts are in it: who reads it stands above.
_READERS = frozenset({"officer"})

Action = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^[a-z][a-z0-9_.]{0,63}\Z", description="Only this action: `need.posted`."
    ),
]
Place = Annotated[
    uuid.UUID | None,
    QueryParameter(description="Only acts in this place and everything below it."),
]
Subject = Annotated[uuid.UUID | None, QueryParameter(description="Only what was done to this.")]
Actor = Annotated[uuid.UUID | None, QueryParameter(description="Only what this account did.")]


class AuditController(Controller):
    """Reading the trail. Nothing writes it but the acts themselves."""

    path = "/v1/audit"
    tags = ("audit",)

    @get(operation_id="list_acts", summary="Read the audit trail", signed_in=True)
    async def list_acts(
        self,
        request: StrictRequest,
        place: Place = None,
        subject: Subject = None,
        actor: Actor = None,
        action: Action = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[audit.AuditRecord]]:
        """Who did what, the last act first: in the places you are an officer of, or everywhere
        for an operator. `hash` seals a row and, through `previous`, all rows before it."""
        where = await _visible(request.user)
        if place:
            where.within("place", place)
        for column, wanted in (("subject", subject), ("actor", actor), ("action", action)):
            if wanted is not None:
                where.add(f"{column} = {{}}", wanted)
        before = paging.number(cursor)
        if before is not None:
            where.add("seq < {}", before)
        found = await audit.browse(where, limit + 1)
        return answers.shown(request, paging.page(found, limit, paging.numbered))


async def _visible(caller: accounts.Caller) -> base.Where:
    await accounts.require(caller, _READERS, place_lineage=caller.places_as(_READERS))
    where = base.Where()
    accounts.visibility(caller, _READERS).restrict(where, "1 = 0", "place", None)
    return where
