"""The benchmarks run: each in a process of its own, over hardly anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("rank --sizes 200 --engines sqlite --needs 25", "every score of `rank`"),
        ("bundles --sizes 400 --engines sqlite --needs 12", "quality"),
        ("plans --sizes 200 --seconds 1", "20 x"),
        (
            "search --documents 150 --queries 12 --fresh 5 --normal 1",
            "the same over a static endpoint",
        ),
        ("sqlite --needs 200 --rounds 1 --seconds 0.1", "x stock"),
        (
            "api --needs 200 --offerings 50 --rounds 1 --seconds 0.1 --only get create 304",
            "answer the same JSON",
        ),
        ("pages --needs 20000 --calls 2 --engines sqlite", "drafts, for an operator"),
        (
            "scale --needs 200 --offerings 50 --processes 1 2 --rounds 1 --seconds 0.1 --only get",
            "api us",
        ),
        ("races --callers 30 --http 10 --kills 1 --engines sqlite", "; 0 lost, doubled"),
    ],
    ids=[
        "scores",
        "bundles",
        "plans",
        "search",
        "SQLite",
        "the API",
        "pages",
        "processes",
        "accepts and kills",
    ],
)
def test_a_benchmark_prints_its_table(arguments: str, says: str) -> None:
    name, *given = arguments.split()
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{name}", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
