"""From documents to the text index, and where in it tokens stand."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter

import numpy as np
import tantivy
from msgspec import Struct

from search import analysis
from search.documents import Document
from search.embedded.columns import Ints

# Most important first; a word found in an earlier field ranks higher.
FIELDS = ("titles", "services", "tags", "community", "descriptions")

# What is typed for Chinese on a Latin keyboard. Below all others, without typos, and outside of the
# vocabulary, which would be ten times as long.
PINYIN = "pinyin"
_MANY = 24  # from here on one query over a set of terms is faster than one query each
FEW = 6000  # hits; up to here a list of them is quicker than sums
# Documents in which something stands that is common, and of those that begin alike.
_COMMON, _COMMON_BEGINNING = 1000, 4000
_BEGINNINGS = (2, 3, 4, 5)  # letters
_MOST_COMMON = 2000
_BLOCK = 50  # slots; a float holds sums of so many different powers of two exactly


class Standing(enum.StrEnum):
    """How tokens have to stand in a field. Texts, because a mere Enum is hashed in Python."""

    TOGETHER = "together"  # at their distances from each other
    ALL = "all"  # wherever
    ANY = "any"  # one of them
    BEGINNING = "beginning"  # what begins like the one there is


class Leaf(Struct, frozen=True):
    """Tokens, with their distances, in one field."""

    field: str
    tokens: tuple[tuple[int, str], ...]
    standing: Standing = Standing.TOGETHER


class Entry(Struct, frozen=True):
    """A document as the text index takes it; `latin` are its words with their fields as bits."""

    text: tantivy.Document
    latin: dict[str, int]


def schema() -> tantivy.Schema:
    """The text index: ids and slots to find documents by, the document itself, its fields."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("slot", indexed=True, fast=True)
    builder.add_float_field("bit", fast=True)
    builder.add_bytes_field("body", stored=True)
    for field in (*FIELDS, PINYIN):
        # The analyzer has already separated the tokens by spaces.
        builder.add_text_field(field, tokenizer_name="whitespace")
    return builder.build()


def entry(slot: int, document: Document, body: bytes) -> Entry:
    """Prepares a document for the text index."""
    names, tags = document.service_names, document.tags
    titles, community = (document.title_zh, document.title_en), (document.community_name,)
    fields = (
        analysis.tokens(titles, wholes=([title] for title in titles)),
        analysis.tokens(names, wholes=[names]),
        analysis.tokens(tags, wholes=[tags]),
        analysis.tokens(community, wholes=[community]),
        analysis.tokens((document.description_zh, document.description_en), wholes=()),
    )
    text = tantivy.Document()
    text.add_text("id", document.id)
    text.add_unsigned("slot", slot)
    text.add_float("bit", float(1 << slot % _BLOCK))
    text.add_bytes("body", body)
    latin: dict[str, int] = {}
    for bit, (name, field) in enumerate(zip(FIELDS, fields, strict=True)):
        text.add_text(name, field.stream)
        for word in field.latin:
            latin[word] = latin.get(word, 0) | 1 << bit
    text.add_text(PINYIN, " ".join(document.pinyin))
    return Entry(text, latin)


def latin_words(searcher: tantivy.Searcher) -> dict[str, int]:
    """All Latin words of an index, with the fields they occur in as bits."""
    marks = (analysis.WORD_MARK, analysis.WHOLE_MARK, analysis.GAP)
    found: dict[str, int] = {}
    for bit, field in enumerate(FIELDS):
        for word, _ in searcher.terms_with_prefix(field, ""):
            if not word.startswith(marks) and not analysis.is_han(word):
                found[word] = found.get(word, 0) | 1 << bit
    return found


def clause(schema: tantivy.Schema, leaf: Leaf) -> tantivy.Query:
    """How the text index is asked for this."""
    query, name = tantivy.Query, leaf.field
    words = [word for _, word in leaf.tokens]
    if leaf.standing is Standing.BEGINNING:
        return query.fuzzy_term_query(schema, name, words[0], 0, prefix=True)
    if len(words) == 1:
        return query.term_query(schema, name, words[0], "basic")
    if leaf.standing is Standing.TOGETHER:
        return query.phrase_query(schema, name, list(leaf.tokens))
    if leaf.standing is Standing.ALL:
        return both(*(query.term_query(schema, name, word, "basic") for word in words))
    if len(words) < _MANY:
        return any_of(query.term_query(schema, name, word, "basic") for word in words)
    return query.term_set_query(schema, name, words)


