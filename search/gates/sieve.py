"""Which gates are shut, for thousands of offerings at once: what `failing` says, gate by gate.

Offerings resemble each other: they have the same prices, hours and features. Each gate is asked
once for each different value of the columns it looks at, by the same rules; the time gate by
masks of the week where these prove it, and by the calendar where they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import structs

from models.values import Per, Slot, Window
from search import windows
from search.gates import rules
from search.gates.distance import distance_m
from search.gates.facts import Licence, NeedFacts, OfferingFacts

BITS: Mapping[str, int] = {name: 1 << at for at, name in enumerate(rules.GATES)}


class Glance(NamedTuple):
    """What the gates look at of an offering of the slot's kind that has promised nothing yet.

    Lists are the JSON text of their columns, `blocked` is 0 or 1, and so is `booked`: of what has
    given away some of its time the sieve knows too little.
    """

    id: str
    partner: str
    status: str
    partner_status: str
    blocked: int
    lat_e6: int | None
    lon_e6: int | None
    reach_m: int | None
    capacity: int | None
    price_amount: int
    currency: str
    per: Per
    max_hours_week: int | None
    max_contacts_week: int | None
    service_types: str
    features: str
    languages: str
    availability: str
    timezone: str | None
    booked: int


class _Memo(dict[Any, int]):
    """The gates shut by a value, worked out when it is first met."""

    def __init__(self, shut: Callable[[Any], int]) -> None:
        self._shut = shut

    def __missing__(self, value: Any) -> int:
        found = self[value] = self._shut(value)
        return found


class Sieve:
    """The gates of one slot of a need. `words` and `hours` read the JSON texts."""

    def __init__(
        self,
        need: NeedFacts,
        slot: Slot,
        words: Callable[[str], tuple[str, ...]],
        hours: Callable[[str], tuple[Window, ...]],
    ) -> None:
        self._nobody = OfferingFacts(id="", version=0, kind=slot.kind, partner="")
        self._case = rules.case_of(need, slot, self._nobody)
        self._hours = hours
        single = {
            "max_contacts_week": self._one("contacts", "max_contacts_week"),
            "service_types": self._one("service", "services", words),
            "features": self._one("features", "features", words),
            "languages": self._one("language", "languages", words),
            "max_hours_week": self._one("load", "max_minutes_week", _minutes),
            "capacity": self._one("capacity", "capacity"),
            "availability": self._time,
        }
        self._single = [(Glance._fields.index(name), _Memo(shut)) for name, shut in single.items()]
        self._state, self._far = _Memo(self._not_on_offer), _Memo(self._too_far)
        self._price = _Memo(self._too_dear)
        self._licensed = _Memo(self._one("credentials", "licences"))

    def shut(
        self, several: Sequence[Glance], licences: Mapping[str, tuple[Licence, ...]]
    ) -> list[int]:
        """The `BITS` of the shut gates, for each of these; 0 is a match."""
        columns: list[Sequence[Any]] = list(zip(*several, strict=True))
        if not columns:
            return []
        found: list[Iterable[int]] = [
            map(memo.__getitem__, columns[at]) for at, memo in self._single
        ]
        found.append(map(self._state.__getitem__, zip(*columns[2:5], strict=True)))
        found.append(map(self._far.__getitem__, zip(*columns[5:8], strict=True)))
        found.append(map(self._price.__getitem__, zip(*columns[9:12], strict=True)))
        if self._case.slot.credentials:
            held = (licences.get(identity, ()) for identity in columns[0])
            found.append(map(self._licensed.__getitem__, held))
        # Each gate is asked of one column only, so the sum of the bits is their union.
        return list(map(sum, zip(*found, strict=True)))

    def _one(
        self, gate: str, field: str, read: Callable[[Any], Any] | None = None
    ) -> Callable[[Any], int]:
        """Asks one gate that looks at one field."""

        def shut(value: Any) -> int:
            return self._ask((gate,), {field: read(value) if read else value})

        return shut

    def _ask(self, names: Iterable[str], facts: Mapping[str, Any]) -> int:
        """The gates, of an offering of which these facts matter."""
        # One case for all: to make another costs more than to ask a gate.
        self._case.offering = structs.replace(self._nobody, **facts)
        self._case.minutes = None
        bits = 0
        for name in names:
            if not rules.GATES[name](self._case):
                bits |= BITS[name]
        return bits

    def _not_on_offer(self, state: tuple[str, str, int]) -> int:
        status, partner_status, blocked = state
        facts = {"status": status, "partner_status": partner_status, "blocked": bool(blocked)}
        return self._ask(("status", "blocked"), facts)

    def _too_far(self, there: tuple[int | None, int | None, int | None]) -> int:
        (lat, lon, reach), need, metres = there, self._case.need, None
        if not (lat is None or lon is None or need.lat_e6 is None or need.lon_e6 is None):
            metres = distance_m(need.lat_e6, need.lon_e6, lat, lon)
        if need.radius_m is None or metres is None or metres > need.radius_m or reach is not None:
            self._case.distance_m = metres
            return self._ask(("radius", "reach"), {"reach_m": reach})
        return 0

    def _too_dear(self, price: tuple[int, str, Per]) -> int:
        amount, currency, per = price
        return self._ask(("budget",), {"price_amount": amount, "currency": currency, "per": per})

    def _time(self, text: str) -> int:
        hours, case = self._hours(text), self._case
        parts, share = rules.asked(case)
        sure = None
        if case.demand.together.minutes:
            sure = windows.surely_open(case.demand, parts, share, hours)
        if sure is None:
            return self._ask(("time",), {"availability": hours})
        return 0 if sure else BITS["time"]


def _minutes(hours: int | None) -> int | None:
    return None if hours is None else hours * 60
