"""The permission matrix: every route × every role × whose object it is.

Objects stand at four relations to the callers: `own` (the first grid of Qiaobei), `sibling` (the
next community of the same subdistrict), `other` (another district) and `none` (nothing has that
id). They are drafts and applicants, so that whoever may not see them must get a 404. Each route has
a row in `tests/api/matrix.py` that names its rule; a route without a row fails the build, and so
does a row without a route.
"""

from __future__ import annotations

import pytest
from litestar.routes import HTTPRoute

from api.app import create_app
from models import settings
from tests.api import matrix
from tests.towns import Town

ROUTES = sorted(
    f"{method} {route.path_format}"
    for route in create_app(settings.load({})).routes
    if isinstance(route, HTTPRoute)
    for method in route.methods
    if method not in ("OPTIONS", "HEAD")
)


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    """F2."""
    assert sorted(matrix.ROWS) == ROUTES


@pytest.mark.parametrize("route", [route for route in ROUTES if route in matrix.ROWS])
async def test_each_role_may_do_what_the_matrix_says_and_nothing_else(
    town: Town, route: str
) -> None:
    """F1, F2, X8."""
    row = matrix.ROWS[route]
    wrong = []
    for relation in matrix.RELATIONS if row.object else ("own",):
        for role in matrix.ROLES:
            target = await matrix.make(town, row.object, relation)
            answer = await matrix.ask(town, role, route, row, target)
            expected = matrix.expected(row, role, relation)
            if answer.status_code not in expected:
                wrong.append((role, relation, answer.status_code, expected, answer.text[:200]))
    assert wrong == []
