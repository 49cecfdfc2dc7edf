"""What may happen between the database and the index, and that they end up the same: each case of
the agreed list. The server is the stand-in, which fails when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from api import worker
from models import base, engine, offerings, outbox, values
from search import comparing, meili, sync
from search import engine as index
from search.engine import SearchUnavailable, Upsert
from search.meili import entries, writing
from tests import databases, meilisearch, towns
from tests.search.builders import EVERYONE, a_document, a_query

Templates = dict[tuple[str, str], Any]


class Scene(Struct):
    """The setting in a SQLite database in use, and a server with an index that is complete."""

    setting: towns.Setting
    server: meilisearch.FakeServer
    target: meili.Meili
    key: str

    def restarted(self) -> meili.Meili:
        """What another process, or the same one after a crash, opens."""
        return meili.Meili(self.server.url, self.key)


@pytest.fixture
async def setting(templates: Templates, tmp_path: Path) -> AsyncIterator[towns.Setting]:
    """A copy of the setting on SQLite, in use."""
    template = templates["sqlite", "settled"]
    shutil.copy(template.where, tmp_path / "test.sqlite")
    async with databases.in_use(engine.open_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")):
        yield template.setting


@pytest.fixture
def server() -> Iterator[meilisearch.FakeServer]:
    """A server of this test's own."""
    with meilisearch.own_server("fake") as started:
        assert isinstance(started, meilisearch.FakeServer)
        yield started


@pytest.fixture
async def scene(setting: towns.Setting, server: meilisearch.FakeServer) -> AsyncIterator[Scene]:
    """Three offerings, all of them in the index."""
    key = await server.key()
    target = meili.Meili(server.url, key)
    for title in ("lighthouse", "harbour", "boathouse"):
        await _offer(setting, title)
    await sync.rebuild(target)
    while await sync.drain(target):
        pass
    yield Scene(setting, server, target, key)
    await target.close()


async def _offer(setting: towns.Setting, title: str) -> uuid.UUID:
    draft = offerings.OfferingDraft(
        kind="space",
        partner_id=setting.partner,
        place_id=setting.community,
        title=values.Bilingual("房", title),
        service_types=("breakfast_point",),
        status="active",
    )
    return (await offerings.register(draft)).id


async def _many(count: int) -> None:
    """So many copies of an offering, as if each had been registered."""
    rows = await engine.fetch("SELECT * FROM offering LIMIT 1")
    names = ", ".join(rows[0])
    kept = ", ".join(name if name != "id" else "$1" for name in rows[0])
    async with engine.unit_of_work():
        for _ in range(count):
            await engine.execute(
                f"INSERT INTO offering ({names}) SELECT {kept} FROM offering WHERE id = $2",
                base.new_id(),
                rows[0]["id"],
            )


async def _change_all() -> None:
    async with engine.unit_of_work():
        await engine.execute("UPDATE offering SET version = version + 1")
        await engine.execute(
            "INSERT INTO outbox (topic, subject, happened_at)"
            " SELECT 'offering.changed', id, $1 FROM offering",
            base.now(),
        )


async def _drain(target: index.SearchEngine) -> None:
    while await sync.drain(target):
        pass


async def _found(target: index.SearchEngine, text: str) -> list[str]:
    page = await target.search(a_query(text), EVERYONE)
    return [hit.document.title_en for hit in page.hits]


async def _expect_the_same(target: index.SearchEngine) -> None:
    """The outbox is empty and the index is what the database says."""
    assert await engine.fetch("SELECT * FROM outbox") == []
    assert await comparing.differences(target) == []
    ((count,),) = await engine.rows(
        "SELECT (SELECT count(*) FROM offering WHERE status <> 'withdrawn')"
        " + (SELECT count(*) FROM need WHERE status NOT IN ('withdrawn', 'closed'))"
        " + (SELECT count(*) FROM place WHERE kind <> 'building' AND status = 'active')"
        " + (SELECT count(*) FROM service_type)"
    )
    assert len(await target.versions()) == count


