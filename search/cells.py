"""Cells of 500 m: which of them hold every position within a radius."""

from __future__ import annotations

import math

from models import offerings
from search.windows import intervals

_HALF_TURN = 180_000_000
# From this latitude on, any longitude may be near.
_POLAR = 89
# Beyond this many rows of cells (20 km), one range over all of them is asked instead.
MAX_ROWS = 40


class Around:
    """A circle on the earth, in micro-degrees: never too small, hardly too large.

    `reach` is how far it goes north and south; `sideways` west and east, None where it may hold
    any longitude (near a pole, or across the 180th meridian). Nowhere inside is a degree of
    longitude less than `cosine` of one of latitude.
    """

    def __init__(self, lat_e6: int, lon_e6: int, radius_m: int) -> None:
        self.lat_e6, self.lon_e6 = lat_e6, lon_e6
        # 8.993 micro-degrees a metre from south to north, rounded up with one metre to spare.
        self.reach = (radius_m + 1) * 9 + 1
        furthest = (abs(lat_e6) + self.reach) / 1e6
        self.cosine = math.cos(math.radians(min(furthest, 90)))
        self.sideways: int | None = None
        if furthest < _POLAR:
            sideways = math.ceil(self.reach / self.cosine) + 1
            if abs(lon_e6) + sideways <= _HALF_TURN:
                self.sideways = sideways


def ranges(around: Around) -> list[tuple[int, int]]:
    """Ranges of cells that hold every position in the circle, one per row of cells."""
    south, north = around.lat_e6 - around.reach, around.lat_e6 + around.reach
    first, last = south // offerings.CELL_E6, north // offerings.CELL_E6
    if last - first >= MAX_ROWS:
        west, east = _across(around, around.reach)
        return [(offerings.cell(south, west), offerings.cell(north, east))]
    found = []
    for row in range(first, last + 1):
        bottom = row * offerings.CELL_E6
        top = bottom + offerings.CELL_E6 - 1
        # How far the nearest edge of the row is; the circle is so much narrower there.
        off = max(bottom - around.lat_e6, around.lat_e6 - top, 0)
        west, east = _across(around, math.isqrt(around.reach**2 - off**2) + 1)
        found.append((offerings.cell(bottom, west), offerings.cell(bottom, east)))
    return found


def beyond(ranges: list[tuple[int, int]], inner: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What the ranges hold and the inner ones do not."""
    left = intervals.subtract(
        [(low, high + 1) for low, high in ranges], [(low, high + 1) for low, high in inner]
    )
    return [(low, after - 1) for low, after in left]


def _across(around: Around, reach: int) -> tuple[int, int]:
    """The western and eastern end of what lies so far, in micro-degrees of latitude, to a side."""
    if around.sideways is None:
        return -_HALF_TURN, _HALF_TURN
    sideways = min(math.ceil(reach / around.cosine) + 1, around.sideways)
    return around.lon_e6 - sideways, around.lon_e6 + sideways
