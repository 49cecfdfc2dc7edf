"""Did you mean: other words for a question that finds little, out of what this caller may find.

The words come from documents that the index finds for looser questions within the caller's scope,
so that no hidden document gives itself away: for Latin words what begins alike, for Chinese ones
what sounds alike (早参 for 早餐) or has all but one character in common.
"""

from __future__ import annotations

import math
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterable

from msgspec import Struct, structs

from search import analysis, pinyin
from search import engine as index
from search.documents import Document
from search.embedded import spelling

# With so many hits nobody needs to be asked.
FEW = 3
_MOST_WORDS = 5
_LOOKED_AT = 30  # documents for each looser text
_FIRST = 3  # documents of a word that is remembered
_SHORTEST, _SHORTEST_HAN = 3, 2  # letters, characters
# What one misspells many do. A word that came of it is only told again where this caller finds a
# document that has it, so that none gives away what was hidden meanwhile.
_REMEMBERED, _REMEMBERED_S = 1000, 60.0
_Known = OrderedDict[tuple[str, index.Scope], tuple[float, str | None]]
_known: weakref.WeakKeyDictionary[index.SearchEngine, _Known] = weakref.WeakKeyDictionary()


class Meant(Struct, frozen=True):
    """Another text, and how much it finds with the same filters."""

    text: str
    total: int


async def did_you_mean(
    target: index.SearchEngine, query: index.Query, scope: index.Scope, total: int
) -> Meant | None:
    """A text that finds more than the `total` of the one that was asked; None if there is none, or
    no need of one."""
    words = analysis.ask(query.text).words
    if total >= FEW or not words or len(words) > _MOST_WORDS:
        return None
    if any(word.han for word in words):
        await pinyin.ready()
    text = analysis.fold(query.text).strip()
    for word in words:
        better = await _better(target, word, scope)
        if better:
            text = text.replace(word.text, better, 1)
    if text == analysis.fold(query.text).strip():
        return None
    again = structs.replace(query, text=text, facets=(), page=1, page_size=0, highlight=False)
    meant = (await target.search(again, scope)).total
    return Meant(text, meant) if meant > total else None


async def _better(
    target: index.SearchEngine, word: analysis.Word, scope: index.Scope
) -> str | None:
    """The word that may have been meant, itself if it is somewhere; None if none is like it."""
    known, key = _known.setdefault(target, OrderedDict()), (word.text, scope)
    found_at, better = known.get(key, (-math.inf, None))
    if time.monotonic() - found_at <= _REMEMBERED_S and (
        better in (None, word.text) or await _is_there(target, better, scope, han=word.han)
    ):
        return better
    better = await _like(target, word, scope)
    known[key] = (time.monotonic(), better)
    known.move_to_end(key)
    if len(known) > _REMEMBERED:
        known.popitem(last=False)
    return better


async def _is_there(
    target: index.SearchEngine, word: str, scope: index.Scope, *, han: bool
) -> bool:
    """Whether one of the first documents for this word has it, and not only one like it."""
    query = index.Query(text=word, match="all", page_size=_FIRST)
    documents = [hit.document for hit in (await target.search(query, scope)).hits]
    if han:
        return any(word in run for read, _ in _read(documents) for run in read.han)
    return any(word in read.latin for read, _ in _read(documents))


async def _like(target: index.SearchEngine, word: analysis.Word, scope: index.Scope) -> str | None:
    documents: list[Document] = []
    for text in _looser(word.text, han=word.han):
        found = await target.search(index.Query(text=text, page_size=_LOOKED_AT), scope)
        documents += [hit.document for hit in found.hits]
        better = (_instead if word.han else _spelt)(word.text, documents)
        if better:
            return better
    return None


def _looser(word: str, *, han: bool) -> list[str]:
    """What to look for, one after the other, until something like the word comes of it. A single
    letter finds half of an index."""
    if len(word) < (_SHORTEST_HAN if han else _SHORTEST):
        return []
    if han:
        # Some characters have no sound, and looking for nothing finds everything.
        return list(dict.fromkeys(filter(None, ("".join(pinyin.read(word)), word[0], word[-1]))))
    return [word[:length] for length in (3, 2, 1) if length < len(word)]


def _spelt(word: str, documents: Iterable[Document]) -> str | None:
    """The Latin word nearest to this one; itself if it is spelt like that somewhere."""
    limit = 1 if len(word) < spelling.ONE_TYPO else 2 if len(word) < spelling.TWO_TYPOS else 3
    seen: Counter[str] = Counter()
    for read, times in _read(documents):
        for other in read.latin:
            seen[other] += times
    near = []
    for other, times in seen.items():
        if other.startswith(word):
            return word
        if len(other) < _SHORTEST or not spelling.may_be_near(word, other, limit):
            continue
        distance = spelling.edit_distance(word, other, limit, prefix=False)
        distance += other[0] != word[0]  # which costs two, as in a search
        if distance <= limit:
            near.append((distance, -times, other))
    return min(near)[2] if near else None


def _instead(word: str, documents: Iterable[Document]) -> str | None:
    """The Chinese word that sounds like this one or nearly looks like it; itself if it is there."""
    seen: Counter[str] = Counter()
    for read, times in _read(documents):
        for run in read.han:
            for at in range(len(run) - len(word) + 1):
                seen[run[at : at + len(word)]] += times
    if word in seen:
        return word
    sound = pinyin.read(word)
    near = []
    for other, times in seen.items():
        # What shares no character is not worth looking up.
        same = sum(a == b for a, b in zip(word, other, strict=True))
        if same == 0:
            continue
        if pinyin.read(other) == sound:
            near.append((0, -times, other))
        elif len(word) > 2 and same == len(word) - 1:
            near.append((1, -times, other))
    return min(near)[2] if near else None


def _read(documents: Iterable[Document]) -> Iterable[tuple[analysis.Read, int]]:
    """The texts of these documents, read, and in how many places each stands."""
    texts: Counter[str] = Counter()
    for document in {document.id: document for document in documents}.values():
        texts.update((document.title_zh, document.title_en, *document.service_names))
        texts[document.community_name] += 1
    return [(analysis.read(text), times) for text, times in texts.items()]
