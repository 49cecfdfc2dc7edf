"""The Meilisearch engine on a real server, beyond what the conformance suite asks of any engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from search import engine, meili
from search.engine import Delete, Scope, SearchUnavailable, Upsert
from search.meili import asking, entries, writing
from search.meili import server as servers
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


@pytest.fixture
async def empty(meili_server: meilisearch.Server) -> AsyncIterator[meili.Meili]:
    """An engine whose index is not there yet."""
    async with meilisearch.engine(meili_server) as opened:
        yield opened


@pytest.fixture(scope="module")
async def filled(meili_server: meilisearch.Server) -> AsyncIterator[meili.Meili]:
    """An engine with the fixture in it, for tests that only read."""
    async with meilisearch.engine(meili_server) as opened:
        await put(opened, *fixture_documents())
        yield opened


async def _again(opened: meili.Meili, on: meilisearch.Server) -> meili.Meili:
    """The same index, as another process opens it."""
    return meili.Meili(on.url, await on.key(), opened._main.uid)


# What is asked


@pytest.mark.parametrize(
    ("typed", "same_as"),
    [
        ('"cafeteria hall senior"', "cafeteria hall senior"),
        ("-kitchen", "kitchen"),
        ("cafeteria -kitchen", "cafeteria kitchen"),
        ("“食堂”", "食堂"),
        ("食堂'; status = closed", "食堂 status closed"),
        ("!?…", ""),
    ],
)
async def test_no_text_is_a_command_to_the_server(
    filled: meili.Meili, typed: str, same_as: str
) -> None:
    found = await find(filled, typed)
    assert found
    assert found == await find(filled, same_as)


async def test_a_left_over_part_is_found_only_where_its_characters_are_neighbours(
    empty: meili.Meili,
) -> None:
    await put(
        empty,
        a_document("together", title_zh="长者食堂"),
        a_document("apart", title_zh="志愿者的食品"),
    )
    assert await find(empty, "者食") == ["together"]
    assert await find(empty, "食品 者食", match="all") == []
    assert set(await find(empty, "食品 者食")) == {"apart"}


async def test_words_inside_longer_words_are_found(empty: meili.Meili) -> None:
    await put(empty, a_document("x", title_zh="小学生课后托管", description_zh="社区长者之家"))
    for part in ("小学生", "学生", "小学", "生", "课后", "区长", "者之"):
        assert await find(empty, part) == ["x"], part


async def test_a_traditional_text_is_found_in_simplified_and_comes_back_as_it_was(
    empty: meili.Meili,
) -> None:
    document = a_document(
        "x", title_zh="圖書館閱覽室", service_names=("閱讀",), tags=("圖書", "安靜")
    )
    await put(empty, document)
    query = a_query("图书馆 閱讀", highlight=True)
    [hit] = (await empty.search(query, EVERYONE)).hits
    assert hit.document == document
    assert hit.highlights["title_zh"].startswith("<em>圖書館</em>")
    assert hit.highlights["service_names"] == "<em>閱讀</em>"


async def test_the_mark_covers_the_whole_word_that_was_begun(filled: meili.Meili) -> None:
    page = await filled.search(a_query("cafet", highlight=True), EVERYONE)
    assert page.hits[0].highlights["title_en"] == "Qiaobei senior <em>cafeteria</em> hall"


async def test_titles_are_suggested_in_the_script_that_is_typed(filled: meili.Meili) -> None:
    assert await filled.suggest("caf", EVERYONE, 5) == [
        "Qiaobei senior cafeteria hall",
        "Yubei digital cafeteria",
    ]
    assert await filled.suggest("长者", EVERYONE, 1) == ["桥北社区长者食堂"]
    assert await filled.suggest("caf", EVERYONE, 0) == []
    assert await filled.suggest("?", EVERYONE, 5) == []


def test_a_scope_that_could_change_the_filter_sees_nothing_more() -> None:
    scope = Scope(places=frozenset({'x"] OR public = false OR kind IN ["space'}))
    [search] = asking.asked("x", a_query(), scope)
    assert search["filter"] == ["public = true"]


# What is written


async def test_an_op_older_than_what_another_process_sent_is_passed_over(
    empty: meili.Meili, meili_server: meilisearch.Server
) -> None:
    await put(empty, a_document("x", version=5, title_en="harbour"))
    again = await _again(empty, meili_server)
    await put(again, a_document("x", version=4, title_en="lighthouse"))
    await put(again, a_document("y", version=2), a_document("y", version=1, title_en="late"))
    assert await again.versions() == {"x": 5, "y": 2}
    await write(again, Delete("x", 6), Upsert(a_document("x", version=5)))
    assert await again.versions() == {"y": 2}
    await put(again, a_document("x", version=7))
    assert await again.versions() == {"x": 7, "y": 2}
    await again.close()


async def test_what_only_the_server_refuses_is_found_out_and_left_out(
    empty: meili.Meili,
) -> None:
    await put(empty, a_document("first"))
    writes, _ = writing.writes([Upsert(a_document(f"x{i}")) for i in range(30)])
    bad = [writing.Write(f"bad{i}", 1, b'{"id":"bad%d","_geo":{"lat":"?"}}' % i) for i in (1, 2)]
    mixed = [*writes[:7], bad[0], *writes[7:], bad[1]]
    [sent] = await empty._main.send(mixed)
    failures = await empty._main.settle(sent)
    assert sorted(failure.id for failure in failures) == ["bad1", "bad2"]
    assert "_geo" in failures[0].detail
    assert len(await empty.versions()) == 31


async def test_many_documents_go_in_several_uploads(
    empty: meili.Meili, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_UPLOAD_BYTES", 10_000)
    monkeypatch.setattr(writing, "_PAGE", 7)
    many = [a_document(f"x{i}", description_en="boat " * 100) for i in range(40)]
    assert await put(empty, *many) == ()
    assert await empty.versions() == {f"x{i}": 1 for i in range(40)}


async def test_a_task_that_the_server_forgot_must_be_applied_again(empty: meili.Meili) -> None:
    await put(empty, a_document("x"))
    lost = writing.Sent(empty._main, 2**31)
    with pytest.raises(SearchUnavailable, match="task_not_found"):
        await empty._main.settle(lost)


# Rebuilding


async def test_an_index_that_is_not_there_is_empty_and_answers_nothing(
    empty: meili.Meili,
) -> None:
    assert (await empty.health()).empty
    with pytest.raises(SearchUnavailable, match="index_not_found"):
        await empty.search(a_query(), EVERYONE)
    rebuild = await empty.begin_rebuild()
    await rebuild.add(fixture_documents())
    await rebuild.commit()
    assert await empty.health() == engine.Health(documents=12, pending=0, empty=False)
    assert await find(empty, "cafeteria") == ["s1", "m2"]


async def test_an_index_is_complete_only_after_a_rebuild(empty: meili.Meili) -> None:
    await put(empty, a_document("x"))
    assert (await empty.health()).empty
    rebuild = await empty.begin_rebuild()
    assert (await empty.health()).empty
    await rebuild.commit()
    assert not (await empty.health()).empty


async def test_changed_settings_want_a_rebuild_and_the_old_index_answers_until_then(
    empty: meili.Meili, meili_server: meilisearch.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild = await empty.begin_rebuild()
    await rebuild.add(fixture_documents())
    await rebuild.commit()
    changed = {**entries.SETTINGS, "stopWords": ["hall"]}
    monkeypatch.setattr(entries, "SETTINGS", changed)
    again = await _again(empty, meili_server)
    assert (await again.health()).empty
    assert await find(again, "cafeteria") == ["s1", "m2"]
    rebuild = await again.begin_rebuild()
    await rebuild.add(fixture_documents())
    await rebuild.commit()
    assert not (await again.health()).empty
    assert await find(again, "hall ") == await find(again)
    await again.close()


async def test_of_two_processes_that_rebuild_the_first_takes_nothing_from_the_second(
    empty: meili.Meili, meili_server: meilisearch.Server
) -> None:
    """Neither by finishing nor by giving up: by now the new index is that of the second."""
    first = await empty.begin_rebuild()
    await first.add([a_document("x")])
    other = await _again(empty, meili_server)
    second = await other.begin_rebuild()
    await second.add([a_document("y")])
    for late in (lambda: first.add([a_document("z")]), first.commit):
        with pytest.raises(SearchUnavailable, match="overtaken"):
            await late()
    await first.abort()
    await second.commit()
    assert not (await empty.health()).empty
    assert await empty.versions() == {"y": 1}
    await other.close()


async def test_what_a_killed_rebuild_left_is_in_nobodys_way(
    empty: meili.Meili, meili_server: meilisearch.Server
) -> None:
    left = await empty.begin_rebuild()
    await left.add([a_document("left")])
    again = await _again(empty, meili_server)
    await put(again, a_document("x"))
    rebuild = await again.begin_rebuild()
    await rebuild.add([a_document("x")])
    await rebuild.commit()
    assert await again.versions() == {"x": 1}
    await again.close()


# The key


async def test_the_key_is_the_same_each_time_and_opens_nothing_else(
    meili_server: meilisearch.Server,
) -> None:
    key = await meili_server.key()
    assert key == await meili_server.key()
    async with httpx.AsyncClient(
        base_url=meili_server.url, headers={"Authorization": f"Bearer {key}"}
    ) as client:
        body = {"uid": "others"}
        for method, path in (
            ("GET", "/keys"),
            ("POST", "/keys"),
            ("POST", "/indexes"),
            ("GET", "/indexes/others/documents"),
            ("POST", "/dumps"),
            ("DELETE", "/tasks?statuses=succeeded"),
        ):
            answer = await client.request(method, path, json=body)
            assert answer.status_code == 403, (method, path, answer.text)


async def test_a_key_that_is_refused_is_said_and_never_shown(
    meili_server: meilisearch.Server,
) -> None:
    opened = meili.Meili(meili_server.url, "not-the-key-at-all")
    with pytest.raises(SearchUnavailable, match="403 invalid_api_key") as refused:
        await opened.health()
    assert "not-the-key" not in str(refused.value)
    await opened.close()
    with pytest.raises(SearchUnavailable):
        await meili.make_keys(meili_server.url, "not-the-master-key")


# Trouble


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("localhost:7700", ""),
        ("ftp://localhost", ""),
        ("http://", ""),
        ("http://[::1", ""),
        ("http://localhost", "钥匙"),
        ("http://localhost", "a\nb"),
    ],
)
def test_what_is_no_address_or_no_key_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(SearchUnavailable, match="MEILI_"):
        engine.open_engine(None, url, key)


async def test_a_server_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers, "CALL_S", 0.2)
    async with _answering(None) as url:
        began = time.monotonic()
        with pytest.raises(SearchUnavailable, match="does not answer"):
            await _ask(url)
        assert time.monotonic() - began < 4
    with pytest.raises(SearchUnavailable, match="does not answer"):
        await _ask(url)  # nobody listens there any more


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (503, '{"code":"too_many_search_requests"}', "503 too_many_search_requests"),
        (429, "slow down", "429"),
        (200, "<html>a proxy</html>", "no answer of a Meilisearch server"),
        (200, '{"results":[{}]}', "no answer of a Meilisearch server"),
        (307, "", "307"),
        (500, "", "500"),
    ],
)
async def test_an_answer_that_is_none_makes_search_unavailable(
    status: int, body: str, says: str
) -> None:
    head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nLocation: http://x/\r\n\r\n"
    async with _answering((head + body).encode()) as url:
        with pytest.raises(SearchUnavailable, match=says):
            await _ask(url)


async def _ask(url: str) -> None:
    opened = engine.open_engine(None, url)
    try:
        await opened.search(a_query("食堂"), EVERYONE)
    finally:
        await opened.close()


@contextlib.asynccontextmanager
async def _answering(answer: bytes | None) -> AsyncIterator[str]:
    """A server that answers everything with these bytes, or with nothing at all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        if answer is None:
            await over.wait()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    over = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        server.close()


async def test_documents_of_another_form_are_no_answer(empty: meili.Meili) -> None:
    await put(empty, a_document("x"))
    foreign = {"id": "x", "version": 2, "public": True, "kind": "spaceship"}
    [sent] = await empty._main.send([writing.Write("x", 2, msgspec.json.encode(foreign))])
    await empty._main.settle(sent)
    with pytest.raises(SearchUnavailable, match="another form"):
        await empty.search(a_query(), EVERYONE)


async def test_a_proxy_of_the_environment_is_asked_unless_it_says_not_for_this_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for url in ("http://search.invalid:7700", f"http://127.0.0.1:{port}"):
            server = servers.Server(url, "")
            await server.ask(dict, "GET", "/stats")
            await server.close()
    assert lines == [
        b"GET http://search.invalid:7700/stats HTTP/1.1\r\n",
        b"GET /stats HTTP/1.1\r\n",
    ]
