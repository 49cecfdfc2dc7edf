"""A synthetic city of any size: for benchmarks, for load, and to see what a million looks like.

One seed, always the same rows for the same size and day, whatever the machine. It is laid out in
blocks like those that were described: five communities a subdistrict, one like Zhanggong (2.3 km²,
9 grids, 60,000 residents, 801 vanguards) and four like Qiaobei (0.3 km², 11,000 residents), about
1,000 offerings a km². A larger city is wider, not denser.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from models import places, values
from models.demo import texts
from models.demo.draw import Draw
from models.demo.names import Names

Row = dict[str, Any]
SEED = 20_261_122
MOST = 1_000_000
OFFERINGS_PER_NEED = 10
# The south-western corner, and how far a kilometre goes there.
_SOUTH, _WEST = 29.50, 106.45
_LAT_KM, _LON_KM = 1 / 111.195, 1 / 96.712
_SUBDISTRICTS = 6  # a district


class Kind(Struct, frozen=True):
    """A kind of community: its people, its ground in km, its grids, and what it offers."""

    population: int
    households: int
    east_km: float
    north_km: float
    grids_across: int
    offers: dict[values.OfferingKind, int]

    @property
    def size(self) -> int:
        """How many offerings it has."""
        return sum(self.offers.values())


ZHANGGONG = Kind(
    population=60_000,
    households=9_760,
    east_km=1.5,
    north_km=2.3 / 1.5,
    grids_across=3,
    offers={"volunteer": 750, "vanguard": 801, "merchant": 410, "space": 225, "goods": 114},
)
QIAOBEI = Kind(
    population=11_000,
    households=3_900,
    east_km=0.375,
    north_km=0.8,
    grids_across=2,
    offers={"volunteer": 120, "vanguard": 60, "merchant": 66, "space": 36, "goods": 18},
)
# A subdistrict: four small ones in a row, and the large one to the north of them.
BLOCK = (QIAOBEI, QIAOBEI, QIAOBEI, QIAOBEI, ZHANGGONG)
_BLOCK_SIZE = sum(kind.size for kind in BLOCK)
_BLOCK_EAST, _BLOCK_NORTH = ZHANGGONG.east_km, QIAOBEI.north_km + ZHANGGONG.north_km


class Community(Struct, frozen=True):
    """One community of the city: where its south-western corner is, in km, and how many of its
    offerings there are; the last one may be cut short."""

    number: int
    kind: Kind
    east: float
    north: float
    size: int
    id: uuid.UUID
    grids: tuple[uuid.UUID, ...]
    name: values.Bilingual


class City:
    """So many offerings, and what surrounds them. Refuses (ValueError) sizes out of bounds."""

    def __init__(self, size: int, today: dt.date) -> None:
        if not 1 <= size <= MOST:
            raise ValueError(f"a city has 1 to {MOST:,} offerings")
        self.size, self.today = size, today
        self._ids = Ids(0)
        self.municipality = self._ids.next()
        self._blocks = -(-size // _BLOCK_SIZE)
        self._above = [
            (self._ids.next(), self._ids.next() if at % _SUBDISTRICTS == 0 else None)
            for at in range(self._blocks)
        ]
        self.communities = list(self._communities())

    def place_rows(self) -> Iterator[tuple[Row, tuple[uuid.UUID, ...]]]:
        """Every place, parents first, each with the chain of those above it, nearest first."""
        top = {"id": self.municipality, "slug": "city", "kind": "municipality", "parent": None}
        top |= _named(values.Bilingual("山城市", "Mountain City"))
        yield top | _at(self.east_km / 2, self.north_km / 2), ()
        for block, (subdistrict, district) in enumerate(self._above):
            if district:
                chain: tuple[uuid.UUID, ...] = (self.municipality,)
                yield self._above_row("district", block // _SUBDISTRICTS, district, chain), chain
                above = (district, *chain)
            yield self._above_row("subdistrict", block, subdistrict, above), above
            for community in self.communities[block * len(BLOCK) : (block + 1) * len(BLOCK)]:
                yield from _own_places(community, (subdistrict, *above))

    @property
    def east_km(self) -> float:
        """How far the city goes from west to east."""
        return _BLOCK_EAST * min(self._across, self._blocks)

    @property
    def north_km(self) -> float:
        """How far it goes from south to north."""
        return _BLOCK_NORTH * -(-self._blocks // self._across)

    @property
    def _across(self) -> int:
        """Blocks from west to east, so that the city is about as wide as it is high."""
        return max(1, round(math.sqrt(self._blocks * _BLOCK_NORTH / _BLOCK_EAST)))

    def _communities(self) -> Iterator[Community]:
        left, names = self.size, Names(Draw(SEED))
        for block in range(self._blocks):
            east = block % self._across * _BLOCK_EAST
            north = block // self._across * _BLOCK_NORTH
            for at, kind in enumerate(BLOCK):
                if left <= 0:
                    return
                large = kind is ZHANGGONG
                grids = tuple(self._ids.next() for _ in range(kind.grids_across**2))
                yield Community(
                    number=block * len(BLOCK) + at,
                    kind=kind,
                    east=east if large else east + at * kind.east_km,
                    north=north + QIAOBEI.north_km if large else north,
                    size=min(left, kind.size),
                    id=self._ids.next(),
                    grids=grids,
                    name=names.place(),
                )
                left -= kind.size

    def _above_row(
        self, kind: places.PlaceKind, number: int, identity: uuid.UUID, chain: tuple[uuid.UUID, ...]
    ) -> Row:
        words = texts.read("city")["above"][kind]
        block = number * (_SUBDISTRICTS if kind == "district" else 1)
        first = self.communities[block * len(BLOCK)]
        name = values.Bilingual(*(word.format(number=number + 1) for word in words))
        row = {"id": identity, "slug": f"city-{kind}-{number + 1}", "kind": kind}
        return row | {"parent": chain[0]} | _named(name) | _at(first.east, first.north)


class Ids:
    """Ids as `base.new_id` makes them, sorted by time, the rest drawn; one series a number."""

    def __init__(self, series: int) -> None:
        self._made = 0
        self._draw = Draw(SEED * 1_000 + series)
        self._first = 1_762_000_000_000 + series * 20_000

    def next(self) -> uuid.UUID:
        """The next one."""
        self._made += 1
        high, low = (int(self._draw.share() * (1 << 37)) for _ in range(2))
        bits = (self._first + self._made) << 80 | high << 37 | low
        return uuid.UUID(int=bits & ~(0xF << 76) & ~(0x3 << 62) | 7 << 76 | 2 << 62)


def position(community: Community, east: float, north: float) -> values.Point:
    """A point of a community, from its south-western corner in km."""
    at = _at(community.east + east, community.north + north)
    return values.Point(values.degrees(at["lat_e6"]), values.degrees(at["lon_e6"]))


def _own_places(
    community: Community, above: tuple[uuid.UUID, ...]
) -> Iterator[tuple[Row, tuple[uuid.UUID, ...]]]:
    """The community and its grids."""
    kind, slug = community.kind, f"city-{community.number + 1}"
    area = round(kind.east_km * kind.north_km * 1_000_000)
    yield (
        {"id": community.id, "slug": slug, "kind": "community", "parent": above[0]}
        | {"population": kind.population, "households": kind.households, "area_m2": area}
        | _named(community.name)
        | _at(community.east + kind.east_km / 2, community.north + kind.north_km / 2),
        above,
    )
    count = len(community.grids)
    for number, grid in enumerate(community.grids):
        row, column = divmod(number, kind.grids_across)
        name = values.Bilingual(
            f"{community.name.zh}第{number + 1}网格", f"{community.name.en}, grid {number + 1}"
        )
        yield (
            {"id": grid, "slug": f"{slug}-grid-{number + 1}", "kind": "grid"}
            | {"parent": community.id, "population": kind.population // count}
            | {"households": kind.households // count, "area_m2": area // count}
            | _named(name)
            | _at(
                community.east + (column + 0.5) * kind.east_km / kind.grids_across,
                community.north + (row + 0.5) * kind.north_km / kind.grids_across,
            ),
            (community.id, *above),
        )


def _named(name: values.Bilingual) -> Row:
    return {"name_zh": name.zh, "name_en": name.en}


def _at(east: float, north: float) -> dict[str, int]:
    return {
        "lat_e6": values.micro(_SOUTH + north * _LAT_KM),
        "lon_e6": values.micro(_WEST + east * _LON_KM),
    }
