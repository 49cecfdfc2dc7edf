"""The ledger of a place and its partners, and the fund of a place."""

from __future__ import annotations

import uuid
from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import FromPath, QueryParameter

from api import answers, paging
from api.requests import StrictRequest
from models import accounts, ledger, places
from models.agreements import revenue

Subject = Annotated[
    uuid.UUID | None,
    QueryParameter(name="subject", description="Only what is about this agreement."),
]
Kind = Annotated[
    str | None,
    QueryParameter(
        name="kind",
        pattern=r"^[a-z_]{1,32}\Z",
        description="Only this kind of transfer, as `rent_due` or `revenue_share`.",
    ),
]


class LedgerController(Controller):
    """Reading the ledger, which is only ever added to."""

    path = "/v1"
    tags = ("ledger",)

    @get("/ledger", operation_id="list_transfers", summary="List transfers", signed_in=True)
    async def list_transfers(
        self,
        request: StrictRequest,
        subject: Subject = None,
        kind: Kind = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[ledger.TransferRecord]]:
        """Transfers of your own places and partners, newest first: money in minor units, hours in
        minutes; the entries of each add up to nothing."""
        names = answers.fields_of(ledger.TransferRecord, fields)
        found = await ledger.browse(
            accounts.visibility(request.user),
            after=paging.after(cursor),
            limit=limit + 1,
            subject=subject,
            kind=kind,
        )
        return answers.listed(request, found, limit, names)

    @get(
        "/places/{place_id:uuid}/fund",
        operation_id="get_fund",
        summary="Read a fund",
        signed_in=True,
    )
    async def fund(
        self, request: StrictRequest, place_id: FromPath[uuid.UUID]
    ) -> Response[revenue.FundRecord]:
        """What the fund of a place holds, for its staff: where one enterprise pays in, the total
        would tell everybody what it earns."""
        await places.read(place_id)
        lineage = await places.ancestors(place_id)
        await accounts.require(request.user, accounts.STAFF, place_lineage=lineage)
        return answers.shown(request, await revenue.fund(place_id))
