"""What was asked: the caller's own recent questions, and those that many have asked."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, Response, delete, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from api import answers, auth, limits, paging
from api.requests import StrictRequest
from models import queries
from search import privacy

Days = Annotated[
    int, QueryParameter(name="days", ge=1, le=30, description="In so many days, today included.")
]
Many = Annotated[int, QueryParameter(name="limit", ge=1, le=20, description="Questions, 1 to 20.")]


class RecentOut(Struct):
    """Questions of the caller, latest first."""

    items: list[queries.RecentRecord]


class PopularOut(Struct):
    """Questions that many have asked, most asked first."""

    items: list[queries.PopularRecord]


class RecentController(Controller):
    """The caller's own questions."""

    path = "/v1/search/recent"
    tags = ("recent searches",)

    @get(operation_id="list_recent_searches", summary="Recent searches", signed_in=True)
    async def recent(
        self, request: StrictRequest, ledger: NamedDependency[queries.Ledger]
    ) -> Response[RecentOut]:
        """The last twenty questions that you asked while signed in and that found something, for
        thirty days; `remember=false` keeps one out. Numbers and names of people are never kept."""
        await ledger.keep()
        return answers.shown(request, RecentOut(await queries.recent(auth.account_of(request))))

    @delete(
        operation_id="forget_recent_searches",
        summary="Forget recent searches",
        signed_in=True,
    )
    async def forget(self, request: StrictRequest, ledger: NamedDependency[queries.Ledger]) -> None:
        """Forget all of them at once."""
        await ledger.keep()
        await queries.forget(auth.account_of(request))


class PopularController(Controller):
    """The questions of everybody."""

    path = "/v1/search/popular"
    tags = ("search",)

    @get(operation_id="list_popular_searches", summary="Popular searches")
    async def popular(
        self,
        request: StrictRequest,
        ledger: NamedDependency[queries.Ledger],
        community: paging.Slug = None,
        days: Days = 7,
        limit: Many = 10,
    ) -> Response[PopularOut]:
        """What at least five different callers asked on one day, anywhere or with this community as
        their filter. Nobody's account is kept with it."""
        await ledger.keep()
        found = await queries.popular(community or "", days, limit)
        return answers.shown(request, PopularOut(found))


def note(
    ledger: queries.Ledger, request: StrictRequest, text: str, communities: list[str] | None
) -> None:
    """Keep a question that found something, unless it may not be kept or a program asked it."""
    words = privacy.kept(text)
    if not words or request.user.scopes is not None:
        return
    (community,) = communities if communities and len(communities) == 1 else ("",)
    ledger.note(
        queries.Asked(words, request.user.account, limits.address(request.scope), community)
    )
