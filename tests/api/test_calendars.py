"""Availability in time, and as iCalendar."""

from __future__ import annotations

import httpx
import icalendar
import pytest

from tests.models.test_calendars.texts import ics
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
        {"days": [1, 7], "start": "02:30", "end": "02:30", "timezone": "America/New_York"},
    ],
    ids=[
        "breakfast",
        "dates and exceptions",
        "until midnight",
        "over midnight elsewhere",
        "a whole day from an hour that the clock skips",
    ],
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
        b"DTEND:20261109T090000Z\r\nRRULE:FREQ=MONTHLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        b"BEGIN:VCALENDAR\r\nX:\x00\r\nEND:VCALENDAR\r\n",
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:rubbish\r\nDTEND:rubbish\r\n"
        b"RRULE:FREQ=WEEKLY;BYDAY=+1MO\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
    ],
    ids=["nothing", "no events", "no text", "no times", "every month for ever", "NUL", "rubbish"],
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


async def test_a_calendar_of_single_days_is_an_availability(town: Town) -> None:
    """A2."""
    path = await _breakfast(town)
    events = (
        "DTSTART;TZID=China Standard Time:20261205T140000\nDURATION:PT3H",
        "DTSTART;VALUE=DATE:20261212\nDTEND;VALUE=DATE:20261214",
    )
    answer = await _import(town, path, ics(*events))
    assert answer.status_code == 200, answer.text
    found = await town.get(f"{path}/occurrences?from=2026-11-01&to=2027-03-31")
    assert [(one["start"], one["end"]) for one in found["items"]] == [
        ("2026-12-05T06:00:00Z", "2026-12-05T09:00:00Z"),
        ("2026-12-11T16:00:00Z", "2026-12-12T16:00:00Z"),
        ("2026-12-12T16:00:00Z", "2026-12-13T16:00:00Z"),
    ]


async def test_a_calendar_of_ten_megabytes_is_too_large(town: Town) -> None:
    answer = await _import(town, await _breakfast(town), b"x" * 10_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_what_goes_out_has_its_names_in_both_languages(town: Town) -> None:
    """X10."""
    path = await _breakfast(town)
    exported = await town.as_("anonymous", "GET", f"{path}/availability.ics")
    calendar = icalendar.Calendar.from_ical(exported.content)
    assert [str(name) for name in calendar["NAME"]] == ["周姐早餐店", "Zhou's breakfast shop"]
    (zone,) = calendar.walk("VTIMEZONE")
    assert zone["TZID"] == "Asia/Shanghai"


async def _import(town: Town, path: str, content: bytes) -> httpx.Response:
    return await town.as_(
        "partner_staff",
        "PUT",
        f"{path}/availability.ics",
        content=content,
        headers={"Content-Type": "text/calendar", "If-Match": "*"},
    )


async def test_a_range_of_more_than_a_year_is_refused(town: Town) -> None:
    path = await _breakfast(town)
    for first, last in (("2026-01-01", "2028-01-01"), ("2026-02-01", "2026-01-01")):
        answer = await town.as_("anonymous", "GET", f"{path}/occurrences?from={first}&to={last}")
        assert answer.json()["errors"][0]["field"] == "to"
