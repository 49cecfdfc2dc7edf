"""What pytest loads first; the fixtures are in `tests/fixtures.py`."""

from __future__ import annotations

import gc

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
    """Long ones first, so that no worker begins one when the others have nothing left to do."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """From here on garbage is collected; what is there stays, and is not looked at each time."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says aloud that nothing was tried on a real Meilisearch."""
    skipped = terminalreporter.stats.get("skipped", ())
    if any(meilisearch_process.MISSING in str(report.longrepr) for report in skipped):
        terminalreporter.write_line(meilisearch_process.MISSING, red=True, bold=True)
