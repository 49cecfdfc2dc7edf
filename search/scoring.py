"""The score: ten parts of 0..10000, weighed, with the values that each was worked out from.

Integers only, so Python, numpy and SQL agree to the bit and a stored snapshot replays to the
same score years later. `evaluate` is symmetric: it serves need -> offering and the reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isqrt
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import Meta, Struct

from models.values import Slot
from search import gates
from search.gates import Case, Failure, NeedFacts, OfferingFacts, Spot

FULL = 10_000
UNKNOWN = 5_000

_FAR = 1 << 53
_Weight = Annotated[int, Meta(ge=0, le=1000)]


class Weights(Struct, frozen=True):
    """How much each part counts for a service type, and the metres that halve its distance part.

    Refused if every weight is 0.
    """

    version: int
    half_m: Annotated[int, Meta(ge=1, le=1_000_000)] = 400
    distance: _Weight = 22
    time: _Weight = 14
    reliability: _Weight = 14
    price: _Weight = 12
    capacity: _Weight = 8
    credentials: _Weight = 8
    continuity: _Weight = 8
    balance: _Weight = 8
    language: _Weight = 4
    text: _Weight = 2

    def __post_init__(self) -> None:
        if not any(getattr(self, name) for name in PARTS):
            raise ValueError("weights: at least one above 0")


class Part(Struct, frozen=True):
    """One part of a score; `code` and `values` say what was compared."""

    part: str
    value: int
    weight: int
    code: str
    values: dict[str, Any]


class Match(Struct, frozen=True):
    """An offering that no gate keeps out; `score` is the parts' weighed mean, rounded down.

    `distance_m` is how far it has to go: from the need, or in a bundle to the space.
    """

    offering_id: str
    score: int
    distance_m: int | None
    parts: tuple[Part, ...]


class Exclusion(Struct, frozen=True):
    """An offering that the named gates keep out, and the score it has but for them.

    `because` is empty unless an explanation was asked for.
    """

    offering_id: str
    gates: tuple[str, ...]
    would_score: int
    because: tuple[Failure, ...] = ()


Key = tuple[int, int, str]


def evaluate(
    need: NeedFacts,
    slot: Slot,
    offering: OfferingFacts,
    weights: Weights,
    explain: bool = False,
    spots: tuple[Spot, ...] = (),
) -> Match | Exclusion:
    """The offering for this slot of the need: a match with its reasons, or what keeps it out.

    `explain` adds to an exclusion the values compared and the smallest change for each gate. With
    `spots` it is to serve at these spaces: its reach and its distance are measured to them.
    """
    case = gates.case_of(need, slot, offering, spots)
    shut = gates.failing(case)
    if shut:
        because = gates.why(case, shut) if explain else ()
        return Exclusion(offering.id, shut, _score(case, weights), because)
    parts = []
    for name, value in PARTS.items():
        code, values = _SAID[name](case, weights)
        if spots and code in _AT_SPACE:
            code += ".space"
        weight: int = getattr(weights, name)
        parts.append(Part(name, value(case, weights), weight, code, values))
    score = sum(part.value * part.weight for part in parts) // _weighed(weights)[1]
    return Match(offering.id, score, case.travel_m, tuple(parts))


def rank_key(need: NeedFacts, slot: Slot, offering: OfferingFacts, weights: Weights) -> Key | None:
    """The `sort_key` of the match, or None if a gate is shut; without the reasons.

    For going through many candidates: it stops at the first shut gate, and only the few that are
    shown need be evaluated.
    """
    case = gates.case_of(need, slot, offering)
    if not gates.passes(case):
        return None
    return _key(_score(case, weights), case.travel_m, offering.id)


def sort_key(match: Match) -> Key:
    """Best score first, then nearest (unknown last), then id."""
    return _key(match.score, match.distance_m, match.offering_id)


def _key(score: int, metres: int | None, offering_id: str) -> Key:
    return -score, _FAR if metres is None else metres, offering_id


def _score(case: Case, weights: Weights) -> int:
    weighed, weight_of_all = _weighed(weights)
    total = 0
    for value, weight in weighed:
        total += value(case, weights) * weight
    return total // weight_of_all


def but_distance(case: Case, weights: Weights) -> int:
    """What all the other parts add, times their weights: the same wherever the offering serves."""
    weighed, _ = _weighed(weights)
    return sum(value(case, weights) * weight for value, weight in weighed if value is not _distance)


def at_distance(rest: int, metres: int | None, need: NeedFacts, weights: Weights) -> int:
    """The score from `but_distance` and how far the offering has to go."""
    near = _nearness(metres, need.radius_m, weights.half_m)
    return (rest + near * weights.distance) // _weighed(weights)[1]


@lru_cache(maxsize=256)
def _weighed(weights: Weights) -> tuple[tuple[tuple[_Value, int], ...], int]:
    weighed = tuple((value, getattr(weights, name)) for name, value in PARTS.items())
    return weighed, sum(weight for _, weight in weighed)


# The parts


def _halvings() -> tuple[int, ...]:
    """2^(-n/256) for n = 0..256 as 30-bit fractions, by taking the square root eight times."""
    bits = 120
    root = 1 << bits - 1
    for _ in range(8):
        root = isqrt(root << bits)
    table = [1 << bits]
    for _ in range(256):
        table.append(table[-1] * root >> bits)
    return tuple((value + (1 << bits - 31)) >> bits - 30 for value in table)


_HALVINGS = _halvings()
_ONE = 1 << 30


def _halved(metres: int, half_m: int) -> int:
    """2^(-metres / half_m) as a 30-bit fraction; never rises with the distance."""
    steps = (metres << 16) // half_m
    at, between = steps >> 8 & 255, steps & 255
    drop = (_HALVINGS[at] - _HALVINGS[at + 1]) * between >> 8
    return (_HALVINGS[at] - drop) >> (steps >> 16)


def _distance(case: Case, weights: Weights) -> int:
    return _nearness(case.travel_m, case.need.radius_m, weights.half_m)


def _nearness(metres: int | None, radius: int | None, half_m: int) -> int:
    """Halves every `half_m`: full at 0 m, and lowered so that it is 0 at the radius."""
    if metres is None:
        return UNKNOWN
    near = _halved(metres, half_m)
    if radius is None:
        return FULL * near >> 30
    if metres >= radius:
        return 0 if metres else FULL
    edge = _halved(radius, half_m)
    return FULL * (near - edge) // (_ONE - edge) if edge < _ONE else FULL


def _time(case: Case, _: Weights) -> int:
    asked = sum(part.minutes for part in gates.asked(case)[0])
    if not asked:
        return 0 if case.need.windows else FULL
    return sum(gates.coverage(case)) * FULL // asked


def _reliability(case: Case, _: Weights) -> int:
    """Floor mean of the stars, with 8 of 4.0 added, and the kept jobs, with 9 of 10 added."""
    offering = case.offering
    stars = (offering.rating_sum + 8 * 400) * FULL // ((offering.ratings + 8) * 500)
    kept = (offering.jobs_kept + 9) * FULL // (offering.jobs_agreed + 10)
    return (stars + kept) // 2


def _price(case: Case, _: Weights) -> int:
    need, offering = case.need, case.offering
    if offering.price_amount == 0:
        return FULL
    if need.budget_amount is None:
        return UNKNOWN
    budget = gates.per_year(case, need.budget_amount, need.per)
    spare = budget - gates.per_year(case, offering.price_amount, offering.per)
    return spare * FULL // budget if spare > 0 and offering.currency == need.currency else 0


def _places(slot: Slot, need: NeedFacts) -> int:
    """Places that would be just right: the slot's minimum, or its share of the beneficiaries."""
    if slot.min_capacity is not None:
        return slot.min_capacity
    return -(-need.beneficiaries // slot.quantity)


def _capacity(case: Case, _: Weights) -> int:
    """Full up to 1.5 times what is needed, half from 10 times on, a straight line between."""
    places, needed = gates.left(case), _places(case.slot, case.need)
    if places is None or not needed:
        return FULL
    if places < needed:
        return max(places, 0) * FULL // needed
    too_many = max(2 * places - 3 * needed, 0)
    return FULL - min(FULL // 2 * too_many // (17 * needed), FULL // 2)


def _credentials(case: Case, _: Weights) -> int:
    wanted = case.slot.preferred_credentials
    return sum(gates.holds(case, kind) for kind in wanted) * FULL // len(wanted) if wanted else FULL


def _continuity(case: Case, _: Weights) -> int:
    return FULL - (FULL >> case.offering.served_here)


def _balance(case: Case, _: Weights) -> int:
    """Share of the weekly load that is still free after taking this."""
    most = case.offering.max_minutes_week
    if most is None:
        return FULL
    free = most - case.offering.committed_minutes_week - gates.weekly_minutes(case)
    return free * FULL // most if free > 0 else 0


def _language(case: Case, _: Weights) -> int:
    wanted = case.slot.languages
    return gates.spoken(wanted, case.offering.languages) * FULL // len(wanted) if wanted else FULL


def _text(case: Case, _: Weights) -> int:
    return UNKNOWN if case.offering.text is None else case.offering.text


_Value = Callable[[Case, Weights], int]

PARTS: Mapping[str, _Value] = MappingProxyType(
    {
        "distance": _distance,
        "time": _time,
        "reliability": _reliability,
        "price": _price,
        "capacity": _capacity,
        "credentials": _credentials,
        "continuity": _continuity,
        "balance": _balance,
        "language": _language,
        "text": _text,
    }
)


# What each part was worked out from

_Said = tuple[str, dict[str, Any]]
# What is said of the distance in a bundle, where it is to the space: `distance.space`.
_AT_SPACE = frozenset({"distance", "distance.anywhere"})


def _say_distance(case: Case, weights: Weights) -> _Said:
    if case.travel_m is None:
        return "distance.unknown", {}
    values = {"distance_m": case.travel_m, "half_m": weights.half_m}
    if case.need.radius_m is None:
        return "distance.anywhere", values
    return "distance", values | {"radius_m": case.need.radius_m}


def _say_time(case: Case, _: Weights) -> _Said:
    asked = sum(part.minutes for part in gates.asked(case)[0])
    if not asked:
        return "time.any", {}
    free = sum(gates.coverage(case))
    return "time.whole" if free == asked else "time.part", {"free": free, "asked": asked}


def _say_reliability(case: Case, _: Weights) -> _Said:
    offering = case.offering
    values = {"kept": offering.jobs_kept, "agreed": offering.jobs_agreed}
    if not offering.ratings:
        return ("reliability.kept", values) if offering.jobs_agreed else ("reliability.new", {})
    rated = {"ratings": offering.ratings, "rating": offering.rating_sum // offering.ratings}
    if not offering.jobs_agreed:
        return "reliability.rated", rated
    return "reliability.both", rated | values


def _say_price(case: Case, _: Weights) -> _Said:
    need, offering = case.need, case.offering
    price = {"amount": offering.price_amount, "currency": offering.currency, "per": offering.per}
    if offering.price_amount == 0:
        return "price.free", {}
    if need.budget_amount is None:
        return "price.no_budget", {"price": price}
    budget = {"amount": need.budget_amount, "currency": need.currency, "per": need.per}
    return "price", {"price": price, "budget": budget}


def _say_capacity(case: Case, _: Weights) -> _Said:
    places, needed = gates.left(case), _places(case.slot, case.need)
    if places is None or not needed:
        return "capacity.any", {}
    code = "capacity.large" if 2 * places > 3 * needed else "capacity"
    values = {"places": places, "needed": needed}
    return "capacity.part" if places < needed else code, values


def _say_credentials(case: Case, _: Weights) -> _Said:
    wanted = case.slot.preferred_credentials
    if not wanted:
        return "credentials.any", {}
    held = [kind for kind in wanted if gates.holds(case, kind)]
    return "credentials", {"held": held, "preferred": list(wanted)}


def _say_continuity(case: Case, _: Weights) -> _Said:
    times = case.offering.served_here
    return "continuity" if times else "continuity.new", {"times": times}


def _say_balance(case: Case, _: Weights) -> _Said:
    offering = case.offering
    if offering.max_minutes_week is None:
        return "balance.any", {}
    load = offering.committed_minutes_week + gates.weekly_minutes(case)
    return "balance", {"minutes": load, "most": offering.max_minutes_week}


def _say_language(case: Case, _: Weights) -> _Said:
    wanted = case.slot.languages
    if not wanted:
        return "language.any", {}
    spoken = [tag for tag in wanted if gates.spoken((tag,), case.offering.languages)]
    return "language", {"spoken": spoken, "wanted": list(wanted)}


def _say_text(case: Case, _: Weights) -> _Said:
    text = case.offering.text
    return ("text.unknown", {}) if text is None else ("text", {"percent": text // 100})


_SAID: Mapping[str, Callable[[Case, Weights], _Said]] = MappingProxyType(
    {
        "distance": _say_distance,
        "time": _say_time,
        "reliability": _say_reliability,
        "price": _say_price,
        "capacity": _say_capacity,
        "credentials": _say_credentials,
        "continuity": _say_continuity,
        "balance": _say_balance,
        "language": _say_language,
        "text": _say_text,
    }
)
