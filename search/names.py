"""The names of service types and places, for suggestions while somebody types.

They are few and change seldom, so they are kept in memory; what tells whether they have changed is
asked each time.
"""

from __future__ import annotations

import functools
from typing import Literal

from msgspec import Struct

from models import engine, services, values
from search import analysis, pinyin

NamedKind = Literal["service_type", "place"]


class Named(Struct, frozen=True, gc=False):
    """A service type by its slug, or a place by its id, and the forms in which it is looked up."""

    kind: NamedKind
    id: str
    name: values.Bilingual
    forms: tuple[str, ...]
    typed: tuple[str, ...]


class _Kept:
    """What was read, and what it was read for."""

    def __init__(self) -> None:
        self.mark: object = None
        self.names: tuple[Named, ...] = ()


_kept = _Kept()


async def like(text: str, kind: NamedKind, most: int) -> list[Named]:
    """Up to `most` whose name begins with the text, or else has it at a word or in its Chinese."""
    asked = analysis.fold(text).strip()
    if not asked:
        return []
    ranked = [
        (rank, at, named)
        for at, named in enumerate(await _all())
        if named.kind == kind and (rank := _rank(named, asked)) is not None
    ]
    return [named for _, _, named in sorted(ranked, key=lambda one: one[:2])[:most]]


def _rank(named: Named, asked: str) -> int | None:
    """0 where the name begins like this, 1 where something in it does; None if nothing does."""
    if any(form.startswith(asked) for form in named.forms):
        return 0
    if asked.isascii():
        together = asked.replace(" ", "")
        if any(f" {asked}" in form for form in named.forms):
            return 1
        return 1 if any(key.startswith(together) for key in named.typed) else None
    return 1 if any(asked in form for form in named.forms) else None


async def _all() -> tuple[Named, ...]:
    """Service types, then places that are no buildings from the largest down."""
    mark = (
        engine.current(),
        await engine.rows(
            "SELECT (SELECT count(*) FROM service_type),"
            " (SELECT count(*) FROM place WHERE kind <> 'building'),"
            " (SELECT max(updated_at) FROM place WHERE kind <> 'building')"
        ),
    )
    if _kept.mark != mark:
        _kept.names, _kept.mark = (*await _services(), *await _places()), mark
    return _kept.names


async def _services() -> list[Named]:
    return [
        _named(
            "service_type",
            service.slug,
            service.name,
            (*service.synonyms.zh, *service.synonyms.en),
        )
        for service in await services.every()
    ]


async def _places() -> list[Named]:
    rows = await engine.rows(
        "SELECT CAST(id AS text), name_zh, name_en FROM place"
        " WHERE kind <> 'building' AND status = 'active' ORDER BY"
        " CASE kind WHEN 'municipality' THEN 0 WHEN 'district' THEN 1 WHEN 'subdistrict' THEN 2"
        " WHEN 'community' THEN 3 ELSE 4 END, id"
    )
    return [_named("place", key, values.Bilingual(zh, en), ()) for key, zh, en in rows]


def _named(kind: NamedKind, key: str, name: values.Bilingual, also: tuple[str, ...]) -> Named:
    texts = (name.zh, name.en, *also)
    return Named(kind, key, name, tuple(map(analysis.fold, texts)), _typed(texts))


@functools.lru_cache(maxsize=8192)
def _typed(texts: tuple[str, ...]) -> tuple[str, ...]:
    return pinyin.keys(texts)