async def test_after_an_hour_without_a_server_each_object_is_sent_once(scene: Scene) -> None:
    await _many(497)
    await _change_all()
    await _drain(scene.target)
    scene.server.stop()
    for _ in range(20):
        await _change_all()
        with pytest.raises(SearchUnavailable):
            await sync.drain(scene.target)
    assert (await engine.rows("SELECT count(*) FROM outbox"))[0][0] == 10_000
    assert await sync.lag() > 0
    scene.server.start()
    scene.server.fake.state.uploads.clear()
    await asyncio.sleep(5)  # as long as nobody asks a server that did not answer
    await _drain(scene.target)
    assert sum(count for _, count in scene.server.fake.state.uploads) == 500
    await _expect_the_same(scene.target)


async def test_a_write_whose_answer_was_lost_is_sent_again(scene: Scene) -> None:
    await _change_all()
    scene.server.fake.state.faults.lost_answers = 1
    with pytest.raises(SearchUnavailable, match="does not answer"):
        await sync.drain(scene.target)
    await _drain(scene.target)
    await _expect_the_same(scene.target)


def _write(id: str, body: bytes | None = None) -> writing.Write:
    [good], _ = writing.writes([Upsert(a_document("x"))])
    assert good.entry
    return writing.Write(id, 1, body or good.entry.replace(b'"id":"x"', b'"id":"%s"' % id.encode()))


async def test_one_bad_position_and_one_bad_id_among_a_thousand_are_left_out(
    scene: Scene,
) -> None:
    good = [_write(f"x{i}") for i in range(998)]
    bad = [_write("geo", b'{"id":"geo","_geo":{"lat":"?"}}'), _write("b d", b'{"id":"b d"}')]
    [sent] = await scene.target._main.send(
        [*good[:300], bad[0], *good[300:700], bad[1], *good[700:]]
    )
    failures = await scene.target._main.settle(sent)
    assert sorted(failure.id for failure in failures) == ["b d", "geo"]
    assert {f"x{i}" for i in range(998)} <= (await scene.target.versions()).keys()


async def test_what_a_neighbour_spoiled_is_sent_again_and_not_given_up(scene: Scene) -> None:
    main = scene.target._main
    scene.server.fake.state.faults.task_s = 0.2
    await main.send([_write("first")])  # while it is done, the others wait together
    await asyncio.sleep(0.05)
    spoiled = await main.send([_write("geo", b'{"id":"geo","_geo":3}')])
    single = await main.send([_write("single")])
    deleted = await main.send([writing.Write("first", 2, None)])
    failures = [await main.settle(one) for one in (*spoiled, *single, *deleted)]
    assert [[failure.id for failure in some] for some in failures] == [["geo"], [], []]
    versions = await scene.target.versions()
    assert ("single" in versions, "first" in versions) == (True, False)


async def test_a_full_disk_of_the_server_keeps_the_changes_waiting(scene: Scene) -> None:
    await _change_all()
    scene.server.fake.state.faults.disk_full = True
    with pytest.raises(SearchUnavailable, match="no_space_left_on_device"):
        await sync.drain(scene.target)
    assert await _found(scene.target, "lighthouse") == ["lighthouse"]
    assert await outbox.letters() == []
    scene.server.fake.state.faults.disk_full = False
    await _drain(scene.target)
    await _expect_the_same(scene.target)


async def test_a_task_that_the_server_forgot_is_done_again(scene: Scene) -> None:
    await _change_all()
    rows = await engine.fetch("SELECT subject FROM outbox")
    ops = await sync.offerings.operations([base.as_id(row["subject"]) for row in rows])
    receipt = await scene.target.apply(ops)
    state = scene.server.fake.state
    async with asyncio.timeout(20):
        while any(task["status"] in ("enqueued", "processing") for task in state.tasks):
            await asyncio.sleep(0.01)
    state.forget_tasks()
    with pytest.raises(SearchUnavailable, match="task_not_found"):
        await scene.target.wait(receipt)
    await _drain(scene.target)
    await _expect_the_same(scene.target)


