"""The numbers for monitoring, as a monitoring system reads them over HTTP, and who may."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.routes import HTTPRoute
from prometheus_client.parser import text_string_to_metric_families

from api import metrics
from api.documentation import tables
from models import base, engine, outbox, settings
from tests import fixtures, meilisearch, postgres, towns
from tests.towns import Town, a_need

TOKEN = secrets.token_hex(32)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(params=["sqlite", "postgres"])
async def watched(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    tmp_path: Path,
) -> AsyncIterator[Town]:
    """The application with a token for a monitoring system; once per database."""
    more = {"METRICS_TOKEN": TOKEN}
    async with fixtures.a_town(request.param, templates, postgres_server, tmp_path, **more) as town:
        town.tokens["monitoring"] = TOKEN
        yield town


@pytest.fixture(params=meilisearch.KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[meilisearch.OwnServer]:
    """A search server of this test's own, to be stopped and started."""
    with meilisearch.own_server(request.param) as started:
        yield started


@pytest.fixture
async def on_a_server(
    server: meilisearch.OwnServer,
    templates: dict[tuple[str, str], fixtures.Template],
    tmp_path: Path,
) -> AsyncIterator[Town]:
    """The application on SQLite, searching on that server."""
    async with fixtures.a_searching_town(server, templates, tmp_path) as town:
        yield town


