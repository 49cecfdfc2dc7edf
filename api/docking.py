"""The docking register: partners and practical projects of places."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, docking, history, needs, partners, places


class DockingController(Controller):
    """Proposing, docking, delivering: by whoever decides for the place of the project."""

    path = "/v1"
    tags = ("dockings",)

    @get("/dockings", operation_id="list_dockings", summary="List the register")
    async def list_dockings(
        self,
        request: StrictRequest,
        place: FromQuery[uuid.UUID | None] = None,
        partner: FromQuery[uuid.UUID | None] = None,
        status: FromQuery[docking.DockingStatus | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[docking.DockingRecord]]:
        """Lines you may see, newest first: what was docked once, and all of your own places and
        partners."""
        names = answers.fields_of(docking.DockingRecord, fields)
        found = await docking.browse(
            accounts.visibility(request.user),
            after=paging.after(cursor),
            limit=limit + 1,
            within=place,
            partner=partner,
            status=status,
        )
        return answers.listed(request, found, limit, names)

    @post(
        "/dockings",
        operation_id="propose_docking",
        summary="Propose a project to a partner",
        signed_in=True,
    )
    async def propose(
        self, request: StrictRequest, data: JSONBody[docking.DockingDraft]
    ) -> Response[docking.DockingRecord]:
        """Propose a practical project of your place to a partner, for a need or a service type.
        Until it is docked, only your staff and the partner's people see it."""
        await _require(request, data.place_id)
        sees = accounts.visibility(request.user)
        reading = partners.read(data.partner_id, sees)
        await auth.referred("partner_id", "partner", data.partner_id, reading)
        if data.need_id:
            await auth.referred("need_id", "need", data.need_id, needs.read(data.need_id, sees))
        return await answers.once(request, lambda: docking.propose(data), _location)

    @get("/dockings/{docking_id:uuid}", operation_id="get_docking", summary="Read a line")
    async def read(
        self, request: StrictRequest, docking_id: FromPath[uuid.UUID], fields: paging.Fields = None
    ) -> Response[docking.DockingRecord]:
        """One line of the register."""
        names = answers.fields_of(docking.DockingRecord, fields)
        found = await docking.read(docking_id, accounts.visibility(request.user))
        return answers.shown(request, answers.sparse(found, names), tag=answers.etag(found.version))

    @patch(
        "/dockings/{docking_id:uuid}",
        operation_id="change_docking",
        summary="Change a line",
        signed_in=True,
    )
    async def change(
        self,
        request: StrictRequest,
        docking_id: FromPath[uuid.UUID],
        data: JSONBody[docking.DockingChange],
    ) -> Response[docking.DockingRecord]:
        """Change the words or the days of a project that is not over. Needs If-Match."""
        found = await _own(request, docking_id)
        answers.require_match(request, found.version)
        return answers.changed(await docking.change(found, data))

    @post(
        "/dockings/{docking_id:uuid}/dock",
        operation_id="dock",
        summary="Go ahead together",
        status_code=200,
        signed_in=True,
    )
    async def dock(
        self, request: StrictRequest, docking_id: FromPath[uuid.UUID]
    ) -> Response[docking.DockingRecord]:
        """Both go ahead; the line is public from now on. Refuses a partner that is not
        admitted."""
        found = await _own(request, docking_id)
        return await answers.once(request, lambda: docking.dock(found), status=200)

    @post(
        "/dockings/{docking_id:uuid}/deliver",
        operation_id="deliver_docking",
        summary="Record the result",
        status_code=200,
        signed_in=True,
    )
    async def deliver(
        self,
        request: StrictRequest,
        docking_id: FromPath[uuid.UUID],
        data: JSONBody[docking.Delivery],
    ) -> Response[docking.DockingRecord]:
        """The project is done: what came of it, in both languages."""
        found = await _own(request, docking_id)
        return await answers.once(request, lambda: docking.deliver(found, data), status=200)

    @post(
        "/dockings/{docking_id:uuid}/drop",
        operation_id="drop_docking",
        summary="Drop a project",
        status_code=200,
        signed_in=True,
    )
    async def drop(
        self,
        request: StrictRequest,
        docking_id: FromPath[uuid.UUID],
        data: JSONBody[docking.Drop],
    ) -> Response[docking.DockingRecord]:
        """Nothing comes of it, for a reason that can be counted; the line stays."""
        found = await _own(request, docking_id)
        return await answers.once(request, lambda: docking.drop(found, data.reason), status=200)

    @get(
        "/dockings/{docking_id:uuid}/history",
        operation_id="docking_history",
        summary="The walk of a line",
        signed_in=True,
    )
    async def walk(
        self,
        request: StrictRequest,
        docking_id: FromPath[uuid.UUID],
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[history.Step]]:
        """Who took which step when and why, the last one first: for the staff of the place and
        the partner's own people."""
        found = await docking.read(docking_id, accounts.visibility(request.user))
        await accounts.require(
            request.user,
            accounts.STAFF,
            place_lineage=await places.ancestors(found.place_id),
            partner=found.partner_id,
        )
        steps = await history.of(
            docking_id, "docking", docking.STATUSES, before=paging.number(cursor), limit=limit + 1
        )
        return answers.shown(request, paging.page(steps, limit, paging.numbered))

    @get(
        "/places/{place_id:uuid}/docking-register",
        operation_id="export_docking_register",
        summary="Take the register of a place along",
    )
    async def export(
        self, request: StrictRequest, place_id: FromPath[uuid.UUID]
    ) -> Response[docking.Register]:
        """Every line of a place and everything below it that you may see, the oldest first. With
        `Accept: text/csv` as a table for spreadsheets. Refuses more than 10,000 lines."""
        await places.read(place_id)
        found = await docking.register(place_id, accounts.visibility(request.user))
        if answers.wants_table(request):
            return answers.table(docking.as_csv(found), "docking-register.csv")
        return answers.shown(request, found)


async def _own(request: StrictRequest, docking_id: uuid.UUID) -> docking.DockingRecord:
    found = await docking.read(docking_id, accounts.visibility(request.user))
    await _require(request, found.place_id)
    return found


async def _require(request: StrictRequest, place: uuid.UUID) -> None:
    lineage = await places.ancestors(place)
    await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)


def _location(made: docking.DockingRecord) -> str:
    return f"/v1/dockings/{made.id}"
