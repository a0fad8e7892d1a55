"""Steps that the tests of a window's transaction share."""

from typing import Any

from attrs import evolve
from sqlalchemy import Engine, NullPool, create_engine

from tenantcollect.state import WindowTransaction
from tenantcollect.testing.sql import SqlHarness
from tenantcollect.testing.steps import KEY, opened

__all__ = ["begun", "engine_of", "outside"]


def begun(backend: Any, tenant_id: str = KEY.tenant_id) -> WindowTransaction:
    """The transaction of an open window."""
    transaction: WindowTransaction = backend.state.transaction(opened(backend, evolve(KEY, tenant_id=tenant_id)))
    return transaction


def outside(harness: SqlHarness) -> Engine:
    """An engine that keeps no connection, to look on with."""
    return create_engine(harness.url, poolclass=NullPool)


def engine_of(harness: SqlHarness) -> Engine:
    """The engine of the backend under test."""
    return harness.backend.state._database.engine  # type: ignore[attr-defined, no-any-return]