async def _samples(town: Town, who: str = "operator") -> Samples:
    answer = await town.as_(who, "GET", "/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name.removeprefix("community_partners_"), frozenset(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def _value(town: Town, name: str, who: str = "operator", **labels: str) -> float:
    return (await _samples(town, who))[name, frozenset(labels.items())]


async def _until(town: Town, name: str, value: float) -> None:
    async with asyncio.timeout(30):
        while await _value(town, name) != value:
            await asyncio.sleep(0.05)


async def test_the_lag_rises_while_the_index_is_stopped_and_falls_afterwards(
    on_a_server: Town, server: meilisearch.OwnServer
) -> None:
    town = on_a_server
    await town.indexed()
    assert await _value(town, "index_lag_seconds") == 0
    assert await _value(town, "search_up") == 1
    server.stop()
    await town.make("/v1/needs", a_need(town))
    first = await _value(town, "index_lag_seconds")
    await asyncio.sleep(0.3)
    assert await _value(town, "index_lag_seconds") >= first + 0.3
    assert await _value(town, "outbox_rows") >= 1
    assert await _value(town, "search_up") == 0
    server.start()
    await _until(town, "index_lag_seconds", 0)
    assert await _value(town, "outbox_rows") == 0
    assert await _value(town, "search_up") == 1
    held = len(await town.app.state.engine.versions())
    assert await _value(town, "search_documents") == held > 1


async def test_a_search_outage_is_a_503_that_is_counted_and_then_an_open_breaker(
    on_a_server: Town, server: meilisearch.OwnServer
) -> None:
    town = on_a_server
    await town.indexed()
    before = await _value(town, "search_outages_total")
    assert await _value(town, "search_breaker_open") == 0
    server.stop()
    for _ in range(6):
        answer = await town.as_("anonymous", "GET", "/v1/search?q=dawn")
        assert answer.status_code == 503
    assert await _value(town, "search_outages_total") == before + 6
    assert await _value(town, "search_breaker_open") == 1
    server.start()
    await _until(town, "search_breaker_open", 0)


async def test_the_token_of_monitoring_opens_the_numbers_and_nothing_else(watched: Town) -> None:
    assert (await _samples(watched, "monitoring"))["database_up", frozenset()] == 1
    assert (await watched.as_("monitoring", "GET", "/v1/audit")).status_code == 401
    assert (await watched.as_("monitoring", "GET", "/v1/needs")).status_code == 401
    for wrong in (TOKEN[:-1], f"{TOKEN}0", "", " "):
        headers = {"Authorization": f"Bearer {wrong}"}
        answer = await watched.client.get("/metrics", headers=headers)
        assert answer.status_code == 401, wrong
    answer = await watched.client.get("/metrics", headers={"Authorization": f"Basic {TOKEN}"})
    assert answer.status_code == 401


async def test_where_no_token_is_set_none_is_good(town: Town) -> None:
    for given in ("", "None", "\u00e9", TOKEN):
        headers = {"Authorization": f"Bearer {given}".encode()}
        assert (await town.client.get("/metrics", headers=headers)).status_code == 401
    assert (await town.as_("officer", "GET", "/metrics")).status_code == 403


def test_a_plain_token_is_refused_in_production() -> None:
    for plain in ("hunter2", "a" * 64):
        options = settings.load({"METRICS_TOKEN": plain})
        assert any("METRICS_TOKEN" in line for line in settings.refusals(options))
    options = settings.load({"METRICS_TOKEN": TOKEN})
    assert not any("METRICS_TOKEN" in line for line in settings.refusals(options))


async def test_who_watches_hears_that_the_database_is_down(watched: Town) -> None:
    await engine.current().close()
    samples = await _samples(watched, "monitoring")
    assert samples["database_up", frozenset()] == 0
    lag = samples["index_lag_seconds", frozenset()]
    assert lag != lag  # not a number: nobody knows
    assert (await watched.as_("anonymous", "GET", "/readyz")).status_code == 503


async def test_requests_are_counted_by_route_and_class_of_status_with_their_time(
    town: Town,
) -> None:
    labels = {"method": "GET", "route": "/v1/needs/{need_id}", "status": "4xx"}
    name = "http_request_duration_seconds"
    key = (f"{name}_count", frozenset(labels.items()))
    before = (await _samples(town)).get(key, 0)
    for _ in range(3):
        await town.as_("anonymous", "GET", f"/v1/needs/{uuid.uuid4()}")
    after = await _samples(town)
    assert after[key] == before + 3
    assert after[f"{name}_bucket", frozenset({**labels, "le": "+Inf"}.items())] == before + 3
    assert after[f"{name}_sum", frozenset(labels.items())] > 0


def test_a_bucket_counts_what_took_no_longer_than_it_says() -> None:
    durations = metrics.Durations()
    for seconds in (0.005, 0.0051, 0.01, 5, 5.5):
        durations.count("GET", "/v1/needs", 200, seconds)
    (family,) = durations.collect()
    counted = {sample.labels.get("le", sample.name[-5:]): sample.value for sample in family.samples}
    assert [counted[bound] for bound in ("0.005", "0.01", "1.0", "5.0", "+Inf")] == [1, 3, 3, 4, 5]
    assert counted["count"] == 5
    assert counted["s_sum"] == pytest.approx(10.5201)


async def test_no_label_says_what_somebody_wrote_or_whom_it_is_about(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    for path in (
        f"/v1/needs/{need['id']}",
        "/v1/search?q=canary",
        "/v1/places?slug=canary",
        f"/v1/canary/{need['id']}",
        "/canary",
        "/v1/problems/canary",
    ):
        await town.as_("secretary", "GET", path)
    await town.client.request("CANARY", "/v1/needs")
    await town.make("/v1/sessions", {"login": "secretary@test", "password": towns.PASSWORD})
    text = (await town.as_("operator", "GET", "/metrics")).text
    assert "canary" not in text.lower()
    assert need["id"] not in text
    assert "@" not in text
    templates = {route.path_format for route in town.app.routes if isinstance(route, HTTPRoute)}
    methods = {"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "other"}
    for (name, labels), _ in (await _samples(town)).items():
        said: dict[str, Any] = dict(labels)
        assert said.keys() <= {"method", "route", "status", "le", "version", "python"}, name
        assert said.get("route", "none") in {*templates, "none"}
        assert said.get("method", "GET") in methods
        assert said.get("status", "2xx") in {"2xx", "3xx", "4xx", "5xx"}


async def test_dead_letters_connections_and_the_version_are_among_them(town: Town) -> None:
    await town.indexed()
    await outbox.bury(base.new_id(), "offering.changed", "a test")
    samples = await _samples(town)
    assert samples["dead_letters", frozenset()] == 1
    assert samples["reads_kept", frozenset()] == 1
    size = samples["database_connections", frozenset()]
    assert 0 <= samples["database_connections_in_use", frozenset()] <= size
    async with engine.unit_of_work():
        assert engine.current().connections()[1] >= 1
    versions = [dict(labels)["version"] for name, labels in samples if name == "build_info"]
    assert versions == [tables.VERSION]
