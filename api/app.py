"""create_app(): the only place where everything meets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin

from api import (
    accounts,
    agreements,
    asking,
    audit,
    auth,
    bookings,
    bundles,
    calendars,
    docking,
    documentation,
    edge,
    enrolments,
    errors,
    finding,
    groups,
    health,
    hours,
    imagining,
    keys,
    ledger,
    limits,
    matches,
    metrics,
    needs,
    notices,
    occurrences,
    offerings,
    partners,
    people,
    places,
    planner,
    plans,
    pools,
    proposals,
    reports,
    requests,
    reviews,
    roles,
    saving,
    search_tokens,
    shared,
    spaces,
    suggesting,
    tasks,
    terms,
    training,
    worker,
)
from models import engine, queries, settings
from search import engine as index

# A body of ordinary size; bulk endpoints say their own.
MAX_BODY = 64 * 1024


def create_app(options: settings.Settings) -> Litestar:
    """The application for these settings. The database must have been migrated."""

    limiter = limits.Limiter(options.rate_limit) if options.rate_limit else None
    numbers = metrics.Metrics()
    app = _Application(
        route_handlers=[
            health.livez,
            health.readyz,
            metrics.metrics,
            errors.ProblemController,
            accounts.SessionController,
            accounts.AccountController,
            people.PersonController,
            roles.InvitationController,
            roles.RoleController,
            keys.KeyController,
            places.PlaceController,
            places.ServiceTypeController,
            partners.PartnerController,
            offerings.OfferingController,
            spaces.SpaceController,
            pools.PoolController,
            bookings.BookingController,
            groups.GroupController,
            docking.DockingController,
            training.TrainingController,
            needs.NeedController,
            needs.ConsentController,
            calendars.CalendarController,
            calendars.FeedController,
            matches.MatchController,
            plans.PlanController,
            imagining.WhatIfController,
            imagining.WhyNotController,
            proposals.ProposalController,
            agreements.AgreementController,
            enrolments.EnrolmentController,
            bundles.BundleController,
            terms.RentController,
            terms.RevenueController,
            terms.MilestoneController,
            ledger.LedgerController,
            tasks.TaskController,
            occurrences.OccurrenceController,
            reviews.ReviewController,
            hours.HoursController,
            hours.ServiceRecordController,
            hours.SignatureController,
            reports.CoverageController,
            reports.ReportController,
            audit.AuditController,
            finding.SearchController,
            search_tokens.TokenController,
            suggesting.SuggestionController,
            asking.RecentController,
            asking.PopularController,
            saving.SavedSearchController,
            notices.NoticeController,
            *documentation.HANDLERS,
        ],
        openapi_config=None,
        lifespan=[running],
        dependencies={
            "options": Provide(_options, sync_to_thread=False),
            "engine": Provide(_engine, sync_to_thread=False),
            "ledger": Provide(_ledger, sync_to_thread=False),
        },
        middleware=[auth.Identify(), *([limits.Meter(limiter)] if limiter else [])],
        before_request=auth.before,
        exception_handlers=errors.HANDLERS,
        request_class=requests.StrictRequest,
        request_max_body_size=MAX_BODY,
        state=State({"options": options, "metrics": numbers}),
        debug=False,
        pdb_on_exception=False,
        logging_config=None,
        cors_config=_cors(options),
    )
    outermost = edge.Edge(shared.Shared(app.asgi_handler), limiter, numbers)
    trusted = list(options.trusted_proxies)
    # Its `at_once` is what `at_once.AtOnce` asks first.
    app.asgi_handler = edge.Proxies(outermost, trusted) if trusted else outermost  # type: ignore[assignment]  # ASGI, by its types
    return app


class _Application(Litestar):
    """Litestar without what it adds by itself for types that nothing here uses: Pydantic, wherever
    it is installed, was a tenth of the start."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


@contextlib.asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[None]:
    """Open what `app.state.options` says, work on it, and close it again."""
    options: settings.Settings = app.state.options
    async with contextlib.AsyncExitStack() as open_things:
        database = engine.open_engine(options.database)
        await database.start()
        open_things.push_async_callback(database.close)
        engine.use(database)
        if app.state.get("takes_every_connection"):
            await database.connect_all()
        await database.listen()
        app.state.ledger = queries.Ledger()
        app.state.engine = index.open_engine(
            options.data / "index", options.meili_url, options.meili_key, _phones(options)
        )
        open_things.push_async_callback(app.state.engine.close)
        signing = worker.Signing(settings.signing_key(options))
        loops = [planner.Planner(), worker.Keeping(app.state.ledger), worker.Clock()]
        if _keeps_the_index(options, database):
            loops.insert(0, worker.Worker(app.state.engine))
        await signing.start()
        # The last to stop: what the others do at the end is signed, too.
        open_things.push_async_callback(signing.stop)
        started: list[worker.Loop] = []
        open_things.push_async_callback(_stop, started)
        for loop in loops:
            await loop.start()
            started.append(loop)
        yield


async def _stop(loops: Sequence[worker.Loop]) -> None:
    """All at once, since each may have to wait for a database that hangs."""
    for failed in await asyncio.gather(*(loop.stop() for loop in loops), return_exceptions=True):
        if failed:
            raise failed


def _cors(options: settings.Settings) -> CORSConfig | None:
    """Which pages of other origins may call. They send their token themselves: never cookies."""
    if not options.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(options.cors_origins),
        allow_credentials=False,
        allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE"],
        allow_headers=[
            "Accept-Language",
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
            "X-Request-Id",
        ],
        expose_headers=[
            "ETag",
            "Location",
            "RateLimit",
            "RateLimit-Policy",
            "Retry-After",
            "X-Request-Id",
        ],
    )


def _phones(options: settings.Settings) -> index.Phones | None:
    """Where phones may search by themselves, if anywhere."""
    if options.meili_public_url and options.meili_token_key:
        return index.Phones(options.meili_public_url, options.meili_token_key)
    return None


def _keeps_the_index(options: settings.Settings, database: engine.Engine) -> bool:
    """Whether this process carries changes to the index itself: to an embedded one always, to a
    server only where nobody else can, since a SQLite file lets in one process. On PostgreSQL that
    is the work of `python -m api work`."""
    return not options.meili_url or database.dialect == "sqlite"


def _ledger(state: State) -> queries.Ledger:
    ledger: queries.Ledger = state.ledger
    return ledger


def _options(state: State) -> settings.Settings:
    options: settings.Settings = state.options
    return options


def _engine(state: State) -> index.SearchEngine:
    engine: index.SearchEngine = state.engine
    return engine
