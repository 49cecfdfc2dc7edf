"""`demo --city N`, from the command line to the answers of a server on it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from models import demo
from tests import postgres
from tests.test_cli import _begin, _end, _refused, _run, _served


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_a_city_is_settled_once_and_served(
    database: str, postgres_server: postgres.Server, tmp_path: Path
) -> None:
    at: tuple[str, ...] = ("--data", "data")
    name = f"test_{uuid.uuid4().hex}"
    if database == "postgres":
        await postgres_server.create_database(name)
        at += ("--database-url", postgres_server.url(name))
    try:
        done = _run("demo", "--city", "330", *at, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("A city of 330 offerings is there.")
        assert f"Password {demo.PASSWORD}" in done.stdout
        assert done.stderr.splitlines() == ["Settling the city: 330 of 330"]
        again = _begin("demo", "--city", "5", *at, cwd=tmp_path)
        trail = _begin("audit", "verify", *at, cwd=tmp_path)
        _refused(_end(again), "not empty")
        verified = _end(trail)
        assert (verified.returncode, verified.stderr) == (0, "")
        with _served(tmp_path, *at[2:]) as server:
            assert server.found("早餐")
            need = server.get("/v1/needs?limit=1")["items"][0]
            answer = server.get(f"/v1/needs/{need['id']}/matches?include=excluded")
            assert all(slot["excluded_total"] for slot in answer["slots"])
    finally:
        if database == "postgres":
            await postgres_server.drop_database(name)


def test_production_and_a_size_out_of_bounds_are_refused(tmp_path: Path) -> None:
    production = {"MODE": "production", "SECRET_KEY": "x" * 40}
    refused = _begin("demo", "--city", "5", cwd=tmp_path, **production)
    too_many = _run("demo", "--city", "1000001", cwd=tmp_path)
    assert too_many.returncode == 2
    assert "from 1 to 1000000" in too_many.stderr
    _refused(_end(refused), "known to everybody")
    assert not list(tmp_path.iterdir())
