"""The dictionary of pinyin takes a third of a second to load: never on the event loop."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

_PROGRAM = """
    import asyncio, importlib.abc, sys, threading
    from pathlib import Path

    loaded_by = []

    class Looking(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name == "pypinyin":
                loaded_by.append(threading.current_thread())

    sys.meta_path.insert(0, Looking())
    from api import app
    from models import engine, migrate, settings
    from search import engine as index, meaning
    from tests import databases

    directory = Path(sys.argv[1])
    options = settings.load({}, database_url=f"sqlite:///{directory}/town.sqlite", data=directory)

    async def serving():
        async with databases.in_use(engine.open_engine(options.database)):
            await migrate.migrate()
        async with app.create_app(options).lifespan():
            while not loaded_by:
                await asyncio.sleep(0.01)

    async def asking():
        target = index.open_engine(None)
        await meaning.did_you_mean(target, index.Query(text="早参"), index.Scope(), 0)
        await target.close()

    assert not loaded_by
    asyncio.run({"serving": serving, "asking": asking}[sys.argv[2]]())
    assert loaded_by and threading.main_thread() not in loaded_by, loaded_by
"""


def _run(directory: Path, what: str) -> None:
    program = textwrap.dedent(_PROGRAM)
    subprocess.run([sys.executable, "-c", program, str(directory), what], check=True, timeout=60)


def test_whoever_keeps_the_index_loads_it_in_a_thread_before_the_first_write(
    tmp_path: Path,
) -> None:
    _run(tmp_path, "serving")


def test_whoever_only_asks_loads_it_in_a_thread_for_the_first_chinese_question_that_finds_little(
    tmp_path: Path,
) -> None:
    _run(tmp_path, "asking")