async def test_an_old_snapshot_is_found_out_by_comparing_and_mended(scene: Scene) -> None:
    restore = scene.server.fake.state.snapshot()
    gone = await _offer(scene.setting, "gone")
    await _drain(scene.target)
    newer = scene.server.fake.state.snapshot()
    await engine.execute("UPDATE offering SET title_en = 'pier' WHERE title_en = 'harbour'")
    await _change_all()
    await engine.execute("UPDATE offering SET status = 'withdrawn' WHERE id = $1", gone)
    await _drain(scene.target)
    for back in (restore, newer):
        back()
        assert await comparing.differences(scene.target)
        found = await comparing.mend(scene.target)
        assert {one.in_index for one in found} <= {None, 1}
        await _drain(scene.target)
        await _expect_the_same(scene.target)
    assert await _found(scene.target, "pier") == ["pier"]


async def test_documents_that_nobody_of_us_wrote_are_thrown_out(scene: Scene) -> None:
    await scene.target.wait(await scene.target.apply([Upsert(a_document("stranger"))]))
    [found] = await comparing.mend(scene.target)
    assert (found.id, found.in_database) == ("stranger", None)
    await _expect_the_same(scene.target)


async def test_a_worker_killed_anywhere_a_hundred_times_loses_nothing(scene: Scene) -> None:
    chance = random.Random(6)
    target = scene.target
    for _ in range(100):
        await _change_all()
        working = asyncio.create_task(_drain(target))
        await asyncio.sleep(chance.uniform(0, 0.02))
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        await target.close()
        target = scene.restarted()
    await _drain(target)
    await _expect_the_same(target)
    await target.close()


async def test_a_write_that_was_rolled_back_never_reaches_the_index(scene: Scene) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with engine.unit_of_work():
            await _offer(scene.setting, "phantom")
            raise ZeroDivisionError
    await _drain(scene.target)
    assert await _found(scene.target, "phantom") == []
    await _expect_the_same(scene.target)


async def test_what_is_deleted_and_made_again_within_one_drain_is_there(scene: Scene) -> None:
    [row] = await engine.fetch("SELECT * FROM offering WHERE title_en = 'harbour'")
    async with engine.unit_of_work() as work:
        await engine.execute("DELETE FROM offering WHERE id = $1", row["id"])
        await outbox.announce(work, sync.OFFERING, base.as_id(row["id"]))
    again = {**row, "title_en": "quay", "version": row["version"] + 1}
    async with engine.unit_of_work() as work:
        await engine.execute(
            f"INSERT INTO offering ({', '.join(again)}) VALUES ({base.placeholders(len(again))})",
            *again.values(),
        )
        await outbox.announce(work, sync.OFFERING, base.as_id(row["id"]))
    await _drain(scene.target)
    assert (await _found(scene.target, "quay"), await _found(scene.target, "harbour")) == (
        ["quay"],
        [],
    )
    await _expect_the_same(scene.target)


async def test_a_rebuild_goes_on_while_writes_do_and_after_a_restart_in_its_middle(
    scene: Scene,
) -> None:
    await _many(150)
    left = await scene.target.begin_rebuild()
    await left.add([a_document("left")])
    again = scene.restarted()
    rebuilding = asyncio.create_task(sync.rebuild(again))
    while not rebuilding.done():
        await _change_all()
        await _drain(again)
        assert await _found(again, "lighthouse")
    assert await rebuilding == len(await again.versions()) > 153
    await _drain(again)
    await _expect_the_same(again)
    await again.close()


@contextlib.asynccontextmanager
async def _at_work(target: index.SearchEngine) -> AsyncIterator[None]:
    working = worker.Worker(target)
    await working.start()
    try:
        yield
    finally:
        await working.stop()


async def _until_the_same(target: index.SearchEngine) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(SearchUnavailable):
                if not (await target.health()).empty:
                    break
            await asyncio.sleep(0.05)
        while await engine.fetch("SELECT 1 FROM outbox"):
            await asyncio.sleep(0.05)
    await _expect_the_same(target)


async def test_changed_settings_have_the_worker_build_the_index_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "SETTINGS", {**entries.SETTINGS, "stopWords": ["the"]})
    again = scene.restarted()
    assert (await again.health()).empty
    async with _at_work(again):
        await _until_the_same(again)
    assert scene.server.fake.state.indexes[meili.INDEX].settings["stopWords"] == ["the"]
    await again.close()


