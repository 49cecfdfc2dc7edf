"""The queue of plans: nothing is lost, nothing is made twice, whoever dies."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import planner
from models import accounts, engine, migrate, places, plans, values
from models.engine import ending
from search import planning
from tests import clocks, databases, postgres, servers
from tests.towns import PASSWORD


async def _asked(count: int = 1) -> list[plans.PlanRecord]:
    place = await places.found(
        places.PlaceDraft(
            slug="city",
            kind="municipality",
            name=values.Bilingual("市", "City"),
            location=values.Point(29.57, 106.55),
        )
    )
    account = await accounts.register("secretary@test", PASSWORD, "secretary")
    return [await plans.ask(plans.PlanDraft(place_id=place.id), account) for _ in range(count)]


async def test_of_many_workers_one_gets_each_plan(db: engine.Engine) -> None:
    asked = await _asked(3)
    claims = await asyncio.gather(*(plans.claim(uuid.uuid4()) for _ in range(12)))
    taken = [plan.id for plan in claims if plan]
    assert sorted(taken) == [plan.id for plan in asked]


async def test_a_plan_whose_worker_is_gone_is_taken_by_the_next_and_given_up_in_the_end(
    db: engine.Engine, clock: clocks.Clock
) -> None:
    await _asked()
    workers = [uuid.uuid4() for _ in range(plans.MOST_ATTEMPTS + 1)]
    lost: plans.PlanRecord | None = None
    for attempt, worker in enumerate(workers[:-1], 1):
        taken = await plans.claim(worker)
        assert taken
        assert taken.attempts == attempt
        assert await plans.claim(uuid.uuid4()) is None, "its lease holds"
        if lost:
            assert not await plans.beat(lost, workers[0])
            assert not await plans.finish(lost, workers[0], content="", digest="", result="")
        assert await plans.beat(taken, worker, phase="choosing", share_bp=3_000)
        clock.advance(seconds=plans.LEASE_S + 1)
        lost = taken
    assert await plans.claim(workers[-1]) is None
    assert lost
    failed = await plans.read(lost.id)
    assert (failed.status, failed.phase) == ("failed", "over")
    assert failed.failure


_PROCESS = """
import asyncio, sys, uuid
from api import planner
from models import engine, plans
async def main():
    opened = engine.open_engine(sys.argv[1])
    await opened.start()
    engine.use(opened)
    print("ready", flush=True)
    sys.stdin.readline()
    working = planner.Planner()
    await working.start()
    while (await plans.read(uuid.UUID(sys.argv[2]))).status != "done":
        await asyncio.sleep(0.05)
    await working.stop()
    await opened.close()
