"""What is filtered, counted and sorted by, in memory: one row of numbers per document.

A document keeps its row (its slot) for as long as it stays in the index; the text index stores
the slot, so that what it finds can be looked up here. Readers hold one Columns and never see it
change: the writer changes a twin, which has the same columns until one of them is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from search.documents import Document

Ints = NDArray[np.int64]
Small = NDArray[np.int32]
Bools = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

ABSENT = int(np.iinfo(np.int64).min)
PLAIN = ("version", "capacity", "price", "rating", "created", "rank_key")
CODED = (
    "kind",
    "status",
    "service_types",
    "tags",
    "community",
    "weekdays",
    "places",
    "partner",
    "credentials",
)
_ARRAYS = ("alive", "public", "dated", "week", "lat_e6", "lon_e6")
WEEK_BYTES = 84  # 672 quarter-hours


class Codes:
    """The values of one field as small numbers: a column per document, as high as the longest.

    Zero is no value. Numbers are given out once and never taken back, so copies share them.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = [""]
        self._table: NDArray[np.int32] = np.zeros((1, 0), np.int32)
        self._borrowed = False

    def copy(self) -> Codes:
        twin = Codes()
        twin._numbers, twin._names = self._numbers, self._names
        twin._table, twin._borrowed = self._table, True
        return twin

    def reserve(self, size: int) -> None:
        self._table, self._borrowed = _grown(self._table, size), False

    def put(self, slot: int, values: Iterable[str]) -> None:
        """The document of this slot has these values, and no others."""
        codes = [self._number(value) for value in dict.fromkeys(values) if value]
        missing = len(codes) - len(self._table)
        if missing > 0:
            self._table = np.pad(self._table, ((0, missing), (0, 0)))
            self._borrowed = False
        if self._borrowed:
            if self._table[:, slot].tolist() == codes + [0] * -missing:
                return
            self._table, self._borrowed = self._table.copy(), False
        self._table[:, slot] = 0
        self._table[: len(codes), slot] = codes

    def any_of(self, slots: Ints, values: Iterable[str]) -> Bools:
        """Which of these documents have at least one of the values."""
        found = np.zeros(len(slots), np.bool_)
        numbers = [number for value in values if (number := self._numbers.get(value))]
        if numbers:
            wanted = np.zeros(len(self._names), np.bool_)
            wanted[numbers] = True
            for row in self._table:
                found |= wanted[row[slots]]
        return found

    def counts(self, slots: Ints, most: int) -> dict[str, int]:
        """How many of these documents have each value: the `most` frequent, then by name."""
        found = np.zeros(len(self._names), np.int64)
        for row in self._table:
            found += np.bincount(row[slots], minlength=len(found))
        named = [(-int(found[i]), self._names[i]) for i in np.flatnonzero(found) if i > 0]
        return {name: -count for count, name in sorted(named)[:most]}

    def _number(self, value: str) -> int:
        number = self._numbers.get(value)
        if number is None:
            # The name first: a reader that meets the number must find the name.
            self._names.append(value)
            number = self._numbers[value] = len(self._names) - 1
        return number


