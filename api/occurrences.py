"""Occurrences of an agreement: who comes, who goes, and what was recorded wrongly."""

from __future__ import annotations

import uuid

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, auth, paging
from api.requests import StrictRequest
from models import accounts, agreements, attendance, errors, places


class OccurrenceController(Controller):
    """Check-in and check-out: by the people of the commitment's partner and the staff of the
    need's place."""

    path = "/v1"
    tags = ("occurrences",)

    @get(
        "/agreements/{agreement_id:uuid}/occurrences",
        operation_id="list_occurrences",
        summary="List the occurrences of an agreement",
        signed_in=True,
    )
    async def list_occurrences(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        status: FromQuery[attendance.rules.OccurrenceStatus | None] = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[attendance.OccurrenceRecord]]:
        """The times of an agreement of your own places or partners, in the order of time, each with
        who came. A row that `reverses` another has it taken back."""
        names = answers.fields_of(attendance.OccurrenceRecord, fields)
        sees = accounts.visibility(request.user)
        await agreements.read(agreement_id, sees)
        found = await attendance.browse(
            sees, agreement_id, after=paging.after(cursor), limit=limit + 1, status=status
        )
        return answers.listed(request, found, limit, names)

    @get(
        "/occurrences/{occurrence_id:uuid}",
        operation_id="get_occurrence",
        summary="Read an occurrence",
        signed_in=True,
    )
    async def read(
        self, request: StrictRequest, occurrence_id: FromPath[uuid.UUID]
    ) -> Response[attendance.OccurrenceRecord]:
        """One time of an agreement of your own places or partners, and who came."""
        found = await attendance.read(occurrence_id, accounts.visibility(request.user))
        return answers.shown(request, found, tag=answers.etag(found.version))

    @post(
        "/occurrences/{occurrence_id:uuid}/check-in",
        operation_id="check_in",
        summary="Check in",
        status_code=200,
        signed_in=True,
    )
    async def check_in(
        self,
        request: StrictRequest,
        occurrence_id: FromPath[uuid.UUID],
        data: JSONBody[attendance.CheckIn],
    ) -> Response[attendance.OccurrenceRecord]:
        """Somebody has come: from 60 minutes before the start of what they are asked for until its
        end. The first one has the occurrence under way; one to which nobody comes is missed with
        its end. `account_id` names one of the partner's people, whose hours they are."""
        found = await _own(request, occurrence_id, data.commitment_id)
        by = auth.account_of(request)
        return await answers.once(request, lambda: attendance.check_in(found, data, by), status=200)

    @post(
        "/occurrences/{occurrence_id:uuid}/check-out",
        operation_id="check_out",
        summary="Check out",
        status_code=200,
        signed_in=True,
    )
    async def check_out(
        self,
        request: StrictRequest,
        occurrence_id: FromPath[uuid.UUID],
        data: JSONBody[attendance.CheckIn],
    ) -> Response[attendance.OccurrenceRecord]:
        """Somebody leaves, at most 24 hours after the end. The minutes they were there count, those
        planned and 15 more at most, and are credited to whoever gave them; who does not check out
        counts to the planned end. When nobody is there any more after the end, it is served."""
        found = await _own(request, occurrence_id, data.commitment_id)
        by = auth.account_of(request)
        return await answers.once(
            request, lambda: attendance.check_out(found, data, by), status=200
        )

    @post(
        "/attendance/{attendance_id:uuid}/correct",
        operation_id="correct_attendance",
        summary="Correct who came",
        status_code=200,
        signed_in=True,
    )
    async def correct(
        self,
        request: StrictRequest,
        attendance_id: FromPath[uuid.UUID],
        data: JSONBody[attendance.Correction],
    ) -> Response[attendance.OccurrenceRecord]:
        """Take a row back by its opposite, and say what is true instead: that somebody was there
        between `came_at` and `went_at`, or (without them) that nobody was. By whoever decides for
        the need's place, once the occurrence is closed and at most 30 days after its end. Hours,
        and what the offering has kept, follow."""
        sees = accounts.visibility(request.user)
        row, found = await attendance.find(attendance_id, sees)
        agreement = await agreements.read(found.agreement_id, sees)
        lineage = await places.ancestors(agreement.place_id)
        await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)
        by = auth.account_of(request)
        return await answers.once(
            request, lambda: attendance.correct(row, found, data, by), status=200
        )


async def _own(
    request: StrictRequest, occurrence_id: uuid.UUID, commitment_id: uuid.UUID
) -> attendance.OccurrenceRecord:
    """An occurrence that the caller sees, of a commitment for which they may act."""
    sees = accounts.visibility(request.user)
    found = await attendance.read(occurrence_id, sees)
    agreement = await agreements.read(found.agreement_id, sees)
    partner = next((c.partner_id for c in agreement.commitments if c.id == commitment_id), None)
    lineage = await places.ancestors(agreement.place_id)
    await accounts.require(request.user, accounts.STAFF, place_lineage=lineage, partner=partner)
    if partner is None:
        what = {"what": "commitment", "value": str(commitment_id)}
        raise errors.refuse_field("commitment_id", "unknown_reference", **what)
    return found
