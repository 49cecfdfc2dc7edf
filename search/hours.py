"""Opening hours in the index: a mask of the week for the coarse cut, and the calendar for the rest.

A mask of quarter-hours (`windows.week`) is the whole truth of hours that are the same every week.
Those with dates, exceptions, a clock that changes or odd minutes are marked `dated`: the index says
which of them may be open, the calendar which are. Bookings are not in the index at all.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence

import msgspec
from msgspec import Struct, structs

from models import base, bookings, engine
from models.values import Window
from search import engine as index
from search import promises, statements, windows
from search.windows import civil, week

# So many documents with dates are looked at for one question; with more the answer is said to be
# capped, and those farther down are left out.
MOST_DATED = 2_000

_windows = msgspec.json.Decoder(tuple[Window, ...])


class Hours(Struct, frozen=True):
    """What a document says of its hours."""

    open_week: str
    dated: bool
    weekdays: tuple[int, ...]


@functools.lru_cache(maxsize=16_384)
def of(availability: str) -> Hours:
    """The hours of an availability, as its column has it."""
    given = _windows.decode(availability)
    mask = windows.blocks_of_offering(given, windows.QUARTER)
    weekdays = sorted({day for window in given for day in window.days})
    return Hours(f"{mask:x}" if mask else "", any(map(_is_dated, given)), tuple(weekdays))


def quarter(minute: int) -> int:
    """The quarter-hour of the week in which a UTC minute lies, as the mask counts them."""
    mask = week.blocks_of_times([(minute, minute + 1)], windows.QUARTER)
    return mask.bit_length() - 1


async def restricted(
    target: index.SearchEngine, query: index.Query, scope: index.Scope, moment: dt.datetime
) -> tuple[index.Query, bool]:
    """The query for what is open at a moment and not booked out, and whether there is more with
    dates than was looked at. Totals, facets and pages of that query are exact."""
    minute = bookings.minute(moment)
    open_at = index.OpenAt(quarter=quarter(minute))
    found, capped = await every_id(target, structs.replace(query, open_at=open_at), scope)
    exact = await _open(found, minute)
    taken = await promises.booked_out(minute)
    open_at = index.OpenAt(quarter=open_at.quarter, exact=tuple(exact))
    return structs.replace(query, open_at=open_at, except_ids=(*query.except_ids, *taken)), capped


async def every_id(
    target: index.SearchEngine, query: index.Query, scope: index.Scope
) -> tuple[list[str], bool]:
    """The ids of all that a query finds or one of its facets counts, best first, at most
    MOST_DATED; and whether there are more."""
    free = {_FILTERS[name]: () for name in query.facets}
    asked = structs.replace(
        query, facets=(), highlight=False, page=1, page_size=index.MAX_PAGE_SIZE, **free
    )
    first = await target.search(asked, scope)
    pages = min(first.pages, MOST_DATED // index.MAX_PAGE_SIZE)
    rest = [structs.replace(asked, page=number) for number in range(2, pages + 1)]
    found = [first, *(await target.multi(rest, scope) if rest else ())]
    return [hit.document.id for page in found for hit in page.hits], first.total > MOST_DATED


# The filters that a facet of this name ignores.
_FILTERS = {
    "kind": "kinds",
    "status": "statuses",
    "service_types": "service_types_any",
    "tags": "tags",
    "community": "communities",
    "weekdays": "weekdays",
}


async def _open(ids: Sequence[str], minute: int) -> list[str]:
    """Those of the offerings and needs whose calendar has them open in that minute."""
    found: list[str] = []
    for start in range(0, len(ids), statements.LONGEST):
        several = statements.filled(
            [base.as_id(one) for one in ids[start : start + statements.LONGEST]],
            base.as_id(ids[start]),
        )
        where = base.placeholders(len(several))
        found += [
            str(identity)
            for identity, availability in await engine.rows(
                f"SELECT CAST(id AS text), availability FROM offering WHERE id IN ({where})"
                f" UNION ALL SELECT CAST(id AS text), windows FROM need WHERE id IN ({where})",
                *several,
            )
            if windows.is_open(_windows.decode(availability), (minute, minute + 1))
        ]
    return found


def _is_dated(window: Window) -> bool:
    if window.from_ or window.until or window.except_:
        return True
    least, most = civil.offset_range(window.timezone)
    whole = all(minute % windows.QUARTER == 0 for minute in (*civil.hours(window), least))
    return least != most or not whole
