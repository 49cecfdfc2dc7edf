"""Reports on a place: what is covered, what keeps offerings out, who was served."""

from __future__ import annotations

import uuid
from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import QueryParameter

from api import answers
from api.requests import StrictRequest
from models import accounts, coverage, fairness, places
from search import shortfalls

Place = Annotated[
    uuid.UUID,
    QueryParameter(name="place", description="Of this place and everything below it."),
]


class CoverageController(Controller):
    """What is on offer, for everybody."""

    path = "/v1/reports/coverage"
    tags = ("places",)

    @get(operation_id="report_coverage", summary="Coverage of a place")
    async def covered(self, request: StrictRequest, place: Place) -> Response[coverage.Coverage]:
        """The service matrix: age group × service × part of the place, with active offerings, per
        1,000 residents and per km², and its gaps; zero is shown."""
        return answers.shown(request, await coverage.of(await places.read(place)))


class ReportController(Controller):
    """For the staff of a place and of everything above it. Programs are not staff."""

    path = "/v1/reports"
    tags = ("reports",)

    @get(
        "/exclusions",
        operation_id="report_exclusions",
        summary="What keeps offerings out",
        signed_in=True,
    )
    async def shut_out(
        self, request: StrictRequest, place: Place
    ) -> Response[shortfalls.Shortfalls]:
        """Over the open needs: how many offerings each gate keeps out, and alone; which changes
        would let most of them in; which hours are missing most; and what that says, in a sentence.
        At most 100 needs are looked at, fewer where very many offerings are near."""
        await _require_staff(request, place)
        sees = accounts.visibility(request.user)
        return answers.shown(request, await shortfalls.of(place, sees))

    @get(
        "/fairness",
        operation_id="report_fairness",
        summary="Who was served",
        signed_in=True,
    )
    async def served(self, request: StrictRequest, place: Place) -> Response[fairness.Fairness]:
        """Needs asked for and served, by community, grid and priority class, and how often each
        partner was called on. A need counts as served when it was closed."""
        await _require_staff(request, place)
        return answers.shown(request, await fairness.of(place))


async def _require_staff(request: StrictRequest, place: uuid.UUID) -> None:
    await places.read(place)
    lineage = await places.ancestors(place)
    await accounts.require(request.user, accounts.STAFF, place_lineage=lineage)
