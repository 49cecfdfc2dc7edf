"""The permission matrix: every route × every caller × whose object it is.

The callers are nobody, the eight roles and a service key.
Objects stand at four relations to the callers: `own` (the first grid of Qiaobei), `sibling` (the
next community of the same subdistrict), `other` (another district) and `none` (nothing has that
id). They are drafts and applicants, so that whoever may not see them must get a 404. Each route has
a row in `tests/api/matrix` that names its rule; a route without a row fails the build, and so
does a row without a route.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from litestar.routes import HTTPRoute

from tests import fixtures, postgres
from tests.api import contract, matrix
from tests.api.matrix.callers import Target
from tests.towns import Town

APART = [route for route in matrix.ROWS if matrix.ROWS[route].apart]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def shared(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Town, dict[tuple[str, str], Target]]]:
    """One town for all routes that leave in it what the others stand on, and what none used."""
    directory = tmp_path_factory.mktemp("matrix")
    async with fixtures.a_town(request.param, templates, postgres_server, directory) as town:
        await matrix.add_key(town)
        yield town, {}


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    """F2."""
    routes = sorted(
        f"{method} {route.path_format}"
        for route in contract.plain_app().routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method not in ("OPTIONS", "HEAD")
    )
    assert sorted(matrix.ROWS) == routes


@pytest.mark.parametrize("route", sorted(matrix.ROWS.keys() - set(APART)))
async def test_each_role_may_do_what_the_matrix_says_and_nothing_else(
    shared: tuple[Town, dict[tuple[str, str], Target]], route: str
) -> None:
    """F1, F2, X8."""
    assert await matrix.wrong(shared[0], route, shared[1]) == []


@pytest.mark.parametrize("route", APART)
async def test_so_it_is_where_the_town_itself_is_changed(town: Town, route: str) -> None:
    """F1, F2, X8."""
    await matrix.add_key(town)
    assert await matrix.wrong(town, route, {}) == []
