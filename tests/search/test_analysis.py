"""The analyzer and the spelling rules: which words a text has, and which a typed word may mean."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search import analysis
from search.embedded import spelling
from search.embedded.spelling import Vocabulary

HAN = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=12)


def words(text: str) -> list[str]:
    return [word.text for word in analysis.ask(text).words]


def stream(*texts: str) -> list[str]:
    return analysis.tokens(texts, wholes=()).stream.split()


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("QIAOBEI", "qiaobei"),
        ("Qiáobei", "qiaobei"),
        ("Qia\u0301obei", "qiaobei"),
        ("ＣＡＦＥ　３", "cafe 3"),
        ("圖書館", "图书馆"),
        ("臺灣", "台湾"),
        ("①½ﬁ", "11⁄2fi"),
        ("Straße", "strasse"),
        ("İstanbul", "istanbul"),
        ("a\ud800b", "ab"),
    ],
)
def test_writings_of_the_same_text_fold_to_one(text: str, folded: str) -> None:
    assert analysis.fold(text) == folded


def test_letters_and_digits_make_words_at_spaces_and_punctuation() -> None:
    assert words("Senior's tool-room, gate_3 (B2)") == [
        "senior", "s", "tool", "room", "gate", "3", "b2",
    ]  # fmt: skip


def test_chinese_and_latin_part_where_they_meet() -> None:
    assert words("3号门Gate") == ["3", "号门", "gate"]


def test_chinese_is_cut_into_the_words_of_the_dictionary() -> None:
    assert words("桥北社区长者食堂") == ["桥北", "社区", "长者", "食堂"]


def test_characters_the_dictionary_leaves_over_stay_together() -> None:
    assert words("王芳课后辅导") == ["王芳", "课后", "辅导"]
    assert words("者食") == ["者食"]


def test_only_a_last_latin_word_with_nothing_after_it_is_still_being_typed() -> None:
    assert [word.open for word in analysis.ask("tool roo").words] == [False, True]
    assert [word.open for word in analysis.ask("tool room ").words] == [False, False]
    assert [word.open for word in analysis.ask("room 食堂").words] == [False, False]


def test_a_query_has_at_most_ten_words() -> None:
    assert words(" ".join("zbcdefghijklm")) == list("zbcdefghij")


@pytest.mark.parametrize("text", ["", " ", "!?…", "\ud800", "\x00"])
def test_a_text_without_letters_asks_for_nothing(text: str) -> None:
    assert analysis.ask(text) == analysis.Asked((), (), "")


def test_a_chinese_run_is_indexed_as_characters_pairs_and_dictionary_words() -> None:
    assert stream("图书馆") == [
        "|", "图", "图书", "书", "书馆", "馆", "|", "_书馆", "_图书", "_图书馆",
    ]  # fmt: skip


def test_texts_are_separated_so_that_no_phrase_crosses() -> None:
    assert stream("tool", "room") == ["|", "tool", "|", "room", "|"]


def test_the_whole_text_is_one_token_however_it_is_written() -> None:
    assert analysis.whole("Tool-Room 圖書館!") == analysis.whole("tool room图书馆") != ""
    assert analysis.whole("…") == ""


@given(HAN, st.data())
def test_a_part_of_a_chinese_text_has_its_tokens_at_the_same_distances(
    text: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    part = text[start : data.draw(st.integers(start + 1, len(text)))]
    tokens = stream(text)
    for word in words(part):
        grams = analysis.grams(word)
        assert any(
            all(tokens[at + offset : at + offset + 1] == [gram] for offset, gram in grams)
            for at in range(len(tokens))
        )


@given(st.text(max_size=40))
def test_every_character_of_a_folded_text_has_an_origin(text: str) -> None:
    folded, origins = analysis.fold(text), analysis.origins(text)
    assert len(folded) == len(origins)
    assert origins == sorted(origins)
    assert all(char in analysis.fold(text[at]) for at, char in zip(origins, folded, strict=True))


@given(st.text(max_size=40))
def test_tokens_never_contain_spaces_and_folding_twice_changes_nothing(text: str) -> None:
    tokens = analysis.tokens([text], wholes=[[text]])
    assert tokens.stream == " ".join(tokens.stream.split())
    again = [run.text for run in analysis.runs(analysis.fold(analysis.fold(text)))]
    assert again == [run.text for run in analysis.runs(analysis.fold(text))]


# Spelling


KNOWN = (
    *("cafe", "cafeteria", "kitchen", "repair", "mathematics", "professor", "tutoring"),
    *("tool", "room", "toolroom", "break", "fast", "breakfast"),
)
VOCABULARY = Vocabulary(dict.fromkeys(KNOWN, 1))


def readings(word: str, *, still_typing: bool = False) -> spelling.Readings:
    return VOCABULARY.readings(word, still_typing=still_typing)


@pytest.mark.parametrize(
    ("typed", "one", "two"),
    [
        ("tuol", (), ()),  # four letters
        ("repiar", ("repair",), ()),
        ("kitchn", ("kitchen",), ()),
        ("kithcn", (), ()),  # two typos in six letters
        ("pitchen", (), ()),  # the first letter counts as two
        ("brekfasst", (), ("breakfast",)),
        ("mathmatics", ("mathematics",), ()),
        ("mathmatic", (), ("mathematics",)),
        ("preakfast", (), ("breakfast",)),
        ("rbeakfast", (), ("breakfast",)),
        ("reakfast", (), ()),  # eight letters: one typo, and the first letter counts as two
        ("xbreakfast", (), ("breakfast",)),
        ("preakfasd", (), ()),
    ],
)
def test_typos_are_forgiven_as_on_the_server(
    typed: str, one: tuple[str, ...], two: tuple[str, ...]
) -> None:
    read = readings(typed)
    assert (read.one_typo, read.two_typos) == (one, two)


def test_a_word_still_being_typed_may_go_on() -> None:
    assert readings("caf", still_typing=True).going_on == ("cafe", "cafeteria")
    assert readings("caf").going_on == ()
    assert readings("cafet", still_typing=True).one_typo == ("cafe",)
    assert readings("cafte", still_typing=True).one_typo == ("cafe", "cafeteria")
    assert readings("preakfa", still_typing=True).one_typo == ()
    assert readings("vathemati", still_typing=True).two_typos == ("mathematics",)


def test_too_many_continuations_are_not_listed() -> None:
    many = Vocabulary({f"a{i}": 1 for i in range(spelling.MAX_LISTED + 1)})
    assert many.readings("a", still_typing=True).going_on is None
    assert many.readings("a1", still_typing=True).going_on is not None


def test_a_word_is_split_only_into_words_of_the_same_field() -> None:
    apart = Vocabulary({"tool": 0b01, "room": 0b10, "too": 0b100, "lroom": 0b110})
    assert VOCABULARY.splits("toolroom") == [("tool", "room")]
    assert apart.splits("toolroom") == [("too", "lroom")]


def test_new_words_and_new_fields_of_known_words_are_learned() -> None:
    learned = VOCABULARY.extended({"cafe": 2, "harbour": 4})
    assert (learned.fields("cafe"), learned.fields("harbour")) == (3, 4)
    assert learned.readings("harbor", still_typing=False).one_typo == ("harbour",)
    assert VOCABULARY.fields("harbour") == 0
    assert VOCABULARY.extended({"cafe": 1}) is VOCABULARY


SHORT = st.text("abc", min_size=1, max_size=6)


@given(SHORT, SHORT)
def test_the_edit_distance_is_the_smallest_number_of_edits(word: str, other: str) -> None:
    true = _edits(word, other)
    for limit in range(3):
        assert spelling.edit_distance(word, other, limit, prefix=False) == min(true, limit + 1)
        nearest = min(_edits(word, other[:end]) for end in range(len(other) + 1))
        assert spelling.edit_distance(word, other, limit, prefix=True) == min(nearest, limit + 1)


def _edits(word: str, other: str) -> int:
    """Optimal string alignment by its definition."""
    costs: dict[tuple[int, int], int] = {}
    for i, j in itertools.product(range(len(word) + 1), range(len(other) + 1)):
        ways = [0] if i == j == 0 else []
        if i:
            ways.append(costs[i - 1, j] + 1)
        if j:
            ways.append(costs[i, j - 1] + 1)
        if i and j:
            ways.append(costs[i - 1, j - 1] + (word[i - 1] != other[j - 1]))
        if i > 1 and j > 1 and word[i - 2 : i] == other[j - 2 : j][::-1]:
            ways.append(costs[i - 2, j - 2] + 1)
        costs[i, j] = min(ways)
    return costs[len(word), len(other)]


@given(
    st.lists(st.text("abc", min_size=3, max_size=11), max_size=30, unique=True),
    st.text("abc", min_size=1, max_size=11),
    st.booleans(),
)
def test_no_word_that_the_rules_allow_is_overlooked(
    known: list[str], typed: str, still_typing: bool
) -> None:
    read = Vocabulary(dict.fromkeys(known, 1)).readings(typed, still_typing=still_typing)
    budget = 0 if len(typed) < 5 else 1 if len(typed) < 9 else 2
    expected: dict[int, set[str]] = {1: set(), 2: set()}
    for word in known:
        if word == typed or (still_typing and word.startswith(typed)):
            continue
        ends = range(len(word) + 1) if still_typing else [len(word)]
        costs = [_edits(typed, word[:end]) for end in ends]
        cost = min(costs) if word[0] == typed[0] else max(2, min(costs) + 1)
        if 1 <= cost <= budget:
            expected[cost].add(word)
    assert set(read.one_typo) == expected[1]
    assert set(read.two_typos) == expected[2]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("给独居老人看病的医生", ["独居", "老人", "看病", "的", "医生"]),
        ("我想找理发", ["理发"]),
        ("哪里有停车位", ["停车位"]),
        ("the library", ["library"]),
        ("Breakfast at the gate", ["breakfast", "at", "the", "gate"]),
        # By themselves, as surnames, as pinyin, or still being typed they are words.
        ("的", ["的"]),
        ("于敏", ["于敏"]),
        ("can ting", ["can", "ting"]),
        ("the", ["the"]),
        ("in the", ["the"]),
        ("in the ", ["in", "the"]),
    ],
)
def test_how_one_begins_to_ask_is_no_word_of_the_question(text: str, read: list[str]) -> None:
    assert words(text) == read


def test_the_parts_of_a_compound_leave_no_character_out() -> None:
    assert analysis.parts("停车位") == ("停车", "车位")
    assert analysis.parts("理发店") == analysis.parts("停车") == analysis.parts("车") == ()
