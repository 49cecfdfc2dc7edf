"""What the demo town is made of: drafts as callers send them, and what time has added to them.

A draft refers to places and partners that do not exist yet, so it carries stand-ins for their
ids: `stand_in("place", "qiaobei")`. The loader puts the real ones in their place.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import msgspec
from msgspec import Struct

from models import accounts, needs, offerings, partners, places, values
from models.demo import papers

_STAND_INS = uuid.UUID("0192d3a0-0000-7000-8000-000000000000")
# Keys of an entry that say something about a draft and are no field of it.
_PARTNER_KEYS = ("key", "place", "owner_place", "applicant", "status")
_OFFERING_KEYS = ("key", "partner", "place", "record", "served")
_NEED_KEYS = ("key", "place", "posted_by")


class Person(Struct, frozen=True):
    """A demo account, and the place its role is for (a partner_staff has none)."""

    login: str
    role: accounts.RoleName
    name: str
    place: str | None


class Partner(Struct, frozen=True, kw_only=True):
    """A partner, who applied for it, how far its admission has come, and which licences (by
    number) its community has seen."""

    key: str
    place: str
    draft: partners.PartnerDraft
    applicant: str
    status: partners.PartnerStatus
    verified: frozenset[str]


class Offering(Struct, frozen=True, kw_only=True):
    """An offering with its record of service. `rating_sum` counts hundredths of a star; `served`
    counts how often it has served places, by slug."""

    key: str
    partner: str
    place: str
    draft: offerings.OfferingDraft
    verified: frozenset[str]
    ratings: int
    rating_sum: int
    jobs_agreed: int
    jobs_kept: int
    served: dict[str, int]


class Need(Struct, frozen=True, kw_only=True):
    """A need, and the login of who posted it."""

    key: str
    place: str
    draft: needs.NeedDraft
    posted_by: str


class Story(Struct, frozen=True):
    """What a part of the town tells, and the needs it is about."""

    slug: str
    title: values.Bilingual
    text: values.BilingualProse
    needs: tuple[str, ...]


def stand_in(what: str, key: str) -> uuid.UUID:
    """The id that drafts carry for a `place` or `partner` until there is a real one."""
    return uuid.uuid5(_STAND_INS, f"{what}/{key}")


def place(raw: dict[str, Any]) -> places.PlaceDraft:
    """An entry of places.json as a draft."""
    body = {name: value for name, value in raw.items() if name != "parent"}
    if "parent" in raw:
        body["parent_id"] = stand_in("place", raw["parent"])
    return msgspec.convert(body, places.PlaceDraft)


def partner(raw: dict[str, Any], today: dt.date) -> Partner:
    """An entry of a `partners` list, its licences dated from `today`."""
    key, at, kind = raw["key"], raw["place"], raw["kind"]
    body = _without(raw, _PARTNER_KEYS) | {
        "place_id": stand_in("place", at),
        "credit_code": papers.credit_code(kind, at, key),
        "contact_phone": papers.phone(key),
    }
    if "owner_place" in raw:
        body["owner_place_id"] = stand_in("place", raw["owner_place"])
    verified = _credentials(body, at, key, today)
    return Partner(
        key=key,
        place=at,
        draft=msgspec.convert(body, partners.PartnerDraft),
        applicant=raw.get("applicant", "operator@demo"),
        status=raw.get("status", "admitted"),
        verified=verified,
    )


def offering(raw: dict[str, Any], today: dt.date) -> Offering:
    """An offering as stories and the neighbourhood write it, its dates counted from `today`."""
    at, record = raw["place"], raw.get("record", {})
    body = {"languages": ["zh"]} | _without(raw, _OFFERING_KEYS)
    body |= {
        "place_id": stand_in("place", at),
        "partner_id": stand_in("partner", raw["partner"]),
        "availability": [window(hours, today) for hours in raw["availability"]],
    }
    verified = _credentials(body, at, raw["key"], today)
    return Offering(
        key=raw["key"],
        partner=raw["partner"],
        place=at,
        draft=msgspec.convert(body, offerings.OfferingDraft),
        verified=verified,
        ratings=record.get("ratings", 0),
        rating_sum=round(record.get("stars", 0) * 100) * record.get("ratings", 0),
        jobs_agreed=record.get("agreed", 0),
        jobs_kept=record.get("kept", 0),
        served=_with_communities(raw.get("served", {})),
    )


def need(raw: dict[str, Any], today: dt.date) -> Need:
    """A need as stories and needs.json write it, its dates counted from `today`."""
    body = _without(raw, _NEED_KEYS) | {
        "place_id": stand_in("place", raw["place"]),
        "windows": [window(hours, today) for hours in raw["windows"]],
    }
    return Need(
        key=raw["key"],
        place=raw["place"],
        draft=msgspec.convert(body, needs.NeedDraft),
        posted_by=raw.get("posted_by", "secretary@demo"),
    )


def window(raw: dict[str, Any], today: dt.date) -> dict[str, Any]:
    """A weekly window with dates. `from`, `until` and `except` are days from today; `season:
    summer` is the school holidays that come next or are on."""
    dated = _without(raw, ("season",))
    if raw.get("season") == "summer":
        dated["from"], dated["until"] = summer(today)
    for name in ("from", "until"):
        if name in raw:
            dated[name] = papers.day(today, raw[name])
    if "except" in raw:
        dated["except"] = [papers.day(today, offset) for offset in raw["except"]]
    return dated


def summer(today: dt.date) -> tuple[dt.date, dt.date]:
    """The school holidays, 6 July to 28 August; next year's from the middle of August on."""
    year = today.year if today < dt.date(today.year, 8, 15) else today.year + 1
    return dt.date(year, 7, 6), dt.date(year, 8, 28)


def _credentials(body: dict[str, Any], at: str, holder: str, today: dt.date) -> frozenset[str]:
    """State the licences of a body in full; answers the numbers of those that were verified."""
    raw = body.get("credentials", [])
    stated = [papers.credential(entry, at, holder, today) for entry in raw]
    body["credentials"] = stated
    return frozenset(
        entry["number"]
        for written, entry in zip(raw, stated, strict=True)
        if written.get("verified", True)
    )


def _with_communities(served: dict[str, int]) -> dict[str, int]:
    """Who has served a grid has served its community as often."""
    times = dict(served)
    for slug, count in served.items():
        community, grid, _ = slug.partition("-grid-")
        if grid:
            times[community] = times.get(community, 0) + count
    return times


def _without(raw: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in names}
