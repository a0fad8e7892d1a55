"""What a collector does to its connection befalls nobody else: not the next tenant, not the host (G4, G10)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

import tenantcollect
from tenantcollect import hookimpl
from tenantcollect.backends.sql import SqlBackend
from tenantcollect.errors import DatabaseReadOnly, IsolationRefused, TenantcollectError, TransactionBroken
from tenantcollect.testing.sql import PostgresqlHarness, SqlHarness
from tenantcollect.testing.steps import opened, seal_of
from tests.backends.windows import begun

FOUND = text(
    "SELECT current_setting('role'), current_setting('search_path'),"
    " NULLIF(current_setting('tenantcollect.tenant_id', true), '')"
)
OWN_ROW = """
CREATE FUNCTION own_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.tenant_id IS DISTINCT FROM current_setting('tenantcollect.tenant_id', true) THEN
    RAISE 'the tenant is % at COMMIT', current_setting('tenantcollect.tenant_id', true);
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER own_row AFTER INSERT ON collected DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION own_row()
"""


@pytest.fixture
def engine(postgresql: PostgresqlHarness) -> Iterator[Engine]:
    """A host's engine with one pooled connection, which every transaction uses again."""
    engine = create_engine(postgresql.url, pool_size=1, max_overflow=0, pool_timeout=5)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "settings", ["SET LOCAL tenantcollect.tenant_id = 'globex'", "SET LOCAL search_path = pg_catalog, public"]
)
def test_what_a_host_sets_for_its_transaction_does_not_last(engine: Engine, settings: str) -> None:
    """A host whose every transaction begins with SET LOCAL finds its pooled connection as it was before a window."""
    event.listen(engine, "connect", lambda driver, _: driver.execute("SET search_path = public") and driver.commit())
    with engine.connect() as connection:
        before = connection.execute(FOUND).one()
    begins = lambda connection: connection.exec_driver_sql(settings)  # noqa: E731 - to be removed again
    event.listen(engine, "begin", begins)
    backend = SqlBackend(engine, schema="public")
    transaction = begun(backend)
    transaction.session().execute(text("INSERT INTO collected (tenant_id, number) VALUES ('acme', 1)"))
    transaction.seal(seal_of(transaction.claim))
    event.remove(engine, "begin", begins)
    with engine.connect() as connection:
        assert connection.execute(FOUND).one() == before


def test_a_host_that_asks_something_at_each_begin_can_run_windows(
    engine: Engine, postgresql: PostgresqlHarness
) -> None:
    """The usual way to bind a host's own row-level security: a query that comes before ours."""
    bound = text("SELECT set_config('app.actor', 'host', true)")
    event.listen(engine, "begin", lambda connection: connection.execute(bound) and None)
    transaction = begun(SqlBackend(engine))
    transaction.session().execute(text("INSERT INTO collected (tenant_id, number) VALUES ('acme', 1)"))
    transaction.seal(seal_of(transaction.claim))
    assert postgresql.rows() == [("acme", 1)]


@pytest.mark.parametrize("shared", [False, True])
def test_a_connection_that_other_threads_had_goes_back_to_nobody(engine: Engine, shared: bool) -> None:
    """One of them may still hold it; what only its window's thread used is pooled."""
    transaction = begun(SqlBackend(engine))
    pid = text("SELECT pg_backend_pid()")
    with ThreadPoolExecutor(1) as pool:
        used = transaction.session().scalar(pid)
        if shared:
            assert pool.submit(transaction.session().scalar, pid).result() == used
    transaction.seal(seal_of(transaction.claim))
    with engine.connect() as connection:
        assert (connection.scalar(pid) == used) != shared


def test_what_the_database_does_at_commit_is_done_for_the_tenant(postgresql: PostgresqlHarness) -> None:
    """A deferred constraint trigger finds the tenant that its row was written for."""
    for statement in OWN_ROW.split("$$;"):
        postgresql.execute(text(statement.replace(":", r"\:") + ("$$" if "BEGIN" in statement else "")))
    try:
        transaction = begun(postgresql.backend)
        postgresql.write(transaction, 1)
        transaction.seal(seal_of(transaction.claim))
    finally:
        postgresql.execute(text("DROP FUNCTION own_row CASCADE"))
    assert postgresql.rows() == [("acme", 1)]


def test_a_driver_that_prepares_everything_can_run_windows(postgresql: PostgresqlHarness) -> None:
    """``prepare_threshold=0``: several statements at once cannot be prepared, and are not."""
    backend = SqlBackend(postgresql.url.update_query_dict({"prepare_threshold": "0"}))
    transaction = begun(backend)
    postgresql.write(transaction, 1)
    transaction.seal(seal_of(transaction.claim))
    backend.close()
    assert postgresql.rows() == [("acme", 1)]


