"""What saves time when a text is weighed changes no score."""

from __future__ import annotations

from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from search import analysis
from search.embedded import looking, textindex, weighing
from search.embedded.store import Store, View
from search.embedded.textindex import Leaf
from search.embedded.weighing import Way, Weighing
from search.engine import Delete, Match, Upsert
from tests.search.builders import a_document
from tests.search.test_recall import a_town

PIECES = (
    *("食堂", "长者", "长者食堂", "书法", "课", "家电维修", "维", "停车位", "王芳", "图书馆", "的"),
    *("canteen", "canten", "c", "ca", "repair", "appliance repair", "class", "kitchen", "kitch"),
    *("shitang", "zzst", "shi", "can teen", " ", "：", "xyzzy", "senior"),
)
# All that 长者食堂 is made of, and yet not that.
SCATTERED = a_document("scattered", title_zh="者食 食堂 长者", tags=("teen", "can"))
A_TEXT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
A_MATCH = st.sampled_from(("any", "all"))


def by_the_long_way(view: View, text: str, match: Match) -> dict[int, int]:
    """The score of each slot where the text is found, slot by slot, from what the text index says
    of each leaf by itself."""
    asked = analysis.ask(text)
    weigh = Weighing(view.words, asked)
    words, pairs = weigh._words, weigh._pairs

    def stands(slot: int, leaf: Leaf) -> bool:
        if leaf not in standing:
            clause = textindex.clause(view._schema, leaf)
            found = textindex.slots(view._searcher, clause, view._searcher.num_docs)
            standing[leaf] = frozenset(found.tolist())
        return slot in standing[leaf]

    def best(slot: int, ways: list[Way]) -> int:
        return max((score for score, leaf in ways if stands(slot, leaf)), default=0)

    def followed(slot: int, found: int, at: int) -> int:
        if at == len(words) or not found:
            return found
        rest = onwards(slot, at)
        return 0 if match == "all" and not rest else found + rest

    def onwards(slot: int, at: int) -> int:
        found = followed(slot, best(slot, words[at]), at + 1)
        if at < len(pairs):
            found = max(found, followed(slot, best(slot, pairs[at]), at + 2))
        return found

    def whole(slot: int) -> int:
        found = onwards(slot, 0)
        extras = [(weighing._WHOLE, [(0, asked.whole)])]
        extras += [(weighing._TOGETHER, analysis.grams(run)) for run in asked.runs[:5]]
        for score, tokens in extras if found else ():
            places = [Leaf(field, tuple(tokens)) for field in textindex.FIELDS]
            found += score * any(stands(slot, leaf) for leaf in places)
        return found

    standing: dict[Leaf, frozenset[int]] = {}
    return {slot: score for slot in view.columns.slots.values() if (score := whole(slot))}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(A_TEXT, A_MATCH), min_size=1, max_size=4),
    st.lists(st.integers(1, 5), max_size=2),
    st.sampled_from((1, 10, 1500)),
    st.sampled_from((1, 30, 6000)),
)
def test_texts_are_scored_as_by_the_long_way_whatever_is_known_and_written(
    asked: list[tuple[str, Match]], writes: list[int], many: int, few: int
) -> None:
    store = Store(None)
    store.stage([Upsert(document) for document in (*a_town(40), SCATTERED)])
    store.publish()
    with mock.patch.object(looking, "_MANY", many), mock.patch.object(textindex, "FEW", few):
        _compare(store.view, asked)
        for version, seed in enumerate(writes, 2):
            some = a_town(12, version=version, seed=seed)
            store.stage([*map(Upsert, some[1:]), Delete(some[0].id, version)])
            store.publish()
            _compare(store.view, asked)
    store.close()


def _compare(view: View, asked: list[tuple[str, Match]]) -> None:
    for text, match in asked:
        read = analysis.ask(text)
        if not read.words:
            continue
        expected = by_the_long_way(view, text, match)
        for _ in ("first", "again"):
            slots, scores = view.scored(text, read, match)
            assert dict(zip(slots.tolist(), scores.tolist(), strict=True)) == expected
