"""What pytest loads first; the fixtures are in `tests/fixtures.py`."""

from __future__ import annotations

import gc
import itertools
import os
from pathlib import Path

import pytest

from tests import meilisearch_process


def pytest_configure(config: pytest.Config) -> None:
    """The process that only hands tests out to others needs nothing of the program."""
    if not config.getoption("numprocesses") or config.getoption("collectonly"):
        # Of what is made until all tests are known nothing is garbage, as in `api/__main__.py`.
        gc.disable()
        config.pluginmanager.import_plugin("tests.fixtures")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first, so that no worker begins one when the others have nothing left to do. Each
    worker begins with a piece of the list: at its head are the long tests of a file or two."""
    ordered: list[pytest.Item] = []
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("long"):
            files.setdefault(item.path, []).append(item)
    others = iter([item for item in items if not item.get_closest_marker("long")])
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    piece = max(len(items) // (4 * workers), 2)
    for worker in range(workers):
        heads = list(itertools.chain.from_iterable(list(files.values())[worker::workers]))
        ordered += heads
        ordered += itertools.islice(others, max(piece - len(heads), 0))
    items[:] = [*ordered, *others]


def pytest_collection_finish() -> None:
    """From here on garbage is collected; what is there stays, and is not looked at each time."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says aloud that nothing was tried on a real Meilisearch."""
    skipped = terminalreporter.stats.get("skipped", ())
    if any(meilisearch_process.MISSING in str(report.longrepr) for report in skipped):
        terminalreporter.write_line(meilisearch_process.MISSING, red=True, bold=True)
