"""A person's own data, to take along."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Response, get

from api import answers, auth
from api.requests import StrictRequest
from models import people

CSV = "text/csv"


class PersonController(Controller):
    """What the law calls access and portability; `api/accounts.py` has erasure."""

    path = "/v1/accounts/current"
    tags = ("accounts",)

    @get(
        "/export",
        operation_id="export_account",
        summary="Everything about me",
        guards=[auth.signed_in],
    )
    async def export(self, request: StrictRequest) -> Response[people.Export]:
        """All we know of you, and what you have done for others as far as you may still see it.
        With `Accept: text/csv` as one table of section, row, field and value."""
        found = await people.export(request.user, auth.account_of(request))
        wanted = request.accept.best_match(["application/json", CSV], default="application/json")
        if wanted == CSV:
            table: Any = people.as_csv(found)
            return Response(
                table,
                media_type=CSV,
                headers={
                    "Cache-Control": "private, no-store",
                    "Content-Disposition": 'attachment; filename="community-partners.csv"',
                    "Vary": "Accept, Authorization",
                },
            )
        return answers.shown(request, found)
