"""Calendars as others write them."""

from __future__ import annotations

import pytest

from models import calendars, errors, values

SHANGHAI = "Asia/Shanghai"


def ics(*events: str) -> bytes:
    """A calendar of these events, each the lines between its BEGIN and END."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0"]
    for event in events:
        lines += ["BEGIN:VEVENT", *event.strip().splitlines(), "END:VEVENT"]
    return ("\r\n".join([*(line.strip() for line in lines), "END:VCALENDAR"]) + "\r\n").encode()


def windows(*events: str) -> tuple[values.Window, ...]:
    """The availability that these events mean in Shanghai."""
    return calendars.windows(ics(*events), SHANGHAI)


def reason(text: bytes) -> str:
    """Why this calendar is refused."""
    with pytest.raises(errors.Refusal) as refused:
        calendars.windows(text, SHANGHAI)
    (field,) = refused.value.fields
    assert (field.field, field.code) == ("calendar", "invalid_calendar")
    return str(field.values["reason"])
