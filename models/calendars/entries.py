"""What a calendar tells: bookings, and the times at which agreements are served.

An address may end up with a calendar service, so it tells of nobody's home more than everybody may
know, whoever reads it: titles and public places, and never who is served.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from models import accounts, agreements, base, bookings, engine, needs, values
from models.calendars.feeds import Kind

# So far back and ahead a calendar reaches; of more than MOST events those are left out that are
# furthest from now, and the past goes first.
BACK, AHEAD = dt.timedelta(days=90), dt.timedelta(days=366)
MOST = 1_000
_FAR = 1 << 40


class Entry(Struct, frozen=True, kw_only=True):
    """One event: UTC minutes, half-open, and what iCalendar says of it. `parts` are the titles of
    what serves and of what it is for."""

    id: uuid.UUID
    starts: int
    ends: int
    status: str
    version: int
    updated_at: dt.datetime
    parts: tuple[values.Bilingual, ...]
    place: uuid.UUID
    quantity: int = 1


class _Query:
    """A query over what has `starts` and `ends`, in the span of a calendar."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = bookings.minute(now)
        self.where = base.Where()
        self._span = bookings.minute(now - BACK), bookings.minute(now + AHEAD)

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        """What is nearest to now, the future before the past."""
        first, last = self._span
        self.where.add("t.ends > {} AND t.starts < {}", first, last)
        now = self.where.value(self._now)
        return await engine.fetch(
            f"{sql} WHERE {self.where} ORDER BY"
            f" CASE WHEN t.ends > {now} THEN t.starts ELSE {_FAR} - t.starts END, t.id"
            f" LIMIT {MOST + 1}",
            *self.where.args,
        )


async def of(kind: Kind, subject: uuid.UUID, caller: accounts.Caller) -> tuple[list[Entry], bool]:
    """What a calendar tells to this caller, at most 1,000 events, by their time; and whether there
    were more."""
    sees, now = accounts.visibility(caller), base.now()
    booked = await _bookings(kind, subject, sees, now)
    served = await _occurrences(kind, subject, sees, now)
    minute = bookings.minute(now)
    near = sorted(
        [*booked, *served],
        key=lambda entry: (entry.ends <= minute, abs(entry.starts - minute), entry.id),
    )
    return sorted(near[:MOST], key=lambda entry: (entry.starts, entry.id)), len(near) > MOST


_BOOKED = (
    "SELECT t.id, t.starts, t.ends, t.quantity, t.status, t.held_until, t.version, t.updated_at,"
    " t.need, o.kind, o.title_zh, o.title_en, o.public_place"
    " FROM booking t JOIN offering o ON o.id = t.offering"
)
# What is booked for an agreement there is told of with the agreement.
_ALONE = (
    "NOT EXISTS (SELECT 1 FROM commitment k JOIN agreement a ON a.id = k.agreement"
    " JOIN place_closure c ON c.descendant = a.place"
    " WHERE k.id = t.commitment AND c.ancestor = {})"
)


async def _bookings(
    kind: Kind, subject: uuid.UUID, sees: accounts.Visibility, now: dt.datetime
) -> list[Entry]:
    query = _Query(now)
    where = query.where
    sees.restrict(where, "1 = 0", "t.place", "o.partner")
    match kind:
        case "account":
            mine = [f"t.booked_by = {where.value(subject)} AND t.commitment IS NULL"]
            if sees.partners:
                mine.append(f"o.partner IN ({where.values(sorted(sees.partners))})")
            where.add(f"({' OR '.join(mine)})")
        case "offering":
            where.add("t.offering = {}", subject)
        case "need":
            where.add("t.need = {} AND t.commitment IS NULL", subject)
        case "place":
            where.within("t.place", subject)
            where.add(_ALONE, subject)
    rows = await query.rows(_BOOKED)
    asked = await _needs({base.as_id(row["need"]) for row in rows if row["need"]}, sees)
    return [_booking(row, asked, now) for row in rows]


