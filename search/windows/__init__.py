"""Time: when a need asks for somebody, when an offering is free, and what opening would be enough.

Instants are integer UTC minutes since 1970, intervals are half-open `(start, end)`, so touching
shifts never clash. Three pictures of the same windows, from rough to exact:

* masks of one week in 3-hour blocks (56 bits) or quarter-hours (672 bits), for the first cut in
  SQL: both sides rounded outwards, so that it never loses what the calendar would admit;
* a mask of one week in minutes (10,080 bits), exact for an offering that is the same every week;
* the calendar: every occurrence of the horizon, with dates, exceptions, bookings and DST.

Weeks begin on Monday 00:00 at UTC+8, the civil time of China, whatever the zone of the window.
"""

from search.windows.calendar import (
    HORIZON_DAYS,
    WHOLE,
    Asked,
    Demand,
    blocks_of_need,
    coverage,
    demand,
    enough,
    horizon,
    is_open,
    occurrences,
    open_hours,
    surely_open,
)
from search.windows.civil import clock, end_of_day, length, local_date, start_of_day
from search.windows.intervals import Interval, clashes, covered, intersect, peak, subtract, union
from search.windows.openings import Opening, bookings_in_the_way, joined, missing_openings
from search.windows.week import BLOCK, QUARTER, blocks_of_offering, may_cover, week_of, whole_weeks

__all__ = [
    "BLOCK",
    "HORIZON_DAYS",
    "QUARTER",
    "WHOLE",
    "Asked",
    "Demand",
    "Interval",
    "Opening",
    "blocks_of_need",
    "blocks_of_offering",
    "bookings_in_the_way",
    "clashes",
    "clock",
    "coverage",
    "covered",
    "demand",
    "end_of_day",
    "enough",
    "horizon",
    "intersect",
    "is_open",
    "joined",
    "length",
    "local_date",
    "may_cover",
    "missing_openings",
    "occurrences",
    "open_hours",
    "peak",
    "start_of_day",
    "subtract",
    "surely_open",
    "union",
    "week_of",
    "whole_weeks",
]
