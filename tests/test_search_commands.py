"""`search status | verify | dead-letters` as the operator meets them: in a process of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models import engine, offerings, outbox, settings, values
from search import sync
from tests import databases

ROOT = Path(__file__).parent.parent
Templates = dict[tuple[str, str], Any]


@pytest.fixture
def data(templates: Templates, tmp_path: Path) -> Path:
    """A directory with the setting in it."""
    shutil.copy(templates["sqlite", "settled"].where, tmp_path / "community.sqlite")
    return tmp_path


def _run(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    ours = {setting.variable for setting in settings.SETTINGS}
    return subprocess.run(
        [sys.executable, "-m", "api", "search", *arguments, "--data", str(data)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in ours},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def test_the_commands_say_how_the_index_is_and_mend_it(
    data: Path, templates: Templates
) -> None:
    assert "there is no index yet" in _run(data, "status").stderr
    setting = templates["sqlite", "settled"].setting
    draft = offerings.OfferingDraft(
        kind="space",
        partner_id=setting.partner,
        place_id=setting.community,
        title=values.Bilingual("房", "Room"),
        service_types=("breakfast_point",),
        status="active",
    )
    url = f"sqlite:///{data / 'community.sqlite'}"
    async with databases.in_use(engine.open_engine(url)):
        made = await offerings.register(draft)
    async with databases.in_use(engine.open_engine(url)):
        ((named,),) = await engine.rows(
            "SELECT (SELECT count(*) FROM service_type)"
            " + (SELECT count(*) FROM place WHERE kind <> 'building')"
        )
    assert _run(data, "rebuild").stdout == f"{named + 1} documents indexed.\n"
    async with databases.in_use(engine.open_engine(url)):
        await engine.execute("DELETE FROM outbox")
        await engine.execute("UPDATE offering SET version = 7")
    done = _run(data, "status")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^documents +{named + 1}$", done.stdout, re.MULTILINE)
    done = _run(data, "verify")
    assert done.returncode == 1
    assert f"{made.id}  database version 7, index version 1\n" in done.stdout
    done = _run(data, "verify", "--mend")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 documents are carried again.")
    async with databases.in_use(engine.open_engine(url)):
        assert len(await engine.fetch("SELECT * FROM outbox")) == 1
        await engine.execute("DELETE FROM outbox")
        await outbox.bury(made.id, sync.OFFERING, "why")
    done = _run(data, "dead-letters")
    assert done.returncode == 1
    assert f"{sync.OFFERING} {made.id}: why\n1 dead letters.\n" in done.stdout
    done = _run(data, "dead-letters", "--retry")
    assert (done.returncode, done.stdout) == (0, "1 changes are tried again.\n")
    assert _run(data, "dead-letters").stdout == "0 dead letters.\n"
