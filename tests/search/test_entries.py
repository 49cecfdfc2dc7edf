"""Documents as a Meilisearch server takes them: what stands beside the fields of the document."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as some

from search import analysis
from search.documents import Document
from search.meili import entries


@given(some.sets(some.integers(0, 671)))
def test_an_entry_names_every_quarter_hour_of_the_mask_and_no_other(quarters: set[int]) -> None:
    mask = sum(1 << at for at in quarters)
    document = Document(id="d1", kind="space", version=1, open_week=f"{mask:x}" if mask else "")
    entry = msgspec.json.decode(entries.entry(document))
    assert entry["open_quarters"] == sorted(quarters)


@given(some.text(some.sampled_from("早餐点圖书馆 ab1薴。·"), max_size=150))
def test_every_chinese_character_and_word_of_a_title_is_one_of_the_parts(title: str) -> None:
    document = Document(id="d1", kind="space", version=1, title_zh=title)
    parts = msgspec.json.decode(entries.entry(document))["parts"].split(" 。 ")
    for run in analysis.runs(analysis.fold(title)):
        if run.han:
            assert " ".join(run.text) in parts
            assert ("早餐" in parts) >= ("早餐" in run.text)
