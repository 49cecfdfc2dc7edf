"""Rows of calendars, out and in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.matrix.callers import (
    DECIDERS,
    EVERYBODY,
    PARTNER,
    SIGNED_IN,
    STAFF,
    Row,
    Target,
)
from tests.towns import Town

CALENDAR = (
    b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;TZID=Asia/Shanghai:20261109T063000\r\n"
    b"DTEND;TZID=Asia/Shanghai:20261109T090000\r\nRRULE:FREQ=WEEKLY;BYDAY=MO\r\n"
    b"END:VEVENT\r\nEND:VCALENDAR\r\n"
)


def _calendar(_town: Town, _target: Target) -> dict[str, Any]:
    return {"content": CALENDAR, "headers": {"Content-Type": "text/calendar"}}


def _feed(_town: Town, target: Target) -> dict[str, Any]:
    return {"json": {"kind": "place", "subject_id": target.place}}


MAKE: dict[str, Callable[[Town, str, str], Awaitable[Target]]] = {}
MISSING = frozenset({404})

ROWS = {
    "GET /v1/offerings/{offering_id}/occurrences": Row(
        EVERYBODY, "offering", query="?from=2026-11-01&to=2026-11-30"
    ),
    "GET /v1/offerings/{offering_id}/availability.ics": Row(EVERYBODY, "offering"),
    "PUT /v1/offerings/{offering_id}/availability.ics": Row(
        PARTNER | DECIDERS, "offering", _calendar
    ),
    "GET /v1/offerings/{offering_id}/busy": Row(PARTNER | DECIDERS, "offering"),
    "PUT /v1/offerings/{offering_id}/busy.ics": Row(PARTNER | DECIDERS, "offering", _calendar),
    "GET /v1/calendars": Row(SIGNED_IN),
    "POST /v1/calendars": Row(STAFF, "place", _feed),
    # Everybody has but their own, and an address is all that it takes to read one.
    "DELETE /v1/calendars/{calendar_id}": Row(SIGNED_IN, done=MISSING),
    "GET /v1/calendars/{calendar_id}/{token}": Row(EVERYBODY, done=MISSING),
}
