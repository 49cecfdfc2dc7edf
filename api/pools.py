"""Pools: how many places there are to share by the hour, and the ledger of it."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from api import answers, auth, paging
from api.offerings import own_offering
from api.requests import StrictRequest
from models import pools


class PoolController(Controller):
    """The capacity of parking spaces, charging spots and whatever else is counted."""

    path = "/v1/offerings/{offering_id:uuid}/capacity"
    tags = ("pools",)

    @get(operation_id="list_capacity", summary="Ledger of a pool", signed_in=True)
    async def ledger(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[pools.EntryRecord]]:
        """Every change of the capacity, the last one first. For those who may change it."""
        offering = await own_offering(request, offering_id)
        found = await pools.ledger(offering.id, after=paging.after(cursor), limit=limit + 1)
        return answers.listed(request, found, limit, None)

    @post(operation_id="adjust_capacity", summary="Add or remove places", signed_in=True)
    async def adjust(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        data: JSONBody[pools.EntryDraft],
    ) -> Response[pools.EntryRecord]:
        """So many places more or fewer, and why. The first entry makes a pool of the offering:
        from then on its capacity changes here alone. Refuses fewer places than are booked at some
        time to come."""
        offering = await own_offering(request, offering_id)
        by = auth.account_of(request)
        return await answers.once(request, lambda: pools.adjust(offering, data, by))