async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(scene: Scene) -> None:
    state = scene.server.fake.state
    state.faults.refused = [(503, "1")]
    with pytest.raises(SearchUnavailable, match="503"):
        await _found(scene.target, "harbour")
    before = state.asked
    with pytest.raises(SearchUnavailable, match="a moment ago"):
        await _found(scene.target, "harbour")
    assert state.asked == before
    await asyncio.sleep(1.05)
    assert await _found(scene.target, "harbour") == ["harbour"]
    state.faults.slow_s = 0.3
    await _change_all()
    await _drain(scene.target)
    state.faults.slow_s = 0
    await _expect_the_same(scene.target)


async def test_a_revoked_key_is_no_reason_to_ask_all_the_time(scene: Scene) -> None:
    state = scene.server.fake.state
    kept = dict(state.keys)
    async with _at_work(scene.target):
        await asyncio.sleep(0.2)
        state.keys.clear()
        await _change_all()
        before = state.asked
        await asyncio.sleep(2.5)
        assert state.asked - before < 12
        state.keys.update(kept)
        await _until_the_same(scene.target)


@pytest.mark.parametrize("damage", ["deleted", "corrupt", "old"])
async def test_a_lost_index_directory_is_filled_again_by_the_worker(
    setting: towns.Setting, tmp_path: Path, damage: str
) -> None:
    await _offer(setting, "lighthouse")
    before = index.open_engine(tmp_path / "index")
    await sync.rebuild(before)
    await before.close()
    if damage == "deleted":
        shutil.rmtree(tmp_path / "index")
    elif damage == "corrupt":
        for path in (tmp_path / "index").rglob("*.store"):
            path.write_bytes(b"x" * path.stat().st_size)
    else:
        state = tmp_path / "index" / "state.json"
        state.write_text(state.read_text().replace('"signature":"', '"signature":"0'))
    after = index.open_engine(tmp_path / "index")
    assert (await after.health()).empty
    async with _at_work(after):
        await _until_the_same(after)
    assert await _found(after, "lighthouse") == ["lighthouse"]
    await after.close()


async def test_a_full_disk_of_the_database_refuses_writes_and_search_goes_on(
    scene: Scene,
) -> None:
    async with engine.unit_of_work():
        ((pages,),) = await engine.rows("PRAGMA page_count")
        await engine.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for _ in range(100):
            await _many(20)
    assert await _found(scene.target, "harbour") == ["harbour"]
    async with engine.unit_of_work():
        await engine.execute("PRAGMA max_page_count = 1000000000")
    await _change_all()
    await _drain(scene.target)
    await _expect_the_same(scene.target)


# Dead letters


async def test_a_row_that_cannot_be_read_is_put_aside_and_the_others_go_on(scene: Scene) -> None:
    await engine.execute("UPDATE offering SET availability = 'no JSON' WHERE title_en = 'harbour'")
    await _change_all()
    await _drain(scene.target)
    [letter] = await outbox.letters()
    assert (letter.topic, "Error" in letter.detail) == (sync.OFFERING, True)
    await _expect_no_rows()
    assert await _found(scene.target, "lighthouse") == ["lighthouse"]
    await sync.rebuild(scene.target)  # does not stop at it either
    assert [one.subject for one in await outbox.letters()] == [letter.subject]
    await engine.execute("UPDATE offering SET availability = '[]' WHERE title_en = 'harbour'")
    assert await outbox.revive() == 1
    await _drain(scene.target)
    assert await outbox.letters() == []
    await _expect_the_same(scene.target)


async def _expect_no_rows() -> None:
    assert await engine.fetch("SELECT * FROM outbox") == []


async def test_a_document_that_the_index_refuses_is_put_aside_until_it_is_mended(
    scene: Scene,
) -> None:
    await engine.execute("UPDATE offering SET title_en = $1 WHERE title_en = 'harbour'", "x" * 5000)
    await _change_all()
    await _drain(scene.target)
    [letter] = await outbox.letters()
    assert "4000" in letter.detail
    await engine.execute("UPDATE offering SET title_en = 'pier' WHERE id = $1", letter.subject)
    await _change_all()
    await _drain(scene.target)
    assert (await outbox.letters(), await _found(scene.target, "pier")) == ([], ["pier"])
