"""What no engine may be asked to keep: of each field of a document."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from search import documents
from search.documents import Document, Location

LONG = "x" * 4001
BEYOND: dict[str, Any] = {
    "id": "no id",
    "kind": "castle",
    "version": 0,
    "title_zh": LONG,
    "title_en": LONG,
    "description_zh": LONG,
    "description_en": LONG,
    "service_types": ("No slug",),
    "service_names": (LONG,),
    "tags": ("x",) * 65,
    "pinyin": (LONG,),
    "community": "No slug",
    "community_name": LONG,
    "places": ("No slug",),
    "partner": "no id",
    "public": "yes",
    "location": Location(lat_e6=90_000_001, lon_e6=0),
    "capacity": -1,
    "price": -1,
    "rating": 501,
    "weekdays": (8,),
    "open_week": "g",
    "dated": "no",
    "credentials": ("No slug",),
    "status": "No slug",
    "created": 2**53 + 1,
    "rank_key": -(2**53) - 1,
}


def test_every_field_has_a_limit() -> None:
    assert set(BEYOND) == set(Document.__struct_fields__)


@pytest.mark.parametrize("field", BEYOND)
def test_a_document_beyond_the_limit_of_any_field_is_not_packed(field: str) -> None:
    good = Document(id="d1", kind="space", version=1)
    assert documents.unpack(documents.pack(good)) == good
    with pytest.raises(documents.BadDocument):
        documents.pack(structs.replace(good, **{field: BEYOND[field]}))
