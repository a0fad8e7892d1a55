"""``doctor`` on what the user we connect as may do with our tables on PostgreSQL: what it asks for is what we use."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import URL, insert, make_url
from sqlalchemy.orm import Session

from tenantcollect import hookimpl
from tenantcollect.reports import Severity
from tests.backends.examining import METADATA, Facts, connected, examined

Execute = Callable[..., None]

NEEDED = {
    "data_source_run": "SELECT, INSERT, UPDATE",
    "data_source_lease": "SELECT, INSERT, UPDATE",
    "data_source_hold": "SELECT, INSERT, UPDATE, DELETE",
    "data_source_run_history": "SELECT, INSERT",
    "window_guard": "SELECT, INSERT, DELETE",
    "tenant_data_source_config": "SELECT, INSERT, UPDATE, DELETE",
    "tenant_data_source": "SELECT, INSERT, UPDATE, DELETE",
    "alembic_version": "SELECT",
}


@pytest.fixture
def login(collected_postgresql: str, execute: Execute) -> Iterator[URL]:
    """A user with no more rights than these, and those that the collector's table takes."""
    name = f"tc-{uuid4().hex}"
    grants = [f'GRANT {rights} ON tc.tenantcollect_{table} TO "{name}"' for table, rights in NEEDED.items()]
    execute(f'CREATE ROLE "{name}" LOGIN', f'GRANT USAGE ON SCHEMA tc TO "{name}"', *grants)
    execute(f'GRANT SELECT, INSERT ON fact TO "{name}"', f'GRANT USAGE ON SEQUENCE fact_id_seq TO "{name}"')
    yield make_url(collected_postgresql).set(username=name)
    execute(f'DROP OWNED BY "{name}"', f'DROP ROLE "{name}"')


class Writer(Facts):
    """Writes a row per window."""

    @hookimpl
    def run(self, db: Session, tenant_id: str) -> int:
        db.execute(insert(METADATA.tables["fact"]).values(tenant_id=tenant_id))
        return 1


def test_the_rights_that_are_asked_for_are_enough(login: URL) -> None:
    """With just these windows are collected, configuration changes, and every command can be given."""
    assert {row.severity for row in examined(login, schema="tc")["schema"]} == {Severity.OK}
    since = datetime.now(UTC) - timedelta(days=3)
    with connected(login, schema="tc", collectors={"demo.fact": Writer()}) as orchestrator:
        orchestrator.configure("acme", "demo", {"TOKEN": "tok-3f9a77"}, since=since)
        assert orchestrator.run().windows.completed == 3
        orchestrator.pause("acme", "demo")
        orchestrator.resume("acme", "demo")
        orchestrator.trigger("acme", "demo")
        orchestrator.backfill("acme", "demo", since=since - timedelta(days=1))
        orchestrator.replay("acme", "demo", start=since, end=since + timedelta(days=1))
        assert orchestrator.run().windows.completed >= 2
        assert all([list(orchestrator.status()), list(orchestrator.history()), list(orchestrator.explain())])
        orchestrator.configure("acme", "demo", {"TOKEN": None})
        orchestrator.disconnect("acme", "demo")


def test_a_right_that_is_missing_is_told_and_the_statement_gives_it(login: URL, execute: Execute) -> None:
    """Each of them, by name; what is said to be done helps."""
    for table, rights in NEEDED.items():
        for right in rights.split(", "):
            execute(f'REVOKE {right} ON tc.tenantcollect_{table} FROM "{login.username}"')
            [row] = examined(login, schema="tc")["schema"]
            assert (row.severity, f"{right} on tc.tenantcollect_{table}" in row.detail) == (Severity.UNUSABLE, True)
            execute(str(row.action))
    assert {row.severity for row in examined(login, schema="tc")["schema"]} == {Severity.OK}


def test_a_schema_that_may_not_be_used_is_told_once(login: URL, execute: Execute) -> None:
    """What would have to read our tables is not tried: it would say the same in other words."""
    execute(f'REVOKE ALL ON SCHEMA tc FROM "{login.username}"')
    found = examined(login, schema="tc")
    [row] = found["schema"]
    assert (row.severity, row.action) == (Severity.UNUSABLE, f'GRANT USAGE ON SCHEMA tc TO "{login.username}";')
    assert not {"catalog", "secrets"} & found.keys()
    assert "clock" in found
