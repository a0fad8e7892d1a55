"""The app: it owns its engine, and lets tenantcollect use it."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import FastAPI
from sqlalchemy import Engine

import tenantcollect
from host_app.database import connected, for_tenantcollect
from host_app.routes import router


def create_app(
    engine: Engine | None = None,
    *,
    collectors: Mapping[str, object] | None = None,
    clock: Callable[[], datetime] | None = None,
) -> FastAPI:
    """The app on ``engine``, or on ``$DATABASE_URL``; ``collectors`` and ``clock`` are for tests."""
    own = engine or connected(os.environ.get("DATABASE_URL", "sqlite:///host_app.db"))
    orchestrator = tenantcollect.connect(for_tenantcollect(own), collectors=collectors, clock=clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        orchestrator.upgrade()
        yield
        orchestrator.close()
        if engine is None:
            own.dispose()

    app = FastAPI(title="host-app", lifespan=lifespan)
    app.state.engine, app.state.orchestrator = own, orchestrator
    app.include_router(router)
    return app
