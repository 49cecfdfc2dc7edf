"""Documents as the server keeps them, and what it is told to do with their fields.

An entry has the fields of the document, with these differences. Its texts are plain: traditional
characters simplified, character by character, because the server cuts Chinese into words before
it simplifies, and finds no words in traditional texts. What a text was before is in `original`,
where it differs. `parts` holds every Chinese character and every word inside longer ones, so
that any part of a text can be found: the server by itself knows only the words it cut.
What everybody may see has no `places`, which serve the scope alone, and no hit shows them: phones
ask the server themselves, and must not find out by filters or facets in which building a home is.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any

import msgspec
import opencc
import rjieba
from msgspec import Struct, structs

from search import analysis, documents
from search.documents import Document
from search.engine import MAX_FACET_VALUES

# In order of weight; `parts` comes last of all.
TEXTS = (
    "title_zh",
    "title_en",
    "service_names",
    "tags",
    "community_name",
    "description_zh",
    "description_en",
)
INDEX = "community_partners"
# What questions are about and no answer tells.
_ASKED_ONLY = ("places", "pinyin", "open_week", "dated", "credentials")
MAX_TOTAL = 100_000
_FEW = 8  # names, of four services
OPEN, CLOSE = "\ue000", "\ue001"  # stand for <em> and </em> until the text is escaped
_FORMAT = "2"  # counts up when entries change in a way that the rest of mark() misses
_APART = " 。 "  # far enough apart that no phrase crosses from one run into the next

SETTINGS: dict[str, Any] = {
    "searchableAttributes": [*TEXTS, "parts", "pinyin"],
    "displayedAttributes": [
        *(name for name in Document.__struct_fields__ if name not in _ASKED_ONLY),
        "original",
    ],
    "filterableAttributes": [
        "kind",
        "status",
        "service_types",
        "tags",
        "community",
        "weekdays",
        "price",
        "capacity",
        "public",
        "places",
        "partner",
        "credentials",
        "dated",
        "open_quarters",
        "id",
        "_geo",
    ],
    "sortableAttributes": ["created", "rating", "price", "rank_key", "_geo"],
    # By default `sort` comes after proximity: what was asked for would only settle ties.
    "rankingRules": [
        "sort",
        "words",
        "typo",
        "proximity",
        "attribute",
        "exactness",
        "rank_key:desc",
    ],
    "localizedAttributes": [{"attributePatterns": ["*"], "locales": ["cmn", "eng"]}],
    "typoTolerance": {
        "minWordSizeForTypos": {"oneTypo": 5, "twoTypos": 9},
        "disableOnAttributes": ["pinyin"],
    },
    "pagination": {"maxTotalHits": MAX_TOTAL},
    "faceting": {"maxValuesPerFacet": MAX_FACET_VALUES, "sortFacetValuesBy": {"*": "count"}},
}


def mark() -> str:
    """Changes whenever an index made before is not as one made now would be."""
    made_of = [
        _FORMAT,
        analysis.signature(),
        msgspec.json.encode(SETTINGS).decode(),
        msgspec.json.encode(msgspec.json.schema(Document)).decode(),
    ]
    return "made-" + hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:32]


class _Plain(dict[int, str]):
    """Code point to plain character: one for one, so that positions stay what they were."""

    def __init__(self) -> None:
        self._simplify = opencc.OpenCC("t2s").convert
        self[ord(OPEN)] = self[ord(CLOSE)] = " "

    def __missing__(self, code: int) -> str:
        simple = self._simplify(chr(code))
        self[code] = plain = simple if len(simple) == 1 else chr(code)
        return plain


_plain = _Plain()


class Kept(Struct, frozen=True):
    """Beside the document: its texts where they are not plain, and the marked ones."""

    original: dict[str, str | tuple[str, ...]] = {}
    formatted: dict[str, Any] = msgspec.field(name="_formatted", default_factory=dict)


def entry(document: Document) -> bytes:
    """The document as the server takes it. Refuses (BadDocument) what no engine takes."""
    documents.pack(document)
    fields: dict[str, Any] = structs.asdict(document)
    original = {}
    runs: dict[str, None] = {}
    words: dict[str, None] = {}
    for name in TEXTS:
        given = fields[name]
        reading = _read(given) if isinstance(given, str) else _read_several(given)
        runs.update(reading.runs)
        words.update(reading.words)
        if reading.plain != given:
            original[name], fields[name] = given, reading.plain
    if original:
        fields["original"] = original
    for name in ("community", "partner"):
        if not fields[name]:
            del fields[name]  # or else facets would count what has none
    if document.public:
        del fields["places"]
    if document.location is not None:
        at = document.location
        fields["_geo"] = {"lat": at.lat_e6 / 1e6, "lng": at.lon_e6 / 1e6}
    fields["parts"] = _APART.join([*runs, *words])
    fields["open_quarters"] = _quarters(fields.pop("open_week"))
    return msgspec.json.encode(fields)


@functools.lru_cache(maxsize=analysis.MANY)
def _quarters(week: str) -> msgspec.Raw:
    """The quarter-hours of the week that a mask holds, as JSON. Many are open at the same hours."""
    bits = f"{int(week or '0', 16):b}"[::-1]
    several = [_NUMBERS[_AT[one.start()] : _AT[one.end()] - 1] for one in _ONES.finditer(bits)]
    return msgspec.Raw(f"[{','.join(several)}]".encode())


_ONES = re.compile("1+")
# Every quarter-hour of the week, and where each begins in there.
_NUMBERS = ",".join(map(str, range(672)))
_AT = [0, *(found.end() for found in re.finditer(",", _NUMBERS)), len(_NUMBERS) + 1]


def read(raw: msgspec.Raw) -> tuple[Document, Kept]:
    """The document of a hit, as it was given to `entry` but for its places. Refuses (MsgspecError)
    foreign ones."""
    document, kept = _documents.decode(raw), _NOTHING
    if b'"original"' in bytes(raw) or b'"_formatted"' in bytes(raw):
        kept = _kept.decode(raw)
    if kept.original:
        document = structs.replace(document, **kept.original)
    return document, kept


_documents = msgspec.json.Decoder(Document)
_kept = msgspec.json.Decoder(Kept)
_NOTHING = Kept()


class _Reading(Struct, frozen=True):
    """A text made plain, or several, the Chinese runs with their characters apart, and the words in
    them. Nobody may change it."""

    plain: str | tuple[str, ...]
    runs: dict[str, None]
    words: dict[str, None]


def _read_several(texts: tuple[str, ...]) -> _Reading:
    """The names of the same services come back together; many at once would be much to keep."""
    return _known_several(texts) if len(texts) <= _FEW else _several(texts)


def _several(texts: tuple[str, ...]) -> _Reading:
    runs: dict[str, None] = {}
    words: dict[str, None] = {}
    readings = [_read(text) for text in texts]
    for reading in readings:
        runs.update(reading.runs)
        words.update(reading.words)
    return _Reading(tuple([str(reading.plain) for reading in readings]), runs, words)


_known_several = functools.lru_cache(maxsize=analysis.MANY)(_several)


def _read(text: str) -> _Reading:
    if text.isascii():
        return _Reading(text, {}, {})
    return _known_reading(text) if len(text) <= analysis.SHORT else _reading(text)


def _reading(text: str) -> _Reading:
    runs: dict[str, None] = {}
    words: dict[str, None] = {}
    for run in analysis.chinese(text):
        apart, inside = (_known_words if len(run) <= analysis.SHORT else _words)(run)
        runs[apart] = None
        words.update(inside)
    return _Reading(text.translate(_plain), runs, words)


_known_reading = functools.lru_cache(maxsize=analysis.MANY)(_reading)


def _words(run: str) -> tuple[str, dict[str, None]]:
    """The characters of a run apart, and the words inside it, also those across the borders of the
    words it is cut into. Nobody may change these."""
    long = [word for word in rjieba.cut_for_search(run, False) if len(word) > 2]
    pairs = [run[start : start + 2] for start in range(len(run) - 1)]
    return " ".join(run), dict.fromkeys([*long, *filter(_is_word, pairs)])


_known_words = functools.lru_cache(maxsize=analysis.MANY)(_words)


@functools.lru_cache(maxsize=16_384)
def _is_word(pair: str) -> bool:
    return len(rjieba.cut(pair, False)) == 1
