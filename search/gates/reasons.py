"""Why not: each shut gate with the values compared, and the smallest change that would open it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from msgspec import Struct

from search import windows
from search.gates import rules
from search.gates.rules import Case

Target = Literal["need", "offering", "partner", "credential"]
Values = dict[str, Any]  # JSON: integers, strings, and lists and objects of them

_HOME = "Asia/Shanghai"


class Mend(Struct, frozen=True):
    """The smallest change that opens a gate: set `field` of the target to exactly `value`.

    `field` is the wire name and `value` JSON, the whole new list where it is a list. Of a
    credential, `values["index"]` is its position in the offering, unless it is a new one.
    """

    action: str
    target: Target
    field: str
    value: Any
    values: Values = {}


class Failure(Struct, frozen=True):
    """One shut gate: what was needed, what there is, and what would mend it (None: nothing)."""

    gate: str
    code: str
    needed: Any
    has: Any
    mend: Mend | None = None
    values: Values = {}


def why(case: Case, gates: tuple[str, ...]) -> tuple[Failure, ...]:
    """The failures of these shut gates; a gate may have several. Together their mends admit."""
    return tuple(failure for gate in gates for failure in _WHY[gate](case))


def zone(case: Case) -> str:
    """The time zone in which to speak of this need."""
    return case.need.windows[0].timezone if case.need.windows else _HOME


def _kind(case: Case) -> Iterator[Failure]:
    yield Failure("kind", "kind", case.slot.kind, case.offering.kind)


def _status(case: Case) -> Iterator[Failure]:
    if case.offering.status != "active":
        mend = Mend("activate", "offering", "status", "active")
        yield Failure("status", "status.offering", "active", case.offering.status, mend)
    if case.offering.partner_status != "admitted":
        mend = Mend("admit_partner", "partner", "status", "admitted")
        yield Failure("status", "status.partner", "admitted", case.offering.partner_status, mend)


def _blocked(case: Case) -> Iterator[Failure]:
    mend = Mend("lift_block", "partner", "blocked", False)
    yield Failure("blocked", "blocked", False, True, mend)


def _contacts(case: Case) -> Iterator[Failure]:
    asked = case.offering.contacts_week
    mend = Mend("allow_contact", "offering", "max_contacts_week", asked + 1)
    yield Failure("contacts", "contacts", asked + 1, case.offering.max_contacts_week, mend)


def _service(case: Case) -> Iterator[Failure]:
    services, wanted = case.offering.services, case.need.service_type
    mend = Mend("offer_service", "offering", "service_types", [*services, wanted], {"add": wanted})
    yield Failure("service", "service", wanted, list(services), mend)


def _radius(case: Case) -> Iterator[Failure]:
    code = "radius" if case.distance_m is not None else "radius.unknown"
    action = "widen_radius" if case.distance_m is not None else "drop_radius"
    mend = Mend(action, "need", "radius_m", case.distance_m)
    yield Failure("radius", code, case.need.radius_m, case.distance_m, mend)


def _reach(case: Case) -> Iterator[Failure]:
    mend = Mend("extend_reach", "offering", "reach_m", case.travel_m)
    yield Failure("reach", "reach", case.travel_m, case.offering.reach_m, mend)


def _features(case: Case) -> Iterator[Failure]:
    wanted, has = case.slot.features, case.offering.features
    lacking = sorted(set(wanted) - set(has))
    mend = Mend("add_feature", "offering", "features", [*has, *lacking], {"add": lacking})
    yield Failure("features", "features", list(wanted), list(has), mend, {"lacking": lacking})


def _language(case: Case) -> Iterator[Failure]:
    wanted, has = case.slot.languages, case.offering.languages
    mend = Mend("add_language", "offering", "languages", [*has, wanted[0]], {"add": wanted[0]})
    yield Failure("language", "language", list(wanted), list(has), mend)


def _budget(case: Case) -> Iterator[Failure]:
    need, offering = case.need, case.offering
    budget = {"amount": need.budget_amount, "currency": need.currency, "per": need.per}
    price = {"amount": offering.price_amount, "currency": offering.currency, "per": offering.per}
    yearly = rules.per_year(case, offering.price_amount, offering.per)
    amount = -(-yearly // rules.per_year(case, 1, need.per))
    value = {"amount": amount, "currency": offering.currency, "per": need.per}
    same = need.currency == offering.currency
    mend = Mend("raise_budget" if same else "change_currency", "need", "budget", value)
    yield Failure("budget", "budget" if same else "budget.currency", price, budget, mend)


def _load(case: Case) -> Iterator[Failure]:
    offering = case.offering
    minutes = rules.weekly_minutes(case)
    needed = offering.committed_minutes_week + minutes
    mend = Mend("raise_load", "offering", "max_hours_week", -(-needed // 60))
    values = {"minutes": minutes, "committed": offering.committed_minutes_week}
    yield Failure("load", "load", needed, offering.max_minutes_week, mend, values)


def _capacity(case: Case) -> Iterator[Failure]:
    needed, places = rules.places_needed(case.slot), rules.left(case) or 0
    taken = (case.offering.capacity or 0) - places
    mend = Mend("raise_capacity", "offering", "capacity", needed + taken)
    yield Failure("capacity", "capacity", needed, places, mend, {"taken": taken})


def _credentials(case: Case) -> Iterator[Failure]:
    for kind in dict.fromkeys(case.slot.credentials):
        if not rules.holds(case, kind):
            yield _credential(case, kind)


def _credential(case: Case, kind: str) -> Failure:
    """The licence nearest to enough: one to verify, else one to renew, else a new one."""
    first, last = case.demand.span
    reached = rules.valid_until(case, kind)
    own = [(at, item) for at, item in enumerate(case.offering.licences) if item.kind == kind]
    values: Values = {"kind": kind, "timezone": zone(case)}
    for at, item in own:
        begins_in_time = item.valid_from is None or item.valid_from <= first
        if (
            not item.verified
            and begins_in_time
            and (item.valid_to is None or item.valid_to >= last)
        ):
            mend = Mend("verify_licence", "credential", "verified", True, values | {"index": at})
            return Failure("credentials", "credentials.unverified", True, False, mend, values)
    by = windows.local_date(last - 1, zone(case)).isoformat()
    needed, starts_at = windows.clock(last, zone(case)), windows.clock(first, zone(case))
    begun = [
        (item.valid_to, at)
        for at, item in own
        if item.verified
        and item.valid_to is not None
        and (item.valid_from is None or item.valid_from <= reached)
    ]
    if begun:
        ended, at = max(begun)
        mend = Mend("renew_licence", "credential", "valid_to", by, values | {"index": at})
        has = windows.clock(ended, zone(case))
        return Failure("credentials", "credentials.expires", needed, has, mend, values)
    new = {"kind": kind, "valid_from": starts_at[:10], "valid_to": by}
    mend = Mend("obtain_licence", "credential", "credentials", new, values)
    later = [item.valid_from for _, item in own if item.verified and item.valid_from is not None]
    if later:
        has = windows.clock(min(later), zone(case))
        return Failure("credentials", "credentials.starts", starts_at, has, mend, values)
    return Failure("credentials", "credentials.missing", kind, None, mend, values)


def _time(case: Case) -> Iterator[Failure]:
    if not case.demand.together.minutes:
        first, last = (day.isoformat() for day in case.demand.horizon)
        yield Failure("time", "time.over", 1, 0, None, {"first": first, "last": last})
        return
    parts, share = rules.asked(case)
    openings = windows.missing_openings(case.demand, parts, share, case.offering.availability)
    if openings:
        yield _closed(case, openings)
    hours = case.offering.availability + tuple(opening.window for opening in openings)
    clash = windows.bookings_in_the_way(case.demand, parts, share, hours, case.offering.busy)
    if clash:
        yield _busy(case, clash)


def _minutes(case: Case) -> tuple[int, int]:
    """Minutes that must be free in the horizon, and that are."""
    parts, share = rules.asked(case)
    needed = sum(-(-share * part.minutes // windows.WHOLE) for part in parts)
    return needed, sum(rules.coverage(case))


_OPEN = MappingProxyType({"earlier": "open_earlier", "later": "open_later", "on": "open_on"})
_CLOSED = MappingProxyType({"open_earlier": "time.opens_late", "open_later": "time.closes_early"})


def _closed(case: Case, openings: tuple[windows.Opening, ...]) -> Failure:
    actions = {_OPEN[opening.side] for opening in openings}
    action = "open_on" if "open_on" in actions else "open_longer"
    if len(actions) == 1:
        action = actions.pop()
    values: Values = {
        "minutes": max(windows.length(opening.window) for opening in openings),
        "add": [msgspec.to_builtins(opening.window) for opening in openings],
        "sides": [opening.side for opening in openings],
    }
    hours = windows.joined(case.offering.availability, openings)
    mend = Mend(action, "offering", "availability", msgspec.to_builtins(hours), values)
    code = _CLOSED.get(action, "time.closed")
    return Failure("time", code, *_minutes(case), mend, values)


def _busy(case: Case, clash: tuple[windows.Interval, ...]) -> Failure:
    busy = windows.subtract(windows.union(case.offering.busy), clash)
    values: Values = {
        "minutes": sum(end - start for start, end in clash),
        "times": [
            [windows.clock(start, zone(case)), windows.clock(end, zone(case))]
            for start, end in clash
        ],
    }
    value = [list(times) for times in busy]
    mend = Mend("free_up", "offering", "busy", value, values)
    return Failure("time", "time.busy", *_minutes(case), mend, values)


_WHY: Mapping[str, Callable[[Case], Iterator[Failure]]] = MappingProxyType(
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
