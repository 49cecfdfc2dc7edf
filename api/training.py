"""Training and study visits, and who has completed them."""

from __future__ import annotations

import uuid
from typing import Annotated

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, offerings, places, training

OfTraining = Annotated[
    uuid.UUID | None, QueryParameter(name="training", description="Only of this training.")
]


class TrainingController(Controller):
    """What a place teaches, and the skills that this grants until a day."""

    path = "/v1"
    tags = ("trainings",)

    @get("/trainings", operation_id="list_trainings", summary="List trainings")
    async def list_trainings(
        self,
        request: StrictRequest,
        place: FromQuery[uuid.UUID | None] = None,
        kind: FromQuery[training.TrainingKind | None] = None,
        skill: paging.Slug = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[training.TrainingRecord]]:
        """Trainings and study visits, newest first; withdrawn ones of your own places, too."""
        names = answers.fields_of(training.TrainingRecord, fields)
        found = await training.browse(
            accounts.visibility(request.user),
            after=paging.after(cursor),
            limit=limit + 1,
            within=place,
            kind=kind,
            skill=skill,
        )
        return answers.listed(request, found, limit, names)

    @post(
        "/trainings",
        operation_id="hold_training",
        summary="Announce a training",
        signed_in=True,
    )
    async def hold(
        self, request: StrictRequest, data: JSONBody[training.TrainingDraft]
    ) -> Response[training.TrainingRecord]:
        """Announce a training or study visit of your place, and the skill it grants."""
        await _require(request, data.place_id)
        return await answers.once(request, lambda: training.hold(data), _location)

    @get("/trainings/{training_id:uuid}", operation_id="get_training", summary="Read a training")
    async def read(
        self, request: StrictRequest, training_id: FromPath[uuid.UUID], fields: paging.Fields = None
    ) -> Response[training.TrainingRecord]:
        """One training."""
        names = answers.fields_of(training.TrainingRecord, fields)
        found = await training.read(training_id, accounts.visibility(request.user))
        return answers.shown(request, answers.sparse(found, names), tag=answers.etag(found.version))

    @patch(
        "/trainings/{training_id:uuid}",
        operation_id="change_training",
        summary="Change a training",
        signed_in=True,
    )
    async def change(
        self,
        request: StrictRequest,
        training_id: FromPath[uuid.UUID],
        data: JSONBody[training.TrainingChange],
    ) -> Response[training.TrainingRecord]:
        """Change its words. Needs If-Match. What it grants stays as it was announced."""
        found = await _own(request, training_id)
        answers.require_match(request, found.version)
        return answers.changed(await training.change(found, data))

    @delete(
        "/trainings/{training_id:uuid}",
        operation_id="withdraw_training",
        summary="Withdraw a training",
        status_code=200,
        signed_in=True,
    )
    async def withdraw(
        self, request: StrictRequest, training_id: FromPath[uuid.UUID]
    ) -> Response[training.TrainingRecord]:
        """Grant nothing by it any more. Needs If-Match. What it has granted stays."""
        found = await _own(request, training_id)
        answers.require_match(request, found.version)
        return answers.changed(await training.withdraw(found))

    @post(
        "/trainings/{training_id:uuid}/complete",
        operation_id="complete_training",
        summary="Record who has completed it",
        signed_in=True,
    )
    async def complete(
        self,
        request: StrictRequest,
        training_id: FromPath[uuid.UUID],
        data: JSONBody[training.CompletionDraft],
    ) -> Response[training.CompletionRecord]:
        """Stand for it that the volunteer or vanguard of an offering has completed a training: the
        offering has its skill from that day on. It takes somebody who decides for the place of
        the training and for that of the offering."""
        found = await _own(request, training_id)
        sees = accounts.visibility(request.user)
        await auth.referred(
            "offering_id", "offering", data.offering_id, offerings.read(data.offering_id, sees)
        )
        offering = await offerings.read(data.offering_id, sees)
        await _require(request, offering.place_id)
        account = auth.account_of(request)
        return await answers.once(
            request,
            lambda: training.complete(found, offering, data.completed_on, account),
            lambda made: f"/v1/completions/{made.id}",
        )

    @get(
        "/completions",
        operation_id="list_completions",
        summary="List completed trainings",
        signed_in=True,
    )
    async def list_completions(
        self,
        request: StrictRequest,
        of_training: OfTraining = None,
        offering: FromQuery[uuid.UUID | None] = None,
        partner: FromQuery[uuid.UUID | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
    ) -> Response[paging.Page[training.CompletionRecord]]:
        """Who has completed what, newest first, valid or expired as of today: of trainings of your
        places, and of your partners."""
        found = await training.browse_completions(
            accounts.visibility(request.user),
            after=paging.after(cursor),
            limit=limit + 1,
            training=of_training,
            offering=offering,
            partner=partner,
        )
        return answers.listed(request, found, limit, None)

    @get(
        "/completions/{completion_id:uuid}",
        operation_id="get_completion",
        summary="Read a completed training",
        signed_in=True,
    )
    async def read_completion(
        self, request: StrictRequest, completion_id: FromPath[uuid.UUID]
    ) -> Response[training.CompletionRecord]:
        """One completed training, valid or expired as of today."""
        sees = accounts.visibility(request.user)
        return answers.shown(request, await training.read_completion(completion_id, sees))

    @post(
        "/completions/{completion_id:uuid}/withdraw",
        operation_id="withdraw_completion",
        summary="Take a completion back",
        status_code=200,
        signed_in=True,
    )
    async def take_back(
        self, request: StrictRequest, completion_id: FromPath[uuid.UUID]
    ) -> Response[training.CompletionRecord]:
        """It was recorded by mistake: the offering no longer has the skill."""
        sees = accounts.visibility(request.user)
        found = await training.read_completion(completion_id, sees)
        await _require(request, found.place_id)
        return await answers.once(request, lambda: training.take_back(found), status=200)


async def _own(request: StrictRequest, training_id: uuid.UUID) -> training.TrainingRecord:
    found = await training.read(training_id, accounts.visibility(request.user))
    await _require(request, found.place_id)
    return found


async def _require(request: StrictRequest, place: uuid.UUID) -> None:
    lineage = await places.ancestors(place)
    await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)


def _location(made: training.TrainingRecord) -> str:
    return f"/v1/trainings/{made.id}"
