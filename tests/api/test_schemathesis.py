"""schemathesis plays callers who know the document and mean no good: every role in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import postgres, servers
from tests.api import contract

# What fits the schema may still refer to nothing, and fields may not go together: 422.
NOT_CHECKED = "positive_data_acceptance"
# They end what the callers call with.
NOT_CALLED = ("sign_out", "ban_account", "revoke_service_key")
PEOPLE = (
    "resident",
    "volunteer",
    "vanguard",
    "partner",
    "grid",
    "secretary",
    "officer",
    "operator",
)
# What was changed meanwhile (412) is told before a body is looked at.
CONFIGURATION = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429]

[checks.missing_required_header]
expected-statuses = [400, 401, 403, 404, 428]
"""


@pytest.fixture
async def arguments(
    request: pytest.FixtureRequest, postgres_server: postgres.Server
) -> AsyncIterator[list[str]]:
    """What to start the program with, for the database of the test."""
    if request.param == "sqlite":
        yield []
        return
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name)
    yield ["--database-url", postgres_server.url(name)]
    await postgres_server.drop_database(name)


# What breaks a schema is refused before any database is asked, so it is sent to one program only.
@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "mode"), [("sqlite", "all"), ("postgres", "positive")], indirect=["arguments"]
)
def test_the_program_keeps_its_document_whatever_is_sent_by_whomever(
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    arguments: list[str],
    mode: str,
) -> None:
    with servers.started(tmp_path / "data", *arguments) as address:
        callers = _tokens(address)
        answered = _play(tmp_path, address, callers, mode)
    record_property(
        "requests", sum(sum(n.values()) for by in answered.values() for n in by.values())
    )
    named = {
        operation["operationId"]
        for item in contract.agreed()["paths"].values()
        for operation in item.values()
    }
    assert set(answered) == named - set(NOT_CALLED)
    # Nobody has a refresh token here; everything else lets somebody in.
    let_in = {name for name, by in answered.items() if set().union(*by.values()) - {"401", "403"}}
    assert set(answered) - let_in <= {"renew_session"}
    for caller in callers:
        assert sum(caller in by for by in answered.values()) > len(answered) * 2 / 3, caller


def _play(directory: Path, address: str, callers: dict[str, str], mode: str) -> Any:
    """Let schemathesis call, in one thread; answers how often which status, by operation and
    caller. Fails with its report."""
    (directory / "openapi.json").write_text(_document())
    (directory / "schemathesis.toml").write_text(CONFIGURATION)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"]
    command += ["run", "openapi.json", "--url", address, "--seed", "1", "--mode", mode]
    command += ["--phases", "examples,coverage", "--generation-database", "none"]
    command += ["--exclude-checks", NOT_CHECKED]
    command += [f"--exclude-operation-id={name}" for name in NOT_CALLED]
    environment = {
        "PYTHONPATH": str(servers.ROOT),
        "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_callers",
        "CALLERS": json.dumps(callers),
        "ANSWERED": str(directory / "answered.json"),
    }
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    # What failed stands before long lists of what could be tried better.
    report = done.stdout[max(done.stdout.find("FAILURES"), 0) :]
    assert done.returncode == 0, report[:8000] + done.stderr
    return json.loads((directory / "answered.json").read_text())


def _document() -> str:
    """The document without `fields`: sparse answers leave out what the schema requires, and the
    description says so."""
    document = json.loads(json.dumps(contract.agreed()))
    for item in document["paths"].values():
        for operation in item.values():
            operation["parameters"] = [
                p for p in operation["parameters"] if p.get("name") != "fields"
            ]
    return json.dumps(document)


def _tokens(address: str) -> dict[str, str]:
    """A token for each caller: nobody, a service key with every scope, each role of the demo."""
    found = {"anonymous": "", "service key": ""}
    for who in PEOPLE:
        body = {"login": f"{who}@demo", "password": "demo-only"}
        found[who] = httpx.post(f"{address}/v1/sessions", json=body).json()["access_token"]
    place = httpx.get(f"{address}/v1/places?slug=qiaobei").json()["items"][0]["id"]
    scopes = ["read", "offerings", "needs", "partners"]
    key = {"name": "kiosk", "place_id": place, "scopes": scopes}
    headers = {"Authorization": f"Bearer {found['operator']}"}
    made = httpx.post(f"{address}/v1/service-keys", json=key, headers=headers).json()
    return found | {"service key": made["key"]}
