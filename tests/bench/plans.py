"""How long a plan takes, how close it comes to the bound, and what it needs of memory.

    ./run bench plans [--sizes 1000 10000 100000] [--seconds 30]

A synthetic city of so many offerings, and a need for every ten, on SQLite. `gather` is the database
to a problem, in the server's process; `solve` is the planner's process from start to answer,
without the prices of the fairness rules; `again` is the plan after 5 % of the needs have gone and
as many have come, keeping to the one before: `moved` is the share of the assignments that could
have stayed and did not.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
import uuid

from models import base, engine, migrate, plans
from search import planning
from search.planning import gather
from tests import databases, memory
from tests.bench import _city

_HEADER = (
    f"{'needs x offerings':>19}{'bids':>9}{'gather':>9}{'solve':>8}{'value':>13}{'gap %':>9}"
    f"{'served':>8}{'greedy':>8}{'RSS MB':>8}{'again':>8}{'moved %':>9}"
)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="./run bench plans", description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args(argv)
    base.clock = lambda: _city.TODAY
    print(_HEADER)
    for size in given.sizes:
        asyncio.run(_measure(size, given.seconds))


async def _measure(size: int, seconds: float) -> None:
    city = _city.City(size)
    with tempfile.TemporaryDirectory(dir=memory.directory()) as directory:
        async with databases.in_use(engine.open_engine(f"sqlite:///{directory}/bench.sqlite")):
            await migrate.migrate()
            await city.settle()
            open_needs = "SELECT id FROM need WHERE status = 'open' ORDER BY id"
            asked = [base.as_id(need) for (need,) in await engine.rows(open_needs)]
            began = time.perf_counter()
            problem = await gather.problem_of(_plan(city.root), {}, _quiet)
            gathered = time.perf_counter() - began
            report, took = await _solve(problem, seconds)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
            bids = sum(len(slot.bids) for need in problem.needs for slot in need.slots)
            print(
                f"{len(asked):>8,} x {size:>8,}{bids:>9,}{gathered:>8.1f}s{took:>7.1f}s"
                f"{report.value / 100:>13,.0f}{_gap(report):>9.4f}{report.served:>8,}"
                f"{report.greedy_served:>8,}{peak:>8,}",
                end="",
                flush=True,
            )
            again, took = await _again(city, asked, report, seconds)
            moved = 100 * (again.former - again.kept) / max(again.former, 1)
            print(f"{took:>7.1f}s{moved:>9.2f}", flush=True)


async def _again(
    city: _city.City,
    asked: list[uuid.UUID],
    report: planning.Report,
    seconds: float,
) -> tuple[planning.Report, float]:
    """The plan after a small change, keeping to the one before."""
    gone = asked[::20]
    for need in gone:
        await engine.execute("UPDATE need SET status = 'withdrawn' WHERE id = $1", need)
    await city.post(city.asks(len(gone)))
    kept: dict[tuple[str, str], set[str]] = {}
    for entry in report.assignments:
        kept.setdefault((entry.need, entry.role), set()).add(entry.offering)
    return await _solve(await gather.problem_of(_plan(city.root), kept, _quiet), seconds)


async def _solve(problem: planning.Problem, seconds: float) -> tuple[planning.Report, float]:
    """The report, and the seconds until it began to work out what each rule costs."""
    began = time.perf_counter()
    solved: list[float] = []

    def say(phase: str, _share: float) -> None:
        if phase == "accounting":
            solved.append(time.perf_counter() - began)

    (report,) = await planning.run([problem], seconds, say)
    return report, solved[0]


def _gap(report: planning.Report) -> float:
    return 100 * (report.bound - report.value) / max(report.bound, 1)


async def _quiet(_needs: int, _candidates: int) -> None:
    pass


def _plan(root: uuid.UUID) -> plans.PlanRecord:
    """A plan of the whole city, as the queue would hand it out."""
    return plans.PlanRecord(
        id=root,
        place_id=root,
        objective="utility",
        status="running",
        phase="gathering",
        progress=0,
        needs=0,
        candidates=0,
        asked_by=root,
        time_limit_s=30,
        attempts=1,
        keep=None,
        keep_points=5,
        pins=(),
        budgets=(),
        input_digest=None,
        failure=None,
        version=1,
        created_at=_city.TODAY,
        started_at=None,
        finished_at=None,
    )


if __name__ == "__main__":
    main()