class Columns:
    """All columns of one state of the index, and which document sits in which slot."""

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}
        self.alive: Bools = np.zeros(0, np.bool_)
        self.public: Bools = np.zeros(0, np.bool_)
        self.dated: Bools = np.zeros(0, np.bool_)
        self.week: NDArray[np.uint8] = np.zeros((WEEK_BYTES, 0), np.uint8)
        self.lat_e6: Ints = np.zeros(0, np.int64)
        self.lon_e6: Ints = np.zeros(0, np.int64)
        self.numbers: dict[str, Ints] = {name: np.zeros(0, np.int64) for name in PLAIN}
        self.codes = {name: Codes() for name in CODED}
        self._free: list[int] = []
        self._end = 0
        self._borrowed: set[str] = set()

    def copy(self) -> Columns:
        """The same, to be changed while this one is read."""
        twin = Columns()
        for name in _ARRAYS:
            setattr(twin, name, getattr(self, name))
        twin.slots, twin.numbers = self.slots, dict(self.numbers)
        twin.codes = {name: codes.copy() for name, codes in self.codes.items()}
        twin._free, twin._end = list(self._free), self._end
        twin._borrowed = {"slots", *_ARRAYS, *self.numbers}
        return twin

    def slot_for(self, id: str) -> int:
        """The slot this document has, or else one for it to take."""
        slot = self.slots.get(id)
        if slot is not None:
            return slot
        return self._free.pop() if self._free else self._end

    def put(self, slot: int, document: Document) -> None:
        """Enters a document in this slot, in place of its older version."""
        self._reserve(slot + 1)
        self._end = max(self._end, slot + 1)
        if self.slots.get(document.id) != slot:
            self._own_slots()[document.id] = slot
        week = int(document.open_week or "0", 16).to_bytes(WEEK_BYTES, "little")
        place = document.location
        for name, value in (
            ("alive", True),
            ("public", document.public),
            ("dated", document.dated),
            ("week", np.frombuffer(week, np.uint8)),
            ("lat_e6", ABSENT if place is None else place.lat_e6),
            ("lon_e6", ABSENT if place is None else place.lon_e6),
        ):
            self._write(name, slot, value)
        for name, column in self.numbers.items():
            number = getattr(document, name)
            number = ABSENT if number is None else number
            if name in self._borrowed and column[slot] != number:
                self._borrowed.discard(name)
                column = self.numbers[name] = column.copy()
            if name not in self._borrowed:
                column[slot] = number
        for name, codes in self.codes.items():
            some = getattr(document, name)
            codes.put(slot, (some,) if isinstance(some, str) else map(str, some))

    def named(self, ids: Iterable[str]) -> Bools:
        """Which slots hold one of these documents."""
        found = np.zeros(len(self.alive), np.bool_)
        found[[self.slots[id] for id in ids if id in self.slots]] = True
        return found

    def open_in(self, quarter: int) -> Bools:
        """Which slots hold a document that may be open in this quarter-hour of the week."""
        found: Bools = (self.week[quarter >> 3] >> (quarter & 7) & 1).astype(np.bool_)
        return found

    def drop(self, id: str) -> int:
        """Forgets a document and returns its slot, which will serve another."""
        slot = self._own_slots().pop(id)
        self._write("alive", slot, False)
        self._free.append(slot)
        return slot

    def free_the_rest(self) -> None:
        """After reading an index: slots that no document took are free."""
        self._free = [int(slot) for slot in np.flatnonzero(~self.alive[: self._end])]

    def _own_slots(self) -> dict[str, int]:
        if "slots" in self._borrowed:
            self._borrowed.discard("slots")
            self.slots = dict(self.slots)
        return self.slots

    def _write(self, name: str, slot: int, value: int | NDArray[np.uint8]) -> None:
        column = getattr(self, name)
        if name in self._borrowed:
            if np.array_equal(column[..., slot], value):
                return
            self._borrowed.discard(name)
            column = column.copy()
            setattr(self, name, column)
        column[..., slot] = value

    def _reserve(self, size: int) -> None:
        if size <= len(self.alive):
            return
        size = max(256, 2 * size)
        self.alive, self.public = _grown(self.alive, size), _grown(self.public, size)
        self.dated, self.week = _grown(self.dated, size), _grown(self.week, size)
        self.lat_e6, self.lon_e6 = _grown(self.lat_e6, size), _grown(self.lon_e6, size)
        self.numbers = {name: _grown(column, size) for name, column in self.numbers.items()}
        for codes in self.codes.values():
            codes.reserve(size)
        self._borrowed &= {"slots"}


def _grown(column: NDArray[Scalar], size: int) -> NDArray[Scalar]:
    grown = np.zeros((*column.shape[:-1], size), column.dtype)
    grown[..., : column.shape[-1]] = column
    return grown
