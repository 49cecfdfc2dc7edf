"""A server that is killed under its writers loses nothing that it has acknowledged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fixtures, kills, postgres


@pytest.fixture(scope="module")
def program() -> Iterator[subprocess.Popen[bytes]]:
    """Loaded once for both databases."""
    with kills.loaded() as ready:
        yield ready


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_killed_under_concurrent_writers_it_loses_and_doubles_nothing(
    kind: str,
    program: subprocess.Popen[bytes],
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    tmp_path: Path,
) -> None:
    """The long version is `./run bench races`."""
    template = templates[kind, "settled"]
    assert template.setting
    async with fixtures.copied(kind, template, postgres_server) as url:
        figures = await kills.under_writers(program, url, tmp_path, template.setting, kills=2)
    assert figures.flaws == []
    assert figures.kills == 2
    # Something must have been going on, or this test is worth nothing.
    assert figures.acknowledged > 20
    assert figures.index_s < kills.INDEXED_S
