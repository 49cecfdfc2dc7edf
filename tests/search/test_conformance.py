"""The search conformance suite: what any engine must find, in which order, and what it refuses.

The numbers are those of the agreed cases; ENGINES lists who must pass them. Cases marked `server`
have an exact order on the server; the embedded engine owes the same set and the same first hit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec import Struct, structs

from models import values
from search import engine
from search.documents import Document, Location
from search.engine import BadQuery, Box, Delete, Scope, SearchEngine, SearchUnavailable, Upsert
from tests import meilisearch
from tests.search.builders import (
    EVERYONE,
    a_document,
    a_query,
    find,
    fixture_documents,
    put,
    write,
)


class Candidate(Struct, frozen=True):
    """An engine under test; `exact`: it owes the server's order everywhere."""

    open: Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[SearchEngine]]
    exact: bool


@contextlib.asynccontextmanager
async def _embedded(directory: Path | None) -> AsyncIterator[SearchEngine]:
    opened = engine.open_engine(directory)
    yield opened
    await opened.close()


def _on_a_server(
    request: pytest.FixtureRequest, kind: str
) -> AbstractAsyncContextManager[SearchEngine]:
    return meilisearch.engine(request.getfixturevalue(f"{kind}_server"))


ENGINES = {
    "embedded in memory": Candidate(lambda _: _embedded(None), exact=False),
    "embedded in a directory": Candidate(
        lambda request: _embedded(request.getfixturevalue("tmp_path_factory").mktemp("index")),
        exact=False,
    ),
    "meilisearch, fake": Candidate(lambda request: _on_a_server(request, "fake"), exact=True),
    "meilisearch, real": Candidate(lambda request: _on_a_server(request, "real"), exact=True),
}


class Subject(Struct, frozen=True):
    engine: SearchEngine
    exact: bool


