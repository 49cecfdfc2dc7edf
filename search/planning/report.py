"""What a plan says of itself: who serves whom, what it is worth, who went without and by which
rule."""

from __future__ import annotations

from msgspec import Struct


class Assignment(Struct, frozen=True):
    """One seat of one need and who takes it; `kept` if they did in the plan before, too."""

    need: str
    need_version: int
    role: str
    seat: int
    offering: str
    offering_version: int
    partner: str
    score: int
    minutes: int
    kept: bool


class Without(Struct, frozen=True):
    """A need that is not served in full. `because` is `no_candidates` where for some role fewer
    fit than are wanted, else `outbid`: others are worth more."""

    need: str
    seats: int
    filled: int
    because: str


class Share(Struct, frozen=True):
    """How many needs of a group were served; `possible` have enough candidates for every seat.
    `minutes` a week are given to it, and `price` in minor units is what a year of that costs."""

    group: str
    needs: int
    possible: int
    served: int
    seats: int
    filled: int
    minutes: int
    price: int


class Rule(Struct, frozen=True):
    """A fairness rule and its price: what the plan without it would gain in score (hundredths of a
    point) and in needs served. Without `price_score` there was no time to find out."""

    rule: str
    binding: bool | None
    price_score: int | None
    price_needs: int | None


class Report(Struct, frozen=True):
    """A finished plan."""

    value: int
    bound: int
    optimal: bool
    score: int
    needs: int
    served: int
    seats: int
    filled: int
    greedy_value: int
    greedy_served: int
    former: int
    kept: int
    minutes_used: int
    minutes_open: int
    idle_used: int
    idle_minutes_used: int
    pins_left_out: int
    by_priority: tuple[Share, ...]
    by_community: tuple[Share, ...]
    by_place: tuple[Share, ...]
    by_service: tuple[Share, ...]
    rules: tuple[Rule, ...]
    assignments: tuple[Assignment, ...]
    without: tuple[Without, ...]
