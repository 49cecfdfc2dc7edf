"""Value types shared by the wire, the tables and the matcher.

Limits live here, at the edge, because SQLite stores what PostgreSQL refuses. Everything the
matcher compares is an integer: micro-degrees, metres, minutes, minor units of money.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Annotated, Literal

from msgspec import Meta, Struct

Slug = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9_-]{1,64}\Z", description="lower-case letters, digits, - and _"),
]
# PostgreSQL refuses NUL, and nothing else below U+0020 belongs in a title either.
Line = Annotated[
    str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]*\Z")
]
Prose = Annotated[
    str, Meta(max_length=4000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]*\Z")
]
Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", max_length=35)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Metres = Annotated[int, Meta(ge=0, le=1_000_000)]
Quantity = Annotated[int, Meta(ge=0, le=1_000_000)]
Money = Annotated[int, Meta(ge=0, le=10**12)]
Version = Annotated[int, Meta(ge=1)]

Timezone = Annotated[str, Meta(min_length=1, max_length=64, description="IANA time zone name")]
ZONES = frozenset(zoneinfo.available_timezones())

OfferingKind = Literal["space", "merchant", "volunteer", "vanguard", "goods"]
PriceTier = Literal["public", "low_fee", "market", "space_for_service"]
Per = Literal["session", "week", "month"]
Priority = Literal["normal", "elders", "children", "special"]
# Why not, or why no more: what would have to change. For counting, so no free text.
Reason = Literal[
    "time",
    "distance",
    "price",
    "capacity",
    "equipment",
    "not_suitable",
    "taken_meanwhile",
    "personal",
    "no_longer_needed",
    "quality",
    "safety",
    "unpaid",
    "closed_down",
    "member_left",
    "other",
]


class Bilingual(Struct, frozen=True, forbid_unknown_fields=True):
    """One text in Chinese and English."""

    zh: Line
    en: Line


class BilingualProse(Struct, frozen=True, forbid_unknown_fields=True):
    """A longer text in Chinese and English; either may be empty."""

    zh: Prose = ""
    en: Prose = ""


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    """A WGS-84 position in degrees. Kept as micro-degrees (0.11 m), so nothing drifts."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """Minor units (fen) of a currency per session, week or month. Zero is free."""

    amount: Money
    currency: Currency = "CNY"
    per: Per = "session"


class Window(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"from_": "from", "except_": "except"},
    gc=False,
):
    """A weekly recurring civil window: RRULE `FREQ=WEEKLY;BYDAY=…` in its own time zone.

    `days` are ISO weekdays (1 = Monday). `end` is exclusive; `24:00` is midnight at the end of
    the day, and an end at or before the start means the next day. `from` and `until` are the
    first and last local dates (inclusive) on which an occurrence may start; `except` lists
    local dates without one.
    """

    days: Annotated[tuple[Annotated[int, Meta(ge=1, le=7)], ...], Meta(min_length=1, max_length=7)]
    start: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d\Z")]
    end: Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)\Z")]
    timezone: Timezone = "Asia/Shanghai"
    from_: dt.date | None = None
    until: dt.date | None = None
    except_: Annotated[tuple[dt.date, ...], Meta(max_length=366)] = ()

    def __post_init__(self) -> None:
        if len(set(self.days)) != len(self.days):
            raise ValueError("days: each weekday once")
        check_zone(self.timezone)
        if self.from_ and self.until and self.until < self.from_:
            raise ValueError("until: on or after from")


class Slot(Struct, frozen=True, forbid_unknown_fields=True):
    """One required role of a need: what kind of offering, how many, and what it must bring.

    `each`: every member covers the whole window; `rota`: the members share it.
    """

    role: Slug
    kind: OfferingKind
    quantity: Annotated[int, Meta(ge=1, le=1000)] = 1
    features: Annotated[tuple[Slug, ...], Meta(max_length=32)] = ()
    min_capacity: Quantity | None = None
    credentials: Annotated[tuple[Slug, ...], Meta(max_length=16)] = ()
    preferred_credentials: Annotated[tuple[Slug, ...], Meta(max_length=16)] = ()
    languages: Annotated[tuple[Language, ...], Meta(max_length=8)] = ()
    mode: Literal["each", "rota"] = "each"


def check_zone(name: str) -> None:
    """Refuse a time zone that is not in the IANA database, as msgspec's own refusals are."""
    if name not in ZONES:
        raise ValueError("timezone: an IANA name such as Asia/Shanghai")


def micro(degrees: float) -> int:
    """Degrees as whole micro-degrees, the only form in which positions are kept and compared."""
    return round(degrees * 1_000_000)


def degrees(micro_degrees: int) -> float:
    """Micro-degrees as degrees for the wire."""
    return micro_degrees / 1_000_000


def point(lat_e6: int | None, lon_e6: int | None) -> Point | None:
    """Two columns as a position."""
    if lat_e6 is None or lon_e6 is None:
        return None
    return Point(lat=degrees(lat_e6), lon=degrees(lon_e6))


def position(location: Point | None) -> dict[str, int | None]:
    """A position as its two columns."""
    if location is None:
        return {"lat_e6": None, "lon_e6": None}
    return {"lat_e6": micro(location.lat), "lon_e6": micro(location.lon)}
