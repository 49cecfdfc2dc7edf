"""A plan's input as plain values: what the planner process is sent, and what a plan stores.

Everything is an integer: scores are 0..10000, minutes and prices whole, times UTC minutes. Needs,
slots and candidates come in any order; `ordered` puts them into one, so that the same facts are
the same problem to the byte.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec
from msgspec import Struct, structs

from models.values import Priority
from search.windows import Interval

Objective = Literal["utility", "stable"]


class Bid(Struct, frozen=True, array_like=True):
    """A candidate for a slot: `offering` indexes the problem's offerings, `times` its times.

    `minutes` is what it adds to the offering's busiest week, `price` what a year of it costs.
    `goes_with` names the spaces (offerings) of the same need that suit it; None if any will do.
    """

    offering: int
    score: int
    minutes: int = 0
    price: int = 0
    times: int = 0
    goes_with: tuple[int, ...] | None = None
    kept: bool = False


class Slot(Struct, frozen=True, array_like=True):
    """One role of a need: so many seats, each for another offering."""

    role: str
    quantity: int
    bids: tuple[Bid, ...]


class Need(Struct, frozen=True):
    """One open need. `community` and `service` are for the account of who was served; `budget` is
    for all its seats together, in the units of `Bid.price`."""

    id: str
    version: int
    service: str
    place: str
    community: str
    priority: Priority
    slots: tuple[Slot, ...]
    budget: int | None = None


class Offering(Struct, frozen=True, array_like=True):
    """What candidates are. `minutes` and `jobs` are what is left of its week (None: no limit),
    `open_minutes` a week's opening hours; `idle` has never been asked to do anything."""

    id: str
    version: int
    partner: str
    minutes: int | None = None
    jobs: int | None = None
    open_minutes: int = 0
    idle: bool = False


class Budget(Struct, frozen=True):
    """Money for all needs of a place and what lies below it, in the units of `Bid.price`."""

    place: str
    amount: int
    needs: tuple[str, ...]


class Pin(Struct, frozen=True):
    """An offering that must serve a role of a need."""

    need: str
    role: str
    offering: str


class Rules(Struct, frozen=True):
    """What a plan strives for beside the scores, in hundredths of a point.

    A served need is worth `served` beside its scores, all of it times the weight of its class; a
    kept assignment `keep` more, the use of something that stood idle `idle` more. A class of
    `protected_floor` and a community of `community_floor` (share of its needs that have
    candidates, 0..10000) loses `floor_penalty` for each need below.
    """

    served: int = 10_000
    protected_weight: int = 3
    keep: int = 500
    idle: int = 100
    protected_floor: int = 8_000
    community_floor: int = 5_000
    floor_penalty: int = 10_000


class Problem(Struct, frozen=True):
    """All of it. `times` are sorted, disjoint intervals; the first is no time at all."""

    needs: tuple[Need, ...]
    offerings: tuple[Offering, ...]
    times: tuple[tuple[Interval, ...], ...] = ((),)
    budgets: tuple[Budget, ...] = ()
    pins: tuple[Pin, ...] = ()
    rules: Rules = Rules()
    objective: Objective = "utility"


def encode(problem: Problem) -> tuple[bytes, str]:
    """A problem in its one order as JSON with sorted fields, and the SHA-256 of that."""
    content = msgspec.json.encode(problem, order="sorted")
    return content, hashlib.sha256(content).hexdigest()


def ordered(problem: Problem) -> Problem:
    """The same problem, everything in the order of its ids, best candidates first."""
    by_id = sorted(range(len(problem.offerings)), key=lambda at: problem.offerings[at].id)
    offering = {old: new for new, old in enumerate(by_id)}
    by_times = sorted(range(len(problem.times)), key=lambda at: problem.times[at])
    times = {old: new for new, old in enumerate(by_times)}
    return structs.replace(
        problem,
        needs=tuple(
            structs.replace(need, slots=tuple(_slot(slot, offering, times) for slot in need.slots))
            for need in sorted(problem.needs, key=lambda need: need.id)
        ),
        offerings=tuple(problem.offerings[at] for at in by_id),
        times=tuple(problem.times[at] for at in by_times),
        budgets=tuple(
            structs.replace(budget, needs=tuple(sorted(budget.needs)))
            for budget in sorted(problem.budgets, key=lambda budget: budget.place)
        ),
        pins=tuple(sorted(problem.pins, key=lambda pin: (pin.need, pin.role, pin.offering))),
    )


def _slot(slot: Slot, offering: dict[int, int], times: dict[int, int]) -> Slot:
    moved = (
        structs.replace(
            bid,
            offering=offering[bid.offering],
            times=times[bid.times],
            goes_with=None
            if bid.goes_with is None
            else tuple(sorted(offering[space] for space in bid.goes_with)),
        )
        for bid in slot.bids
    )
    bids = tuple(sorted(moved, key=lambda bid: (-bid.score, bid.offering)))
    return structs.replace(slot, bids=bids)
