"""What the embedded engine finds and in which order, against the definitions of the words."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import values
from search import engine
from search.documents import Document, Location
from search.embedded import finding
from search.engine import Box, Query, Scope, SearchEngine
from tests.search.builders import EVERYONE, a_document, a_query, find, fixture_documents, put

ALL = Scope(everything=True)
many = settings(max_examples=100)

TITLES = (
    "桥北社区长者食堂", "渝北数字食堂", "共享圖書館阅览室", "王芳课后辅导", "张伟教授数学辅导",
    "金世界花园议事厅", "好邻居理发店3号门", "刘醫生健康義診", "李强家电维修", "周姐早餐店",
)  # fmt: skip


@pytest.fixture
async def memory() -> AsyncIterator[SearchEngine]:
    """An empty engine in memory."""
    opened = engine.open_engine(None)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def titled() -> AsyncIterator[SearchEngine]:
    """The titles above, each in a community of its own."""
    opened = engine.open_engine(None)
    await put(
        opened,
        *(a_document(f"t{i}", title_zh=title, community=f"c{i}") for i, title in enumerate(TITLES)),
    )
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def town() -> AsyncIterator[SearchEngine]:
    """The three hundred documents of TOWN."""
    opened = engine.open_engine(None)
    await put(opened, *TOWN)
    yield opened
    await opened.close()


def a_town() -> list[Document]:
    """Three hundred documents that differ in everything a query can ask about."""
    dice = random.Random(7)
    words = ["canteen", "kitchen", "library", "食堂", "图书馆", "维修"]
    return [
        a_document(
            f"d{i}",
            kind=dice.choice(("space", "merchant", "need")),
            title_en=" ".join(dice.sample(words, 2)),
            title_zh="",
            service_types=tuple(dice.sample(("repair", "tutoring", "haircut"), dice.randrange(3))),
            tags=tuple(dice.sample(("ramp", "quiet", "late", "big"), dice.randrange(4))),
            community=dice.choice(("", "qiaobei", "yubei")),
            places=("city", dice.choice(("north", "south"))),
            partner=dice.choice(("", "p1", "p2")),
            public=dice.random() < 0.5,
            location=dice.choice((None, Location(29_500_000 + i * 100, 106_500_000 + i * 150))),
            capacity=dice.choice((None, i)),
            price=dice.choice((None, 0, i)),
            rating=dice.randrange(10),
            weekdays=tuple(dice.sample(range(1, 8), dice.randrange(4))),
            status=dice.choice(("active", "open", "closed")),
            created=dice.randrange(10),
            rank_key=dice.randrange(20) - 10,
        )
        for i in range(300)
    ]


TOWN = a_town()


@many
@given(st.data())
async def test_any_part_of_a_chinese_title_finds_it(
    titled: SearchEngine, data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(TITLES) - 1))
    title = TITLES[number]
    start = data.draw(st.integers(0, len(title) - 1))
    part = title[start : data.draw(st.integers(start + 1, len(title)))]
    assert await find(titled, part, match="all", communities=(f"c{number}",)) == [f"t{number}"]


@many
@given(st.text(max_size=60))
async def test_any_text_may_be_searched_for(titled: SearchEngine, text: str) -> None:
    page = await titled.search(a_query(text, highlight=True, facets=("kind",)), EVERYONE)
    assert page.total == sum(page.facets["kind"].values())


async def test_an_answer_does_not_depend_on_chance_meetings_of_characters(
    memory: SearchEngine,
) -> None:
    await put(
        memory,
        a_document("apart", title_zh="食在中堂", rank_key=9),
        a_document("across", title_zh="美食堂口", rank_key=8),
        a_document("word", title_zh="社区食堂", rank_key=7),
    )
    assert await find(memory, "食堂") == ["word", "across"]


async def test_chinese_words_that_stand_together_rank_above_the_same_words_apart(
    memory: SearchEngine,
) -> None:
    await put(
        memory,
        a_document("apart", title_zh="食堂为长者服务", rank_key=9),
        a_document("together", title_zh="社区", description_zh="新的长者食堂"),
    )
    assert await find(memory, "长者食堂") == ["together", "apart"]


async def test_fewer_typos_rank_above_a_better_field_and_the_field_above_exactness(
    memory: SearchEngine,
) -> None:
    await put(
        memory,
        a_document("typo", title_en="kitchens", rank_key=9),
        a_document("tag", title_en="x", tags=("kitchen", "y")),
        a_document("longer", title_en="kitchenette"),
    )
    assert await find(memory, "kitchen ") == ["tag", "typo"]
    assert await find(memory, "kitchen") == ["typo", "longer", "tag"]


async def test_a_word_written_together_is_found_apart_with_one_typo(memory: SearchEngine) -> None:
    await put(
        memory,
        a_document("apart", title_en="tool room", rank_key=9),
        a_document("turned", title_en="room tool", rank_key=9),
        a_document("tag", title_en="x", tags=("toolroom", "y")),
    )
    assert await find(memory, "toolroom") == ["tag", "apart"]


async def test_two_words_found_written_together_are_both_found(memory: SearchEngine) -> None:
    await put(
        memory,
        a_document("one", title_en="tool shed", rank_key=9),
        a_document("both", title_en="x", description_en="toolroom"),
    )
    assert await find(memory, "tool room") == ["both", "one"]
    assert await find(memory, "tool room", match="all") == ["both"]


async def test_a_facet_names_the_hundred_most_frequent_values(memory: SearchEngine) -> None:
    await put(memory, *(a_document(f"x{i}", tags=(f"t{i:03}",)) for i in range(150)))
    await put(memory, a_document("y", tags=("t149",)))
    page = await memory.search(a_query(facets=("tags",)), EVERYONE)
    names = list(page.facets["tags"])
    assert (len(names), names[:2], names[-1]) == (100, ["t149", "t000"], "t098")


async def test_what_lies_on_the_rim_is_within_the_radius(memory: SearchEngine) -> None:
    await put(memory, a_document("here", location=Location(29_500_000, 106_500_000)))
    here = values.Point(29.5, 106.5)
    assert await find(memory, near=here, radius_m=0) == ["here"]


async def test_all_words_must_match_when_asked_for(memory: SearchEngine) -> None:
    await put(memory, a_document("a", title_en="tool shed"))
    assert await find(memory, "tool xyzzy", match="all") == []
    assert await find(memory, "tool xyzzy") == ["a"]
    assert await find(memory, "xyzzy tool") == []


async def test_a_beginning_with_many_continuations_finds_them_all(memory: SearchEngine) -> None:
    await put(memory, *(a_document(f"x{i}", title_en=f"s{i}x") for i in range(150)))
    page = await memory.search(a_query("s"), EVERYONE)
    assert page.total == 150


async def test_many_words_with_a_typo_are_all_found(memory: SearchEngine) -> None:
    await put(memory, *(a_document(f"x{i}", title_en=f"harbo{chr(97 + i)}r") for i in range(26)))
    page = await memory.search(a_query("harbor "), EVERYONE)
    assert page.total == 26


async def test_marks_cover_whole_letters_and_join_where_words_touch(memory: SearchEngine) -> None:
    await put(memory, a_document("a", title_en="Cafe\u0301 tool-room ½", title_zh="長者食堂3号"))
    [hit] = (await memory.search(a_query("cafe", highlight=True), EVERYONE)).hits
    assert hit.highlights == {"title_en": "<em>Cafe\u0301</em> tool-room ½"}
    [hit] = (await memory.search(a_query("长者食堂 3", highlight=True), EVERYONE)).hits
    assert hit.highlights == {"title_zh": "<em>長者食堂3</em>号"}
    [hit] = (await memory.search(a_query("toolroom", highlight=True), EVERYONE)).hits
    assert hit.highlights["title_en"] == "Cafe\u0301 <em>tool</em>-<em>room</em> ½"


async def test_suggestions_are_titles_in_the_script_being_typed(memory: SearchEngine) -> None:
    await put(memory, *fixture_documents())
    assert await memory.suggest("caf", EVERYONE, 5) == [
        "Qiaobei senior cafeteria hall",
        "Yubei digital cafeteria",
    ]
    assert (await memory.suggest("教", EVERYONE, 5)) == ["张伟教授数学辅导"]
    assert len(await memory.suggest("qiao", EVERYONE, 2)) == 2
    assert await memory.suggest("", EVERYONE, 5) == []


async def test_suggestions_keep_to_the_scope(memory: SearchEngine) -> None:
    await put(memory, a_document("x", public=False, partner="p1"))
    assert await memory.suggest("cant", EVERYONE, 5) == []
    assert await memory.suggest("cant", Scope(partners=frozenset({"p1"})), 5) == ["canteen"]


async def test_suggestions_name_each_title_once(memory: SearchEngine) -> None:
    await put(memory, *(a_document(f"x{i}", title_zh="") for i in range(20)))
    await put(memory, a_document("y", title_en="canteen hall"))
    assert await memory.suggest("cant", EVERYONE, 5) == ["canteen"]
    assert await memory.suggest("canteen h", EVERYONE, 5) == ["canteen hall"]
    assert await memory.suggest("食", EVERYONE, 5) == ["食堂"]


# Filters, facets and order, against their definition

A_SCOPE = st.builds(
    Scope,
    places=st.frozensets(st.sampled_from(("city", "north", "south", "nowhere")), max_size=2),
    partners=st.frozensets(st.sampled_from(("p1", "p2", "p3")), max_size=2),
    everything=st.booleans(),
)
A_QUERY = st.fixed_dictionaries(
    {},
    optional={
        "kinds": st.sampled_from([("space",), ("space", "need"), ("goods",)]),
        "statuses": st.sampled_from([("closed",), ("active", "open")]),
        "service_types_any": st.sampled_from([("repair",), ("repair", "haircut"), ("nothing",)]),
        "service_types_all": st.sampled_from([("repair",), ("repair", "haircut")]),
        "tags": st.sampled_from([("ramp",), ("quiet", "big")]),
        "communities": st.sampled_from([("qiaobei",), ("yubei", "qiaobei")]),
        "weekdays": st.sampled_from([(1,), (6, 7)]),
        "price_max": st.sampled_from([0, 100]),
        "capacity_min": st.sampled_from([1, 200]),
        "radius_m": st.sampled_from([0, 1000, 3000]),
        "box": st.sampled_from([Box(south=29.5, west=106.5, north=29.51, east=106.52)]),
        "sort": st.sampled_from(["newest", "rating", "price_asc", "distance"]),
    },
)


@many
@given(A_QUERY, A_SCOPE, st.integers(1, 4), st.sampled_from([7, 100]))
async def test_filters_facets_and_order_are_what_they_are_defined_to_be(
    town: SearchEngine, asked: dict[str, Any], scope: Scope, page: int, page_size: int
) -> None:
    facets = ("kind", "status", "service_types", "tags", "community", "weekdays")
    query = a_query(
        **asked, near=values.Point(29.5, 106.5), facets=facets, page=page, page_size=page_size
    )
    answer = await town.search(query, scope)
    visible = [one for one in TOWN if _visible(one, scope)]
    expected = sorted(
        (one for one in visible if all(_passes(one, query).values())),
        key=lambda one: (_sort_key(one, query), -one.rank_key, int(one.id[1:])),
    )
    shown = expected[(page - 1) * page_size : page * page_size]
    assert [hit.document for hit in answer.hits] == shown
    assert (answer.total, answer.pages) == (len(expected), -(-len(expected) // page_size))
    for name in facets:
        counted: Counter[str] = Counter()
        for one in visible:
            passes = _passes(one, query)
            passes.pop(name, None)
            if all(passes.values()):
                counted.update(_values(one, name))
        assert answer.facets[name] == counted
        assert list(answer.facets[name]) == sorted(counted, key=lambda v: (-counted[v], v))


def _visible(one: Document, scope: Scope) -> bool:
    within = scope.places & set(one.places) or one.partner in scope.partners
    return scope.everything or one.public or bool(within)


def _passes(one: Document, query: Query) -> dict[str, bool]:
    metres = _metres(one)
    box, place = query.box, one.location
    inside = box is None or (
        place is not None
        and box.south * 1e6 <= place.lat_e6 <= box.north * 1e6
        and box.west * 1e6 <= place.lon_e6 <= box.east * 1e6
    )
    wanted = {
        "kind": query.kinds,
        "status": query.statuses,
        "service_types": query.service_types_any,
        "tags": query.tags,
        "community": query.communities,
        "weekdays": tuple(map(str, query.weekdays)),
    }
    return {
        **{
            name: not some or bool({*some} & {*_values(one, name)}) for name, some in wanted.items()
        },
        "all": {*query.service_types_all} <= {*one.service_types},
        "price": query.price_max is None
        or (one.price is not None and one.price <= query.price_max),
        "capacity": query.capacity_min is None or (one.capacity or 0) >= query.capacity_min,
        "box": inside,
        "radius": query.radius_m is None or metres <= query.radius_m,
    }


def _values(one: Document, name: str) -> list[str]:
    value = getattr(one, name)
    return [v for v in ([value] if isinstance(value, str) else map(str, value)) if v]


def _metres(one: Document) -> float:
    """Good enough for a few kilometres: on the plane."""
    if one.location is None:
        return float("inf")
    north = (one.location.lat_e6 - 29_500_000) * 0.111_195
    east = (one.location.lon_e6 - 106_500_000) * 0.111_195 * np.cos(np.radians(29.5))
    return float(np.hypot(north, east))


def _sort_key(one: Document, query: Query) -> float:
    if query.sort == "newest":
        return -one.created
    if query.sort == "rating":
        return -one.rating
    if query.sort == "price_asc":
        return float("inf") if one.price is None else one.price
    return _metres(one) if query.sort == "distance" else 0


@many
@given(A_SCOPE, st.sampled_from(["canteen", "食堂", "kitchen 图书馆", ""]))
async def test_a_scope_only_ever_takes_away(town: SearchEngine, scope: Scope, text: str) -> None:
    wide = await town.search(a_query(text, page_size=100), ALL)
    ids = {hit.document.id for hit in wide.hits}
    for page in range(2, wide.pages + 1):
        more = await town.search(a_query(text, page_size=100, page=page), ALL)
        ids |= {hit.document.id for hit in more.hits}
    narrow = await town.search(a_query(text, page_size=100), scope)
    assert all(_visible(hit.document, scope) for hit in narrow.hits)
    visible = {one.id for one in TOWN if _visible(one, scope)}
    assert narrow.total == len(ids & visible)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40),
    st.integers(1, 45),
)
def test_the_smallest_rows_are_those_a_full_sort_puts_first(
    rows: list[tuple[int, int]], most: int
) -> None:
    keys = [np.array([row[at] for row in rows]) for at in range(2)]
    expected = sorted(range(len(rows)), key=lambda i: (*rows[i], i))[:most]
    assert finding.smallest(keys, most).tolist() == expected
