"""Weekly windows as iCalendar (RFC 5545) and back."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import icalendar

from models import errors, offerings, values

_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
# Where a window without a first date begins: iCalendar knows no recurrence without a start.
_ALWAYS = dt.date(1970, 1, 5)
_MAX_EVENTS = 64


def export(offering: offerings.OfferingRecord) -> bytes:
    """The availability of an offering: one event per window, with its rule and its exceptions."""
    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//Community Partners//EN")
    calendar.add("version", "2.0")
    for number, window in enumerate(offering.availability):
        calendar.add_component(_event(offering, window, number))
    calendar.add_missing_timezones()
    return bytes(calendar.to_ical())


def windows(text: bytes) -> tuple[values.Window, ...]:
    """The weekly windows of a calendar.

    Refuses what is no calendar, and events that do not recur weekly by weekday or last a day or
    longer: an availability has no other kind.
    """
    try:
        calendar = icalendar.Calendar.from_ical(text)
        events: list[Any] = calendar.walk("VEVENT")
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise _refused(str(error)[:200]) from None
    if not 1 <= len(events) <= _MAX_EVENTS:
        raise _refused(f"1 to {_MAX_EVENTS} events, not {len(events)}")
    return tuple(_window(event) for event in events)


def _event(
    offering: offerings.OfferingRecord, window: values.Window, number: int
) -> icalendar.Event:
    zone = ZoneInfo(window.timezone)
    first = window.from_ or _ALWAYS
    while first.isoweekday() not in window.days:
        first += dt.timedelta(days=1)
    starts = dt.datetime.combine(first, _clock(window.start), tzinfo=zone)
    event = icalendar.Event()
    event.add("uid", f"{offering.id}-{number}@community-partners")
    event.add("dtstamp", offering.updated_at.astimezone(dt.UTC))
    event.add("summary", f"{offering.title.zh} {offering.title.en}")
    event.add("dtstart", starts)
    event.add("dtend", _ends(first, window, zone))
    rule: dict[str, Any] = {"freq": "weekly", "byday": [_DAYS[day - 1] for day in window.days]}
    if window.until:
        last = dt.datetime.combine(window.until, _clock(window.start), tzinfo=zone)
        rule["until"] = last.astimezone(dt.UTC)
    event.add("rrule", rule)
    for day in window.except_:
        event.add("exdate", dt.datetime.combine(day, _clock(window.start), tzinfo=zone))
    return event


def _ends(first: dt.date, window: values.Window, zone: ZoneInfo) -> dt.datetime:
    later = window.end == "24:00" or window.end <= window.start
    day = first + dt.timedelta(days=1) if later else first
    return dt.datetime.combine(day, _clock(window.end), tzinfo=zone)


def _clock(text: str) -> dt.time:
    return dt.time() if text == "24:00" else dt.time.fromisoformat(text)


def _window(event: Any) -> values.Window:
    try:
        starts, ends = event["DTSTART"].dt, event["DTEND"].dt
        rule = event["RRULE"]
        zone = event["DTSTART"].params.get("TZID") or "UTC"
        days = tuple(_DAYS.index(str(day)) + 1 for day in rule["BYDAY"])
        until = rule.get("UNTIL", [None])[0]
        timed = isinstance(starts, dt.datetime) and isinstance(ends, dt.datetime)
    except (KeyError, ValueError, AttributeError, IndexError) as error:
        raise _refused(f"{type(error).__name__}: {error}"[:200]) from None
    if not timed or rule.get("FREQ") != ["WEEKLY"] or rule.get("INTERVAL", [1]) != [1]:
        raise _refused("every event recurs weekly, by weekday, at a time of day")
    if not dt.timedelta() < ends - starts <= dt.timedelta(days=1):
        raise _refused("an event lasts at most a day")
    if zone not in values.ZONES:
        raise _refused(f"unknown time zone {str(zone)[:64]}")
    first = starts.date()
    return values.Window(
        days=days,
        start=starts.strftime("%H:%M"),
        end=_end_text(starts, ends),
        timezone=zone,
        from_=None if first < _ALWAYS + dt.timedelta(days=7) else first,
        until=until and _local(until, zone),
        except_=tuple(sorted(_exceptions(event, zone))),
    )


def _end_text(starts: dt.datetime, ends: dt.datetime) -> str:
    midnight = ends.time() == dt.time() and ends.date() > starts.date()
    return "24:00" if midnight else ends.strftime("%H:%M")


def _exceptions(event: Any, zone: str) -> set[dt.date]:
    listed = event.get("EXDATE", [])
    groups = listed if isinstance(listed, list) else [listed]
    return {_local(entry.dt, zone) for group in groups for entry in group.dts}


def _local(moment: dt.date | dt.datetime, zone: str) -> dt.date:
    if not isinstance(moment, dt.datetime):
        return moment
    if moment.tzinfo is None:
        return moment.date()
    return moment.astimezone(ZoneInfo(zone)).date()


def _refused(reason: str) -> errors.Refusal:
    return errors.refuse_field("calendar", "invalid_calendar", reason=reason)