asyncio.run(main())
"""


async def test_two_processes_on_postgresql_make_one_plan_once(
    postgres_server: postgres.Server,
) -> None:
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name)
    url = postgres_server.url(name)
    async with databases.in_use(engine.Postgres(url)):
        await migrate.migrate()
        (plan,) = await _asked()
        pipe = asyncio.subprocess.PIPE
        async with asyncio.timeout(60):
            both = [
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", _PROCESS, url, str(plan.id)),
                    cwd=servers.ROOT,
                    stdin=pipe,
                    stdout=pipe,
                )
                for _ in range(2)
            ]
            for process in both:
                assert process.stdout
                assert await process.stdout.readline() == b"ready\n"
            await asyncio.gather(*(process.communicate(b"go\n") for process in both))
        assert [process.returncode for process in both] == [0, 0]
        assert (await plans.read(plan.id)).attempts == 1
        acts = await engine.rows(
            "SELECT action FROM audit WHERE subject = $1 ORDER BY seq", plan.id
        )
        assert acts == [("plan.asked",), ("plan.finished",)]
    await postgres_server.drop_database(name)


async def test_a_solver_that_breaks_down_says_why_and_fails_its_plan() -> None:
    nobody = planning.Bid(offering=7, score=1)
    slot = planning.Slot("cook", 1, (nobody,))
    need = planning.Need("need", 1, "meals", "grid", "community", "normal", (slot,))
    with pytest.raises(planning.Failed, match="IndexError"):
        await planning.run([planning.Problem((need,), ())], 5.0)


async def test_a_clean_stop_leaves_a_plan_to_the_next_start_and_does_not_count(
    db: engine.Engine,
) -> None:
    asked = await _asked()
    working = planner.Planner()
    await working.start()
    async with asyncio.timeout(20):
        while (await plans.read(asked[0].id)).status != "running":
            await asyncio.sleep(0.01)
    await working.stop()
    stopped = await plans.read(asked[0].id)
    assert (stopped.status, stopped.attempts) == ("interrupted", 0)
    working = planner.Planner()
    await working.start()
    async with asyncio.timeout(20):
        while (done := await plans.read(asked[0].id)).status != "done":
            await asyncio.sleep(0.05)
    await working.stop()
    assert done.attempts == 1


async def test_whenever_a_clean_stop_comes_the_plan_is_left_to_the_next_start(
    db: engine.Engine,
) -> None:
    """Also while it is being taken: the COMMIT is on its way, and nobody is told."""
    asked = await _asked()
    for moment in range(60):
        working = planner.Planner()
        await working.start()
        await asyncio.sleep(moment / 10_000)
        await working.stop()
        stopped = await plans.read(asked[0].id)
        assert stopped.status in ("queued", "interrupted")
        assert stopped.attempts == 0


async def test_a_stop_ends_also_when_the_database_is_gone(
    postgres_server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "BEAT_S", 30.0)
    name = f"test_{uuid.uuid4().hex}"
    await postgres_server.create_database(name)
    async with databases.in_use(engine.Postgres(postgres_server.url(name))):
        await migrate.migrate()
        await _asked()
        working = planner.Planner()
        await working.start()
        async with asyncio.timeout(20):
            while not await engine.rows("SELECT 1 FROM plan WHERE updated_at > started_at"):
                await asyncio.sleep(0.01)
        await postgres_server.drop_database(name)
        stopped, _ = await asyncio.wait({asyncio.create_task(working.stop())}, timeout=10)
        assert stopped


async def test_a_stop_ends_also_while_the_solver_of_a_cancelled_plan_is_being_killed(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "BEAT_S", 0.05)
    monkeypatch.setattr(ending, "AGAIN_S", 60)
    (asked,) = await _asked()
    working, beat = planner.Planner(), plans.beat
    stopping: list[asyncio.Task[None]] = []

    async def lost(*given: Any, **progress: Any) -> bool:
        ours = await beat(*given, **progress)
        if not ours:
            # When the planner waits for the solver to end.
            stop = functools.partial(asyncio.ensure_future, working.stop())
            asyncio.get_running_loop().call_soon(lambda: stopping.append(stop()))
        return ours

    monkeypatch.setattr(plans, "beat", lost)
    await working.start()
    async with asyncio.timeout(20):
        while not await engine.rows("SELECT 1 FROM plan WHERE updated_at > started_at"):
            await asyncio.sleep(0.01)
        await plans.cancel(await plans.read(asked.id))
        while not stopping:
            await asyncio.sleep(0.01)
    stopped, _ = await asyncio.wait(stopping, timeout=20)
    assert stopped


def test_a_plan_outlives_a_server_that_is_killed_and_its_solver_does_not(tmp_path: Path) -> None:
    """kill -9 while it is being made: the next start makes it."""
    command = [sys.executable, "-m", "api", "serve"]
    env = {**os.environ, "DATA_DIR": str(tmp_path), "RATE_LIMIT": "0", "PORT": "0"}
    with subprocess.Popen(
        command, cwd=servers.ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        address = re.search(r"http://\S+", server.stdout.readline())[0]  # type: ignore[index]
        with httpx.Client(base_url=address, headers=_secretary(address)) as client:
            place = client.get("/v1/places?slug=qiaobei").json()["items"][0]["id"]
            plan = client.post("/v1/plans", json={"place_id": place}).json()["id"]
        _wait(lambda: _solvers(server.pid))
        solvers = _solvers(server.pid)
        server.send_signal(signal.SIGKILL)
    with sqlite3.connect(tmp_path / "community.sqlite") as database:
        ((status, attempts),) = database.execute("SELECT status, attempts FROM plan")
    database.close()
    assert (status, attempts) == ("running", 1)
    _wait(lambda: not any(Path(f"/proc/{solver}").exists() for solver in solvers))
    with (
        servers.started(tmp_path) as address,
        httpx.Client(base_url=address, headers=_secretary(address)) as client,
    ):
        _wait(lambda: client.get(f"/v1/plans/{plan}").json()["status"] == "done")
        done = client.get(f"/v1/plans/{plan}").json()
    assert done["attempts"] == 2
    assert done["summary"]["served"] > 0


def _secretary(address: str) -> dict[str, str]:
    body = {"login": "secretary@demo", "password": "demo-only"}
    session = httpx.post(f"{address}/v1/sessions", json=body).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


def _solvers(server: int) -> list[int]:
    """The processes that a server has started."""
    return [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]


def _wait(until: Callable[[], object]) -> None:
    ends = time.monotonic() + 30
    while not until():
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(0.02)
