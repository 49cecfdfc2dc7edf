"""What others' calendars mean as an availability, and what they may not mean."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from models import calendars, errors, values
from search.windows import occurrences
from tests.models.test_calendars.texts import SHANGHAI, ics, reason, windows

MORNING = "DTSTART:20261109T063000\nDTEND:20261109T090000\n"
MONDAY = dt.date(2026, 11, 9)


def _day(year: int, month: int, day: int) -> dt.date:
    return dt.date(year, month, day)


def _starts(found: tuple[values.Window, ...]) -> list[str]:
    """The local starts until the end of 2028."""
    from search.windows import clock

    times = occurrences(found, _day(2020, 1, 1), _day(2028, 12, 31))
    return [clock(start, found[0].timezone)[:16] for start, _ in times]


def test_an_event_that_happens_once_is_a_window_of_that_date() -> None:
    assert windows(MORNING) == (
        values.Window(days=(1,), start="06:30", end="09:00", from_=MONDAY, until=MONDAY),
    )


def test_times_without_a_zone_are_those_of_the_place() -> None:
    (found,) = calendars.windows(ics(MORNING), "Europe/Berlin")
    assert found.timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("rule", "count", "last"),
    [
        ("FREQ=WEEKLY;BYDAY=MO,WE;COUNT=5", 5, "2026-11-23T06:30"),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=4", 4, "2026-12-21T06:30"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;UNTIL=20261231", 8, "2026-12-25T06:30"),
        ("FREQ=DAILY;INTERVAL=3;COUNT=3", 3, "2026-11-15T06:30"),
        ("FREQ=MONTHLY;BYDAY=2MO;COUNT=3", 3, "2027-01-11T06:30"),
        ("FREQ=MONTHLY;BYMONTHDAY=9;COUNT=24", 24, "2028-10-09T06:30"),
        ("FREQ=YEARLY;COUNT=2", 2, "2027-11-09T06:30"),
    ],
)
def test_a_rule_that_ends_becomes_its_dates(rule: str, count: int, last: str) -> None:
    found = _starts(windows(f"{MORNING}RRULE:{rule}"))
    assert (len(found), found[-1]) == (count, last)


@pytest.mark.parametrize(
    ("until", "last"),
    [
        # 06:30 in Shanghai is 22:30 UTC of the day before.
        ("20261129T223000Z", _day(2026, 11, 30)),
        ("20261129T222900Z", _day(2026, 11, 29)),
        ("20261130T063000", _day(2026, 11, 30)),
        ("20261130T062959", _day(2026, 11, 29)),
        ("20261130", _day(2026, 11, 30)),
        ("99991231T235959Z", _day(9999, 12, 31)),
    ],
)
def test_the_last_date_is_the_last_on_which_it_still_begins(until: str, last: dt.date) -> None:
    (found,) = windows(f"{MORNING}RRULE:FREQ=WEEKLY;BYDAY=MO,TU;UNTIL={until}")
    assert found.until == last


def test_every_day_is_a_window_of_all_days() -> None:
    (found,) = windows(f"{MORNING}RRULE:FREQ=DAILY")
    assert (found.days, found.from_, found.until) == ((1, 2, 3, 4, 5, 6, 7), MONDAY, None)


def test_exceptions_are_left_out_and_extra_dates_added() -> None:
    event = (
        f"{MORNING}RRULE:FREQ=WEEKLY;COUNT=4\nEXDATE:20261116T063000\nEXDATE;VALUE=DATE:20261123\n"
        "EXDATE:20261130T070000\nRDATE:20261201T063000,20261202T100000\n"
        "RDATE;VALUE=PERIOD:20261203T100000/PT30M"
    )
    found = windows(event)
    # The exception at 07:00 names no occurrence.
    assert _starts(found) == [
        "2026-11-09T06:30",
        "2026-11-30T06:30",
        "2026-12-01T06:30",
        "2026-12-02T10:00",
        "2026-12-03T10:00",
    ]
    assert found[-1].end == "10:30"


def test_an_event_that_replaces_an_occurrence_takes_its_place() -> None:
    weekly = f"UID:a\n{MORNING}RRULE:FREQ=WEEKLY;BYDAY=MO"
    moved = (
        "UID:a\nRECURRENCE-ID;TZID=UTC:20261115T223000\n"
        "DTSTART:20261117T070000\nDTEND:20261117T080000"
    )
    off = f"UID:a\nRECURRENCE-ID:20261123T063000\nSTATUS:CANCELLED\n{MORNING}"
    other = f"UID:b\n{MORNING}STATUS:CANCELLED"
    found = windows(moved, weekly, off, other)
    assert _starts(found)[:4] == [
        "2026-11-09T06:30",
        "2026-11-17T07:00",
        "2026-11-30T06:30",
        "2026-12-07T06:30",
    ]


def test_whole_days_are_open_from_midnight_to_midnight() -> None:
    (found,) = windows("DTSTART;VALUE=DATE:20261109\nDTEND;VALUE=DATE:20261112")
    assert (found.start, found.end, found.days) == ("00:00", "24:00", (1, 2, 3))
    assert (found.from_, found.until) == (MONDAY, _day(2026, 11, 11))
    weekend = windows("DTSTART;VALUE=DATE:20261114\nDURATION:P2D\nRRULE:FREQ=WEEKLY")
    assert [window.days for window in weekend] == [(6,), (7,)]
    (one,) = windows("DTSTART;VALUE=DATE:20261109")
    assert (one.from_, one.until) == (MONDAY, MONDAY)


@pytest.mark.parametrize(
    ("given", "zone"),
    [
        ("Asia/Shanghai", "Asia/Shanghai"),
        ('"Asia/Shanghai"', "Asia/Shanghai"),
        ("China Standard Time", "Asia/Shanghai"),
        ('"W. Europe Standard Time"', "Europe/Berlin"),
        ("/freeassociation.sourceforge.net/America/New_York", "America/New_York"),
        ("/mozilla.org/20050126_1/America/Argentina/Salta", "America/Argentina/Salta"),
    ],
)
def test_zones_are_known_by_the_names_that_programs_give_them(given: str, zone: str) -> None:
    (found,) = windows(
        f"DTSTART;TZID={given}:20261109T063000\nDTEND;TZID={given}:20261109T090000\n"
        "RRULE:FREQ=WEEKLY"
    )
    assert (found.timezone, found.start) == (zone, "06:30")


def test_an_end_in_another_zone_is_one_on_the_wall_of_the_start() -> None:
    (found,) = windows("DTSTART;TZID=Europe/Berlin:20261109T063000\nDTEND:20261109T090000Z")
    assert (found.start, found.end, found.timezone) == ("06:30", "10:00", "Europe/Berlin")


def test_a_zone_that_one_calendar_brings_along_is_not_that_of_the_next() -> None:
    for hours in ("05", "08"):
        text = (
            "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:Ours\nBEGIN:STANDARD\nDTSTART:19700101T000000\n"
            f"TZOFFSETFROM:+{hours}00\nTZOFFSETTO:+{hours}00\nEND:STANDARD\nEND:VTIMEZONE\n"
            "BEGIN:VEVENT\nDTSTART;TZID=Ours:20261109T063000\nDURATION:PT1H\nEND:VEVENT\n"
            "END:VCALENDAR\n"
        )
        assert reason(text.encode()).startswith("unknown time zone Ours")


def test_lines_may_be_folded_anywhere_even_in_the_middle_of_a_letter() -> None:
    plain = ics(f"SUMMARY:桥北早餐\n{MORNING}RRULE:FREQ=WEEKLY;BYDAY=MO\nBEGIN:VALARM\nEND:VALARM")
    for size in (1, 7, 30):
        folded = b"\r\n".join(
            b"\r\n ".join(line[at : at + size] for at in range(0, len(line), size))
            for line in plain.split(b"\r\n")
        )
        assert calendars.windows(folded, SHANGHAI) == calendars.windows(plain, SHANGHAI)
    assert calendars.windows(b"\xef\xbb\xbf" + plain, SHANGHAI)
    assert calendars.windows(plain.replace(b"\r\n", b"\n"), SHANGHAI)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ("SUMMARY:x", "without DTSTART"),
        (f"{MORNING}RRULE:FREQ=MONTHLY", "COUNT or UNTIL"),
        (f"{MORNING}RRULE:FREQ=WEEKLY;INTERVAL=2", "COUNT or UNTIL"),
        (f"{MORNING}RRULE:FREQ=WEEKLY;BYDAY=TU", "DTSTART is none"),
        (f"{MORNING}RRULE:FREQ=DAILY;COUNT=100000", "at most 1000"),
        (f"{MORNING}RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=9", "too often"),
        (f"{MORNING}EXRULE:FREQ=WEEKLY", "EXDATE"),
        (f"{MORNING}RRULE:FREQ=WEEKLY\nRRULE:FREQ=DAILY", "twice"),
        (f"{MORNING}RECURRENCE-ID;RANGE=THISANDFUTURE:20261109T063000", "RANGE"),
        (f"{MORNING}RECURRENCE-ID:20261109T063000\nRRULE:FREQ=WEEKLY", "recurs itself"),
        (f"{MORNING}DURATION:PT1H", "DTEND and DURATION"),
        ("DTSTART:20261109T063000", "no time at all"),
        ("DTSTART:20261109T063000\nDTEND:20261109T062900", "ends before"),
        ("DTSTART:20261109T063000\nDTEND:20261110T063100", "at most a day"),
        ("DTSTART:20261109T063000\nDURATION:-PT1H", "not a duration"),
        ("DTSTART:20261109T063000\nDURATION:P", "not a duration"),
        ("DTSTART:20261109T063030\nDURATION:PT1H", "whole minutes"),
        ("DTSTART:20261109T253000\nDURATION:PT1H", "hour"),
        ("DTSTART:20260230T063000\nDURATION:PT1H", "day"),
        ("DTSTART:00000101T063000\nDURATION:PT1H", "year"),
        ("DTSTART:99991231T230000\nDURATION:P1D", "range"),
        ("DTSTART;VALUE=DATE:20261109\nDTEND:20261110T000000", "one kind"),
        ("DTSTART;VALUE=DATE:20261109\nDURATION:P32D", "31"),
        ("DTSTART;TZID=Mars/Olympus:20261109T063000\nDURATION:PT1H", "unknown time zone"),
        ("DTSTART;TZID=Mars", "cannot be read"),
        ("END:VCALENDAR", "END without its BEGIN"),
    ],
)
def test_what_would_not_be_kept_to_the_letter_is_refused_with_its_reason(
    event: str, says: str
) -> None:
    assert says in reason(ics(event))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "ends before"),
        (b"DTSTART:20261109T063000", "does not begin"),
        (b"BEGIN:VEVENT\r\nEND:VEVENT", "no VCALENDAR"),
        (b"BEGIN:VCALENDAR\r\nEND:VCALENDAR", "no events"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "ends before"),
        (b"BEGIN:VCALENDAR\r\nX:\x00\r\nEND:VCALENDAR", "NUL"),
        (b"BEGIN:VCALENDAR\r\nX:\xff\r\nEND:VCALENDAR", "UTF-8"),
        (b"BEGIN:VCALENDAR\r\n" * 100_000, "nests too deeply"),
        (ics(*[MORNING] * 1001), "at most 1000 events"),
        (ics(*[f"{MORNING}RRULE:FREQ=DAILY;COUNT={n}" for n in range(1, 80)]), "64 windows"),
        (ics("DTSTART" + ";A=B" * 30_000 + ":20261109T063000"), "cannot be read"),
    ],
)
def test_hostile_calendars_are_refused_and_soon(text: bytes, says: str) -> None:
    began = time.process_time()
    assert says in reason(text)
    assert time.process_time() - began < 3


def test_a_bomb_of_rules_is_refused_before_it_goes_off() -> None:
    began = time.process_time()
    bomb = "UID:{0}\nDTSTART:20000101T063000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=100000"
    with pytest.raises(errors.Refusal):
        calendars.windows(ics(*(bomb.format(n) for n in range(1000))), SHANGHAI)
    assert time.process_time() - began < 3
