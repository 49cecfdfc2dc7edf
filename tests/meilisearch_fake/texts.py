"""Texts and queries as the server reads them, and how well a document answers a query.

The rules are Meilisearch's documented ones, worked out by going through every word of every
document: words are dropped from the end, one typo from five letters on and two from nine, a first
letter counts double, the last word may go on, two words may be written as one and one as two.
Nothing here is shared with the engines under test, apart from the dictionary that cuts Chinese.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import rjieba

MAX_WORDS = 10
FAR = 8  # the proximity of words that are not near each other
# So many words away from where it stands in the query is as far as the next.
_AWAY = (1, 2, 5, 8, 12, 17, 25, 65, 257)
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af"
_RUN = re.compile(f"([{_HAN}]+)|[^\\W_{_HAN}]+")
_HARD = re.compile(r"[.,;!?()\[\]{}|。，；！？（）「」\"“”]|:\s")


class Token(NamedTuple):
    """A word of a text: folded, its place among the words, and where it stands in the text."""

    word: str
    place: int
    start: int
    end: int


class Term(NamedTuple):
    """A word or, when `phrase`, several words in a row. `open`: it may go on."""

    words: tuple[str, ...]
    phrase: bool = False
    open: bool = False


class Field(list[Token]):
    """The words of one field; `exact`: a typo does not find it."""

    exact = False


class Asked(NamedTuple):
    """A query: what to find, and the words that nothing found may have."""

    terms: tuple[Term, ...]
    without: tuple[Term, ...]


class Match(NamedTuple):
    """Where a term stands in a document."""

    typos: int
    field: int
    place: int
    exact: bool


class Rank(NamedTuple):
    """How well a document answers; every part smaller is better."""

    missing: int
    typos: int
    proximity: int
    field: int
    place: int
    inexact: tuple[int, int]


def fold(char: str) -> str:
    parts = unicodedata.normalize("NFKD", char)
    return "".join(one for one in parts if not unicodedata.combining(one)).lower()


def tokens(text: str, place: int = 0) -> list[Token]:
    """The words of a text, the first at this place; a hard separator puts words far apart."""
    folded, origins = "", []
    for position, char in enumerate(text):
        kept = fold(char)
        folded += kept
        origins += [position] * len(kept)
    origins.append(len(text))
    found: list[Token] = []
    before = 0
    for run in _RUN.finditer(folded):
        if _HARD.search(folded[before : run.start()]) and found:
            place += FAR - 1
        start = run.start()
        for word in rjieba.cut(run[0], False) if run[1] else [run[0]]:
            end = start + len(word)
            found.append(Token(word, place, origins[start], origins[end - 1] + 1))
            start, place = end, place + 1
        before = run.end()
    return found


def values(value: Any) -> Iterator[str]:
    """The texts in a field."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from values(one)


def field_tokens(value: Any, *, exact: bool = False) -> Field:
    """All words of a field; those of one text of a list are far from those of the next."""
    found = Field()
    found.exact = exact
    for text in values(value):
        found += tokens(text, found[-1].place + FAR if found else 0)
    return found


def ask(text: str, stop_words: Iterable[str] = ()) -> Asked:
    """Reads a query: quotes make a phrase, a minus in front excludes."""
    stops = set(stop_words)
    terms: list[Term] = []
    without: list[Term] = []
    pieces = text.split('"')
    for position, piece in enumerate(pieces):
        if position % 2:
            words = tuple(token.word for token in tokens(piece))
            negative = pieces[position - 1].endswith("-")
            if words:
                (without if negative else terms).append(Term(words, phrase=True))
            continue
        for part in piece.split():
            words = tuple(token.word for token in tokens(part))
            if part.startswith("-") and len(part) > 1:
                without += [Term((word,)) for word in words]
            else:
                terms += [Term((word,)) for word in words if word not in stops]
    terms = terms[:MAX_WORDS]
    ends_open = bool(text) and bool(_RUN.match(fold(text[-1])))
    if terms and not terms[-1].phrase and ends_open:
        terms[-1] = terms[-1]._replace(open=True)
    return Asked(tuple(terms), tuple(without))


def rank(asked: Asked, fields: Sequence[Field], *, every: bool) -> Rank | None:
    """How well these fields, in order of weight, answer; None if they do not."""
    if any(_matches(term, fields, exactly=True) for term in asked.without):
        return None
    terms = asked.terms
    if not terms:
        return Rank(0, 0, 0, 0, 0, (0, 0))
    for kept in range(len(terms), 0, -1):
        if every and kept < len(terms):
            return None
        # A phrase is never dropped.
        some = [term for i, term in enumerate(terms) if i < kept or term.phrase]
        ways = [_best(way, fields) for way in _groupings(some)]
        found = [one for one in ways if one is not None]
        if found:
            typos, proximity, field, place, loose = min(found)
            whole = _wholeness(terms, fields) if kept == len(terms) else 2
            missing = len(terms) - len(some)
            return Rank(missing, typos, proximity, field, place, (whole, loose))
    return None


