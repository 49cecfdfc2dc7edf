"""Tokens with which a phone searches the Meilisearch server itself, without us in between."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import Meta, Struct

from api.requests import StrictRequest
from models import errors
from search import engine as index
from search import scopes


class TokenAsk(Struct, frozen=True):
    """For how many minutes."""

    minutes: Annotated[int, Meta(ge=15, le=60)] = 15


class SearchTokenOut(Struct, frozen=True):
    """Send `token` as a bearer token to `url`/indexes/`index`/search of Meilisearch."""

    url: str
    index: str
    token: str
    expires_at: dt.datetime


class TokenController(Controller):
    """Nothing is stored: a token ends by itself, and all of them with the key that signs them."""

    path = "/v1/search/token"
    tags = ("search",)

    @post(operation_id="make_search_token", summary="Search the server without us", status_code=200)
    async def make(
        self,
        request: StrictRequest,
        engine: NamedDependency[SkipValidation[index.SearchEngine]],
        data: JSONBody[TokenAsk],
    ) -> SearchTokenOut:
        """A token for 15 to 60 minutes that finds what the caller may see when it is made, and
        nothing else: everybody's documents without signing in. Refuses where no search server is
        open to phones; then ask `GET /v1/search`."""
        try:
            made = await engine.search_token(scopes.of(request.user), data.minutes * 60)
        except index.TokensNotOffered:
            raise errors.Refusal("no_search_server") from None
        return SearchTokenOut(made.url, made.index, made.token, made.expires_at)
