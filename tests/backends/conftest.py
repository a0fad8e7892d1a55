"""Databases that are migrated already and empty: that is quicker than to migrate each."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import evolve
from sqlalchemy import URL, NullPool, create_engine, make_url, text

from tenantcollect.testing import PostgresqlHarness, SqliteHarness, VirtualClock
from tenantcollect.testing.sql import SqlHarness
from tenantcollect.testing.steps import KEY, made
from tests.backends.examining import Isolated, connected
from tests.postgresql import fresh_database

OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
TABLES = """
SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables
WHERE schemaname = 'public' AND tablename NOT LIKE '%alembic%'
"""


@pytest.fixture(scope="session")
def postgresql_tables(postgresql_server: URL) -> Iterator[URL]:
    """A PostgreSQL database with all tables."""
    with fresh_database(postgresql_server) as url:
        PostgresqlHarness(url).close()
        yield url


@pytest.fixture
def migrated_postgresql(postgresql_tables: URL) -> URL:
    """A PostgreSQL database with all tables, nobody connected to it and nothing in them."""
    engine = create_engine(postgresql_tables, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(OTHERS))
        tables = connection.scalar(text(TABLES))
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
    return postgresql_tables


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    SqliteHarness(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def migrated_sqlite(sqlite_template: Path, tmp_path: Path) -> URL:
    """A fresh SQLite database with all tables."""
    path = tmp_path / "tenantcollect.db"
    shutil.copy(sqlite_template, path)
    return make_url(f"sqlite:///{path}")


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed collectors are left out."""
    monkeypatch.setenv("TENANTCOLLECT_PLUGINS", "nothing")


@pytest.fixture
def collected_postgresql(postgresql_url: str, nothing_else: None) -> str:
    """A PostgreSQL database with our tables in a schema of their own, and the collector's."""
    with connected(postgresql_url, schema="tc") as orchestrator:
        orchestrator.upgrade()
    return postgresql_url


@pytest.fixture
def execute(collected_postgresql: str) -> Callable[..., None]:
    """Runs statements as the owner of the database."""

    def run(*statements: str) -> None:
        engine = create_engine(make_url(collected_postgresql).set(drivername="postgresql+psycopg"), poolclass=NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    return run


@pytest.fixture
def isolated(postgresql_url: str, nothing_else: None) -> Iterator[Isolated]:
    """A database in which all is set up for collectors that are to be isolated, but the policies."""
    name = f"tc_{uuid4().hex}"
    made = Isolated(make_url(postgresql_url), f"{name}_login", name)
    made.execute("CREATE ROLE {login} LOGIN", "CREATE ROLE {role} NOLOGIN", "GRANT {role} TO {login}")
    made.execute("CREATE SCHEMA tc AUTHORIZATION {login}", "GRANT USAGE, CREATE ON SCHEMA public TO {login}")
    with connected(made.url(), schema="tc") as orchestrator:
        orchestrator.upgrade()
        orchestrator.configure("acme", "demo", {})
    made.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON fact TO {role}", "GRANT USAGE ON fact_id_seq TO {role}")
    yield made
    made.execute("DROP OWNED BY {login}, {role} CASCADE", "DROP ROLE {login}, {role}")


@pytest.fixture(params=["sqlite", "postgresql"])
def harness(request: pytest.FixtureRequest) -> Iterator[SqlHarness]:
    """A migrated database of each kind, with a key of each of two tenants."""
    kind = {"sqlite": SqliteHarness, "postgresql": PostgresqlHarness}[request.param]
    harness = kind(request.getfixturevalue(f"migrated_{request.param}"))
    made(harness.backend, [KEY, evolve(KEY, tenant_id="globex")])
    yield harness
    harness.close()


@pytest.fixture
def postgresql(migrated_postgresql: str) -> Iterator[PostgresqlHarness]:
    """A migrated PostgreSQL database."""
    harness = PostgresqlHarness(migrated_postgresql)
    made(harness.backend)
    yield harness
    harness.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each kind."""
    return str(request.getfixturevalue(f"migrated_{request.param}").render_as_string(hide_password=False))


@pytest.fixture
def clock() -> VirtualClock:
    """The clock of planning."""
    return VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