@pytest.fixture(scope="module", params=ENGINES)
async def filled(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """An engine with the fixture in it, for tests that only read."""
    candidate = ENGINES[request.param]
    async with candidate.open(request) as opened:
        await put(opened, *fixture_documents())
        yield Subject(opened, candidate.exact)


@pytest.fixture(params=ENGINES)
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[SearchEngine]:
    """An engine with the fixture in it, for tests that write."""
    async with ENGINES[request.param].open(request) as opened:
        await put(opened, *fixture_documents())
        yield opened


class Case(Struct, frozen=True):
    number: str
    says: str
    ids: str
    query: dict[str, Any]
    order: Literal["exact", "server", "first", "set", "only first"] = "exact"


def text(number: str, typed: str, ids: str, says: str, **more: Any) -> Case:
    """A case about the text alone; E after the number means the server's exact order."""
    order = more.pop("order", "server" if number.endswith("E") else "exact")
    return Case(number, f"{typed!r} {says}", ids, {"text": typed, **more}, order)


def filtered(number: str, ids: str, says: str, **query: Any) -> Case:
    """A case about filters, where the suite states a set."""
    return Case(number, says, ids, query, "set")


SQUARE = values.Point(29.57, 106.55)
BY_DISTANCE: dict[str, Any] = {"near": SQUARE, "sort": "distance"}
CORNER = Box(south=29.559, west=106.539, north=29.562, east=106.542)

CASES = [
    text("1E", "cafeteria", "s1 m2", "is found in titles and service names"),
    text("2E", "senior cafeteria", "s1 m2 m3", "drops words from the end"),
    text("3E", "senior cafeteria", "s1 m2", "drops none when all must match", match="all"),
    text("4E", "cafe", "s1 m2", "finds what goes on"),
    text("5E", "cafetria", "s1 m2", "forgives a missing letter"),
    text("6E", "caffeteria", "s1 m2", "forgives a doubled letter"),
    text("7E", "breakfast", "m1 n1 s2", "ranks titles above service names"),
    text("8E", "brekfast", "m1 n1 s2", "ranks fields with a typo too"),
    text("9E", "tutorng", "v1 g1 s3", "forgives one typo from five letters on"),
    text("10E", "tutoring mathematics", "g1 v1 s3", "ranks by words found"),
    text("11", "mathmatics", "g1", "forgives a typo in a long word"),
    text("12", "profesor", "g1", "forgives a single letter for a double one"),
    text("13E", "kitchen", "m2 s1", "ranks first whose only tag it is"),
    text("14E", "repiar", "v2 s2", "counts swapped letters as one typo"),
    text("15E", "tool room", "s2", "finds what is written in one word", order="only first"),
    text("15", "break fast", "m1 n1 s2", "finds what is written in one word"),
    text("16E", "qiaobei", "s1 s2 m1 m3", "is found in titles and community names"),
    text("16E", "QIAOBEI", "s1 s2 m1 m3", "equals small letters"),
    text("16E", "Qiáobei", "s1 s2 m1 m3", "equals letters without marks"),
    text("17", "li", "v2 g2 s3 m1", "ranks the whole word first", order="first"),
    text("17", "li ", "v2", "finds no longer words once it is finished"),
    text("18", "gate 3", "n1", "finds numbers"),
    text("19", "xyzzy", "", "finds nothing"),
    text("20E", "食堂", "s1 m2", "is found"),
    text("21E", "长者食堂", "s1 m2", "is found in a title and a service name"),
    text("22E", "长者", "s1 m2", "is found"),
    text("23E", "早餐", "m1 n1 s2", "ranks titles above service names"),
    text("24E", "桥北", "s1 s2 m1 m3", "is found in titles and community names"),
    text("25E", "辅导", "v1 g1 s3", "is found as a part of a name"),
    text("26", "教授", "g1", "is found inside a title"),
    text("27", "图书馆", "s3", "is found as three characters"),
    text("28E", "食堂 渝北", "m2 s1", "ranks by words found"),
    text("29", "者食", "s1 m2", "is found across the border of two words", order="set"),
    text("29b", "圖書館", "s3", "finds simplified characters"),
    filtered("30", "s1 s2 m1 m2 s3 s4", "kinds and status", kinds=("space", "merchant"),
             statuses=("active",)),
    filtered("31", "s1 s2 m1 v1 v2 g1 g2 n1 s4", "the highest price is included", price_max=5),
    filtered("32", "s1 m2 n1 s3 s4", "the smallest capacity is included", capacity_min=50),
    filtered("33", "s2 m1 v1 g1 s3 m3", "any of the weekdays", weekdays=(6, 7)),
    filtered("34", "s2 v1 v2 g1 s3", "any of the services",
             service_types_any=("tutoring", "repair")),
    filtered("34", "s2", "all of the services", service_types_all=("breakfast_point", "repair")),
    filtered("35", "s1 s2 m1 m2 v1 g1 g2 n1 s3 s4", "paused and closed are hidden by default",
             statuses=engine.OPEN_STATUSES),
    filtered("36", "m2", "text and kind together", text="kitchen", kinds=("merchant",)),
    Case("39", "within 1 km by distance", "s1 s2 m1 m3", {"radius_m": 1000, **BY_DISTANCE}),
    Case("40", "within 1.45 km", "s1 s2 m1 m3 s4 s3", {"radius_m": 1450, **BY_DISTANCE}),
    Case("41", "within 5 km", "s1 s2 m1 m3 s4 s3 v1 n1 m2", {"radius_m": 5000, **BY_DISTANCE}),
    Case("42", "what has no position comes last by distance",
         "s1 s2 m1 m3 s4 s3 v1 n1 m2 g1 g2 v2", BY_DISTANCE),
    filtered("43", "v1 s3 s4", "inside a box", box=CORNER),
    filtered("45", "s1", "text and radius together", text="cafeteria", near=SQUARE, radius_m=1000),
    Case("50", "newest first", "s4 m3 s3 n1 g2 g1 v2 v1 m2 m1 s2 s1", {"sort": "newest"}),
    Case("50", "best rated first", "g1 v1 m1 g2 s1 s3 s4 m2 v2 m3 s2 n1", {"sort": "rating"}),
    Case("50", "cheapest first", "m1 m2 m3", {"sort": "price_asc", "kinds": ("merchant",)}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}: {case.says}")
async def test_a_query_finds_what_the_suite_says(filled: Subject, case: Case) -> None:
    found, expected = await find(filled.engine, **case.query), case.ids.split()
    if case.order != "only first":
        assert sorted(found) == sorted(expected)
    if case.order == "exact" or (case.order == "server" and filled.exact):
        assert found == expected
    elif case.order != "set":
        assert found[:1] == expected[:1]


def test_35_only_what_is_active_or_open_is_asked_for_by_default() -> None:
    assert engine.Query().statuses == ("active", "open")


async def test_02_the_total_counts_documents_that_match_fewer_words(filled: Subject) -> None:
    page = await filled.engine.search(a_query("senior cafeteria"), EVERYONE)
    assert (page.total, page.total_capped) == (3, False)


async def test_19_nothing_found_is_no_page_at_all(filled: Subject) -> None:
    page = await filled.engine.search(a_query("xyzzy"), EVERYONE)
    assert (page.hits, page.total, page.pages) == ((), 0, 0)


async def test_37_the_scope_restricts_whatever_the_request_says(fresh: SearchEngine) -> None:
    private = [
        structs.replace(one, public=False, partner="p1", version=2)
        for one in fixture_documents()
        if one.id in ("s1", "m2")
    ]
    await put(fresh, *private)
    assert await find(fresh, "cafeteria") == []
    assert await find(fresh, "cafeteria", Scope(places=frozenset({"qiaobei"}))) == ["s1"]
    assert await find(fresh, "cafeteria", Scope(places=frozenset({"zhanggong"}))) == []
    assert len(await find(fresh, "cafeteria", Scope(partners=frozenset({"p1"})))) == 2
    asked = {"communities": ("qiaobei",), "kinds": ("space",), "match": "all"}
    assert await find(fresh, "cafeteria", **asked) == []
    assert await find(fresh, "cafeteria", Scope(everything=True), **asked) == ["s1"]
    counted = await fresh.search(a_query(facets=("kind",)), EVERYONE)
    assert (counted.total, counted.facets["kind"]["merchant"]) == (10, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("statuses", ('x" OR status = "closed',)),
        ("communities", ("Qiaobei",)),
        ("tags", ("a b",)),
        ("service_types_any", ("",)),
        ("service_types_all", ("repair\n",)),
        ("service_types_any", ("x" * 65,)),
        ("kinds", ("spaces",)),
        ("facets", ("price",)),
        ("sort", "random"),
        ("match", "some"),
        ("weekdays", (0,)),
        ("price_max", -1),
        ("capacity_min", -1),
        ("page", 0),
        ("page_size", 101),
        ("radius_m", 100),
        ("sort", "distance"),
        ("text", "a" * 501),
    ],
)
def test_38_a_query_that_breaks_a_limit_cannot_be_made(field: str, value: Any) -> None:
    with pytest.raises(BadQuery) as refused:
        a_query(**{field: value})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("near", values.Point(91, 106.55)),
        ("near", values.Point(29.57, -180.5)),
        ("near", values.Point(float("nan"), 0)),
        ("box", Box(south=-91, west=0, north=0, east=1)),
        ("box", Box(south=1, west=0, north=0, east=1)),
        ("box", Box(south=0, west=2, north=1, east=1)),
    ],
)
def test_44_a_place_that_is_not_on_earth_is_refused(field: str, value: Any) -> None:
    with pytest.raises(BadQuery) as refused:
        a_query(**{field: value})
    assert refused.value.field == field


