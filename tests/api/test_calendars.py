"""Availability in time, and as iCalendar."""

from __future__ import annotations

import icalendar
import pytest

from tests.towns import Town, an_offering, mornings


async def _breakfast(town: Town, **window: object) -> str:
    body = an_offering(town, availability=[mornings(**window)])
    made = await town.make("/v1/offerings", body, "partner_staff")
    return f"/v1/offerings/{made['id']}"


async def test_monday_to_friday_is_five_occurrences_a_week(town: Town) -> None:
    """A2."""
    path = await _breakfast(town)
    found = await town.get(f"{path}/occurrences?from=2026-11-09&to=2026-11-15")
    assert len(found["items"]) == 5
    assert found["items"][0] == {"start": "2026-11-08T22:30:00Z", "end": "2026-11-09T01:00:00Z"}


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"from": "2026-11-10", "until": "2027-02-26", "except": ["2026-12-25", "2027-01-01"]},
        {"days": [6, 7], "start": "22:00", "end": "24:00"},
        {"days": [5], "start": "22:00", "end": "02:00", "timezone": "Europe/Berlin"},
    ],
    ids=["breakfast", "dates and exceptions", "until midnight", "over midnight elsewhere"],
)
async def test_availability_survives_the_way_to_icalendar_and_back(
    town: Town, window: dict[str, object]
) -> None:
    """A2."""
    path = await _breakfast(town, **window)
    before = await town.get(f"{path}/occurrences?from=2026-11-01&to=2027-03-31")
    exported = await town.as_("anonymous", "GET", f"{path}/availability.ics")
    assert exported.headers["content-type"].startswith("text/calendar")
    (event,) = icalendar.Calendar.from_ical(exported.content).walk("VEVENT")
    assert event["RRULE"]["FREQ"] == ["WEEKLY"]
    await town.change(path, {"availability": []}, "partner_staff")
    answer = await town.as_(
        "partner_staff",
        "PUT",
        f"{path}/availability.ics",
        content=exported.content,
        headers={"Content-Type": "text/calendar", "If-Match": '"2"'},
    )
    assert answer.status_code == 200, answer.text
    after = await town.get(f"{path}/occurrences?from=2026-11-01&to=2027-03-31")
    assert after == before
    assert len(before["items"]) > 0


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
        b"\xff\xfe\x00",
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20261109T063000Z\r\n"
        b"DTEND:20261109T090000Z\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261109\r\n"
        b"RRULE:FREQ=WEEKLY;BYDAY=MO\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:rubbish\r\nDTEND:rubbish\r\n"
        b"RRULE:FREQ=WEEKLY;BYDAY=+1MO\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
    ],
    ids=["nothing", "no events", "no text", "no times", "daily", "whole days", "rubbish"],
)
async def test_a_calendar_that_is_no_weekly_availability_is_refused(
    town: Town, text: bytes
) -> None:
    path = await _breakfast(town)
    answer = await town.as_(
        "partner_staff",
        "PUT",
        f"{path}/availability.ics",
        content=text,
        headers={"Content-Type": "text/calendar", "If-Match": "*"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "unprocessable"), answer.text
    assert answer.json()["errors"][0]["code"] == "invalid_calendar"


async def test_a_range_of_more_than_a_year_is_refused(town: Town) -> None:
    path = await _breakfast(town)
    for first, last in (("2026-01-01", "2028-01-01"), ("2026-02-01", "2026-01-01")):
        answer = await town.as_("anonymous", "GET", f"{path}/occurrences?from={first}&to={last}")
        assert answer.json()["errors"][0]["field"] == "to"
