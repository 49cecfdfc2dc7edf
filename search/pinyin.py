"""What to type on a Latin keyboard for a Chinese text: its pinyin without tones, and its initials.

Of 长者食堂 these are, for what begins at each of its words, the whole (`zhangzheshitang`,
`shitang`) and the initials (`zzst`, `st`), and each word and each syllable by itself. What is
being typed is found as the beginning of one of them.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Iterable

import rjieba
from msgspec import Struct

from search import analysis

MAX_KEYS = 200
_MAX_LETTERS = 40


async def ready() -> None:
    """Load the dictionary in a thread, so that whoever first reads a text does not keep everybody
    waiting for it."""
    if not _spelt.cache_info().currsize:
        await asyncio.to_thread(_spelt, "食")


def keys(texts: Iterable[str]) -> tuple[str, ...]:
    """All that may be typed for these texts, each once, at most MAX_KEYS."""
    found: dict[str, None] = {}
    for text in texts:
        for run in analysis.chinese(text):
            found.update(_of_run(run))
    return tuple(found)[:MAX_KEYS]


def read(text: str) -> tuple[str, ...]:
    """The syllables of a Chinese text, one for each of its characters: `zao`, `can`."""
    return tuple(
        syllable
        for run in analysis.chinese(text)
        for word in rjieba.cut(run, False)
        for syllable in _spelt(word).syllables
    )


@functools.lru_cache(maxsize=analysis.MANY)
def _of_run(run: str) -> dict[str, None]:
    """In order; nobody may change it. Read from the end, because what begins at a word goes on to
    the end. Titles differ, but say the same of where and what it is."""
    found: list[tuple[str, ...]] = []
    whole = initials = ""
    for word in map(_spelt, reversed(rjieba.cut(run, False))):
        whole = (word.whole + whole)[:_MAX_LETTERS]
        initials = (word.initials + initials)[:_MAX_LETTERS]
        onwards = (whole, word.whole, initials) if len(initials) > 1 else (whole, word.whole)
        found.append(onwards + word.parts)
    return dict.fromkeys(itertools.chain.from_iterable(reversed(found)))


class _Spelt(Struct, frozen=True):
    """One word of a Chinese text in letters. `parts` are its initials and its syllables, if it has
    several of these."""

    whole: str
    initials: str
    syllables: tuple[str, ...]
    parts: tuple[str, ...]


@functools.lru_cache(maxsize=65_536)
def _spelt(word: str) -> _Spelt:
    """By the word, because 行 is `hang` in a bank and `xing` on foot; remembered, because looking
    it up takes as long as all the rest of a document."""
    # Half a second and 57 MB that whoever only asks an index can do without.
    from pypinyin import lazy_pinyin

    syllables = tuple(
        syllable
        for syllable in lazy_pinyin(word, errors="ignore")
        if syllable.isascii() and syllable.isalpha()
    )
    initials = "".join(one[0] for one in syllables)
    parts = (initials, *syllables) if len(syllables) > 1 else ()
    return _Spelt("".join(syllables), initials, syllables, parts)