@pytest.mark.parametrize("ending", ["seal", "abandon"])
def test_settings_of_the_driver_are_put_back(harness: SqlHarness, ending: str) -> None:
    """Rows in another shape, and whatever else the driver's connection can be told, are of this window only."""
    transaction = begun(harness.backend)
    harness.write(transaction, 1)
    driver = harness.driver(transaction)
    driver.row_factory = psycopg.rows.dict_row if hasattr(driver, "prepare_threshold") else lambda *_: {}
    if ending == "seal":
        transaction.seal(seal_of(transaction.claim))
    transaction.abandon()
    following = begun(harness.backend, "globex")
    assert following.session().execute(text("SELECT 7")).scalar() == 7
    following.seal(seal_of(following.claim))
    assert harness.rows() == ([("acme", 1)] if ending == "seal" else [])


def test_a_temporary_table_is_not_there_for_the_next_tenant(harness: SqlHarness) -> None:
    """Nor one that hides a table of the same name: that would swallow the rows of whoever comes next."""
    transaction = begun(harness.backend)
    transaction.session().execute(text("CREATE TEMPORARY TABLE collected (tenant_id text, number int)"))
    transaction.session().execute(text("INSERT INTO collected VALUES ('acme', 1)"))
    transaction.seal(seal_of(transaction.claim))
    following = begun(harness.backend, "globex")
    assert following.session().execute(text("SELECT count(*) FROM collected")).scalar() == 0
    harness.write(following, 2)
    following.seal(seal_of(following.claim))
    assert [number for _, number in harness.rows()] == [2]


CLOSINGS: dict[str, Callable[[Any], object]] = {
    "driver": lambda connection: connection.connection.driver_connection.close(),
    "pooled": lambda connection: connection.connection.close(),
    "invalidate": lambda connection: connection.invalidate(),
}


@pytest.mark.parametrize("closing", CLOSINGS)
@pytest.mark.parametrize("written_on", [True, False])
def test_a_connection_that_is_closed_by_hand_fails_its_window(
    harness: SqlHarness, closing: str, *, written_on: bool
) -> None:
    """Whoever closes it is told so; it is not the database that was lost, and the next window finds another one."""
    transaction = begun(harness.backend)
    harness.write(transaction, 1)
    CLOSINGS[closing](transaction.session().connection())
    if written_on:
        with pytest.raises(Exception, match=r".") as failed:
            harness.write(transaction, 2)
        assert isinstance(transaction.translate(failed.value), TransactionBroken)
    with pytest.raises(TransactionBroken):
        transaction.seal(seal_of(transaction.claim))
    transaction.abandon()
    following = begun(harness.backend, "globex")
    harness.write(following, 2)
    following.seal(seal_of(following.claim))
    assert [number for _, number in harness.rows()] == [2]


def test_a_driver_commit_that_raises_is_told_as_such(postgresql: PostgresqlHarness) -> None:
    """E13, not swallowed: the server's refusal names our guard, and is said in words for the collector's author."""
    transaction = begun(postgresql.backend)
    postgresql.write(transaction, 1)
    with pytest.raises(psycopg.Error) as refused:
        postgresql.driver(transaction).commit()
    meant = transaction.translate(refused.value)
    assert isinstance(meant, TransactionBroken)
    assert "ended the framework's transaction" in str(meant)
    transaction.abandon()


def test_a_refusal_inside_a_savepoint_is_one_of_isolation(postgresql: PostgresqlHarness) -> None:
    """The savepoint has undone it; who raises it all the same is told what it means."""
    transaction = begun(postgresql.backend)
    raising = text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '42501'; END $$")
    with pytest.raises(DBAPIError) as refused, transaction.session().begin_nested():
        transaction.session().execute(raising)
    assert isinstance(transaction.translate(refused.value), IsolationRefused)
    transaction.abandon()


def test_an_error_of_another_database_is_the_collectors_own(postgresql: PostgresqlHarness) -> None:
    """A collector may have connections of its own: what befalls them is no refusal, and no fault, of ours."""
    transaction = begun(postgresql.backend)
    postgresql.write(transaction, 1)
    for state in ("42501", "57P01", "40001"):
        with (
            pytest.raises(psycopg.Error) as failed,
            psycopg.connect(postgresql.url.set(drivername="postgresql").render_as_string(hide_password=False)) as own,
        ):
            own.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
        assert transaction.translate(failed.value) is failed.value
    transaction.seal(seal_of(transaction.claim))


