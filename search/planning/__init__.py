"""Plans: over all open needs of a place at once, who should serve whom.

    from search import planning
    facts = await planning.gather(…)                      # candidates from the database
    (report,) = await planning.run([facts.problem], 10.0)  # solved in a process of its own

`problem` is the input as plain values, `instance` lays it out, `state` holds a plan and what it
leaves of everybody's time, `greedy`, `model` and `solve` make one, `account` says what came of it.
Only `python -m search.planning` imports HiGHS.
"""

from search.planning.problem import (
    Bid,
    Budget,
    Need,
    Objective,
    Offering,
    Pin,
    Problem,
    Rules,
    Slot,
    encode,
    ordered,
)
from search.planning.process import Failed, run
from search.planning.report import Assignment, Report, Rule, Share, Without

__all__ = [
    "Assignment",
    "Bid",
    "Budget",
    "Failed",
    "Need",
    "Objective",
    "Offering",
    "Pin",
    "Problem",
    "Report",
    "Rule",
    "Rules",
    "Share",
    "Slot",
    "Without",
    "encode",
    "ordered",
    "run",
]
