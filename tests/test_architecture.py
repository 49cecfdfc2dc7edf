"""The import rule of CONTRIBUTING, checked on every run."""

from __future__ import annotations

from pathlib import Path

from importlinter import cli

ROOT = Path(__file__).parent.parent


def test_every_module_imports_only_what_lies_below_it() -> None:
    assert cli.lint_imports(str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_no_python_file_is_longer_than_500_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for folder in ("api", "models", "search", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if "migrations" not in path.parts and (count := len(path.read_text().splitlines())) > 500
    ]
    assert long == []
