"""What the suite of conformance does not ask, and every engine owes all the same: hours, licences,
ids and pinyin."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from search.engine import BadQuery, OpenAt, SearchEngine
from tests.search.builders import a_document, a_query, find, put
from tests.search.test_conformance import ENGINES

WEEK = f"{1 << 5 | 1 << 671:x}"


@pytest.fixture(params=["embedded in memory", "meilisearch, fake", "meilisearch, real"])
async def target(request: pytest.FixtureRequest) -> AsyncIterator[SearchEngine]:
    async with ENGINES[request.param].open(request) as opened:
        await put(
            opened,
            a_document("weekly", open_week=WEEK),
            a_document("dated", open_week=WEEK, dated=True, credentials=("inspection",)),
            a_document("closed", title_zh="早餐", pinyin=("zaocan", "zc")),
        )
        yield opened


async def test_open_is_what_the_mask_says_and_of_what_is_dated_what_is_named(
    target: SearchEngine,
) -> None:
    for quarter in (5, 671):
        named = OpenAt(quarter=quarter, exact=("dated",))
        assert set(await find(target, open_at=named)) == {"weekly", "dated"}
        assert await find(target, open_at=OpenAt(quarter=quarter, exact=())) == ["weekly"]
        assert await find(target, open_at=OpenAt(quarter=quarter)) == ["dated"]
    assert await find(target, open_at=OpenAt(quarter=6, exact=("dated",))) == []


async def test_ids_credentials_and_what_is_typed_for_chinese_narrow_alike(
    target: SearchEngine,
) -> None:
    assert await find(target, ids=("dated", "closed"), except_ids=("dated",)) == ["closed"]
    assert await find(target, ids=()) == []
    assert await find(target, credentials=("inspection",)) == ["dated"]
    for text in ("zaocan", "zaoc", "zc"):
        assert await find(target, text) == ["closed"]


@pytest.mark.parametrize("ids", [("a b",), ("x' OR id = 'y",), ("",)])
def test_an_id_that_is_none_never_gets_to_an_engine(ids: tuple[str, ...]) -> None:
    with pytest.raises(BadQuery):
        a_query(ids=ids)


async def test_how_one_begins_to_ask_is_not_looked_for(target: SearchEngine) -> None:
    await put(
        target,
        a_document("barber", title_zh="老街理发", title_en="Old Street Barber"),
        a_document("noise", title_zh="给我的信", title_en="The letter to our friends"),
    )
    for text in ("我想找理发的", "给理发", "the barber", "to our barber", "the Barber "):
        assert await find(target, text) == ["barber"], text
    # By themselves they are words like any other, and further on they count.
    assert await find(target, "给我的") == ["noise"]
    assert (await find(target, "the "))[0] == "noise"
    assert (await find(target, "letter to our friends", match="all")) == ["noise"]


async def test_a_compound_is_found_where_it_is_written_as_two_words(target: SearchEngine) -> None:
    await put(
        target,
        a_document("parts", title_zh="人工 智能"),
        a_document("whole", title_zh="人工智能"),
        a_document("other", title_zh="人工"),
    )
    # A server whose dictionary lacks the compound may go on to what has only its beginning.
    assert set((await find(target, "人工智能"))[:2]) == {"parts", "whole"}
