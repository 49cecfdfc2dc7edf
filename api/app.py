"""create_app(): the only place where everything meets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from api import (
    accounts,
    auth,
    calendars,
    documentation,
    errors,
    finding,
    health,
    matches,
    needs,
    offerings,
    partners,
    places,
    requests,
    worker,
)
from models import engine, settings
from search import engine as index

# A body of ordinary size; bulk endpoints say their own.
MAX_BODY = 64 * 1024


def create_app(options: settings.Settings) -> Litestar:
    """The application for these settings. The database must have been migrated."""

    @contextlib.asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as open_things:
            database = engine.open_engine(options.database)
            await database.start()
            open_things.push_async_callback(database.close)
            engine.use(database)
            app.state.engine = index.open_engine(options.data / "index")
            open_things.push_async_callback(app.state.engine.close)
            working = worker.Worker(app.state.engine)
            await working.start()
            open_things.push_async_callback(working.stop)
            yield

    return Litestar(
        route_handlers=[
            health.livez,
            health.readyz,
            errors.ProblemController,
            accounts.SessionController,
            places.PlaceController,
            places.ServiceTypeController,
            partners.PartnerController,
            offerings.OfferingController,
            needs.NeedController,
            calendars.CalendarController,
            matches.MatchController,
            finding.SearchController,
            *documentation.HANDLERS,
        ],
        openapi_config=None,
        lifespan=[running],
        dependencies={
            "options": Provide(lambda: options, sync_to_thread=False),
            "engine": Provide(_engine, sync_to_thread=False),
        },
        middleware=[auth.Identify()],
        before_request=requests.known_query,
        exception_handlers=errors.HANDLERS,
        request_class=requests.StrictRequest,
        request_max_body_size=MAX_BODY,
        state=State({}),
        debug=False,
        logging_config=None,
    )


def _engine(state: State) -> index.SearchEngine:
    engine: index.SearchEngine = state.engine
    return engine
