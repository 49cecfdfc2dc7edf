"""What this process says of itself to a monitoring system, in the text format of Prometheus.

    curl -H "Authorization: Bearer $METRICS_TOKEN" http://127.0.0.1:8000/metrics

A label is the template of a route, a method, a class of status or a word of ours: never an id, nor
anything that somebody wrote. What is in the database (outbox, dead letters, lag) is the same from
every process; all else is of the one that answers.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import platform
from bisect import bisect_left
from collections.abc import Iterator

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from api import auth
from api.documentation import tables
from api.requests import StrictRequest
from models import engine, outbox
from search import engine as index
from search import sync

_PREFIX = "community_partners"
# From a read of a row to a plan that somebody waits for, in seconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
# A monitoring system that hears nothing for ten seconds takes the process for dead.
_PATIENCE_S = 2.0


class Durations(Collector):
    """How long requests took. Counting one is a fifth of what the library's own histogram takes,
    which locks for each bucket and the sum: here only the event loop counts."""

    def __init__(self) -> None:
        # By method, route and class of status: how many up to each bucket and no lower one, how
        # many beyond all, and the sum.
        self._counted: dict[tuple[str, str, int], list[float]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request that has been answered."""
        key = (method, route, status // 100)
        found = self._counted.get(key)
        if found is None:
            found = self._counted[key] = [0.0] * (len(_BUCKETS) + 2)
        found[bisect_left(_BUCKETS, seconds)] += 1
        found[-1] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For the registry, in whatever thread."""
        family = HistogramMetricFamily(
            f"{_PREFIX}_http_request_duration_seconds",
            "From request to answer.",
            labels=["method", "route", "status"],
        )
        bounds = [*(str(float(bound)) for bound in _BUCKETS), "+Inf"]
        for (method, route, kind), found in list(self._counted.items()):
            *counts, seconds = found
            buckets = list(zip(bounds, itertools.accumulate(counts), strict=True))
            family.add_metric([method, route, f"{kind}xx"], buckets, seconds)
        yield family


class Metrics:
    """The numbers of one application. Requests are counted as they end, the others when asked."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Durations()
        self._registry.register(self.requests)
        self.search_outages = Counter(
            f"{_PREFIX}_search_outages",
            "Requests that were answered 503 because search did not answer.",
            registry=self._registry,
        )
        self._search_up = self._gauge("search_up", "Whether the index answers.")
        self._search_paused = self._gauge(
            "search_breaker_open", "Whether the search server is left alone after failures."
        )
        self._documents = self._gauge("search_documents", "Documents in the index.")
        self._lag = self._gauge("index_lag_seconds", "How far the index is behind the database.")
        self._outbox = self._gauge("outbox_rows", "Changes that the index has not seen.")
        self._dead = self._gauge("dead_letters", "Changes that the index cannot take.")
        self._database_up = self._gauge("database_up", "Whether the database answers.")
        self._connections = self._gauge(
            "database_connections", "Connections of the pool; of SQLite the one that writes."
        )
        self._in_use = self._gauge("database_connections_in_use", "Those at work.")
        self._keeping = self._gauge(
            "reads_kept",
            "Whether what was read is kept until it is written: not while others are not heard.",
        )
        build = self._gauge("build_info", "Which version runs.", ["version", "python"])
        build.labels(tables.VERSION, platform.python_version()).set(1)

    async def text(self, target: index.SearchEngine) -> bytes:
        """All of them as they are now. What does not answer is down, and what it holds unknown."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                waiting, dead = await outbox.counts()
                known = (1.0, await sync.lag(), float(waiting), float(dead))
        except sync.PASSING:
            known = (0.0, math.nan, math.nan, math.nan)
        gauges = (self._database_up, self._lag, self._outbox, self._dead)
        for gauge, value in zip(gauges, known, strict=True):
            gauge.set(value)
        database = engine.current()
        self._keeping.set(database.changes.keep)
        size, used = database.connections()
        self._connections.set(size)
        self._in_use.set(used)
        await self._ask(target)
        # With hundreds of routes it takes a tenth of a second, for which no request should wait.
        return await asyncio.to_thread(generate_latest, self._registry)

    async def _ask(self, target: index.SearchEngine) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                documents = float((await target.health()).documents)
        except (index.SearchUnavailable, TimeoutError):
            documents = math.nan
        self._search_up.set(not math.isnan(documents))
        self._documents.set(documents)
        self._search_paused.set(target.paused)

    def _gauge(self, name: str, text: str, labels: list[str] | None = None) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, labels or [], registry=self._registry)


@get(
    auth.METRICS,
    operation_id="metrics",
    summary="Numbers for monitoring",
    tags=["metrics"],
    guards=[auth.watching],
    media_type="text/plain",
)
async def metrics(
    request: StrictRequest, engine: NamedDependency[index.SearchEngine]
) -> Response[bytes]:
    """Index lag, outbox, dead letters, search, database and requests, in the text format of
    Prometheus, for whoever runs the service: an operator, or a monitoring system with the
    `METRICS_TOKEN` of the settings as its bearer token. That token opens nothing else. Each process
    answers for itself."""
    numbers: Metrics = request.app.state.metrics
    return Response(await numbers.text(engine), media_type=CONTENT_TYPE_LATEST)
