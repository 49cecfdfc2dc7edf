"""From documents to the text index, and from what was typed to its queries.

A score is one whole number whose digits, from the left, are Meilisearch's rules: how many words
were found, how few typos, whether Chinese words stand together as they were typed, in which
field, and how exactly. Each clause adds a constant, so no statistics of the corpus interfere.
float32 holds whole numbers up to 2^24; the largest score stays below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tantivy
from msgspec import Struct

from search import analysis
from search.documents import Document
from search.embedded.spelling import Vocabulary
from search.engine import Match

# Most important first; a word found in an earlier field ranks higher.
FIELDS = ("titles", "services", "tags", "community", "descriptions")

# What is typed for Chinese on a Latin keyboard. Below all others, without typos, and outside of the
# vocabulary, which would be ten times as long.
PINYIN = "pinyin"
_MIN_PINYIN = 2  # letters

_EXACT = 1  # per word, up to ten of them
_WHOLE = 1 << 4  # the field is the query and nothing else
_FIELD = 1 << 5  # per word, times 0 to 4
_TOGETHER = 1 << 11  # per Chinese run
_TYPO = 1 << 14  # per word, times 2 minus its typos
_WORD = 1 << 19
_RUNS = 5  # of a query that are looked for as they were typed
_MANY = 24  # from here on one query over a set of terms is faster than one query each

Clause = tantivy.Query


class Entry(Struct, frozen=True):
    """A document as the text index takes it; `latin` are its words with their fields as bits."""

    text: tantivy.Document
    latin: dict[str, int]


class Plan(Struct, frozen=True):
    """What a text asks for, and what to mark in the texts that it finds.

    `clause` is None if the text asks for nothing, as punctuation does. Where words may be dropped,
    `first` is the first one by itself, which everything found has, and `more` finds of that what
    has another, with its whole score: what is in neither has the score of `first`.
    """

    clause: Clause | None
    words: frozenset[str]
    beginnings: tuple[str, ...]
    han: tuple[str, ...]
    first: Clause | None = None
    first_word: str = ""
    more: Clause | None = None


def schema() -> tantivy.Schema:
    """The text index: ids and slots to find documents by, the document itself, its fields."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("slot", indexed=True, fast=True)
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


def plan(schema: tantivy.Schema, vocabulary: Vocabulary, text: str, match: Match) -> Plan:
    """How to find this text."""
    return _Planner(schema, vocabulary).plan(analysis.ask(text), match)


def both(first: Clause, second: Clause) -> Clause:
    """What meets both clauses."""
    return _with(first, [second], tantivy.Occur.Must)


