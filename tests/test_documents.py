"""The documents say what is true."""

from __future__ import annotations

import re
from pathlib import Path

from models import errors, settings
from tests import problem_codes

ROOT = Path(__file__).parent.parent


def test_the_documented_problem_codes_are_those_of_the_program() -> None:
    assert problem_codes.documented(problem_codes.CONTRIBUTING.read_text()) == problem_codes.table()


def test_every_code_that_is_raised_has_its_texts_and_every_text_is_raised() -> None:
    # The documentation names codes that nobody need raise, and models/errors.py all of them.
    left_out = {ROOT / "models" / "errors.py", *(ROOT / "api" / "documentation").glob("*.py")}
    text = "\n".join(
        path.read_text()
        for folder in ("api", "models", "search")
        for path in (ROOT / folder).rglob("*.py")
        if path not in left_out
    )
    used = set(re.findall(r'"([a-z0-9_]+)"', text)) & set(errors.CODES)
    # Raised by models/errors.py itself, for one wrong field.
    assert used | {"unprocessable"} == set(errors.CODES)


def test_every_text_of_a_problem_exists_in_both_languages_with_the_same_values() -> None:
    def values(text: str) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", text))

    for name, code in errors.CODES.items():
        assert re.search(r"[\u4e00-\u9fff]", code.title_zh), name
        assert values(code.title_en + code.detail_en) == values(code.title_zh + code.detail_zh), (
            name
        )


def test_every_setting_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for setting in settings.SETTINGS:
        assert f"`{setting.variable}`" in readme, setting.variable