async def test_39_hits_say_how_far_away_they_are(filled: Subject) -> None:
    page = await filled.engine.search(a_query(radius_m=1450, **BY_DISTANCE), EVERYONE)
    for hit, metres in zip(page.hits, (0, 147, 223, 366, 1326, 1400), strict=True):
        assert hit.distance_m == pytest.approx(metres, rel=0.005, abs=1)


async def test_40_what_lies_just_outside_the_radius_is_not_found(filled: Subject) -> None:
    assert "v1" not in await find(filled.engine, radius_m=1473, near=SQUARE)
    assert "v1" in await find(filled.engine, radius_m=1475, near=SQUARE)


async def test_42_what_has_no_position_has_no_distance(filled: Subject) -> None:
    page = await filled.engine.search(a_query("appliance", **BY_DISTANCE), EVERYONE)
    assert [(hit.document.id, hit.distance_m) for hit in page.hits] == [("v2", None)]


async def test_46_and_47_facets_count_all_that_was_found(filled: Subject) -> None:
    page = await filled.engine.search(a_query(facets=("kind", "service_types")), EVERYONE)
    kinds = {"space": 4, "merchant": 3, "volunteer": 2, "vanguard": 2, "need": 1}
    assert page.facets["kind"] == kinds
    services = {"breakfast_point": 3, "tutoring": 3, "repair": 2, "senior_cafeteria": 2}
    ones = ("health_clinic", "library", "haircut", "meeting_room", "mediation")
    assert page.facets["service_types"] == services | dict.fromkeys(ones, 1)


@pytest.mark.parametrize("page", [{}, {"page_size": 1}, {"page": 9}, {"page_size": 0}])
async def test_48_facets_do_not_depend_on_the_page(filled: Subject, page: dict[str, int]) -> None:
    answer = await filled.engine.search(a_query("kitchen", facets=("kind",), **page), EVERYONE)
    assert answer.facets == {"kind": {"merchant": 1, "space": 1}}