class _Planner:
    def __init__(self, schema: tantivy.Schema, vocabulary: Vocabulary) -> None:
        self._schema = schema
        self._vocabulary = vocabulary
        self._marked: set[str] = set()
        self._beginnings: list[str] = []

    def plan(self, asked: analysis.Asked, match: Match) -> Plan:
        han = tuple(
            part
            for word in asked.words
            if word.han
            for part in (word.text, *analysis.parts(word.text))
        )
        if not asked.words:
            return Plan(None, frozenset(), (), ())
        clause = self._chain(asked.words, match)
        if clause is None:
            clause = tantivy.Query.empty_query()
        else:
            extras = [self._everywhere([(0, asked.whole)], _WHOLE)]
            extras += [
                self._everywhere(analysis.grams(run), _TOGETHER) for run in asked.runs[:_RUNS]
            ]
            clause = _with(clause, extras, tantivy.Occur.Should)
        marks = (frozenset(self._marked), tuple(self._beginnings), han)
        if match == "any" and len(asked.words) > 1:
            first, more = self._apart(clause, asked)
            if first is not None:
                return Plan(clause, *marks, first, asked.words[0].text, more)
        return Plan(clause, *marks)

    def _apart(self, clause: Clause, asked: analysis.Asked) -> tuple[Clause | None, Clause | None]:
        words = asked.words
        first, second = self._word(words[0]), self._word(words[1])
        others = [second, self._both_as_one(words[0], words[1])]
        # What stands together counts even where the second word is missing.
        others += [self._everywhere(analysis.grams(run), 0) for run in asked.runs[:_RUNS]]
        found = [(tantivy.Occur.Should, other) for other in others if other is not None]
        if not found:
            return first, None
        any_other = tantivy.Query.const_score_query(tantivy.Query.boolean_query(found), 0.0)
        return first, both(clause, any_other)

    def _chain(self, words: Sequence[analysis.Word], match: Match) -> Clause | None:
        """The first word must be found; the others too, or they add to the score as far as they
        are found without a break: that is dropping words from the end.
        """
        first, rest = words[0], words[1:]
        ways = [self._followed(self._word(first), rest, match)]
        if rest:
            ways.append(self._followed(self._both_as_one(first, rest[0]), rest[1:], match))
        return _best(way for way in ways if way is not None)

    def _followed(
        self, found: Clause | None, rest: Sequence[analysis.Word], match: Match
    ) -> Clause | None:
        if found is None or not rest:
            return found
        following = self._chain(rest, match)
        if following is None:
            return found if match == "any" else None
        occur = tantivy.Occur.Should if match == "any" else tantivy.Occur.Must
        return _with(found, [following], occur)

    def _word(self, word: analysis.Word) -> Clause | None:
        return self._han(word.text) if word.han else self._latin(word)

    def _han(self, word: str) -> Clause:
        clauses = []
        parts = analysis.parts(word)
        for field in range(len(FIELDS)):
            clauses.append(_scored(self._grams(field, analysis.grams(word)), _score(field)))
            if parts:
                # As a Latin word written as two: 停车位 where it says 停车 and 车位.
                first, *others = (self._term(field, analysis.WORD_MARK + part) for part in parts)
                apart = _with(first, others, tantivy.Occur.Must)
                clauses.append(_scored(apart, _score(field) - _TYPO))
            if len(word) > 1:
                exact = self._term(field, analysis.WORD_MARK + word)
                clauses.append(_scored(exact, _score(field) + _EXACT))
        return tantivy.Query.disjunction_max_query(clauses)

    def _latin(self, word: analysis.Word) -> Clause | None:
        read = self._vocabulary.readings(word.text, still_typing=word.open)
        clauses = self._exactly(word.text, 0)
        if word.open:
            clauses += self._continued(word.text, read.going_on, 0)
        clauses += self._pinyin(word, 0)
        for typos, others in ((1, read.one_typo), (2, read.two_typos)):
            clauses += self._among(others, _TYPO * -typos)
        for pair in self._vocabulary.splits(word.text):
            self._marked.update(pair)
            for field in self._fields(pair[0], pair[1]):
                together = self._grams(field, list(enumerate(pair)))
                clauses.append(_scored(together, _score(field) - _TYPO))
        return _best(clauses)

    def _both_as_one(self, first: analysis.Word, second: analysis.Word) -> Clause | None:
        """Two typed words written as one in the index: both are found, with one typo."""
        if first.han or second.han:
            return None
        word = analysis.Word(first.text + second.text, han=False, open=second.open)
        extra = _WORD + _TYPO
        clauses = self._exactly(word.text, extra)
        if word.open:
            read = self._vocabulary.readings(word.text, still_typing=True)
            clauses += self._continued(word.text, read.going_on, extra)
        clauses += self._pinyin(word, extra)
        return _best(clauses)

    def _pinyin(self, word: analysis.Word, extra: int) -> list[Clause]:
        text = word.text
        if len(text) < _MIN_PINYIN or not (text.isascii() and text.isalpha()):
            return []
        score = _score(len(FIELDS)) + extra
        query = tantivy.Query
        clauses = [_scored(query.term_query(self._schema, PINYIN, text, "basic"), score + _EXACT)]
        if word.open:
            going_on = query.fuzzy_term_query(self._schema, PINYIN, text, 0, prefix=True)
            clauses.append(_scored(going_on, score))
        return clauses

    def _exactly(self, word: str, extra: int) -> list[Clause]:
        self._marked.add(word)
        return [
            _scored(self._term(field, word), _score(field) + _EXACT + extra)
            for field in self._fields(word)
        ]

    def _continued(self, word: str, listed: tuple[str, ...] | None, extra: int) -> list[Clause]:
        self._beginnings.append(word)
        if listed is not None:
            return self._among(listed, extra)
        fuzzy = tantivy.Query.fuzzy_term_query
        return [
            _scored(fuzzy(self._schema, name, word, 0, prefix=True), _score(field) + extra)
            for field, name in enumerate(FIELDS)
        ]

    def _among(self, words: Iterable[str], extra: int) -> list[Clause]:
        """One of these words, in every field where any of them occurs."""
        clauses = []
        by_field: dict[int, list[str]] = {}
        for word in words:
            self._marked.add(word)
            for field in self._fields(word):
                by_field.setdefault(field, []).append(word)
        for field, some in by_field.items():
            score = _score(field) + extra
            if len(some) < _MANY:
                clauses += [_scored(self._term(field, word), score) for word in some]
            else:
                many = tantivy.Query.term_set_query(self._schema, FIELDS[field], some)
                clauses.append(_scored(many, score))
        return clauses

    def _everywhere(self, tokens: Sequence[tuple[int, str]], score: int) -> Clause:
        return tantivy.Query.disjunction_max_query(
            [_scored(self._grams(field, tokens), score) for field in range(len(FIELDS))]
        )

    def _fields(self, *words: str) -> Iterable[int]:
        bits = -1
        for word in words:
            bits &= self._vocabulary.fields(word)
        return [field for field in range(len(FIELDS)) if bits >> field & 1]

    def _term(self, field: int, token: str) -> Clause:
        return tantivy.Query.term_query(self._schema, FIELDS[field], token, "basic")

    def _grams(self, field: int, tokens: Sequence[tuple[int, str]]) -> Clause:
        if len(tokens) == 1:
            return self._term(field, tokens[0][1])
        return tantivy.Query.phrase_query(self._schema, FIELDS[field], list(tokens))


def _score(field: int) -> int:
    """A word found without typos in this field."""
    return _WORD + 2 * _TYPO + (len(FIELDS) - 1 - field) * _FIELD


def _scored(clause: Clause, score: int) -> Clause:
    return tantivy.Query.const_score_query(clause, float(score))


def _best(clauses: Iterable[Clause]) -> Clause | None:
    """The clause with the highest score, of those that are met."""
    given = list(clauses)
    if len(given) < 2:
        return given[0] if given else None
    return tantivy.Query.disjunction_max_query(given)


def _with(first: Clause, others: Iterable[Clause], occur: tantivy.Occur) -> Clause:
    return tantivy.Query.boolean_query(
        [(tantivy.Occur.Must, first), *((occur, other) for other in others)]
    )
