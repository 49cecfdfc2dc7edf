"""What every calendar of ours has."""

from __future__ import annotations

import datetime as dt
import functools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo

import icalendar

from models import bookings, values
from models.calendars.entries import AHEAD, BACK, MOST, Entry

# So often a calendar program asks again, if it does as it is told.
REFRESH = dt.timedelta(hours=1)


def calendar(name: values.Bilingual) -> icalendar.Calendar:
    """A calendar without events, with its name in both languages (RFC 7986)."""
    made = icalendar.Calendar()
    made.add("prodid", "-//Community Partners//EN")
    made.add("version", "2.0")
    made.add("calscale", "GREGORIAN")
    made.add("method", "PUBLISH")
    for language, text in (("zh", name.zh), ("en", name.en)):
        made.add("name", text, parameters={"LANGUAGE": language})
    made.add("x-wr-calname", both(name))
    made.add("refresh-interval", REFRESH, parameters={"VALUE": "DURATION"})
    made.add("x-published-ttl", icalendar.vDuration(REFRESH))
    return made


def published(
    name: values.Bilingual,
    entries: Sequence[Entry],
    places: Mapping[uuid.UUID, tuple[values.Bilingual, str]],
    is_cut: bool,
) -> bytes:
    """Entries as a calendar, each in the time zone of its place."""
    made = calendar(name)
    note = f"{BACK.days} 天前至 {AHEAD.days} 天后 / from {BACK.days} days ago to {AHEAD.days} ahead"
    if is_cut:
        note += f"；仅列最近的 {MOST} 项 / the nearest {MOST} only"
    made.add("description", note)
    made.add("x-wr-caldesc", note)
    for entry in entries:
        where, zone = places[entry.place]
        made.add_component(_event(entry, both(where), ZoneInfo(zone)))
    return whole(made, (places[entry.place][1] for entry in entries))


def _event(entry: Entry, where: str, zone: ZoneInfo) -> icalendar.Event:
    event = icalendar.Event()
    event.add("uid", f"{entry.id}@community-partners")
    event.add("dtstamp", entry.updated_at)
    event.add("last-modified", entry.updated_at)
    event.add("sequence", entry.version - 1)
    event.add("status", entry.status)
    event.add("summary", " · ".join(both(title) for title in entry.parts))
    event.add("location", where)
    event.add("dtstart", bookings.moment_of(entry.starts).astimezone(zone))
    event.add("dtend", bookings.moment_of(entry.ends).astimezone(zone))
    if entry.quantity > 1:
        event.add("description", f"数量 / places: {entry.quantity}")
    return event


def whole(made: icalendar.Calendar, zones: Iterable[str]) -> bytes:
    """The calendar as text, with a VTIMEZONE for each zone of its events."""
    made.subcomponents[:0] = [_zone(name) for name in sorted(set(zones) - {"UTC"})]
    return bytes(made.to_ical())


def both(text: values.Bilingual) -> str:
    """A text in both languages on one line, once if they are the same."""
    return text.zh if text.zh == text.en else f"{text.zh} {text.en}"


@functools.lru_cache(maxsize=64)
def _zone(name: str) -> icalendar.Timezone:
    # It takes some 20 ms to find when the clocks of a zone change.
    return icalendar.Timezone.from_tzid(name)