async def test_49_a_facet_ignores_the_filter_on_itself_and_no_other(filled: Subject) -> None:
    query = a_query(kinds=("space",), weekdays=(6,), facets=("kind", "weekdays"))
    page = await filled.engine.search(query, EVERYONE)
    assert page.total == 2
    assert page.facets["kind"] == {"space": 2, "merchant": 2, "vanguard": 1, "volunteer": 1}
    assert page.facets["weekdays"]["1"] == 4
    query = a_query(kinds=("space",), facets=("kind",))
    page = await filled.engine.search(query, EVERYONE)
    assert (page.total, page.facets["kind"]["merchant"]) == (4, 3)


async def test_49_asking_for_all_services_narrows_their_own_facet(filled: Subject) -> None:
    query = a_query(service_types_all=("tutoring",), facets=("service_types",))
    page = await filled.engine.search(query, EVERYONE)
    assert page.facets["service_types"] == {"tutoring": 3, "library": 1}


async def test_51_pages_follow_each_other_without_repeating(filled: Subject) -> None:
    pages = [
        await filled.engine.search(a_query(page=page, page_size=5), EVERYONE)
        for page in (1, 2, 3, 4)
    ]
    assert [len(page.hits) for page in pages] == [5, 5, 2, 0]
    assert {(page.total, page.pages) for page in pages} == {(12, 3)}
    shown = [hit.document.id for page in pages for hit in page.hits]
    assert shown == [document.id for document in fixture_documents()]


async def test_52_a_page_of_none_still_has_totals_and_facets(filled: Subject) -> None:
    page = await filled.engine.search(a_query(page_size=0, facets=("kind",)), EVERYONE)
    assert (page.hits, page.total, page.pages) == ((), 12, 0)
    assert page.facets["kind"]["space"] == 4


async def test_53_the_same_query_gives_the_same_order(fresh: SearchEngine) -> None:
    before = await find(fresh, "qiaobei")
    assert await find(fresh, "qiaobei") == before
    await put(fresh, a_document("x", title_zh="新", title_en="unrelated"))
    assert await find(fresh, "qiaobei") == before
    await put(fresh, *reversed(fixture_documents()))
    assert await find(fresh, "qiaobei") == before


async def test_54_a_document_is_found_once_its_write_was_waited_for(fresh: SearchEngine) -> None:
    assert await put(fresh, a_document("x", title_en="lighthouse")) == ()
    assert await find(fresh, "lighthouse") == ["x"]


async def test_55_the_same_version_twice_is_one_document(fresh: SearchEngine) -> None:
    same = a_document("x", title_en="lighthouse")
    await put(fresh, same, same)
    await put(fresh, same)
    page = await fresh.search(a_query("lighthouse", facets=("kind",)), EVERYONE)
    assert (page.total, page.facets["kind"]) == (1, {"space": 1})


async def test_56_a_deleted_document_is_gone_and_may_be_deleted_again(fresh: SearchEngine) -> None:
    for _ in range(2):
        assert await write(fresh, Delete("s1", 2)) == ()
        assert await find(fresh, "cafeteria") == ["m2"]
    assert "s1" not in await fresh.versions()


async def test_57_a_replacement_leaves_nothing_of_the_old_one(fresh: SearchEngine) -> None:
    old = a_document("x", title_en="lighthouse", kind="goods", tags=("torch", "rope"))
    await put(fresh, old)
    await put(fresh, a_document("x", version=2, title_en="harbour", tags=("anchor",)))
    assert await find(fresh, "lighthouse") == []
    assert await find(fresh, "torch") == []
    page = await fresh.search(a_query("harbour", facets=("kind", "tags")), EVERYONE)
    assert page.facets == {"kind": {"space": 1}, "tags": {"anchor": 1}}
    everything = await fresh.search(a_query(facets=("kind", "tags")), EVERYONE)
    assert "goods" not in everything.facets["kind"]
    assert not {"torch", "rope"} & everything.facets["tags"].keys()


@pytest.mark.parametrize(
    "bad",
    [
        a_document("bad", location=Location(91_000_000, 0)),
        a_document("bad", location=Location(0, 181_000_000)),
        a_document("bad id"),
        a_document("bad", kind="spaceship"),
        a_document("bad", title_en="\ud800"),
        a_document("bad", community="Not A Slug"),
        a_document("bad", weekdays=(8,)),
        a_document("bad", tags={"a", "set", 3}),
        a_document("bad", rank_key=2**64),
    ],
    ids=lambda bad: str(bad)[:150],
)
async def test_58_one_bad_document_among_a_hundred_fails_alone(
    fresh: SearchEngine, bad: Document
) -> None:
    good = [a_document(f"x{i}", title_en="lighthouse") for i in range(99)]
    failures = await put(fresh, *good[:50], bad, *good[50:])
    assert [failure.id for failure in failures] == [bad.id]
    assert failures[0].detail
    page = await fresh.search(a_query("lighthouse"), EVERYONE)
    assert page.total == 99


