"""Yes or no for each gate, cheapest first. All hold for the exact windows, or it is no match."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from msgspec import Struct

from models.values import Per, Slot
from search import windows
from search.gates.distance import distance_m
from search.gates.facts import NeedFacts, OfferingFacts

_EVER = 1 << 53

# A position in micro-degrees.
Spot = tuple[int, int]


class Case(Struct):
    """One offering before one slot of one need, with what several gates and parts share.

    `distance_m` is from the need, None if either has no position; `spots` are the spaces at which
    the offering would serve, if any; `minutes` is filled by the first who asks.
    """

    need: NeedFacts
    slot: Slot
    offering: OfferingFacts
    demand: windows.Demand
    distance_m: int | None
    spots: tuple[Spot, ...] = ()
    minutes: tuple[int, ...] | None = None

    @property
    def travel_m(self) -> int | None:
        """How far the offering has to go: to the furthest space, or if there is none to the
        need."""
        return travel_m(self.offering, self.spots) if self.spots else self.distance_m


def case_of(
    need: NeedFacts, slot: Slot, offering: OfferingFacts, spots: tuple[Spot, ...] = ()
) -> Case:
    """Set up the comparison."""
    metres = None
    if (
        need.lat_e6 is not None
        and need.lon_e6 is not None
        and offering.lat_e6 is not None
        and offering.lon_e6 is not None
    ):
        metres = distance_m(need.lat_e6, need.lon_e6, offering.lat_e6, offering.lon_e6)
    return Case(need, slot, offering, windows.demand(need.windows, need.as_of), metres, spots)


def travel_m(offering: OfferingFacts, spots: tuple[Spot, ...]) -> int | None:
    """Metres to the furthest of these spots; None if the offering has no position."""
    lat, lon = offering.lat_e6, offering.lon_e6
    if lat is None or lon is None:
        return None
    return max(distance_m(lat, lon, *spot) for spot in spots)


# What the gates and the score both look at


def asked(case: Case) -> tuple[tuple[windows.Asked, ...], int]:
    """The times to cover and the share of each: every window by itself for `each`.

    The members of a `rota` share all windows, so one of them must cover only a part.
    """
    if case.slot.mode == "rota":
        return (case.demand.together,), -(-case.need.min_coverage // case.slot.quantity)
    return case.demand.each, case.need.min_coverage


def coverage(case: Case) -> tuple[int, ...]:
    """Minutes free of each time asked for."""
    if case.minutes is None:
        parts, _ = asked(case)
        offering = case.offering
        case.minutes = windows.coverage(case.demand, parts, offering.availability, offering.busy)
    return case.minutes


def left(case: Case) -> int | None:
    """Capacity left in the fullest moment of the need; None is no limit."""
    offering = case.offering
    if offering.capacity is None or not offering.taken:
        return offering.capacity
    times = case.demand.together.occurrences or (case.demand.span,)
    return offering.capacity - windows.peak(times, offering.taken)


def places_needed(slot: Slot) -> int:
    """What must be left at least: `min_capacity`, or one if the slot does not say."""
    return 1 if slot.min_capacity is None else slot.min_capacity


def per_year(case: Case, amount: int, per: Per) -> int:
    """A price or budget as what a year of this need would cost."""
    if per == "session":
        return amount * max(case.demand.sessions_week, 1) * 52
    return amount * (52 if per == "week" else 12)


def weekly_minutes(case: Case) -> int:
    """What the slot adds to the weekly load; a rota divides it among its members."""
    minutes = case.demand.minutes_week
    return -(-minutes // case.slot.quantity) if case.slot.mode == "rota" else minutes


@lru_cache(maxsize=4096)
def spoken(wanted: tuple[str, ...], languages: tuple[str, ...]) -> int:
    """How many of the wanted languages are spoken; `zh` is also spoken by who speaks `zh-Hans`."""
    tags = [f"{tag.lower()}-" for tag in languages]
    return sum(any(tag.startswith(f"{want.lower()}-") for tag in tags) for want in wanted)


def holds(case: Case, kind: str) -> bool:
    """Whether verified licences of a kind cover the need from its first to its last minute."""
    first, last = case.demand.span
    held = [item for item in case.offering.licences if item.kind == kind and item.verified]
    for licence in held:
        begun = licence.valid_from is None or licence.valid_from <= first
        if begun and (licence.valid_to is None or licence.valid_to >= last):
            return True
    return len(held) > 1 and valid_until(case, kind) >= last


def valid_until(case: Case, kind: str) -> int:
    """Up to when verified licences of a kind cover the need without a gap.

    At least its first minute, even if there are none. A renewal may begin where another ends.
    """
    reached = case.demand.span[0]
    terms = sorted(
        (
            -_EVER if item.valid_from is None else item.valid_from,
            _EVER if item.valid_to is None else item.valid_to,
        )
        for item in case.offering.licences
        if item.kind == kind and item.verified
    )
    for start, end in terms:
        if start <= reached < end:
            reached = end
    return reached


def reaches(offering: OfferingFacts, metres: int | None) -> bool:
    """Whether it goes so far. A space goes nowhere; nobody is kept from where we do not know."""
    reach = offering.reach_m
    return reach is None or metres is None or offering.kind == "space" or metres <= reach


# The gates


def _kind(case: Case) -> bool:
    return case.offering.kind == case.slot.kind


def _status(case: Case) -> bool:
    return case.offering.status == "active" and case.offering.partner_status == "admitted"


def _blocked(case: Case) -> bool:
    return not case.offering.blocked


def _contacts(case: Case) -> bool:
    most = case.offering.max_contacts_week
    return most is None or case.offering.contacts_week < most


def _service(case: Case) -> bool:
    return case.need.service_type in case.offering.services


def _radius(case: Case) -> bool:
    radius = case.need.radius_m
    return radius is None or (case.distance_m is not None and case.distance_m <= radius)


def _reach(case: Case) -> bool:
    return reaches(case.offering, case.travel_m)


def _features(case: Case) -> bool:
    return not case.slot.features or set(case.slot.features) <= set(case.offering.features)


def _language(case: Case) -> bool:
    return not case.slot.languages or spoken(case.slot.languages, case.offering.languages) > 0


def _budget(case: Case) -> bool:
    need, offering = case.need, case.offering
    if need.budget_amount is None or offering.price_amount == 0:
        return True
    return offering.currency == need.currency and (
        per_year(case, offering.price_amount, offering.per)
        <= per_year(case, need.budget_amount, need.per)
    )


def _load(case: Case) -> bool:
    most = case.offering.max_minutes_week
    return most is None or case.offering.committed_minutes_week + weekly_minutes(case) <= most


def _capacity(case: Case) -> bool:
    places = left(case)
    return places is None or places >= places_needed(case.slot)


def _credentials(case: Case) -> bool:
    return all(holds(case, kind) for kind in case.slot.credentials)


def _time(case: Case) -> bool:
    if not case.need.windows:
        return True
    if not case.demand.together.minutes:
        return False
    parts, share = asked(case)
    return all(
        windows.enough(minutes, part.minutes, share)
        for minutes, part in zip(coverage(case), parts, strict=True)
    )


GATES: Mapping[str, Callable[[Case], bool]] = MappingProxyType(
    {
        "kind": _kind,
        "status": _status,
        "blocked": _blocked,
        "contacts": _contacts,
        "service": _service,
        "radius": _radius,
        "reach": _reach,
        "features": _features,
        "language": _language,
        "budget": _budget,
        "load": _load,
        "capacity": _capacity,
        "credentials": _credentials,
        "time": _time,
    }
)


def passes(case: Case, but: str = "") -> bool:
    """Whether every gate, but one if named, is open; stops at the first that is not."""
    return all(gate(case) for name, gate in GATES.items() if name != but)


def failing(case: Case) -> tuple[str, ...]:
    """The names of all gates that are shut."""
    return tuple(name for name, gate in GATES.items() if not gate(case))
