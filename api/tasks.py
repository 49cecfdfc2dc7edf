"""Tasks: what the staff of a place have to do."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, places, tasks


class TaskController(Controller):
    """Reading tasks and closing them, by the staff of their place. The program raises them."""

    path = "/v1/tasks"
    tags = ("tasks",)

    @get(operation_id="list_tasks", summary="List tasks", signed_in=True)
    async def list_tasks(
        self,
        request: StrictRequest,
        status: FromQuery[tasks.TaskStatus | None] = None,
        within: FromQuery[uuid.UUID | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[tasks.TaskRecord]]:
        """Tasks of your own places, newest first."""
        names = answers.fields_of(tasks.TaskRecord, fields)
        found = await tasks.browse(
            accounts.visibility(request.user),
            after=paging.after(cursor),
            limit=limit + 1,
            status=status,
            within=within,
        )
        return answers.listed(request, found, limit, names)

    @get("/{task_id:uuid}", operation_id="get_task", summary="Read a task", signed_in=True)
    async def read(
        self, request: StrictRequest, task_id: FromPath[uuid.UUID]
    ) -> Response[tasks.TaskRecord]:
        """One task of your own places."""
        found = await tasks.read(task_id, accounts.visibility(request.user))
        return answers.shown(request, found, tag=answers.etag(found.version))

    @post(
        "/{task_id:uuid}/done",
        operation_id="do_task",
        summary="Say that a task is done",
        status_code=200,
        signed_in=True,
    )
    async def done(
        self, request: StrictRequest, task_id: FromPath[uuid.UUID]
    ) -> Response[tasks.TaskRecord]:
        """It has been done. What it was about does not change by that: a rent that is short stays
        so, and raises a task again when the next month ends short."""
        found, account = await _own(request, task_id), auth.account_of(request)
        return await answers.once(request, lambda: tasks.close(found, "done", account), status=200)

    @post(
        "/{task_id:uuid}/drop",
        operation_id="drop_task",
        summary="Drop a task",
        status_code=200,
        signed_in=True,
    )
    async def drop(
        self, request: StrictRequest, task_id: FromPath[uuid.UUID]
    ) -> Response[tasks.TaskRecord]:
        """It need not be done any more."""
        found, account = await _own(request, task_id), auth.account_of(request)
        return await answers.once(
            request, lambda: tasks.close(found, "dropped", account), status=200
        )


async def _own(request: StrictRequest, task_id: uuid.UUID) -> tasks.TaskRecord:
    found = await tasks.read(task_id, accounts.visibility(request.user))
    lineage = await places.ancestors(found.place_id)
    await accounts.require(request.user, accounts.STAFF, place_lineage=lineage)
    return found
