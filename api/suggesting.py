"""Suggestions while somebody types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter, SkipValidation
from msgspec import Struct

from api import answers, labels, language, shapes
from api.requests import StrictRequest
from models import values
from search import documents, scopes
from search import engine as index

Typed = Annotated[
    str,
    QueryParameter(
        name="q", min_length=1, max_length=60, description="What has been typed so far."
    ),
]
Kinds = Annotated[list[documents.Kind] | None, QueryParameter(name="kind", max_items=8)]
Many = Annotated[
    int, QueryParameter(name="limit", ge=1, le=20, description="Suggestions, 1 to 20.")
]
# Service types and places come first, but leave room for what is on offer.
_MOST_NAMED = 3
# What is suggested of by itself: what comes later in this list stands further up.
_GROUPS: tuple[tuple[documents.Kind, ...], ...] = (
    documents.OFFERED,
    ("place",),
    ("service_type",),
)
# Documents for each suggestion, since several may have the same title.
_LOOKED_AT = 3


class SuggestionOut(Struct):
    """What may be meant: an offering, a need or a place by its id, a service type by its slug.
    `text` is the title or name in the language of `Accept-Language`."""

    kind: documents.Kind
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
        engine: NamedDependency[SkipValidation[index.SearchEngine]],
        q: Typed,
        kind: Kinds = None,
        limit: Many = 8,
    ) -> Response[SuggestionsOut]:
        """Service types, what you may find of offerings and needs, and places, whose name goes on
        like what has been typed, in Chinese, English, pinyin or initials; each title once."""
        groups = [tuple(one for one in some if not kind or one in kind) for some in _GROUPS]
        groups = [some for some in groups if some]
        size = min(limit * _LOOKED_AT, index.MAX_PAGE_SIZE)
        asked = [index.Query(text=q, kinds=some, match="all", page_size=size) for some in groups]
        told: list[documents.Document] = []
        for page in await engine.multi(asked, scopes.of(request.user)):
            # Where hardly anything else is found there is more room for names.
            room = max(_MOST_NAMED, limit - len(told))
            told = [*_once(page.hits)[:room], *told]
        tongue = shapes.tongue_of(request)
        return answers.shown(request, SuggestionsOut([_told(one, tongue) for one in told[:limit]]))


def _once(hits: Iterable[index.Hit]) -> list[documents.Document]:
    """Each title once, the best of those that have it."""
    once: dict[tuple[str, str], documents.Document] = {}
    for hit in hits:
        once.setdefault((hit.document.title_zh, hit.document.title_en), hit.document)
    return list(once.values())


def _told(document: documents.Document, tongue: language.Language) -> SuggestionOut:
    texts = (document.title_zh, document.title_en)
    return SuggestionOut(
        document.kind, document.id, values.Bilingual(*texts), labels.title(texts, tongue)
    )