def _booking(
    row: dict[str, Any],
    asked: dict[uuid.UUID, tuple[values.Bilingual, uuid.UUID]],
    now: dt.datetime,
) -> Entry:
    titles, place = [_title(row)], base.as_id(row["public_place"])
    need = asked.get(base.as_id(row["need"])) if row["need"] else None
    if need:
        titles.append(need[0])
        # Whoever serves comes to those who are served, but to a space.
        place = place if row["kind"] == "space" else need[1]
    status = {"confirmed": "CONFIRMED", "held": "TENTATIVE"}.get(row["status"], "CANCELLED")
    if status == "TENTATIVE" and base.moment(row["held_until"]) <= now:
        status = "CANCELLED"
    return _entry(row, status, tuple(titles), place, row["quantity"])


_SERVED = (
    "SELECT t.id, t.starts, t.ends, t.status, t.version, t.updated_at, a.title_zh, a.title_en,"
    " a.public_place FROM occurrence t JOIN agreement a ON a.id = t.agreement"
)


async def _occurrences(
    kind: Kind, subject: uuid.UUID, sees: accounts.Visibility, now: dt.datetime
) -> list[Entry]:
    """When agreements are served: of a need, at a place, or where the account has a place. What a
    partner gives to them is booked."""
    query = _Query(now)
    where = query.where
    match kind:
        case "offering":
            return []
        case "account":
            where.add(
                "t.agreement IN (SELECT agreement FROM enrolment WHERE account = {}"
                " AND status = 'enrolled')",
                subject,
            )
        case "need":
            agreements.restrict(where, sees, "a.id", "a.place")
            where.add("a.need = {}", subject)
        case "place":
            agreements.restrict(where, sees, "a.id", "a.place")
            where.within("a.place", subject)
    return [
        _entry(
            row,
            "CANCELLED" if row["status"] == "cancelled" else "CONFIRMED",
            (_title(row),),
            base.as_id(row["public_place"]),
        )
        for row in await query.rows(_SERVED)
    ]


async def _needs(
    need_ids: Iterable[uuid.UUID], sees: accounts.Visibility
) -> dict[uuid.UUID, tuple[values.Bilingual, uuid.UUID]]:
    """What needs are called and where they are, as far as everybody may know; those that the reader
    may see, or serves."""
    asked = sorted(need_ids)
    if not asked:
        return {}
    where = base.Where()
    where.add(f"id IN ({where.values(asked)})")
    known = needs.PUBLIC
    if sees.partners and not sees.everything:
        known += (
            " OR id IN (SELECT a.need FROM agreement a JOIN party p ON p.agreement = a.id"
            f" WHERE p.partner IN ({where.values(sorted(sees.partners))}))"
        )
    sees.restrict(where, known, "place", None)
    rows = await engine.fetch(
        f"SELECT id, title_zh, title_en, public_place FROM need WHERE {where}", *where.args
    )
    return {base.as_id(row["id"]): (_title(row), base.as_id(row["public_place"])) for row in rows}


async def places_of(
    found: Sequence[Entry],
) -> dict[uuid.UUID, tuple[values.Bilingual, str]]:
    """The name and time zone of each place that an entry names."""
    asked = sorted({entry.place for entry in found})
    if not asked:
        return {}
    rows = await engine.fetch(
        "SELECT id, name_zh AS title_zh, name_en AS title_en, timezone FROM place"
        f" WHERE id IN ({base.placeholders(len(asked))})",
        *asked,
    )
    return {base.as_id(row["id"]): (_title(row), row["timezone"]) for row in rows}


def _title(row: dict[str, Any]) -> values.Bilingual:
    return values.Bilingual(row["title_zh"], row["title_en"])


def _entry(
    row: dict[str, Any],
    status: str,
    parts: tuple[values.Bilingual, ...],
    place: uuid.UUID,
    quantity: int = 1,
) -> Entry:
    return Entry(
        id=base.as_id(row["id"]),
        starts=row["starts"],
        ends=row["ends"],
        status=status,
        version=row["version"],
        updated_at=base.moment(row["updated_at"]),
        parts=parts,
        place=place,
        quantity=quantity,
    )
