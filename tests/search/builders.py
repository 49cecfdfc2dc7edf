"""Documents and engines for the tests of search. Builders are plain functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models import values
from search import engine
from search.documents import Document, Location
from search.engine import Op, Query, Scope, SearchEngine

FIXTURE = json.loads(Path(__file__).with_name("fixture.json").read_text(encoding="utf-8"))
EVERYONE = Scope()


def fixture_documents() -> list[Document]:
    """The twelve documents of the conformance suite, all of them public."""
    return [_document(row) for row in FIXTURE["documents"]]


def _document(row: dict[str, Any]) -> Document:
    place = row["location"]
    return Document(
        id=row["id"],
        kind=row["kind"],
        version=1,
        title_zh=row["title_zh"],
        title_en=row["title_en"],
        service_types=tuple(row["service_types"]),
        service_names=tuple(FIXTURE["service_names"][slug] for slug in row["service_types"]),
        tags=tuple(row["tags"]),
        community=row["community"],
        community_name=FIXTURE["community_names"][row["community"]],
        places=("chongqing", row["community"]),
        public=True,
        location=place and Location(values.micro(place["lat"]), values.micro(place["lon"])),
        capacity=row["capacity"],
        price=row["price"],
        rating=round(row["rating"] * 100),
        weekdays=tuple(row["weekdays"]),
        status=row["status"],
        created=row["created"],
        rank_key=row["rank_key"],
    )


def a_document(id: str = "a", **changes: Any) -> Document:
    """A public space called 食堂 / canteen, with whatever the test is about."""
    fields = {"kind": "space", "version": 1, "title_zh": "食堂", "title_en": "canteen"}
    return Document(**{"id": id, "public": True, **fields, **changes})


async def write(target: SearchEngine, *ops: Op) -> tuple[engine.Failure, ...]:
    """Applies the ops and waits until they are searchable."""
    return await target.wait(await target.apply(ops))


async def put(target: SearchEngine, *documents: Document) -> tuple[engine.Failure, ...]:
    """Puts the documents into the index and waits until they are searchable."""
    return await write(target, *map(engine.Upsert, documents))


async def find(
    target: SearchEngine, text: str = "", scope: Scope = EVERYONE, **filters: Any
) -> list[str]:
    """The ids on the first page, documents of every status included unless asked otherwise."""
    page = await target.search(a_query(text, **filters), scope)
    return [hit.document.id for hit in page.hits]


def a_query(text: str = "", **filters: Any) -> Query:
    """A query over documents of every status unless asked otherwise."""
    return Query(text=text, **{"statuses": (), **filters})