async def test_59_a_rebuild_never_shows_an_empty_index_and_misses_no_write(
    fresh: SearchEngine,
) -> None:
    database = {document.id: document for document in fixture_documents()}
    totals: list[int] = []
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            totals.append((await fresh.search(a_query("食堂"), EVERYONE)).total)

    async def change(round: int) -> None:
        late = a_document(f"late{round}", title_zh="新食堂", version=round + 1)
        updated = structs.replace(database["s2"], version=round + 2, title_en="shed")
        database.update({late.id: late, "s2": updated})
        ops = [Upsert(late), Upsert(updated)]
        if round == 1:
            del database["g1"]
            ops.append(Delete("g1", 2))
        await write(fresh, *ops)

    looking = asyncio.create_task(look())
    stale = fixture_documents()  # what the rebuild has read before the writes below
    rebuild = await fresh.begin_rebuild()
    for round in range(4):
        await change(round)
        await rebuild.add(stale[round * 3 : round * 3 + 3])
        await asyncio.sleep(0)
    await rebuild.commit()
    await change(4)
    done.set()
    await looking
    assert await fresh.versions() == {id: document.version for id, document in database.items()}
    assert min(totals) >= 2
    assert await find(fresh, "shed") == ["s2"]
    assert await find(fresh, "professor") == []


async def test_59_a_newer_rebuild_overtakes_an_unfinished_one(fresh: SearchEngine) -> None:
    lost = await fresh.begin_rebuild()
    await lost.add([a_document("x")])
    rebuild = await fresh.begin_rebuild()
    with pytest.raises(SearchUnavailable):
        await lost.commit()
    await rebuild.add([a_document("y")])
    await rebuild.commit()
    await rebuild.abort()  # too late: nothing happens
    assert await fresh.versions() == {"y": 1}


async def test_59_an_aborted_rebuild_leaves_everything_as_it_was(fresh: SearchEngine) -> None:
    before = await fresh.versions()
    rebuild = await fresh.begin_rebuild()
    failures = await rebuild.add([a_document("x"), a_document("bad id")])
    assert [failure.id for failure in failures] == ["bad id"]
    await rebuild.abort()
    assert await fresh.versions() == before
    with pytest.raises(SearchUnavailable):
        await rebuild.commit()


async def test_60_a_stopped_engine_says_so_at_once(fresh: SearchEngine) -> None:
    rebuild = await fresh.begin_rebuild()
    receipt = await fresh.apply([])
    await fresh.close()
    await fresh.close()
    async with asyncio.timeout(5):
        for call in (
            lambda: fresh.search(a_query(), EVERYONE),
            lambda: fresh.multi([a_query()], EVERYONE),
            lambda: fresh.suggest("li", EVERYONE, 5),
            lambda: fresh.apply([]),
            lambda: fresh.wait(receipt),
            lambda: fresh.begin_rebuild(),
            lambda: fresh.versions(),
            lambda: fresh.health(),
            lambda: rebuild.add([]),
            lambda: rebuild.commit(),
        ):
            with pytest.raises(SearchUnavailable):
                await call()


async def test_61_a_typo_marks_the_word_that_was_meant(filled: Subject) -> None:
    page = await filled.engine.search(a_query("kitchn", highlight=True), EVERYONE)
    assert {hit.document.id: hit.highlights for hit in page.hits} == {
        "m2": {"tags": "<em>kitchen</em>"},
        "s1": {"tags": "<em>kitchen</em>, ramp"},
    }


async def test_61_a_text_comes_back_escaped_and_cannot_fake_a_mark(fresh: SearchEngine) -> None:
    title = "<b>x</b> \ue000lighthouse\ue001 & <em>y</em>"
    await put(fresh, a_document("x", title_en=title, title_zh="<i>灯塔</i>"))
    query = a_query("lighthouse 灯塔", highlight=True)
    [hit] = (await fresh.search(query, EVERYONE)).hits
    assert hit.highlights == {
        "title_en": "&lt;b&gt;x&lt;/b&gt; <em>lighthouse</em> &amp; &lt;em&gt;y&lt;/em&gt;",
        "title_zh": "&lt;i&gt;<em>灯塔</em>&lt;/i&gt;",
    }


async def test_several_queries_are_answered_in_order(filled: Subject) -> None:
    pages = await filled.engine.multi([a_query("食堂"), a_query("xyzzy")], EVERYONE)
    assert [page.total for page in pages] == [2, 0]
