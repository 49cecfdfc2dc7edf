"""Suggestions while somebody types."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from api import answers, labels, language, shapes
from api.requests import StrictRequest
from models import values
from search import documents, names, scopes
from search import engine as index

SuggestedKind = Literal[documents.Kind, names.NamedKind]

Typed = Annotated[
    str,
    QueryParameter(
        name="q", min_length=1, max_length=60, description="What has been typed so far."
    ),
]
Kinds = Annotated[list[SuggestedKind] | None, QueryParameter(name="kind", max_items=8)]
Many = Annotated[
    int, QueryParameter(name="limit", ge=1, le=20, description="Suggestions, 1 to 20.")
]
# Service types and places come first, but leave room for what is on offer.
_MOST_NAMED = 3
# Documents for each suggestion, since several may have the same title.
_LOOKED_AT = 3


class SuggestionOut(Struct):
    """What may be meant: an offering, a need or a place by its id, a service type by its slug.
    `text` is the title or name in the language of `Accept-Language`."""

    kind: SuggestedKind
    id: str
    title: values.Bilingual
    text: str


class SuggestionsOut(Struct):
    """Suggestions, the likeliest first."""

    items: list[SuggestionOut]


class SuggestionController(Controller):
    """Search as you type."""

    path = "/v1/search/suggestions"
    tags = ("search",)

    @get(operation_id="suggest", summary="Suggestions while typing")
    async def suggest(
        self,
        request: StrictRequest,
        engine: NamedDependency[index.SearchEngine],
        q: Typed,
        kind: Kinds = None,
        limit: Many = 8,
    ) -> Response[SuggestionsOut]:
        """Service types, what you may find of offerings and needs, and places, whose name goes on
        like what has been typed, in Chinese, English, pinyin or initials; each title once."""
        tongue = shapes.tongue_of(request)
        wanted = set(kind or get_args(SuggestedKind))
        found = await _documents(engine, q, wanted, scopes.of(request.user), limit)
        told = [_document(hit.document, tongue) for hit in found]
        for place in ("place", "service_type"):
            if place in wanted:
                # Where hardly anything else is found there is more room for names.
                room = max(_MOST_NAMED, limit - len(told))
                told = [*(_named(n, tongue) for n in await names.like(q, place, room)), *told]
        return answers.shown(request, SuggestionsOut(told[:limit]))


async def _documents(
    target: index.SearchEngine, text: str, wanted: set[str], scope: index.Scope, limit: int
) -> list[index.Hit]:
    """Offerings and needs, each title once: those in which it stands in the title come first."""
    kinds = tuple(kind for kind in get_args(documents.Kind) if kind in wanted)
    if not kinds:
        return []
    size = min(limit * _LOOKED_AT, index.MAX_PAGE_SIZE)
    query = index.Query(text=text, kinds=kinds, match="all", page_size=size)
    hits = (await target.search(query, scope)).hits
    once = {(hit.document.title_zh, hit.document.title_en): hit for hit in reversed(hits)}
    return list(once.values())[::-1][:limit]


def _document(document: documents.Document, tongue: language.Language) -> SuggestionOut:
    texts = (document.title_zh, document.title_en)
    return SuggestionOut(
        document.kind, document.id, values.Bilingual(*texts), labels.title(texts, tongue)
    )


def _named(named: names.Named, tongue: language.Language) -> SuggestionOut:
    text = labels.title((named.name.zh, named.name.en), tongue)
    return SuggestionOut(named.kind, named.id, named.name, text)
