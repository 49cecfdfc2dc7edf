"""Did you mean: what many misspell alike is looked for once, and shown while it can be found."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from search import engine, meaning
from search.engine import Delete, Page, Query, Scope, SearchEngine
from tests.search.builders import EVERYONE, a_document, put, write

HALL = a_document(title_en="hall", places=("qiaobei",))


@pytest.fixture
async def target() -> AsyncIterator[SearchEngine]:
    """An index with a hall in it."""
    opened = engine.open_engine(None)
    await put(opened, HALL)
    yield opened
    await opened.close()


@pytest.fixture
def asked(target: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the index is asked for."""
    texts, search = [], target.search

    async def noted(query: Query, scope: Scope) -> Page:
        texts.append(query.text)
        return await search(query, scope)

    monkeypatch.setattr(target, "search", noted)
    return texts


async def _meant(target: SearchEngine, scope: Scope = EVERYONE) -> str | None:
    found = await meaning.did_you_mean(target, Query(text="hakl", match="all"), scope, 0)
    return found.text if found else None


async def test_for_the_same_word_the_index_is_only_asked_whether_it_is_there_and_how_much_it_finds(
    target: SearchEngine, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _meant(target) == "hall"
    assert asked == ["hak", "ha", "hall"]
    asked.clear()
    assert await _meant(target) == "hall"
    assert asked == ["hall", "hall"]
    asked.clear()
    monkeypatch.setattr(meaning, "_REMEMBERED_S", 0)
    assert await _meant(target) == "hall"
    assert asked == ["hak", "ha", "hall"]


async def test_a_word_that_is_gone_or_hidden_is_meant_by_nobody_who_may_not_see_it(
    target: SearchEngine,
) -> None:
    at_home = Scope(places=("qiaobei",))
    await put(target, a_document("b", title_en="hallway halls"))
    assert await _meant(target) == "hall"
    await put(target, a_document(version=2, title_en="hall", places=("qiaobei",), public=False))
    assert await _meant(target) is None
    assert await _meant(target, at_home) == "hall"
    assert await _meant(target) is None
    await write(target, Delete(HALL.id, 3))
    assert await _meant(target, at_home) is None


async def test_only_the_last_words_are_remembered(
    target: SearchEngine, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meaning, "_REMEMBERED", 1)
    await _meant(target)
    await meaning.did_you_mean(target, Query(text="haxl"), EVERYONE, 0)
    asked.clear()
    await _meant(target)
    assert asked == ["hak", "ha", "hall"]


async def test_a_word_that_was_hidden_is_not_told_because_one_like_it_is_found(
    target: SearchEngine,
) -> None:
    async def meant() -> str | None:
        query = Query(text="zhabgsan", match="all")
        found = await meaning.did_you_mean(target, query, EVERYONE, 0)
        return found.text if found else None

    await put(target, a_document("b", title_en="zhangsan"), a_document("c", title_en="zhangsen"))
    assert await meant() == "zhangsan"
    await put(target, a_document("b", version=2, title_en="zhangsan", public=False))
    assert await meant() == "zhangsen"
