"""What is known before anybody asks, and what is taken for the same, changes no answer."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
import tantivy

from search import engine, pinyin
from search.documents import Document
from search.embedded import looking, runner, textindex
from search.embedded.memory import Found
from search.engine import Page, SearchEngine
from tests.search.builders import EVERYONE, a_document, a_query, put

# Words of one service stand in the same documents, as names of services do; those of titles do not.
SERVICES = {
    "meals": ("长者食堂", "senior canteen"),
    "repair": ("家电维修", "appliance repair"),
    "class": ("书法课", "calligraphy class"),
}
TEXTS = (
    *("食堂", "长者食堂", "长者", "维修 食堂", "书", "者食", "停车位", "家电维修店", "王芳食堂"),
    *("canteen", "c", "ca", "canteen repair", "canten", "cantene clas", "appliances", "r kitchen"),
    *("shi", "shitang", "weixiu ca", "jdwx", "图书馆 canteen", "calligraphy class", "xyzzy"),
)


def a_town(size: int, version: int = 1, seed: int = 3) -> list[Document]:
    """So many documents in which some words are always together and others by chance."""
    dice = random.Random(seed)
    words = ["canteen", "cantata", "kitchen", "repairs", "食堂", "图书馆", "停车", "车位", "王芳"]
    found = []
    for number in range(size):
        services = dice.sample(tuple(SERVICES), dice.randrange(3))
        title = " ".join(dice.sample(words, 2))
        found.append(
            a_document(
                f"d{number}",
                version=version,
                title_zh=title,
                title_en=dice.choice(words),
                service_names=tuple(name for one in services for name in SERVICES[one]),
                tags=tuple(dice.sample(("ramp", "repair", "quiet"), dice.randrange(3))),
                pinyin=pinyin.keys((title, *(SERVICES[one][0] for one in services))),
                rank_key=number,
            )
        )
    return found


async def answers(target: SearchEngine) -> list[Page]:
    """Of every text, the first as of one who has not asked it before."""
    queries = [a_query(text, facets=("tags",), page_size=100) for text in TEXTS]
    return [await target.search(query, EVERYONE) for query in queries]


async def rebuilt(documents: list[Document]) -> SearchEngine:
    """An engine that a rebuild has filled."""
    target = engine.open_engine(None)
    rebuild = await target.begin_rebuild()
    assert await rebuild.add(documents) == ()
    await rebuild.commit()
    return target


async def test_what_is_recalled_and_what_is_alike_are_found_as_if_nobody_knew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = engine.open_engine(None)
    await put(plain, *a_town(150))
    for name in ("_COMMON", "_COMMON_BEGINNING"):
        monkeypatch.setattr(textindex, name, 1)
    monkeypatch.setattr(looking, "_MANY", 1)
    knowing = await rebuilt(a_town(150))
    expected = await answers(plain)
    assert sum(page.total for page in expected) > 500
    assert await answers(knowing) == expected
    for seed in (4, 5):  # what was known is partly stale now
        await put(plain, *a_town(20, version=seed, seed=seed))
        await put(knowing, *a_town(20, version=seed, seed=seed))
        assert await answers(knowing) == await answers(plain) != expected
    await knowing.close()
    await plain.close()


async def test_after_many_writes_what_is_common_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_COMMON", "_COMMON_BEGINNING"):
        monkeypatch.setattr(textindex, name, 20)
    monkeypatch.setattr(runner, "_RECALL_EVERY_S", 0)
    target = runner.Embedded(None)
    await put(target, *a_town(249))
    common = target.keeper.store.view.common()
    assert len(common) > 20

    def known() -> list[Found | None]:
        return [target.keeper.store.view.memory.get(leaf) for leaf in common]

    assert not any(known())
    await put(target, *a_town(1, version=2))
    async with asyncio.timeout(10):
        while any(found is None or found.stale for found in known()):
            await asyncio.sleep(0.01)
    await target.close()


def test_many_slots_are_listed_from_their_sums_in_order() -> None:
    index = tantivy.Index(textindex.schema())
    writer = index.writer(15_000_000, 1)
    dice = random.Random(1)
    slots = dice.sample(range(20_000), 9_000)
    for at, slot in enumerate(slots):
        document = a_document(f"d{slot}", tags=("even",) if slot % 2 == 0 else ())
        writer.add_document(textindex.entry(slot, document, b"").text)
        if at == 4_000:
            writer.commit()
    writer.commit()
    index.reload()
    searcher = index.searcher()
    everything = tantivy.Query.all_query()
    tagged = tantivy.Query.term_query(index.schema, "tags", "even", "basic")
    even = sorted(slot for slot in slots if slot % 2 == 0)
    assert textindex.count(searcher, everything) == len(slots)
    # So many at the most: from sums, from sums, one by one.
    for query, most, expected in (
        (everything, len(slots), sorted(slots)),
        (tagged, len(slots), even),
        (tagged, 5_000, even),
    ):
        assert np.array_equal(textindex.slots(searcher, query, most), expected)
