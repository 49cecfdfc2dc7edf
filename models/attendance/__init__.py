"""Attendance: who came to which occurrence of an agreement, for what, and for how long.

From the ground up: `rules` (periods as data, what counts), `tables`, `reading`, `marking` (the lock
of an occurrence, its rows), `closing` (what time does), `coming` (check-in, check-out, correction).
"""

from models.attendance import rules
from models.attendance.closing import tick
from models.attendance.coming import check_in, check_out, correct, forget
from models.attendance.reading import STANDING, browse, find, read
from models.attendance.tables import (
    Attendance,
    AttendanceRecord,
    CheckIn,
    Correction,
    OccurrenceRecord,
)

__all__ = [
    "STANDING",
    "Attendance",
    "AttendanceRecord",
    "CheckIn",
    "Correction",
    "OccurrenceRecord",
    "browse",
    "check_in",
    "check_out",
    "correct",
    "find",
    "forget",
    "read",
    "rules",
    "tick",
]
