"""Calendars, out of the town and into it, as iCalendar (RFC 5545).

`reading` and `recurrence` read what others write; `availability` turns weekly windows into events
and back, `busy` keeps what an outside calendar takes. `feeds` are the secret addresses, `entries`
what they tell, `writing` how.
"""

from __future__ import annotations

import asyncio
import uuid

from models import errors
from models.calendars import busy, entries, feeds, writing
from models.calendars.availability import export, windows
from models.calendars.busy import BusyCalendar, BusyTime
from models.calendars.feeds import (
    CalendarDraft,
    CalendarRecord,
    Feed,
    MadeCalendar,
    browse,
    make,
    revoke,
)

__all__ = [
    "BusyCalendar",
    "BusyTime",
    "CalendarDraft",
    "CalendarRecord",
    "Feed",
    "MadeCalendar",
    "browse",
    "busy",
    "export",
    "make",
    "published",
    "revoke",
    "windows",
]


async def published(feed_id: uuid.UUID, token: str) -> bytes:
    """What a secret address shows: what the account that made it may see now. Refuses (not found)
    an address that is wrong or revoked, and one whose account may no longer see any of it."""
    kind, subject, caller = await feeds.reader(feed_id, token)
    try:
        name = await feeds.title(caller, kind, subject)
    except errors.Refusal:
        raise errors.not_found() from None
    found, is_cut = await entries.of(kind, subject, caller)
    places = await entries.places_of(found)
    # Half a second for a thousand events.
    return await asyncio.to_thread(writing.published, name, found, places, is_cut)
