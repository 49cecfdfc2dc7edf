"""Works on plans, one at a time: facts from the database, a process that solves, the answer back.

Started with the application. A plan is held by a lease that is renewed as long as there is
progress to tell; whoever finds that it holds it no more (cancelled) drops everything. A stop, or a
kill, leaves the plan to the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import structlog

from api.worker import Loop
from models import engine, outbox, plans
from search import planning
from search.planning import gather

T = TypeVar("T")

log = structlog.get_logger()
POLL_S = 1.0
BEAT_S = 0.5
PAUSE_S = 2.0
# What giving back may cost of the time that a stop has.
GIVE_BACK_S = 2.0


class Lost(Exception):
    """The plan is no longer ours: cancelled, or taken by somebody else."""


class Planner(Loop):
    """One loop over the queue."""

    def __init__(self) -> None:
        self._worker = uuid.uuid4()
        self._bell = asyncio.Event()
        self._claim: asyncio.Task[plans.PlanRecord | None] | None = None

    async def start(self) -> None:
        """Begin. On SQLite nobody else can be at work: what was running was cut off."""
        if engine.current().dialect == "sqlite":
            await plans.interrupt_all()
        outbox.listeners.add(self._ring)
        await super().start()

    async def stop(self) -> None:
        """Stop at once; a plan under way waits for the next start."""
        outbox.listeners.discard(self._ring)
        await super().stop()
        if self._claim is None:
            return
        try:
            async with asyncio.timeout(GIVE_BACK_S):
                # One that was being taken may be ours: a COMMIT is not called back.
                if plan := await self._claim:
                    await plans.give_back(plan, self._worker)
        except Exception as error:
            # The lease runs out, and the plan is taken again.
            log.warning("planner.kept", error=type(error).__name__)

    def _ring(self, topic: str) -> None:
        if topic == plans.TOPIC:
            self._bell.set()

    async def run(self) -> None:
        """Make one plan after the other until cancelled."""
        while True:
            self._bell.clear()
            try:
                while plan := await self._next():
                    await self._work(plan)
            except Exception as error:
                self._claim = None
                # The lease runs out, and the plan is taken again.
                log.warning("planner.waiting", error=type(error).__name__, exc_info=error)
                await asyncio.sleep(PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._bell.wait()

    async def _next(self) -> plans.PlanRecord | None:
        self._claim = asyncio.create_task(plans.claim(self._worker))
        return await asyncio.shield(self._claim)

    async def _work(self, plan: plans.PlanRecord) -> None:
        try:
            await self._make(plan)
        except Lost:
            log.info("planner.dropped", id=str(plan.id))
        except planning.Failed as error:
            log.warning("planner.failed", id=str(plan.id), error=str(error))
            await plans.fail(plan, self._worker, "The solver gave no answer.")

    async def _make(self, plan: plans.PlanRecord) -> None:
        watch = _Watch(plan, self._worker)
        problem = await gather.problem_of(plan, await kept(plan.keep), watch.tell)
        (report,) = await watch.over(planning.run([problem], float(plan.time_limit_s), watch.say))
        content, digest = await asyncio.to_thread(planning.encode, problem)
        done = await plans.finish(
            plan,
            self._worker,
            content=content.decode(),
            digest=digest,
            result=msgspec.json.encode(report).decode(),
        )
        if not done:
            raise Lost


async def kept(plan: uuid.UUID | None) -> dict[tuple[str, str], set[str]]:
    """Who was assigned to which role of which need in a finished plan."""
    report = await report_of(plan) if plan else None
    found: dict[tuple[str, str], set[str]] = {}
    for entry in report.assignments if report else ():
        found.setdefault((entry.need, entry.role), set()).add(entry.offering)
    return found


async def report_of(plan: uuid.UUID) -> planning.Report | None:
    """What came of a plan; None until it is done."""
    text = await plans.result_of(plan)
    return msgspec.json.decode(text, type=planning.Report) if text else None


class _Watch:
    """Tells the database how far a plan is, now and then, and notices when it is lost."""

    def __init__(self, plan: plans.PlanRecord, worker: uuid.UUID):
        self._plan, self._worker = plan, worker
        self._told = time.monotonic()
        self._progress: dict[str, str | int] = {}

    async def tell(self, needs: int, candidates: int) -> None:
        """So much has been gathered. Refuses to go on (Lost) when the plan is not ours."""
        self._progress = {"needs": needs, "candidates": candidates}
        if time.monotonic() - self._told >= BEAT_S:
            await self._beat()

    def say(self, phase: str, share: float) -> None:
        """So far is the solver."""
        self._progress |= {"phase": phase, "share_bp": round(share * 10_000)}

    async def over(self, solving: Coroutine[Any, Any, T]) -> T:
        """Wait for the solver, telling how far it is; when the plan is lost, it is killed."""
        task = asyncio.create_task(solving)
        try:
            while True:
                await self._beat()
                done, _ = await asyncio.wait({task}, timeout=BEAT_S)
                if done:
                    return task.result()
        finally:
            # Not awaited: a cancel of ours would look like that of the solver.
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # what goes on from here says more

    async def _beat(self) -> None:
        self._told = time.monotonic()
        if not await plans.beat(self._plan, self._worker, **self._progress):
            raise Lost
