"""The defaults: from an engine or a URL to an orchestrator (floor: compose)."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tenantcollect.catalog import Catalog
from tenantcollect.configuring import ResolveEnv
from tenantcollect.locks import DEFAULT_TTL, Locks
from tenantcollect.orchestrator import Orchestrator
from tenantcollect.policy import FIRST_DELAY
from tenantcollect.state import State

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["connect"]


def connect(
    engine_or_url: "Engine | str",
    *,
    collectors: Mapping[str, object] | None = None,
    extensions: Iterable[object] = (),
    clock: Callable[[], datetime] | None = None,
    resolve_env: ResolveEnv | None = None,
    catalog: Catalog | None = None,
    locks: Locks | None = None,
    state: State | None = None,
    executor: Executor | None = None,
    concurrency: int = 4,
    lease_ttl: timedelta = DEFAULT_TTL,
    retry_delay: timedelta = FIRST_DELAY,
    window_timeout: timedelta | None = None,
    grace: timedelta = timedelta(seconds=30),
    schema: str | None = None,
    create: bool = True,
) -> Orchestrator:
    """An orchestrator on a PostgreSQL engine or URL, or on a SQLite URL.

    A host's engine is used and never disposed or configured; from a URL we make an engine of our own, which
    ``close()`` disposes. ``schema`` is the PostgreSQL schema of our tables (default: the connection's own).
    ``create`` False refuses a SQLite file that is not there. All other parts are objects that replace a default.
    Nothing connects before the first call. Raises :class:`ConfigurationError` for what can never work.
    """
    from tenantcollect.backends.sql import SqlBackend

    backend = SqlBackend(engine_or_url, schema=schema, create=create)
    return Orchestrator(
        state=state or backend.state,
        locks=locks or backend.locks,
        catalog=catalog or backend.catalog,
        collectors=collectors,
        extensions=extensions,
        clock=clock,
        resolve_env=resolve_env,
        executor=executor,
        concurrency=concurrency,
        lease_ttl=lease_ttl,
        retry_delay=retry_delay,
        window_timeout=window_timeout,
        grace=grace,
        schema=backend.schema,
        on_close=backend.close,
    )
