"""What to type on a Latin keyboard for a Chinese text: its pinyin without tones, and its initials.

Of 长者食堂 these are, for what begins at each of its words, the whole (`zhangzheshitang`,
`shitang`) and the initials (`zzst`, `st`), and each word and each syllable by itself. What is
being typed is found as the beginning of one of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import rjieba

from search import analysis

MAX_KEYS = 200
_MAX_LETTERS = 40


def keys(texts: Iterable[str]) -> tuple[str, ...]:
    """All that may be typed for these texts, each once, at most MAX_KEYS."""
    found: dict[str, None] = {}
    for text in texts:
        for run in analysis.runs(analysis.fold(text)):
            if run.han:
                found.update(dict.fromkeys(_of_run(run.text)))
    return tuple(found)[:MAX_KEYS]


def read(text: str) -> tuple[str, ...]:
    """The syllables of a Chinese text, one for each of its characters: `zao`, `can`."""
    return tuple(
        syllable
        for run in analysis.runs(analysis.fold(text))
        if run.han
        for word in rjieba.cut(run.text, False)
        for syllable in _syllables(word)
    )


def _of_run(run: str) -> Iterable[str]:
    words = [_syllables(word) for word in rjieba.cut(run, False)]
    for at, word in enumerate(words):
        onwards = [syllable for following in words[at:] for syllable in following]
        yield "".join(onwards)[:_MAX_LETTERS]
        yield "".join(word)
        if len(onwards) > 1:
            yield "".join(syllable[0] for syllable in onwards)[:_MAX_LETTERS]
        if len(word) > 1:
            yield "".join(syllable[0] for syllable in word)
            yield from word


@functools.lru_cache(maxsize=65_536)
def _syllables(word: str) -> tuple[str, ...]:
    """By the word, because 行 is `hang` in a bank and `xing` on foot; remembered, because looking
    it up takes as long as all the rest of a document."""
    # Half a second and 57 MB that whoever only asks an index can do without.
    from pypinyin import lazy_pinyin

    return tuple(
        syllable
        for syllable in lazy_pinyin(word, errors="ignore")
        if syllable.isascii() and syllable.isalpha()
    )
