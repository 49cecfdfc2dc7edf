"""The tree of places and their profiles, and the taxonomy of services."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, paging
from api.requests import StrictRequest
from models import accounts, partners, places, services

OFFICERS = frozenset({"officer"})


class PlaceController(Controller):
    """Municipality > district > subdistrict > community > grid > building."""

    path = "/v1/places"
    tags = ("places",)

    @get(operation_id="list_places", summary="List places")
    async def list_places(
        self,
        request: StrictRequest,
        kind: FromQuery[places.PlaceKind | None] = None,
        within: FromQuery[uuid.UUID | None] = None,
        parent: FromQuery[uuid.UUID | None] = None,
        slug: paging.Slug = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[places.PlaceRecord]]:
        """Active places, newest first. `within` means that place and everything below it."""
        names = answers.fields_of(places.PlaceRecord, fields)
        found = await places.browse(
            after=paging.after(cursor),
            limit=limit + 1,
            kind=kind,
            within=within,
            parent=parent,
            slug=slug,
        )
        return answers.listed(request, found, limit, names)

    @post(operation_id="found_place", summary="Add a place", signed_in=True)
    async def found(
        self, request: StrictRequest, data: JSONBody[places.PlaceDraft]
    ) -> Response[places.PlaceRecord]:
        """Add a place below its parent. Officers add below their own place, operators anywhere."""
        lineage = await places.ancestors(data.parent_id) if data.parent_id else []
        await accounts.require(request.user, OFFICERS, place_lineage=lineage)
        return await answers.once(request, lambda: places.found(data), _location)

    @get("/{place_id:uuid}", operation_id="get_place", summary="Read a place")
    async def read(
        self, request: StrictRequest, place_id: FromPath[uuid.UUID], fields: paging.Fields = None
    ) -> Response[places.PlaceRecord]:
        """One place with its profile."""
        names = answers.fields_of(places.PlaceRecord, fields)
        place = await places.read(place_id)
        return answers.shown(request, answers.sparse(place, names), tag=answers.etag(place.version))

    @patch(
        "/{place_id:uuid}",
        operation_id="change_place",
        summary="Change a place",
        signed_in=True,
    )
    async def change(
        self,
        request: StrictRequest,
        place_id: FromPath[uuid.UUID],
        data: JSONBody[places.PlaceChange],
    ) -> Response[places.PlaceRecord]:
        """Change the profile. Needs If-Match."""
        place = await self._own(request, place_id)
        return answers.changed(await places.change(place, data))

    @delete(
        "/{place_id:uuid}",
        operation_id="withdraw_place",
        summary="Take a place out of use",
        status_code=200,
        signed_in=True,
    )
    async def withdraw(
        self, request: StrictRequest, place_id: FromPath[uuid.UUID]
    ) -> Response[places.PlaceRecord]:
        """Withdraw a place that has none below it. Needs If-Match."""
        place = await self._own(request, place_id)
        return answers.changed(await places.withdraw(place))

    @put(
        "/{place_id:uuid}/blocked-partners/{partner_id:uuid}",
        operation_id="block_partner",
        summary="Stop working with a partner",
        status_code=204,
        signed_in=True,
    )
    async def block(
        self,
        request: StrictRequest,
        place_id: FromPath[uuid.UUID],
        partner_id: FromPath[uuid.UUID],
    ) -> None:
        """No offering of the partner matches a need of this place or of one below it."""
        await self._decides(request, place_id)
        await partners.block(place_id, partner_id)

    @delete(
        "/{place_id:uuid}/blocked-partners/{partner_id:uuid}",
        operation_id="unblock_partner",
        summary="Work with a partner again",
        signed_in=True,
    )
    async def unblock(
        self,
        request: StrictRequest,
        place_id: FromPath[uuid.UUID],
        partner_id: FromPath[uuid.UUID],
    ) -> None:
        """Lift the block; lifting none changes nothing."""
        await self._decides(request, place_id)
        await partners.unblock(place_id, partner_id)

    async def _own(self, request: StrictRequest, place_id: uuid.UUID) -> places.PlaceRecord:
        place = await self._decides(request, place_id)
        answers.require_match(request, place.version)
        return place

    async def _decides(self, request: StrictRequest, place_id: uuid.UUID) -> places.PlaceRecord:
        place = await places.read(place_id)
        lineage = await places.ancestors(place_id)
        await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)
        return place


class ServiceTypeController(Controller):
    """The bilingual taxonomy."""

    path = "/v1/service-types"
    tags = ("service types",)

    @get(operation_id="list_service_types", summary="The taxonomy of service types")
    async def list_service_types(
        self, request: StrictRequest
    ) -> Response[list[services.ServiceTypeRecord]]:
        """Every service type that needs ask for and offerings give."""
        return answers.shown(request, await services.every())


def _location(place: places.PlaceRecord) -> str:
    return f"/v1/places/{place.id}"
