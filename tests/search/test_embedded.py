"""The embedded engine beyond the conformance suite: writes, and what may happen to its files."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search import engine
from search.documents import Document
from search.embedded import finding, home, keeper, runner, store
from search.engine import Delete, Op, SearchEngine, SearchUnavailable, Upsert
from tests.search.builders import EVERYONE, a_document, a_query, find, fixture_documents, put, write

few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def memory() -> AsyncIterator[SearchEngine]:
    """An empty engine in memory."""
    opened = engine.open_engine(None)
    yield opened
    await opened.close()


WORDS = ("lighthouse", "harbour", "灯塔", "港口")
AN_OP = st.one_of(
    st.builds(
        lambda number, version, words: Upsert(
            a_document(f"x{number}", version=version, title_en=" ".join(words), title_zh="")
        ),
        st.integers(0, 4),
        st.integers(1, 3),
        st.lists(st.sampled_from(WORDS), max_size=2, unique=True),
    ),
    st.builds(
        lambda number, version: Delete(f"x{number}", version), st.integers(0, 4), st.integers(1, 3)
    ),
)


@few
@given(st.lists(st.tuples(st.lists(AN_OP, max_size=5), st.booleans()), max_size=6))
async def test_after_any_writes_the_index_holds_what_a_dictionary_would(
    memory: SearchEngine, batches: list[tuple[list[Op], bool]]
) -> None:
    await (await memory.begin_rebuild()).commit()  # empty again
    kept: dict[str, Document] = {}
    seen: dict[str, int] = {}
    for batch, look in batches:
        for op in batch:
            if isinstance(op, Delete):
                kept.pop(op.id, None)
                seen[op.id] = max(op.version, seen.get(op.id, 0))
            elif op.document.version >= seen.get(op.document.id, 0):
                kept[op.document.id] = op.document
                seen[op.document.id] = op.document.version
        await write(memory, *batch)
        assert await memory.versions() == {id: one.version for id, one in kept.items()}
        # The same texts every time, and not after every write: answers are carried over.
        for word in WORDS if look else ():
            found = await find(memory, word)
            assert sorted(found) == sorted(id for id, one in kept.items() if word in one.title_en)


async def test_a_write_returns_before_it_is_searchable_and_many_at_once_all_arrive(
    memory: SearchEngine,
) -> None:
    assert isinstance(memory, runner.Embedded)
    gate = threading.Event()
    held = asyncio.create_task(memory.on_writer(gate.wait))
    await asyncio.sleep(0)
    receipts = await asyncio.gather(
        *(memory.apply([Upsert(a_document(f"x{i}"))]) for i in range(200))
    )
    assert (await memory.health()).documents == 0
    gate.set()
    await held
    await asyncio.gather(*map(memory.wait, receipts))
    assert (await memory.health()).documents == 200


async def test_a_caller_that_gives_up_waiting_does_not_undo_the_write(
    memory: SearchEngine,
) -> None:
    receipt = await memory.apply([Upsert(a_document(f"x{i}")) for i in range(300)])
    waiting = asyncio.create_task(memory.wait(receipt))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await memory.wait(receipt) == ()
    assert len(await memory.versions()) == 300


async def test_a_search_sees_all_of_a_write_or_nothing(memory: SearchEngine) -> None:
    def all_of(version: int) -> list[Document]:
        tags = (f"v{version}", "odd" if version % 2 else "even")
        return [a_document(f"x{i}", version=version, tags=tags) for i in range(50)]

    async def change() -> None:
        for version in range(2, 20):
            await put(memory, *all_of(version))

    await put(memory, *all_of(1))
    changing = asyncio.create_task(change())
    while not changing.done():
        query = a_query("食堂", page_size=100, facets=("tags",))
        page = await memory.search(query, EVERYONE)
        tags = {hit.document.tags for hit in page.hits}
        assert (page.total, len(tags)) == (50, 1)
        assert page.facets["tags"] == dict.fromkeys(tags.pop(), 50)
    await changing


def test_the_slots_of_documents_that_went_serve_others_after_a_restart(tmp_path: Path) -> None:
    first = store.Store(tmp_path)
    first.stage([Upsert(a_document(f"x{i}")) for i in range(4)])
    first.stage([Delete("x1", 1)])
    first.publish()
    first.close()
    again = store.Store(tmp_path)
    again.stage([Upsert(a_document("a")), Upsert(a_document("b"))])
    again.publish()
    assert again.view.columns.slots == {"x0": 0, "a": 1, "x2": 2, "x3": 3, "b": 4}
    again.close()


# The directory


async def test_an_index_is_there_again_after_a_restart(tmp_path: Path) -> None:
    await _fill(tmp_path)
    again = engine.open_engine(tmp_path)
    assert await again.health() == engine.Health(documents=12, pending=0, empty=False)
    assert await find(again, "食堂") == ["s1", "m2"]
    assert await find(again, "cafetria") == ["s1", "m2"]
    await put(again, a_document("x", title_en="lighthouse"))  # takes a slot that is free
    assert await find(again, "lighthouse") == ["x"]
    assert await find(again, kinds=("merchant",)) == ["m1", "m2", "m3"]
    await again.close()


async def test_an_index_that_no_rebuild_has_filled_still_wants_one(tmp_path: Path) -> None:
    opened = engine.open_engine(tmp_path)
    await put(opened, a_document())
    await opened.close()
    again = engine.open_engine(tmp_path)
    assert await again.health() == engine.Health(documents=1, pending=0, empty=True)
    await again.close()


async def _fill(directory: Path) -> None:
    opened = engine.open_engine(directory)
    assert (await opened.health()).empty
    rebuild = await opened.begin_rebuild()
    await rebuild.add(fixture_documents())
    await rebuild.commit()
    assert not (await opened.health()).empty
    await opened.close()


def _matching(directory: Path, pattern: str) -> list[Path]:
    found = list(directory.rglob(pattern))
    assert found
    return found


def _delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _scribble(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


PARTS = ("state.json", "meta.json", "*.store", "*.term", "*.idx", "*.pos", "*.fast")
DAMAGES = [
    *itertools.product(PARTS, (_delete, _scribble, _cut)),
    ("index-*", _delete),
    (".", _delete),
]


@pytest.mark.parametrize(
    ("part", "damage"), DAMAGES, ids=[f"{part}{how.__name__}" for part, how in DAMAGES]
)
async def test_a_damaged_directory_is_begun_anew_and_says_so(
    tmp_path: Path, part: str, damage: Callable[[Path], None]
) -> None:
    await _fill(tmp_path)
    for path in [tmp_path] if part == "." else _matching(tmp_path, part):
        damage(path)
    again = engine.open_engine(tmp_path)
    assert await again.health() == engine.Health(documents=0, pending=0, empty=True)
    await put(again, a_document())
    assert await find(again, "食堂") == ["a"]
    assert len(_matching(tmp_path, "index-*")) == 1
    await again.close()


async def test_an_index_of_another_analyzer_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(tmp_path)
    monkeypatch.setattr(home, "signature", lambda: "another")
    again = engine.open_engine(tmp_path)
    assert await again.health() == engine.Health(documents=0, pending=0, empty=True)
    await again.close()


async def test_a_damaged_lock_file_is_replaced(tmp_path: Path) -> None:
    await _fill(tmp_path)
    (tmp_path / "lock").write_bytes(b"nonsense" * 100)
    again = engine.open_engine(tmp_path)
    assert (await again.health()).documents == 12
    await again.close()


async def test_files_that_change_under_a_running_engine_want_a_rebuild(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    opened = engine.open_engine(tmp_path)
    await put(opened, *(a_document(f"x{i}") for i in range(3000)))
    for path in _matching(tmp_path, "*.idx"):
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)
    with pytest.raises(SearchUnavailable):
        await find(opened, "食堂")
    # Whoever looks after it is told, and a rebuild mends it.
    assert (await opened.health()).empty
    rebuild = await opened.begin_rebuild()
    await rebuild.add([a_document()])
    await rebuild.commit()
    assert not (await opened.health()).empty
    assert await find(opened, "食堂") == ["a"]
    await opened.close()
    capfd.readouterr()  # tantivy writes where it gave up


async def test_a_write_that_fails_is_reported_and_search_goes_on(tmp_path: Path) -> None:
    opened = engine.open_engine(tmp_path)
    await put(opened, a_document("a"))
    shutil.rmtree(tmp_path)
    with pytest.raises(SearchUnavailable):
        await put(opened, a_document("b"))
    assert await find(opened, "食堂") == ["a"]
    assert await opened.versions() == {"a": 1}
    await opened.close()


FULL_DISK = """
    import asyncio, resource, signal, sys
    from pathlib import Path
    from search import engine
    from tests.search.builders import a_document, find, put

    async def main():
        opened = engine.open_engine(Path(sys.argv[1]))
        await put(opened, a_document("a"))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        try:
            await put(opened, a_document("b"))
        except engine.SearchUnavailable:
            print("refused", await find(opened, "canteen"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await put(opened, a_document("b"), a_document("c"))
        print("accepted", sorted(await find(opened, "canteen")))
        await opened.close()

    asyncio.run(main())
"""


def test_a_full_disk_costs_the_batch_and_nothing_else(tmp_path: Path) -> None:
    done = _run(FULL_DISK, tmp_path).communicate(timeout=30)
    assert done[0].splitlines() == ["refused ['a']", "accepted ['a', 'b', 'c']"], done[1]


class _Unreadable:
    """A tantivy index whose files cannot be opened for the moment."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def reload(self) -> None:
        raise OSError("too many open files")


def test_a_commit_that_cannot_be_read_back_is_caught_up_with(tmp_path: Path) -> None:
    written = store.Store(tmp_path)
    index = written._index
    written._index = _Unreadable(index)
    written.stage([Upsert(a_document("a")), Upsert(a_document("b"))])
    with pytest.raises(OSError, match="too many open files"):
        written.publish()
    written.revert()
    written._index = index
    written.stage([Upsert(a_document("b", version=2)), Delete("missing", 1)])
    written.publish()
    page = finding.find(written.view, a_query("canteen"), EVERYONE)
    assert {hit.document.id: hit.document.version for hit in page.hits} == {"a": 1, "b": 2}
    assert (page.total, written.view.versions()) == (2, {"a": 1, "b": 2})
    written.close()


def test_a_rebuild_that_cannot_be_written_to_is_dropped_and_writes_go_on(tmp_path: Path) -> None:
    kept = keeper.Keeper(tmp_path)
    beside = kept.begin_rebuild()
    kept.add(beside, [a_document("a")])
    beside.store.revert()
    beside.store._index = None  # as if its files were gone
    assert kept.write([[Upsert(a_document("b"))]]) == [()]
    with pytest.raises(SearchUnavailable):
        kept.swap(beside)
    assert kept.store.view.versions() == {"b": 1}
    kept.close()


KILLED = """
    import asyncio, sys
    from pathlib import Path
    from search import engine
    from tests.search.builders import a_document, put

    async def main():
        opened = engine.open_engine(Path(sys.argv[1]))
        rebuild = await opened.begin_rebuild()
        await rebuild.add([a_document(f"d{i}") for i in range(100)])
        await rebuild.commit()
        print("filled", flush=True)
        version = 1
        while True:
            version += 1
            await put(opened, *(a_document(f"d{i}", version=version) for i in range(100)))
            await (await opened.begin_rebuild()).add([a_document("never")])

    asyncio.run(main())
"""


def test_an_index_survives_being_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    running = _run(KILLED, tmp_path)
    assert running.stdout is not None
    assert running.stdout.readline() == "filled\n"
    with pytest.raises(SearchUnavailable):
        engine.open_engine(tmp_path)  # one process at a time
    time.sleep(random.uniform(0.1, 0.4))
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=30)
    asyncio.run(_expect_one_version(tmp_path))


async def _expect_one_version(directory: Path) -> None:
    again = engine.open_engine(directory)
    assert (await again.health()).empty is False
    versions = await again.versions()
    assert (len(versions), len(set(versions.values()))) == (100, 1)
    assert len(_matching(directory, "index-*")) == 1
    await again.close()


def _run(program: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(directory)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


CLOSED = """
    import asyncio, sys, threading, time
    from pathlib import Path
    import search.embedded  # numpy brings threads of its own
    from search import engine
    from tests.search.builders import a_document, find, put

    def threads():  # those of tantivy are known to the system alone
        tasks = Path("/proc/self/task")
        return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()

    async def main():
        before = threads()
        opened = engine.open_engine(Path(sys.argv[1]))
        await put(opened, a_document("a"))
        await find(opened, "canteen")
        rebuild = await opened.begin_rebuild()
        await rebuild.commit()
        print("open", threads() > before)
        await opened.close()
        print("closed", threading.active_count())
        deadline = time.monotonic() + 10  # tantivy looks only now and then whether to end
        while threads() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        print("left", threads() - before)

    asyncio.run(main())
"""


def test_closing_leaves_no_thread_behind(tmp_path: Path) -> None:
    done = _run(CLOSED, tmp_path).communicate(timeout=30)
    assert done[0].splitlines() == ["open True", "closed 1", "left 0"], done[1]


def test_the_embedded_engine_fits_the_protocol() -> None:
    opened = engine.open_engine(None)
    assert isinstance(opened, engine.SearchEngine)
    asyncio.run(opened.close())


async def test_a_compound_is_found_in_its_parts_behind_the_compound_itself() -> None:
    opened = engine.open_engine(None)
    await put(
        opened,
        a_document("parts", title_zh="停车、车位"),
        a_document("whole", title_zh="二十个停车位"),
        a_document("other", title_zh="停车"),
        a_document("apart", title_zh="停车", description_zh="车位"),
    )
    assert await find(opened, "停车位") == ["whole", "parts"]
    [first, *_] = (await opened.search(a_query("停车位", highlight=True), EVERYONE)).hits
    assert first.highlights["title_zh"] == "二十个<em>停车位</em>"
    await opened.close()
