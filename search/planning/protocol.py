"""What goes between the server and the planner process: one order in, lines of JSON out."""

from __future__ import annotations

from msgspec import Struct

from search.planning.problem import Problem
from search.planning.report import Report


class Order(Struct):
    """Problems to solve one after the other, and the seconds that all of it may take."""

    problems: tuple[Problem, ...]
    seconds: float


class Line(Struct, omit_defaults=True):
    """How far it is (`share` 0..1), or, last of all, the answers."""

    phase: str = ""
    share: float = 0.0
    reports: tuple[Report, ...] | None = None
