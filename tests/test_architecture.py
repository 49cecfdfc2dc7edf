"""The import rule of CONTRIBUTING, checked on every run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# In a process of its own: it switches off the loggers that other tests listen to.
_LINT = "import sys; from importlinter import cli; sys.exit(cli.lint_imports(no_cache=True))"


def test_every_module_imports_only_what_lies_below_it() -> None:
    done = subprocess.run([sys.executable, "-c", _LINT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_python_file_is_longer_than_500_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for folder in ("api", "models", "search", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if "migrations" not in path.parts and (count := len(path.read_text().splitlines())) > 500
    ]
    assert long == []


def test_a_start_loads_nothing_that_only_migrating_or_other_types_need() -> None:
    """Together they were a third of the start."""
    begun = (
        "import sys; from api import app, serving; from models import settings;"
        "app.create_app(settings.load({}));"
        "print(*{'black', 'pydantic', 'meilisearch', 'highspy'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", begun]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_command_that_serves_nothing_does_not_load_the_application() -> None:
    begun = "import sys; from api import cli; print(*{'litestar', 'rjieba'} & sys.modules.keys())"
    command = [sys.executable, "-c", begun]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
