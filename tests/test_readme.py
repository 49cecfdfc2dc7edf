"""The README's commands, run as they stand against a server as a newcomer starts it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(sh|json)\n(.*?)```", README, re.DOTALL)
COMMANDS = [text for kind, text in BLOCKS if kind == "sh" and "curl" in text]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the demo town, on a free port."""
    command = [sys.executable, "-m", "api", "serve", "--port", "0"]
    command += ["--data", str(tmp_path_factory.mktemp("data"))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, "the server said no address"
        # From here on, without waiting: a newcomer may be quick.
        try:
            yield found[0]
        finally:
            server.terminate()
        assert server.wait(timeout=10) == 0


def _run(command: str, address: str) -> Any:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command.replace("http://127.0.0.1:8000", address)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_first_command_finds_breakfast_in_chinese(address: str) -> None:
    found = _run(COMMANDS[0], address)
    assert len(found["items"]) == 2
    assert all(item["kind"] == "need" for item in found["items"])
    assert all("早餐" in item["title"]["zh"] for item in found["items"])


def test_the_second_command_answers_what_the_first_screen_shows(address: str) -> None:
    shown = json.loads(next(text for kind, text in BLOCKS if kind == "json"))
    (slot,) = _run(COMMANDS[1], address)["slots"]
    assert slot["role"] == shown["role"]
    promised, match = shown["matches"][0], slot["matches"][0]
    assert match["offering"].items() >= promised["offering"].items()
    assert match["score"] == promised["score"]
    for part in promised["parts"]:
        assert part in match["parts"]
    promised = shown["excluded"][0]
    (out,) = [
        entry
        for entry in slot["excluded"]
        if entry["offering"]["title"] == promised["offering"]["title"]
    ]
    (failure,) = out["because"]
    assert failure["text"] == promised["because"][0]["text"]
    assert failure["mend"].items() >= promised["because"][0]["mend"].items()


def test_the_third_command_posts_a_need_once(address: str) -> None:
    first, second = _run(COMMANDS[2], address), _run(COMMANDS[2], address)
    assert first == second
    assert first["title"]["en"] == "A repair stall on Saturdays"


def test_the_fourth_command_says_whom_to_recruit(address: str) -> None:
    signed_in = COMMANDS[2].rstrip() + " > /dev/null\n"
    found = _run(signed_in + COMMANDS[3], address)
    assert found["looked_at"] == found["needs"] > 10
    assert "recruit for" in found["summary"]["en"]
    assert "请为" in found["summary"]["zh"]


def test_the_fifth_command_asks_for_a_plan_in_the_same_terminal(address: str) -> None:
    asked = _run(COMMANDS[2].rstrip() + " > /dev/null\n" + COMMANDS[4], address)
    assert (asked["status"], asked["phase"]) == ("queued", "waiting")


def test_the_sixth_command_agrees_on_breakfast_until_the_end_of_the_season(address: str) -> None:
    before = "".join(COMMANDS[at].rstrip() + " > /dev/null\n" for at in (1, 2))
    agreed = _run(before + COMMANDS[5], address)
    assert agreed["state"] == "active"
    assert [party["answer"] for party in agreed["parties"]] == ["accepted", "accepted"]
    assert agreed["commitments"][0]["times"] >= 60


def test_the_demo_accounts_of_the_readme_can_sign_in(address: str) -> None:
    logins = set(re.findall(r"`(\w+@demo)`", README))
    assert len(logins) == 8
    for login in logins:
        body = {"login": login, "password": "demo-only"}
        assert httpx.post(f"{address}/v1/sessions", json=body, timeout=30).status_code == 201
