"""A person's own data, to take along."""

from __future__ import annotations

from litestar import Controller, Response, get

from api import answers, auth
from api.requests import StrictRequest
from models import people


class PersonController(Controller):
    """What the law calls access and portability; `api/accounts.py` has erasure."""

    path = "/v1/accounts/current"
    tags = ("accounts",)

    @get(
        "/export",
        operation_id="export_account",
        summary="Everything about me",
        signed_in=True,
    )
    async def export(self, request: StrictRequest) -> Response[people.Export]:
        """All we know of you, and what you have done for others as far as you may still see it.
        With `Accept: text/csv` as one table of section, row, field and value."""
        found = await people.export(request.user, auth.account_of(request))
        if answers.wants_table(request):
            return answers.table(people.as_csv(found), "community-partners.csv")
        return answers.shown(request, found)