def test_who_writes_first_and_fetches_for_long_is_told_so(postgresql: PostgresqlHarness) -> None:
    """PostgreSQL ends a transaction that lies idle: not the database is lost, the collector is to write last."""
    backend = SqlBackend(postgresql.url, idle_timeout=timedelta(milliseconds=50))
    transaction = begun(backend)
    postgresql.write(transaction, 1)
    there = text(f"SELECT 1 FROM pg_stat_activity WHERE pid = {postgresql.driver(transaction).info.backend_pid}")
    while postgresql.execute(there).rowcount:
        pass
    with pytest.raises(TransactionBroken, match="fetch first, write last"):
        transaction.seal(seal_of(transaction.claim))
    transaction.abandon()
    backend.close()


def test_e20_a_zombie_that_nobody_evicts_holds_nobody_up_for_long(postgresql: PostgresqlHarness) -> None:
    """Without eviction PostgreSQL itself ends what a stalled holder has locked, after a default TTL at the latest."""
    limits = []
    for options in ({}, {"evict": False}):
        backend = SqlBackend(postgresql.url, **options)
        session = begun(backend).session()
        limits.append(session.scalar(text("SELECT current_setting('idle_in_transaction_session_timeout')")))
        backend.close()
    assert limits == ["5min", "1min"]
    backend = SqlBackend(postgresql.url, evict=False, idle_timeout=timedelta(seconds=0.2))
    zombie, successor = begun(backend), begun(backend)
    postgresql.mark(zombie, "same")
    postgresql.mark(successor, "same")
    successor.seal(seal_of(successor.claim))
    with pytest.raises(TenantcollectError):
        zombie.seal(seal_of(zombie.claim))
    assert postgresql.rows() == [("acme", 0)]
    backend.close()


def test_a_database_that_may_only_be_read_says_so(postgresql: PostgresqlHarness) -> None:
    """A standby, or a default of the role: no collector is to blame, and the error says where to connect."""
    options = {"options": "-c default_transaction_read_only=on"}
    backend = SqlBackend(postgresql.url.update_query_dict(options))
    with pytest.raises(DatabaseReadOnly, match="primary"):
        opened(backend)
    backend.close()


class Faulty:
    """A collector whose statement fails as if the database did, for one tenant."""

    def __init__(self, state: str) -> None:
        self._raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'bad data' USING ERRCODE = '{state}'; END $$")

    @hookimpl
    def run(self, db: Any, tenant_id: str) -> None:
        if tenant_id == "acme":
            db.execute(self._raising)


@pytest.mark.parametrize("state", ["08001", "58030", "XX000", "25P03"])
def test_g4_one_tenants_statement_stops_nobody_else(postgresql: PostgresqlHarness, state: str) -> None:
    """Extensions raise such errors for bad data: the key fails and backs off, and all other tenants are collected."""
    with tenantcollect.connect(
        postgresql.url, collectors={"demo.faulty": Faulty(state)}, concurrency=1
    ) as orchestrator:
        for tenant_id in ("acme", "globex", "initech"):
            orchestrator.configure(tenant_id, "demo", {})
        report = orchestrator.run()
        assert report.error is None
        assert (report.windows.completed, report.windows.failed) == (180, 1)
        [faulty] = orchestrator.explain("acme", "demo")
        assert (faulty.reason, state in faulty.detail) == ("backoff", True)


class Stuck:
    """A collector that takes the turn to write and then waits for something, whatever it is told."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()

    @hookimpl
    def run(self, db: Any) -> None:
        self.begun.set()
        db.execute(text("SELECT 1"))
        self.over.wait(100)


def test_g10_the_grace_is_kept_also_where_a_stuck_window_has_the_turn_to_write(migrated_sqlite: URL) -> None:
    """SQLite has one writer: what is to be stored of the other windows does not wait for one that is given up."""
    stuck = Stuck()
    with tenantcollect.connect(
        migrated_sqlite, collectors={"demo.stuck": stuck}, grace=timedelta(seconds=0.1)
    ) as orchestrator:
        for tenant_id in ("acme", "globex", "initech"):
            orchestrator.configure(tenant_id, "demo", {})
        stopping = threading.Thread(target=lambda: stuck.begun.wait(60) and orchestrator.stop())
        stopping.start()
        orchestrator.run()
        assert not stuck.over.is_set()
        stuck.over.set()
        stopping.join()
        assert {row.status for row in orchestrator.history()} == {"FAILED"}
