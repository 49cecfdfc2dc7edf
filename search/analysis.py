"""The analyzer: what counts as a word, in Chinese and in English, when indexing and when asking.

Texts are folded character by character (NFKD without marks, lower case, traditional to
simplified), so that a part of a text always folds to a part of the folded text. Latin letters
and digits make words at spaces and punctuation. A run of Chinese characters is indexed as all
its characters and pairs of neighbours, so that any part of it can be found, and besides as the
words of the dictionary, so that a word ranks above the same characters met by chance.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from importlib import metadata

import opencc
import rjieba
from msgspec import Struct

WORD_MARK = "_"  # in front of a dictionary word; no folded word contains it
WHOLE_MARK = "="  # in front of a complete text
GAP = "|"  # between texts, so that no phrase crosses from one into the next
_BETWEEN = "·"  # between the words of a complete text
MAX_WORDS = 10  # of a query, as on the server; the rest is not read
# Names of services and places come back in many documents: texts as short as this are remembered
# when they have been read, the last so many.
SHORT, MANY = 100, 4096
_MAX_LETTERS = 64
_MAX_WHOLE = 128

_HAN = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af"
_RUN_OF_HAN = re.compile(f"[{_HAN}]")
_RUN = re.compile(f"([{_HAN}]+)|[^\\W_{_HAN}]+")
# How one begins to ask, which says nothing of what is looked for: prepositions, articles, pronouns,
# 我想找. None that is a surname (于) or, of the English ones, a syllable of pinyin (`can`, `an`).
_FUNCTION = frozenset("的给和与及或在把被对为从到以是我你您他她想要找有") | {
    *("我们", "你们", "他们", "想要", "哪里", "哪儿", "什么"),
    *("a", "the", "of", "for", "at", "in", "on", "to", "and", "or", "with", "from", "by"),
    *("is", "are", "i", "my", "our"),
}


def signature() -> str:
    """Names everything the tokens depend on: an index made under another one is worthless."""
    versions = [f"{name}-{metadata.version(name)}" for name in ("rjieba", "opencc")]
    sample = tokens(["王芳的圖書館3号门", "Qiáobei’s tool-room ½"], [["图书馆, Café"]])
    return "/".join([f"unicode-{unicodedata.unidata_version}", *versions, sample.stream])


class Word(Struct, frozen=True):
    """A word of a query. `open`: it may go on, the caller is still typing."""

    text: str
    han: bool
    open: bool = False


class Asked(Struct, frozen=True):
    """A query, read. `runs` are the Chinese runs that were cut into several words."""

    words: tuple[Word, ...]
    runs: tuple[str, ...]
    whole: str


class Tokens(Struct, frozen=True):
    """One searchable field: its tokens in order, and the distinct Latin words among them."""

    stream: str
    latin: frozenset[str]


class Run(Struct, frozen=True):
    """A word in letters, or several Chinese words written without a space, in a folded text."""

    text: str
    han: bool
    start: int


class _Folding(dict[int, str]):
    """Code point to folded text, filled as characters turn up."""

    def __init__(self) -> None:
        self._simplify = opencc.OpenCC("t2s").convert

    def __missing__(self, code: int) -> str:
        self[code] = folded = self._fold(chr(code))
        return folded

    def _fold(self, char: str) -> str:
        if unicodedata.category(char) == "Cs":
            return ""
        letters = (c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
        # One character at a time: by phrases, a part would convert differently from the whole.
        return "".join(self._simplify(c) for c in letters).casefold()


_folding = _Folding()


def fold(text: str) -> str:
    """The form in which texts are compared."""
    return text.translate(_folding)


class Read(Struct, frozen=True):
    """What one text brings to a field: its tokens, Latin words and Chinese runs, the words of the
    dictionary in these, and all of it together."""

    stream: str
    latin: tuple[str, ...]
    han: tuple[str, ...]
    dictionary: tuple[str, ...]
    joined: str


def tokens(texts: Iterable[str], wholes: Iterable[Iterable[str]]) -> Tokens:
    """The tokens of one field. `wholes` are what a query must equal to match it completely: each
    is one text, or several in a row."""
    readings = [read(text) for text in texts]
    stream = [one.stream for one in readings]
    stream.append(GAP)
    stream += sorted(set(itertools.chain.from_iterable([one.dictionary for one in readings])))
    stream += [mark for some in wholes if (mark := whole(*some))]
    latin = itertools.chain.from_iterable([one.latin for one in readings])
    return Tokens(" ".join(stream), frozenset(latin))


def read(text: str) -> Read:
    """One text, read; remembered if it is short."""
    return _known(text) if len(text) <= SHORT else _anew(text)


def _anew(text: str) -> Read:
    stream, latin, dictionary = [GAP], [], []
    found = list(runs(fold(text)))
    for run in found:
        if run.han:
            stream += _grams(run.text)
            dictionary += rjieba.cut_for_search(run.text, False)
        else:
            stream.append(run.text)
            latin.append(run.text)
    return Read(
        stream=" ".join(stream),
        latin=tuple(latin),
        han=tuple(run.text for run in found if run.han),
        dictionary=tuple(WORD_MARK + word for word in dictionary if len(word) > 1),
        joined=_BETWEEN.join([run.text for run in found]),
    )


_known = functools.lru_cache(maxsize=MANY)(_anew)


def grams(word: str) -> list[tuple[int, str]]:
    """The tokens, with their distances, that stand wherever this Chinese word stands."""
    if len(word) == 1:
        return [(0, word)]
    return [(2 * i, word[i : i + 2]) for i in range(len(word) - 1)]


def ask(text: str) -> Asked:
    """Reads a query: at most MAX_WORDS words; the last one is open unless something follows it.
    Words like 给 and `the` before the first that tells something are not looked for: the first word
    has to be found, and would be one that anything may have."""
    folded = fold(text)
    words: list[Word] = []
    cut_runs: list[str] = []
    for run in runs(folded):
        if not run.han:
            still_typing = run.start + len(run.text) == len(folded)
            words.append(Word(run.text, han=False, open=still_typing))
            continue
        parts = _cut(run.text)
        words += [Word(part, han=True) for part in parts]
        if len(parts) > 1:
            cut_runs.append(run.text)
    return Asked(tuple(_telling(words)[:MAX_WORDS]), tuple(cut_runs), whole(text))


def parts(word: str) -> tuple[str, ...]:
    """The shorter words of a compound of the dictionary, if they leave no character of it out: 停车
    and 车位 of 停车位, none of 图书馆."""
    found = tuple(part for part in rjieba.cut_for_search(word, False) if part != word)
    starts = [(word.find(part), len(part)) for part in found]
    covered = {at for start, length in starts for at in range(start, start + length)}
    return found if len(covered) == len(word) and min(map(len, found)) > 1 else ()


def is_han(token: str) -> bool:
    """Whether this token comes from a Chinese run."""
    return _RUN_OF_HAN.match(token) is not None


def whole(*texts: str) -> str:
    """The one token that stands for a complete text, which may come in parts; empty if there is
    nothing to search in it."""
    joined = _BETWEEN.join(filter(None, [read(text).joined for text in texts]))
    return f"{WHOLE_MARK}{joined[:_MAX_WHOLE]}" if joined else ""


def chinese(text: str) -> tuple[str, ...]:
    """The Chinese runs of a text, folded; remembered if it is short, because several ask."""
    return _known_chinese(text) if len(text) <= SHORT else _chinese(text)


def _chinese(text: str) -> tuple[str, ...]:
    return tuple([match[1] for match in _RUN.finditer(fold(text)) if match[1]])


_known_chinese = functools.lru_cache(maxsize=MANY)(_chinese)


def runs(folded: str) -> Iterator[Run]:
    """The runs of a folded text, from left to right."""
    for match in _RUN.finditer(folded):
        if match[1]:
            yield Run(match[1], True, match.start())
        else:
            yield Run(match[0][:_MAX_LETTERS], False, match.start())


def origins(text: str) -> list[int]:
    """For each character of the folded text, the position in the text where it comes from."""
    return [position for position, char in enumerate(text) for _ in _folding[ord(char)]]


def _grams(run: str) -> Iterator[str]:
    """Characters and pairs by turns: neighbours in a phrase of pairs are two positions apart."""
    for position in range(len(run) - 1):
        yield run[position]
        yield run[position : position + 2]
    yield run[-1]


def _telling(words: list[Word]) -> list[Word]:
    """The words from the first that says what is looked for; all of them where none does. One that
    is still being typed may become anything."""
    for at, word in enumerate(words):
        if word.open or not _is_function(word):
            return words[at:]
    return words


def _is_function(word: Word) -> bool:
    # Left over by the dictionary several may stand together: 我想找.
    return word.text in _FUNCTION or (word.han and _FUNCTION.issuperset(word.text))


def _cut(run: str) -> list[str]:
    """The words of a Chinese run. Characters the dictionary leaves over stay together: they are
    names (王芳) or the borders of two words (者食), and apart they would match nearly anything.
    """
    words: list[str] = []
    left_over = False
    for part in rjieba.cut(run, False):
        if len(part) == 1 and left_over:
            words[-1] += part
        else:
            words.append(part)
        left_over = len(part) == 1
    return words
