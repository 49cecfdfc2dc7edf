"""From what was typed to the documents that have it, and how well each of them does.

A score is one whole number whose digits, from the left, are Meilisearch's rules: how many words
were found, how few typos, whether Chinese words stand together as they were typed, in which
field, and how exactly. Nothing is known here of how often a word occurs, so no statistics of the
corpus interfere. The text index only says where tokens stand: that is fetched token by token,
because the common ones are in many questions, and what is known of them need not be fetched again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from search import analysis
from search.embedded.columns import Bools, Ints, Small
from search.embedded.spelling import Vocabulary
from search.embedded.textindex import FIELDS, PINYIN, Leaf, Standing
from search.engine import Match

_MIN_PINYIN = 2  # letters

_EXACT = 1  # per word, up to ten of them
_WHOLE = 1 << 4  # the field is the query and nothing else
_FIELD = 1 << 5  # per word, times 0 to 4
_TOGETHER = 1 << 11  # per Chinese run
_TYPO = 1 << 14  # per word, times 2 minus its typos
_WORD = 1 << 19
_RUNS = 5  # of a query that are looked for as they were typed

Way = tuple[int, Leaf]  # a score for what is found there
Where = Ints | Bools  # some slots, in order; or of each slot whether it is one of them
Fetch = Callable[[Leaf], Where]  # the slots where it stands
There = Mapping[Leaf, Bools]  # of some slots whether it stands there; where in none is left out
Ready = Callable[[Sequence[Leaf]], Fetch]  # told of all that may be fetched


class Marks(Struct, frozen=True):
    """What to mark in the texts that were found."""

    words: frozenset[str]
    beginnings: tuple[str, ...]
    han: tuple[str, ...]


class Weighing:
    """One text, read against the words of one state of the index."""

    def __init__(self, vocabulary: Vocabulary, asked: analysis.Asked) -> None:
        self._vocabulary = vocabulary
        self._asked = asked
        self._marked: set[str] = set()
        self._beginnings: list[str] = []
        words = asked.words
        self._words = [self._word(word) for word in words]
        self._pairs = [self._both_as_one(*pair) for pair in itertools.pairwise(words)]

    def marks(self) -> Marks:
        """What to mark for this text."""
        han = tuple(
            part
            for word in self._asked.words
            if word.han
            for part in (word.text, *analysis.parts(word.text))
        )
        return Marks(frozenset(self._marked), tuple(self._beginnings), han)

    def scores(self, match: Match, ready: Ready, size: int) -> tuple[Ints, Small]:
        """Of so many slots those in which the text is found, and the score of each.

        The first word must be found. So whatever else there is counts only where that is.
        """
        extras = [(_WHOLE, _everywhere([(0, self._asked.whole)]))]
        extras += [
            (_TOGETHER, _everywhere(analysis.grams(run))) for run in self._asked.runs[:_RUNS]
        ]
        first = _leaves([*self._words[:1], *self._pairs[:1]])
        rest = _leaves([*self._words[1:], *self._pairs[1:]])
        rest += [leaf for _, everywhere in extras for leaf in everywhere]
        fetch = ready([*first, *rest])
        begun = {leaf: where for leaf in first if len(where := fetch(leaf))}
        slots = _any_of(begun.values(), size)
        there = {leaf: truths(where, size).take(slots) for leaf, where in begun.items()}
        for leaf in rest if len(slots) else ():
            if leaf not in there and len(where := fetch(leaf)):
                there[leaf] = truths(where, size).take(slots)
        found = self._chain(match, there, len(slots))
        for score, everywhere in extras:
            has = _best([(score, leaf) for leaf in everywhere], there, len(slots))
            found += has * (found > 0)
        kept = np.flatnonzero(found > 0)
        return slots[kept], found[kept]

    def _chain(self, match: Match, there: There, size: int) -> Small:
        """The first word must be found; the others too, or they add to the score as far as they
        are found without a break: that is dropping words from the end.
        """
        # What the words from each one on find, from the last one to the first.
        onwards: list[Small] = []
        for at in reversed(range(len(self._words))):
            found = _followed(_best(self._words[at], there, size), onwards[-1:], match)
            if at < len(self._pairs) and self._pairs[at]:
                as_one = _best(self._pairs[at], there, size)
                found = np.maximum(found, _followed(as_one, onwards[-2:-1], match))
            onwards.append(found)
        return onwards[-1]

    def _word(self, word: analysis.Word) -> list[Way]:
        return self._han(word.text) if word.han else self._latin(word)

    def _han(self, word: str) -> list[Way]:
        ways = []
        parts = tuple((0, analysis.WORD_MARK + part) for part in analysis.parts(word))
        for field, name in enumerate(FIELDS):
            ways.append((_score(field), _together(field, analysis.grams(word))))
            if parts:
                # As a Latin word written as two: 停车位 where it says 停车 and 车位.
                ways.append((_score(field) - _TYPO, Leaf(name, parts, Standing.ALL)))
            if len(word) > 1:
                exact = _together(field, [(0, analysis.WORD_MARK + word)])
                ways.append((_score(field) + _EXACT, exact))
        return ways

    def _latin(self, word: analysis.Word) -> list[Way]:
        read = self._vocabulary.readings(word.text, still_typing=word.open)
        ways = self._exactly(word.text, 0)
        if word.open:
            ways += self._continued(word.text, read.going_on, 0)
        ways += self._pinyin(word, 0)
        for typos, others in ((1, read.one_typo), (2, read.two_typos)):
            ways += self._among(others, _TYPO * -typos)
        for pair in self._vocabulary.splits(word.text):
            self._marked.update(pair)
            for field in self._fields(*pair):
                ways.append((_score(field) - _TYPO, _together(field, list(enumerate(pair)))))
        return ways

    def _both_as_one(self, first: analysis.Word, second: analysis.Word) -> list[Way]:
        """Two typed words written as one in the index: both are found, with one typo."""
        if first.han or second.han:
            return []
        word = analysis.Word(first.text + second.text, han=False, open=second.open)
        extra = _WORD + _TYPO
        ways = self._exactly(word.text, extra)
        if word.open:
            read = self._vocabulary.readings(word.text, still_typing=True)
            ways += self._continued(word.text, read.going_on, extra)
        return ways + self._pinyin(word, extra)

    def _pinyin(self, word: analysis.Word, extra: int) -> list[Way]:
        text = word.text
        if len(text) < _MIN_PINYIN or not (text.isascii() and text.isalpha()):
            return []
        score = _score(len(FIELDS)) + extra
        ways = [(score + _EXACT, Leaf(PINYIN, ((0, text),)))]
        if word.open:
            ways.append((score, Leaf(PINYIN, ((0, text),), Standing.BEGINNING)))
        return ways

    def _exactly(self, word: str, extra: int) -> list[Way]:
        self._marked.add(word)
        return [
            (_score(field) + _EXACT + extra, _together(field, [(0, word)]))
            for field in self._fields(word)
        ]

    def _continued(self, word: str, listed: tuple[str, ...] | None, extra: int) -> list[Way]:
        self._beginnings.append(word)
        if listed is not None:
            return self._among(listed, extra)
        beginning = ((0, word),)
        return [
            (_score(field) + extra, Leaf(name, beginning, Standing.BEGINNING))
            for field, name in enumerate(FIELDS)
        ]

    def _among(self, words: Iterable[str], extra: int) -> list[Way]:
        """One of these words, in every field where any of them occurs."""
        by_field: dict[int, list[tuple[int, str]]] = {}
        for word in words:
            self._marked.add(word)
            for field in self._fields(word):
                by_field.setdefault(field, []).append((0, word))
        return [
            (_score(field) + extra, Leaf(FIELDS[field], tuple(some), Standing.ANY))
            for field, some in by_field.items()
        ]

    def _fields(self, *words: str) -> Iterable[int]:
        bits = -1
        for word in words:
            bits &= self._vocabulary.fields(word)
        return [field for field in range(len(FIELDS)) if bits >> field & 1]


def _leaves(words: Iterable[Iterable[Way]]) -> list[Leaf]:
    return list(dict.fromkeys(leaf for ways in words for _, leaf in ways))


def truths(where: Where, size: int) -> Bools:
    """Of each of so many slots whether it is one of those."""
    if where.dtype == np.bool_:
        return np.asarray(where, np.bool_)
    there = np.zeros(size, np.bool_)
    there[where] = True
    return there


def _any_of(several: Iterable[Where], size: int) -> Ints:
    found = np.zeros(size, np.bool_)
    for where in several:
        if where.dtype == np.bool_:
            found |= np.asarray(where, np.bool_)
        else:
            found[where] = True
    return np.flatnonzero(found)


def _best(ways: Iterable[Way], there: There, size: int) -> Small:
    """The highest score with which each slot is found."""
    found = np.zeros(size, np.int32)
    for score, leaf in ways:
        where = there.get(leaf)
        if where is not None:
            # By arithmetic: to pick out many that follow no pattern takes ten times as long.
            np.maximum(found, np.multiply(where, score, dtype=np.int32), out=found)
    return found


def _followed(found: Small, rest: Sequence[Small], match: Match) -> Small:
    """The words before together with what the rest finds, if there is a rest."""
    for following in rest:
        met = found > 0 if match == "any" else (found > 0) & (following > 0)
        found = (found + following) * met
    return found


def _everywhere(tokens: Sequence[tuple[int, str]]) -> list[Leaf]:
    return [_together(field, tokens) for field in range(len(FIELDS))]


def _together(field: int, tokens: Sequence[tuple[int, str]]) -> Leaf:
    return Leaf(FIELDS[field], tuple(tokens))


def _score(field: int) -> int:
    """A word found without typos in this field."""
    return _WORD + 2 * _TYPO + (len(FIELDS) - 1 - field) * _FIELD
