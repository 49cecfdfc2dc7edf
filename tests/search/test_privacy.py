"""What of a question may be kept."""

from __future__ import annotations

import pytest

from search import privacy


@pytest.mark.parametrize(
    "text",
    [
        *(
            "13800138000",
            "138-0013-8000",
            "１３８００１３８０００",
            "电话 023 6789 1234",
            "500101199001011234",
        ),
        *("wang@example.com", "王芳", "找李敏医生", "王阿姨", "張偉", "欧阳娜娜", "陈志远"),
        *("wang fang", "Fang Wang", "liu yang", "John Smith", "dr Mary Jones"),
        *("", " ", "a", "x" * 61),
    ],
)
def test_numbers_and_names_of_people_are_not_kept(text: str) -> None:
    assert privacy.kept(text) == ""


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("早餐", "早餐"),
        ("長者食堂", "长者食堂"),
        ("居家康复", "居家康复"),
        ("  Senior   cafeteria ", "senior cafeteria"),
        ("gate 3", "gate 3"),
        ("zao can", "zao can"),
        ("long walk", "long walk"),
        ("太极拳 qiaobei", "太极拳 qiaobei"),
        ("5 号楼 AED", "5 号楼 aed"),
    ],
)
def test_ordinary_questions_are_kept_in_one_form(text: str, kept: str) -> None:
    assert privacy.kept(text) == kept
