"""What a pass asks of the database, counted in statements: G9."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tenantcollect import CollectorOptions, Orchestrator, connect, hookimpl

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Script:
    """One window of one day, which writes nothing."""

    @hookimpl
    def options(self) -> CollectorOptions:
        """A short history."""
        return CollectorOptions(initial_range=timedelta(days=1))

    @hookimpl
    def run(self) -> int:
        """One record."""
        return 1


@pytest.fixture
def engine(postgresql_url: str) -> Iterator[sa.Engine]:
    """The host's engine."""
    engine = sa.create_engine(postgresql_url)
    yield engine
    engine.dispose()


@pytest.fixture
def orchestrator(engine: sa.Engine) -> Iterator[Orchestrator]:
    """An orchestrator on the host's engine, with its tables."""
    with connect(engine, collectors={"acme.script": Script()}, clock=lambda: NOW) as orchestrator:
        orchestrator.upgrade()
        yield orchestrator


def sent_by(engine: sa.Engine, action: Callable[[], Any]) -> list[str]:
    """The statements that ``action`` sends."""
    sent: list[str] = []

    def note(*given: Any) -> None:
        sent.append(given[2])

    sa.event.listen(engine, "before_cursor_execute", note)
    action()
    sa.event.remove(engine, "before_cursor_execute", note)
    return sent


def connect_tenants(engine: sa.Engine, orchestrator: Orchestrator, tenants: range) -> None:
    """Connect them in the host's own transaction: the next pass makes their rows."""
    with engine.begin() as connection:
        for number in tenants:
            orchestrator.configure(f"t{number:02}", "acme", {}, connection=connection)


def test_g9_tenants_are_made_and_told_of_together(engine: sa.Engine, orchestrator: Orchestrator) -> None:
    """As many statements for twenty tenants as for two, to make their rows and to show where they stand."""

    def costs(tenants: range) -> tuple[int, int]:
        connect_tenants(engine, orchestrator, tenants)
        made = sent_by(engine, lambda: orchestrator.run(max_duration=0))
        orchestrator.run()
        return len(made), len(sent_by(engine, lambda: list(orchestrator.status())))

    costs(range(1))
    few = costs(range(1, 3))
    assert costs(range(3, 20)) == few
    assert len(list(orchestrator.status())) == 20


def test_g9_an_idle_pass_is_two_reads(engine: sa.Engine, orchestrator: Orchestrator) -> None:
    """Whether the catalog has changed, and what is due, however many tenants there are."""
    connect_tenants(engine, orchestrator, range(20))
    orchestrator.run()
    version, due = sent_by(engine, orchestrator.run)
    assert "tenantcollect_tenant_data_source" in version
    assert "next_due_at" in due
