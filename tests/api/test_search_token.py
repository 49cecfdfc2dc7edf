"""Tokens with which phones search the server themselves: what they find and what they never do."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models import base
from search import engine, meili
from search.engine import Phones, Scope
from search.meili import keys
from tests import meilisearch, towns
from tests.towns import Town, a_space

Templates = dict[tuple[str, str], Any]


@pytest.fixture(params=meilisearch.KINDS)
def own(request: pytest.FixtureRequest) -> Iterator[meilisearch.OwnServer]:
    """A server of this test's own."""
    with meilisearch.own_server(request.param) as server:
        yield server


@pytest.fixture
async def open_to_phones(
    own: meilisearch.OwnServer, templates: Templates, tmp_path: Path
) -> AsyncIterator[Town]:
    """The application with a server that phones may ask themselves."""
    template = templates["sqlite", "settled"]
    shutil.copy(template.where, tmp_path / "test.sqlite")
    made = await meili.make_keys(own.url, own.master_key)
    async with towns.running_town(
        f"sqlite:///{tmp_path / 'test.sqlite'}",
        tmp_path,
        template.setting,
        MEILI_URL=own.url,
        MEILI_KEY=made.ours,
        MEILI_TOKEN_KEY=made.tokens,
        MEILI_PUBLIC_URL=own.url,
    ) as opened:
        yield opened


async def _ask(token: dict[str, Any], **query: Any) -> httpx.Response:
    async with httpx.AsyncClient(
        base_url=token["url"], headers={"Authorization": f"Bearer {token['token']}"}
    ) as phone:
        return await phone.post(f"/indexes/{token['index']}/search", json=query)


async def _titles(token: dict[str, Any], **query: Any) -> set[str]:
    answer = await _ask(token, **query)
    assert answer.status_code == 200, answer.text
    return {hit["title_en"] for hit in answer.json()["hits"]}


async def test_a_phone_finds_what_its_holder_may_see_and_nothing_else(
    open_to_phones: Town,
) -> None:
    town = open_to_phones
    await town.make("/v1/offerings", a_space(town), "partner_staff")
    draft = a_space(town, status="draft", title={"zh": "草稿", "en": "Hidden draft"})
    await town.make("/v1/offerings", draft, "partner_staff")
    await town.indexed()
    anybody = await town.make("/v1/search/token", {}, "anonymous")
    assert await _titles(anybody, q="", filter="kind = space") == {"Qiaobei idle toolroom"}
    assert await _titles(anybody, q="", filter="public = false OR status = draft") == set()
    secretary = await town.make("/v1/search/token", {"minutes": 60})
    assert await _titles(secretary, q="", filter="kind = space") == {
        "Qiaobei idle toolroom",
        "Hidden draft",
    }
    sibling = await town.make("/v1/search/token", {}, "sibling_secretary")
    assert await _titles(sibling, q="", filter="kind = space") == {"Qiaobei idle toolroom"}


async def test_a_phone_learns_nothing_of_where_public_things_really_are(
    open_to_phones: Town,
) -> None:
    town = open_to_phones
    await town.make("/v1/offerings", a_space(town), "partner_staff")
    await town.indexed()
    token = await town.make("/v1/search/token", {}, "anonymous")
    answer = (await _ask(token, q="", facets=["places"])).json()
    assert answer["facetDistribution"] == {}
    assert "places" not in answer["hits"][0]
    assert await _titles(token, q="", filter=f'places = "{town.community}"') == set()
    assert await _titles(token, q=town.community) == set()


async def test_a_token_only_searches_this_index(
    open_to_phones: Town, own: meilisearch.OwnServer
) -> None:
    town = open_to_phones
    await town.indexed()
    token = await town.make("/v1/search/token", {}, "secretary")
    headers = {"Authorization": f"Bearer {token['token']}"}
    async with httpx.AsyncClient(base_url=own.url, headers=headers) as phone:
        for method, path, body in (
            ("POST", f"/indexes/{token['index']}_next/search", {"q": ""}),
            ("GET", f"/indexes/{token['index']}/documents", None),
            ("POST", f"/indexes/{token['index']}/documents", [{"id": "x"}]),
            ("GET", f"/indexes/{token['index']}/settings", None),
            ("GET", "/tasks", None),
            ("GET", "/keys", None),
        ):
            answer = await phone.request(method, path, json=body)
            assert answer.status_code == 403, (path, answer.text)
        payload, signature = token["token"].rsplit(".", 1)
        forged = f"{payload}.{signature[::-1]}"
        answer = await _ask({**token, "token": forged}, q="")
        assert answer.status_code == 403


async def test_a_token_ends_by_itself(own: meilisearch.OwnServer) -> None:
    made = await meili.make_keys(own.url, own.master_key)
    # Signed as if it had been made an hour ago: no token can be asked for that ends so soon.
    token = keys.sign(Phones(own.url, made.tokens), meili.INDEX, Scope(), 1)
    assert token.expires_at - base.now() <= dt.timedelta(seconds=1)
    await asyncio.sleep(2.1)
    answer = await _ask({"url": own.url, "index": token.index, "token": token.token}, q="")
    assert answer.status_code == 403


async def test_a_token_is_for_a_quarter_of_an_hour_to_an_hour(open_to_phones: Town) -> None:
    town = open_to_phones
    for minutes in (14, 61, 0, -1):
        answer = await town.as_("anonymous", "POST", "/v1/search/token", json={"minutes": minutes})
        assert answer.status_code == 400
    token = await town.make("/v1/search/token", {}, "anonymous")
    left = dt.datetime.fromisoformat(token["expires_at"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=14) < left <= dt.timedelta(minutes=15)


async def test_without_a_server_for_phones_they_are_told_to_ask_us(town: Town) -> None:
    answer = await town.as_("anonymous", "POST", "/v1/search/token", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_search_server")
    with pytest.raises(engine.TokensNotOffered):
        await meili.Meili("http://127.0.0.1:1").search_token(Scope(), 900)
