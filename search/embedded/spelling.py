"""Which words of the index a typed word may mean: Meilisearch's rules for typos and prefixes.

One edit from five letters on, two from nine on; two neighbours swapped are one edit, and an edit
of the first letter counts as two. A word still being typed may also go on.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Mapping

from msgspec import Struct

ONE_TYPO = 5
TWO_TYPOS = 9
MAX_LISTED = 64  # continuations spelled out word by word; more are left to the text index
_MAX_REMEMBERED = 4096


class Readings(Struct, frozen=True):
    """What one typed word may mean besides itself, best first.

    `going_on` are the words that continue it; None if they are too many to list.
    """

    going_on: tuple[str, ...] | None
    one_typo: tuple[str, ...]
    two_typos: tuple[str, ...]


class Vocabulary:
    """All Latin words of the index and the fields (as bits) in which they occur. Never changes."""

    def __init__(self, fields: Mapping[str, int]) -> None:
        self._words = sorted(fields)
        # In order, so that with a few more they are soon in order again.
        self._fields = {word: fields[word] for word in self._words}
        self._letters = [_letters(word) for word in self._words]
        self._firsts = sorted({word[0] for word in self._words})
        self._remembered: dict[tuple[str, bool], Readings] = {}

    def extended(self, found: Mapping[str, int]) -> Vocabulary:
        """This vocabulary with more words; words are not taken out, they only find nothing."""
        news = {w: bits for w, bits in found.items() if bits & ~self._fields.get(w, 0)}
        if not news:
            return self
        merged = {w: bits | self._fields.get(w, 0) for w, bits in news.items()}
        return Vocabulary({**self._fields, **merged})

    def fields(self, word: str) -> int:
        """The fields in which this very word occurs, as bits."""
        return self._fields.get(word, 0)

    def readings(self, word: str, *, still_typing: bool) -> Readings:
        """What this word may mean. Remembered, since a search is typed letter by letter."""
        key = (word, still_typing)
        known = self._remembered.get(key)
        if known is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[key] = self._read(word, still_typing)
        return known

    def splits(self, word: str) -> list[tuple[str, str]]:
        """The ways to take this word for two words of the index written together."""
        pairs = ((word[:i], word[i:]) for i in range(1, len(word)))
        return [(a, b) for a, b in pairs if self.fields(a) & self.fields(b)]

    def _read(self, word: str, still_typing: bool) -> Readings:
        start, end = self._span(word)
        going_on: tuple[str, ...] | None = ()
        if still_typing:
            listed = end - start <= MAX_LISTED
            going_on = tuple(w for w in self._words[start:end] if w != word) if listed else None
        edits = 0 if len(word) < ONE_TYPO else 1 if len(word) < TWO_TYPOS else 2
        near: dict[int, list[str]] = {1: [], 2: []}
        for other in self._candidates(word, edits, still_typing) if edits else ():
            if other == word or (still_typing and other.startswith(word)):
                continue
            distance = edit_distance(word, other, edits, prefix=still_typing)
            if distance <= edits:
                near[distance].append(other)
        if edits == 2:
            near[2] += self._other_first_letters(word, still_typing)
        return Readings(going_on, tuple(near[1]), tuple(near[2]))

    def _span(self, prefix: str) -> tuple[int, int]:
        words = self._words
        return bisect_left(words, prefix), bisect_left(words, prefix + "\U0010ffff")

    def _candidates(self, word: str, edits: int, prefix: bool) -> list[str]:
        """Words with the same first letter whose letters alone do not rule them out."""
        start, end = self._span(word[0])
        asked, size = _letters(word), len(word)
        longest = 10**6 if prefix else size + edits
        return [
            other
            for other, has in zip(self._words[start:end], self._letters[start:end], strict=True)
            if size - edits <= len(other) <= longest
            and (asked & ~has).bit_count() <= edits
            and (prefix or (has & ~asked).bit_count() <= edits)
        ]

    def _other_first_letters(self, word: str, prefix: bool) -> set[str]:
        """Words that differ by one edit of the first letter, which costs both edits allowed."""
        rest = word[1:]
        tries = {rest, rest[0] + word[0] + rest[1:]}
        tries.update(first + end for first in self._firsts for end in (rest, word))
        found: set[str] = set()
        for attempt in tries:
            if attempt[0] == word[0]:
                continue
            start, end = self._span(attempt)
            found.update(w for w in self._words[start:end] if prefix or w == attempt)
        return found


def may_be_near(word: str, other: str, edits: int) -> bool:
    """False only if their lengths or letters alone take more than so many edits."""
    asked, has = _letters(word), _letters(other)
    return (
        abs(len(word) - len(other)) <= edits
        and (asked & ~has).bit_count() <= edits
        and (has & ~asked).bit_count() <= edits
    )


def edit_distance(word: str, other: str, limit: int, *, prefix: bool) -> int:
    """Edits from `word` to `other`, or to the nearest beginning of it; limit + 1 if more.

    An edit is a letter put in, left out, exchanged, or swapped with its neighbour.
    """
    if prefix:
        other = other[: len(word) + limit]
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word, 1):
        previous, before_that = row, before
        row = [i]
        for j, against in enumerate(other, 1):
            cost = min(row[-1], previous[j]) + 1
            cost = min(cost, previous[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == against:
                cost = min(cost, before_that[j - 2] + 1)
            row.append(cost)
        before = previous
        if min(row) > limit and min(before) >= limit:
            return limit + 1
    return min(min(row) if prefix else row[-1], limit + 1)


@functools.lru_cache(maxsize=65_536)
def _letters(word: str) -> int:
    """The set of letters of a word as bits; rare letters share one."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) % 59)
    return bits
