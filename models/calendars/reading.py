"""iCalendar text (RFC 5545) as events, and nothing else of it.

We read it ourselves: a zone that a calendar brings along would otherwise be kept by the library for
the whole process, so that the next caller's zone of the same name would mean it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON
from msgspec import Struct

from models import errors, values
from models.calendars.recurrence import Rule, rule_of

# A calendar inside an event inside a calendar has three levels; nobody has ten.
_DEEPEST = 10
_LONGEST_LINE = 100_000
_FOLD = re.compile(rb"\r?\n[ \t]")
_PARAMETER = r';[A-Za-z0-9-]+=(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*'
_LINE = re.compile(rf"([A-Za-z0-9-]+)((?:{_PARAMETER})*):(.*)", re.DOTALL)
_NAMED = re.compile(r';([A-Za-z0-9-]+)=(?:"([^"]*)"|([^";:,]*))')
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?\Z", re.ASCII)
_DURATION = re.compile(
    r"([+-]?)P(?:(\d{1,3})W|(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?)\Z",
    re.ASCII,
)
# What of an event is looked at. Who it is with and what it is about is not.
_WANTED = frozenset(
    {
        "UID",
        "DTSTART",
        "DTEND",
        "DURATION",
        "RRULE",
        "RDATE",
        "EXDATE",
        "EXRULE",
        "RECURRENCE-ID",
        "STATUS",
        "TRANSP",
        "X-MICROSOFT-CDO-BUSYSTATUS",
    }
)


class Moment(Struct, frozen=True, order=True):
    """A time on the wall of a zone; `is_day` where it is a whole day."""

    wall: dt.datetime
    zone: str
    is_day: bool = False

    def seen_in(self, zone: str) -> dt.datetime:
        """The same moment on the wall of another zone. A whole day is that day everywhere."""
        if self.is_day or zone == self.zone:
            return self.wall
        there = self.wall.replace(tzinfo=ZoneInfo(self.zone))
        return there.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


class Extra(Struct, frozen=True):
    """One more time of an event (RDATE), and how long it is if not as long as the event."""

    starts: Moment
    length: dt.timedelta | None


class Event(Struct, frozen=True, kw_only=True):
    """When an event is: `replaces` names the occurrence of the event with the same `uid` that it
    stands for."""

    uid: str
    starts: Moment
    length: dt.timedelta
    rule: Rule | None
    skipped: tuple[Moment, ...]
    extra: tuple[Extra, ...]
    replaces: Moment | None
    is_cancelled: bool
    is_free: bool

    def last_date(self) -> dt.date:
        """The last date on which it may begin, by the UNTIL of its rule."""
        until = self.rule.until if self.rule else None
        if until is None:
            return dt.date.max
        day, begins = until.wall.date(), self.starts.wall.time()
        if until.is_day or self.starts.is_day or until.wall.year == dt.MAXYEAR:
            return day
        if not until.is_utc:
            return day if begins <= until.wall.time() else day - dt.timedelta(days=1)
        zone, end = ZoneInfo(self.starts.zone), until.wall.replace(tzinfo=dt.UTC)
        day = end.astimezone(zone).date()
        last = dt.datetime.combine(day, begins, tzinfo=zone).astimezone(dt.UTC)
        return day if last <= end else day - dt.timedelta(days=1)

    def date_of(self, moment: Moment) -> dt.date | None:
        """The date of the occurrence that a moment names; None if it names none. Some programs name
        the date alone."""
        there = moment.seen_in(self.starts.zone)
        is_one = moment.is_day or self.starts.is_day or there.time() == self.starts.wall.time()
        return there.date() if is_one else None


class _Property(Struct, frozen=True):
    name: str
    parameters: dict[str, str]
    value: str


def events(text: bytes, zone: str, limit: int) -> list[Event]:
    """The events of a calendar, at most `limit`; a time without a zone is one of `zone`.

    Refuses (`invalid_calendar`) what cannot be read or would not be kept whole.
    """
    found = list(_components(_lines(text), limit))
    try:
        return [_event(properties, zone) for properties in found]
    except (ValueError, OverflowError) as error:
        raise refused(str(error)[:200]) from None


def refused(reason: str) -> errors.Refusal:
    """The refusal of a calendar."""
    return errors.refuse_field("calendar", "invalid_calendar", reason=reason)


def _lines(text: bytes) -> list[str]:
    """The lines, unfolded; some programs fold in the middle of a letter, so before decoding."""
    if b"\x00" in text:
        raise refused("it holds a NUL")
    try:
        whole = _FOLD.sub(b"", text).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refused("it is not UTF-8") from None
    return [line for line in re.split(r"\r\n|\r|\n", whole) if line]


def _components(lines: list[str], limit: int) -> Iterator[list[_Property]]:
    """The properties of each event, as they come. Those of an alarm inside it are its own."""
    inside: list[str] = []
    event: list[_Property] = []
    count = 0
    for line in lines:
        name = line[:8].upper()
        if name.startswith("BEGIN:"):
            inside.append(line[6:].strip().upper())
            if inside[0] != "VCALENDAR" or len(inside) > _DEEPEST:
                raise refused("it is no VCALENDAR, or nests too deeply")
            if inside == ["VCALENDAR", "VEVENT"]:
                event, count = [], count + 1
                if count > limit:
                    raise refused(f"at most {limit} events")
        elif name.startswith("END:"):
            if not inside or line[4:].strip().upper() != inside[-1]:
                raise refused(f"an END without its BEGIN: {line[:60]}")
            if inside == ["VCALENDAR", "VEVENT"]:
                yield event
            inside.pop()
        elif inside == ["VCALENDAR", "VEVENT"] and _name(line) in _WANTED:
            event.append(_property(line))
        elif not inside:
            raise refused("it does not begin with BEGIN:VCALENDAR")
    if inside or not lines:
        raise refused("it ends before END:VCALENDAR")


def _name(line: str) -> str:
    return re.split(r"[;:]", line[:40], maxsplit=1)[0].upper()


def _property(line: str) -> _Property:
    if len(line) > _LONGEST_LINE or not (match := _LINE.match(line)):
        raise refused(f"a line that cannot be read: {line[:60]}")
    parameters = {name.upper(): quoted or plain for name, quoted, plain in _NAMED.findall(match[2])}
    return _Property(match[1].upper(), parameters, match[3].strip())


def _event(properties: list[_Property], zone: str) -> Event:
    one = _once(properties)
    if "DTSTART" not in one:
        raise ValueError("an event without DTSTART")
    if "EXRULE" in one:
        raise ValueError("EXRULE is no longer part of iCalendar: list the dates in EXDATE")
    starts = _moment(one["DTSTART"], one["DTSTART"].value, zone)
    replaces = one.get("RECURRENCE-ID")
    if replaces and "RANGE" in replaces.parameters:
        raise ValueError("RECURRENCE-ID with RANGE: end the old event and begin a new one")
    busy = one.get("X-MICROSOFT-CDO-BUSYSTATUS")
    return Event(
        uid=one["UID"].value if "UID" in one else "",
        starts=starts,
        length=_length(one, starts, zone),
        rule=rule_of(one["RRULE"].value) if "RRULE" in one else None,
        skipped=tuple(extra.starts for extra in _listed(properties, "EXDATE", zone)),
        extra=tuple(_listed(properties, "RDATE", zone)),
        replaces=_moment(replaces, replaces.value, zone) if replaces else None,
        is_cancelled="STATUS" in one and one["STATUS"].value.upper() == "CANCELLED",
        is_free=("TRANSP" in one and one["TRANSP"].value.upper() == "TRANSPARENT")
        or (busy is not None and busy.value.upper() == "FREE"),
    )


def _once(properties: list[_Property]) -> dict[str, _Property]:
    """By name. Refuses what may stand in an event only once and stands there twice."""
    one: dict[str, _Property] = {}
    for found in properties:
        if found.name in one and found.name not in ("EXDATE", "RDATE"):
            raise ValueError(f"{found.name} twice in one event")
        one[found.name] = found
    return one


def _length(one: dict[str, _Property], starts: Moment, zone: str) -> dt.timedelta:
    """From start to end on the wall of the start."""
    if "DTEND" in one and "DURATION" in one:
        raise ValueError("DTEND and DURATION in one event")
    length = dt.timedelta(days=1 if starts.is_day else 0)
    if "DURATION" in one:
        length = _duration(one["DURATION"].value)
    elif "DTEND" in one:
        ends = _moment(one["DTEND"], one["DTEND"].value, zone)
        if ends.is_day != starts.is_day:
            raise ValueError("DTSTART and DTEND are not of one kind")
        length = ends.seen_in(starts.zone) - starts.wall
    if length < dt.timedelta() or (starts.is_day and not length.days):
        raise ValueError("an event that ends before it begins")
    return length


def _duration(text: str) -> dt.timedelta:
    match = _DURATION.match(text)
    if not match or match[1] == "-" or not any(match.groups()[1:]):
        raise ValueError(f"not a duration: {text[:40]}")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    return dt.timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def _listed(properties: list[_Property], name: str, zone: str) -> Iterator[Extra]:
    for found in properties:
        if found.name == name:
            for text in found.value.split(","):
                start, _, end = text.partition("/")
                starts = _moment(found, start, zone)
                yield Extra(starts, _until(found, starts, end, zone) if end else None)


def _until(found: _Property, starts: Moment, end: str, zone: str) -> dt.timedelta:
    """How long a period is, which says its end or its duration."""
    if "P" in end:
        return _duration(end)
    return _moment(found, end, zone).seen_in(starts.zone) - starts.wall


def _moment(found: _Property, text: str, zone: str) -> Moment:
    match = _TIME.match(text.strip())
    if not match:
        raise ValueError(f"not a time: {found.name}:{text[:40]}")
    year, month, day = (int(part) for part in match.groups()[:3])
    if match[4] is None:
        return Moment(dt.datetime(year, month, day), zone, True)
    hour, minute, second = (int(part) for part in match.groups()[3:6])
    # 23:59:60 is a second that clocks here do not know.
    wall = dt.datetime(year, month, day, hour, minute, min(second, 59))
    if match[7]:
        return Moment(wall, "UTC")
    named = found.parameters.get("TZID")
    return Moment(wall, _zone(named) if named else zone)


def _zone(name: str) -> str:
    """The IANA zone that a name means: itself, a Windows name, or the end of a longer one."""
    for known in (name, WINDOWS_TO_OLSON.get(name, ""), *_ends(name)):
        if known in values.ZONES:
            return known
    raise ValueError(f"unknown time zone {name[:64]}: use an IANA name such as Asia/Shanghai")


def _ends(name: str) -> list[str]:
    """`/mozilla.org/20050126_1/Europe/Berlin` is Europe/Berlin to whoever wrote it."""
    parts = name.split("/")
    return ["/".join(parts[-3:]), "/".join(parts[-2:])] if name.startswith("/") else []
