"""Out and back: an availability that went through iCalendar means the same times."""

from __future__ import annotations

import datetime as dt
import uuid

import icalendar
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from models import calendars, offerings, values
from search.windows import occurrences

# With summer time, without, with half hours and with a change of half an hour.
ZONES = (
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "UTC",
)
_TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
_DATES = st.dates(dt.date(2025, 1, 1), dt.date(2028, 12, 31))


@st.composite
def a_window(draw: st.DrawFn) -> values.Window:
    """Any window that may be stated."""
    from_, until = draw(st.none() | _DATES), draw(st.none() | _DATES)
    if from_ and until and until < from_:
        from_, until = until, from_
    return values.Window(
        days=tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True))),
        start=draw(_TIMES),
        end=draw(_TIMES | st.just("24:00")),
        timezone=draw(st.sampled_from(ZONES)),
        from_=from_,
        until=until,
        except_=tuple(draw(st.lists(_DATES, max_size=12, unique=True))),
    )


def an_offering(windows: tuple[values.Window, ...]) -> offerings.OfferingRecord:
    """An offering with this availability, as it is read."""
    moment = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    return offerings.OfferingRecord(
        id=uuid.uuid4(),
        kind="merchant",
        partner_id=uuid.uuid4(),
        place_id=uuid.uuid4(),
        title=values.Bilingual("周姐早餐：豆浆，油条；小笼包\\", 'Zhou, "breakfasts"; \\n'),
        description=values.BilingualProse(),
        location=None,
        reach_m=None,
        service_types=("breakfast_point",),
        features=(),
        requires_features=(),
        capacity=None,
        price=values.Price(amount=0),
        price_tier="public",
        availability=windows,
        credentials=(),
        languages=(),
        max_hours_week=None,
        max_contacts_week=None,
        record=offerings.Record(0, None, 0, 0),
        status="active",
        version=1,
        created_at=moment,
        updated_at=moment,
    )


def _all_year(windows: tuple[values.Window, ...]) -> list[tuple[int, int]]:
    return sorted(occurrences(windows, dt.date(2024, 12, 1), dt.date(2029, 2, 1)))


@given(st.lists(a_window(), min_size=1, max_size=4, unique=True))
@settings(max_examples=150)
def test_an_availability_means_the_same_times_after_the_way_there_and_back(
    windows: list[values.Window],
) -> None:
    """A2."""
    offering = an_offering(tuple(windows))
    before = _all_year(offering.availability)
    text = calendars.export(offering)
    assert all(len(line) <= 75 for line in text.split(b"\r\n"))
    if not icalendar.Calendar.from_ical(text).walk("VEVENT"):
        assert before == []
        return
    found = calendars.windows(text, "Asia/Shanghai")
    # Nothing that could not be stored.
    assert msgspec.convert(msgspec.to_builtins(found), tuple[values.Window, ...]) == found
    assert _all_year(found) == before
    # And the second time nothing at all changes.
    again = calendars.windows(calendars.export(an_offering(found)), "Asia/Shanghai")
    assert again == found


@given(st.dates(), st.dates(), a_window())
@settings(max_examples=100)
def test_no_date_that_may_be_stated_keeps_an_availability_from_going_out(
    one: dt.date, other: dt.date, window: values.Window
) -> None:
    first, last = sorted((one, other))
    dated = msgspec.structs.replace(window, from_=first, until=last, except_=(one, other))
    text = calendars.export(an_offering((dated,)))
    if b"BEGIN:VEVENT" in text:
        (found,) = calendars.windows(text, "Asia/Shanghai")
        assert (found.start, found.timezone) == (window.start, window.timezone)


def test_a_text_with_commas_and_chinese_is_read_back_as_it_was() -> None:
    offering = an_offering((values.Window(days=(1,), start="06:30", end="09:00"),))
    read = icalendar.Calendar.from_ical(calendars.export(offering))
    (event,) = read.walk("VEVENT")
    assert event["SUMMARY"] == f"{offering.title.zh} {offering.title.en}"