def most(searcher: tantivy.Searcher, leaf: Leaf) -> int:
    """No more documents than this have it."""
    if leaf.standing is Standing.BEGINNING:
        return int(searcher.num_docs)
    counts = (searcher.doc_freq(leaf.field, token) for _, token in leaf.tokens)
    if leaf.standing is Standing.ANY:
        return sum(counts)
    fewest = int(searcher.num_docs)
    while fewest and (count := next(counts, None)) is not None:
        fewest = min(fewest, count)
    return fewest


def any_of(clauses: Iterable[tantivy.Query]) -> tantivy.Query:
    """What meets one of these."""
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, one) for one in clauses])


def both(*clauses: tantivy.Query) -> tantivy.Query:
    """What meets all of these."""
    return tantivy.Query.boolean_query([(tantivy.Occur.Must, one) for one in clauses])


def one_of(schema: tantivy.Schema, slots: Iterable[int]) -> tantivy.Query:
    """These documents."""
    # One clause per slot: a single query over a set of terms is fifteen times slower.
    term = tantivy.Query.term_query
    return any_of(term(schema, "slot", int(slot)) for slot in slots)


def slots(searcher: tantivy.Searcher, query: tantivy.Query, most: int) -> Ints:
    """The slots of everything that meets this, in order; they are known to be at most so many.

    A list of 50,000 hits would take longer to make in Python than everything else. So each document
    has a power of two, all different in a block of slots, and what comes back are their sums.
    """
    if most < FEW:
        hits = searcher.search(query, max(most, 1), count=False, order_by_field="slot").hits
        return np.sort(np.fromiter(map(itemgetter(0), hits), np.int64, len(hits)))
    sums = {"sum": {"sum": {"field": "bit"}}}
    blocks = {"field": "slot", "interval": _BLOCK, "min_doc_count": 1}
    asked = {"blocks": {"histogram": blocks, "aggs": sums}}
    found = searcher.aggregate(query, asked)["blocks"]["buckets"]
    starts = np.array([block["key"] for block in found], np.int64)
    bits = np.array([block["sum"]["value"] for block in found], "<i8").view(np.uint8)
    places = np.unpackbits(bits.reshape(-1, 8), axis=1, count=_BLOCK, bitorder="little")
    there = np.flatnonzero(places.view(np.bool_))
    return starts[there // _BLOCK] + there % _BLOCK


def count(searcher: tantivy.Searcher, query: tantivy.Query) -> int:
    """How many documents meet this; takes a small part of the time that listing them does."""
    found = searcher.search(query, 1)
    return int(found.count)  # type: ignore[attr-defined]  # its types have forgotten it


def common(searcher: tantivy.Searcher) -> list[Leaf]:
    """What stands in so many documents that it takes long to list these: tokens, and what pinyin
    begins with; the commonest first, the first so many."""
    counted: Counter[tuple[str, str, Standing]] = Counter()
    for field in (*FIELDS, PINYIN):
        for token, documents in searcher.terms_with_prefix(field, ""):
            if documents >= _COMMON and token != analysis.GAP:
                counted[field, token, Standing.TOGETHER] = documents
            for length in _BEGINNINGS if field == PINYIN else ():
                counted[field, token[:length], Standing.BEGINNING] += documents
    found = [
        Leaf(field, ((0, token),), standing)
        for (field, token, standing), documents in counted.most_common(_MOST_COMMON)
        if documents >= (_COMMON if standing is Standing.TOGETHER else _COMMON_BEGINNING)
    ]
    # A word of three characters and more is looked for as a phrase, too.
    words = (leaf for leaf in found if leaf.tokens[0][1].startswith(analysis.WORD_MARK))
    phrases = ((leaf.field, analysis.grams(leaf.tokens[0][1][1:])) for leaf in words)
    return found + [Leaf(field, tuple(some)) for field, some in phrases if len(some) > 1]