def _groupings(terms: Sequence[Term]) -> Iterator[list[tuple[Term, int]]]:
    """The terms as they are, and with neighbours written as one word, which is a typo each."""
    yield [(term, 0) for term in terms]
    for size in (2, 3):
        for start in range(len(terms) - size + 1):
            some = terms[start : start + size]
            if any(term.phrase for term in some):
                continue
            joined = Term(("".join(term.words[0] for term in some),), open=some[-1].open)
            yield [
                *((term, 0) for term in terms[:start]),
                (joined, size - 1),
                *((term, 0) for term in terms[start + size :]),
            ]


def _best(
    terms: list[tuple[Term, int]], fields: Sequence[Field]
) -> tuple[int, int, int, int, int] | None:
    """Typos, proximity, fields, places and inexact words. As on the server each rule looks at a
    word by itself: the field counts where it weighs most, the place in whichever field."""
    nearest: dict[Match, int] = {}
    typos = field = place = inexact = 0
    for number, (term, extra) in enumerate(terms):
        matches = _matches(term, fields, exactly=extra > 0)
        if not matches:
            return None
        least = min(match.typos for match in matches)
        matches = [match for match in matches if match.typos == least]
        typos += least + extra
        field += min(match.field for match in matches)
        away = min(abs(match.place - number) for match in matches)
        place += bisect.bisect_right(_AWAY, away)
        inexact += not any(match.exact for match in matches)
        nearest = {
            match: min((cost + _apart(last, match) for last, cost in nearest.items()), default=0)
            for match in matches
        }
    return typos, min(nearest.values()), field, place, inexact


def _apart(first: Match, second: Match) -> int:
    if first.field != second.field:
        return FAR
    apart = second.place - first.place
    return min(apart if apart > 0 else 1 - apart, FAR)


def _matches(term: Term, fields: Sequence[Field], *, exactly: bool = False) -> list[Match]:
    return [
        Match(typos, number, field[at].place, exact)
        for number, field in enumerate(fields)
        for at, typos, exact in _places(term, field, exactly=exactly or field.exact)
    ]


def _places(
    term: Term, field: list[Token], *, exactly: bool = False
) -> Iterator[tuple[int, int, bool]]:
    """Where a term stands among these words, with how many typos, and whether as a whole."""
    if term.phrase:
        size = len(term.words)
        for at in range(len(field) - size + 1):
            some = field[at : at + size]
            in_a_row = some[-1].place - some[0].place == size - 1
            if in_a_row and tuple(token.word for token in some) == term.words:
                yield at, 0, True
        return
    (word,) = term.words
    for at, token in enumerate(field):
        typos = typos_between(word, token.word, open=term.open, most=0 if exactly else None)
        if typos is not None:
            yield at, typos, token.word == word
        elif not exactly and at + 1 < len(field):
            after = field[at + 1]
            if after.place == token.place + 1 and token.word + after.word == word:
                yield at, 1, False


def typos_between(word: str, other: str, *, open: bool, most: int | None = None) -> int | None:
    """How many typos turn one into the other; None if more than the length of the word allows."""
    if word == other or (open and other.startswith(word)):
        return 0
    allowed = (0 if len(word) < 5 else 1 if len(word) < 9 else 2) if most is None else most
    if not allowed:
        return None
    others = [other[:size] for size in range(len(word) - 2, len(word) + 3)] if open else [other]
    found = [_distance(word, one) for one in others if one]
    return min(found) if found and min(found) <= allowed else None


def _distance(word: str, other: str) -> int:
    """Damerau-Levenshtein; an edit of the first letter counts as two."""
    if abs(len(word) - len(other)) > 2:
        return 3
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(word, 1):
        row = [i]
        for j, against in enumerate(other, 1):
            cost = min(row[-1] + 1, rows[-1][j] + 1, rows[-1][j - 1] + (letter != against))
            swapped = i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == against
            row.append(min(cost, rows[-2][j - 2] + 1) if swapped else cost)
        rows.append(row)
    return rows[-1][-1] + (word[0] != other[0])


def _wholeness(terms: Sequence[Term], fields: Sequence[Field]) -> int:
    """0: a field is the query and nothing else; 1: one begins with it; 2: neither."""
    words = [word for term in terms for word in term.words]
    found = 2
    for field in fields:
        if [token.word for token in field[: len(words)]] == words:
            found = min(found, 0 if len(field) == len(words) else 1)
    return found


def marked(text: str, asked: Asked, opening: str, closing: str) -> str:
    """The text with what the query found in it between these marks."""
    here = tokens(text)
    spans: set[tuple[int, int]] = set()
    for term in asked.terms:
        for at, typos, _ in _places(term, here):
            size = len(term.words) if term.phrase else 1
            for token in here[at : at + size]:
                begun = not term.phrase and not typos and len(term.words[0]) < len(token.word)
                end = token.start + len(term.words[0]) if begun else token.end
                spans.add((token.start, min(end, token.end)))
    out, done = "", 0
    for start, end in sorted(spans):
        if start >= done:
            out += f"{text[done:start]}{opening}{text[start:end]}{closing}"
            done = end
    return out + text[done:]
