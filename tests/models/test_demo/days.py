"""Days on which the demo town is looked at."""

from __future__ import annotations

import datetime as dt

TODAY = dt.date(2026, 11, 22)
# The end of a month, a leap day, and both sides of the change to next year's summer.
DAYS = [
    dt.date(2026, 1, 31),
    dt.date(2028, 2, 29),
    dt.date(2026, 8, 14),
    dt.date(2026, 8, 15),
    TODAY,
]
