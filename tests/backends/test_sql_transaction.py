import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Engine, Integer, NullPool, String, create_engine, event, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.orm import DeclarativeBase

from tenantcollect.backends.sql import SqlBackend
from tenantcollect.backends.sql.schema import tables
from tenantcollect.errors import (
    DatabaseUnavailable,
    IsolationRefused,
    LeaseLost,
    Overloaded,
    SchemaNotCurrent,
    TenantcollectError,
    TransactionBroken,
    TransactionConflict,
)
from tenantcollect.state import Resume, Status, WindowTransaction
from tenantcollect.testing.sql import COLLECTED, PostgresqlHarness, SqlHarness, SqliteHarness
from tenantcollect.testing.steps import KEY, TTL, deferred, failure, key, made, opened, read, seal_of, window


class Base(DeclarativeBase):
    pass


class Collected(Base):
    __tablename__ = "collected"
    id = Column(Integer, primary_key=True)
    tenant_id = Column(String(200), nullable=False)
    number = Column(Integer, nullable=False)
    mark = Column(String(20), unique=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def harness(request: pytest.FixtureRequest) -> Iterator[SqlHarness]:
    """A migrated database of each kind."""
    kind = {"sqlite": SqliteHarness, "postgresql": PostgresqlHarness}[request.param]
    harness = kind(request.getfixturevalue(f"migrated_{request.param}"))
    made(harness.backend)
    yield harness
    harness.close()


@pytest.fixture
def postgresql(migrated_postgresql: str) -> Iterator[PostgresqlHarness]:
    """A migrated PostgreSQL database."""
    harness = PostgresqlHarness(migrated_postgresql)
    made(harness.backend)
    yield harness
    harness.close()


def begun(harness: SqlHarness) -> WindowTransaction:
    """The transaction of an open window."""
    return harness.backend.state.transaction(opened(harness.backend))


def outside(harness: SqlHarness) -> Engine:
    """An engine that keeps no connection, to look on with."""
    return create_engine(harness.url, poolclass=NullPool)


def engine_of(harness: SqlHarness) -> Engine:
    """The engine of the backend under test."""
    return harness.backend.state._database.engine  # type: ignore[attr-defined, no-any-return]


def test_orm_objects_are_sealed_without_a_flush(harness: SqlHarness) -> None:
    """What was only added to the session is written by the seal."""
    transaction = begun(harness)
    transaction.session().add(Collected(tenant_id="acme", number=7))
    transaction.seal(seal_of(transaction.claim))
    assert harness.rows() == [("acme", 7)]
    assert engine_of(harness).pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_failed_flush_tells_the_collector_its_own_error(harness: SqlHarness) -> None:
    """SQLAlchemy rolls back after a failed flush; the collector sees its IntegrityError, and nothing is kept."""
    transaction = begun(harness)
    session = transaction.session()
    session.add(Collected(tenant_id="acme", number=1, mark="once"))
    session.flush()
    session.add(Collected(tenant_id="acme", number=2, mark="once"))
    with pytest.raises(IntegrityError) as failed:
        session.flush()
    assert transaction.translate(failed.value) is failed.value
    with pytest.raises((TransactionBroken, PendingRollbackError)):
        session.execute(text("SELECT 1"))
    with pytest.raises(TransactionBroken):
        transaction.seal(seal_of(transaction.claim))
    assert harness.rows() == []


def test_a_block_of_begin_joins_and_its_error_fails_the_window(harness: SqlHarness) -> None:
    """``db.begin()`` commits nothing by itself; rolling it back fails all of the window."""
    transaction = begun(harness)
    with transaction.session().begin():
        harness.write(transaction, 1)
    assert harness.rows() == []
    block = transaction.session().begin()
    harness.write(transaction, 2)
    block.rollback()
    with pytest.raises(TransactionBroken):
        transaction.seal(seal_of(transaction.claim))
    assert harness.rows() == []


def test_the_connection_itself_cannot_end_the_window(harness: SqlHarness) -> None:
    """commit(), rollback() and close() of ``db.connection()`` fail the window as those of ``db`` do."""
    for deed in ("commit", "rollback", "close"):
        transaction = begun(harness)
        harness.write(transaction, 1)
        with contextlib.suppress(TransactionBroken):
            getattr(transaction.session().connection(), deed)()
        with pytest.raises(TransactionBroken):
            harness.write(transaction, 2)
        with pytest.raises(TransactionBroken):
            transaction.seal(seal_of(transaction.claim))
        transaction.abandon()
    assert harness.rows() == []


def test_or_rollback_of_sqlite_writes_nothing_behind_our_back(migrated_sqlite: str) -> None:
    """``INSERT OR ROLLBACK`` ends the transaction by itself; what follows would commit by itself, and is denied."""
    harness = SqliteHarness(migrated_sqlite)
    made(harness.backend)
    transaction = begun(harness)
    driver = harness.driver(transaction)
    harness.mark(transaction, "once")
    once = "INSERT OR ROLLBACK INTO collected (tenant_id, number, mark) VALUES ('acme', 1, 'once')"
    with pytest.raises(IntegrityError):
        transaction.session().execute(text(once))
    with pytest.raises(Exception, match="not authorized"):
        driver.execute("INSERT INTO collected (tenant_id, number) VALUES ('acme', 5)")
    with pytest.raises(TransactionBroken):
        transaction.seal(seal_of(transaction.claim))
    assert harness.rows() == []
    harness.close()


def test_reading_is_short_read_only_and_bound_to_its_tenant(postgresql: PostgresqlHarness) -> None:
    """``read`` has the tenant setting, cannot write, and gives its connection back at once."""
    transaction = begun(postgresql)
    [(tenant_id, read_only)] = transaction.read(
        text("SELECT current_setting('tenantcollect.tenant_id'), current_setting('transaction_read_only')")
    )
    assert (tenant_id, read_only) == ("acme", "on")
    assert engine_of(postgresql).pool.checkedout() == 0  # type: ignore[attr-defined]
    assert transaction.read("SELECT current_setting('tenantcollect.tenant_id')")[0][0] == "acme"


def test_reading_cannot_write_and_its_errors_are_the_collectors(harness: SqlHarness) -> None:
    """A write is refused, and a table that is not there is no sign of a missing migration of ours."""
    transaction = begun(harness)
    with pytest.raises((TenantcollectError, DBAPIError)) as refused:
        transaction.read(insert(COLLECTED).values(tenant_id="acme", number=1))
    assert not isinstance(refused.value, SchemaNotCurrent)
    with pytest.raises(DBAPIError):
        transaction.read("SELECT * FROM nowhere")
    assert [row.number for row in transaction.read(select(COLLECTED))] == []
    transaction.seal(seal_of(transaction.claim))


def test_reading_gives_orm_objects_that_can_be_used_afterwards(harness: SqlHarness) -> None:
    """A select of entities returns them detached, with their attributes."""
    harness.execute(insert(COLLECTED).values(tenant_id="acme", number=3))
    [(found,)] = begun(harness).read(select(Collected))
    assert (found.tenant_id, found.number) == ("acme", 3)


def test_a_window_that_hangs_in_the_database_can_be_given_up(postgresql: PostgresqlHarness) -> None:
    """abandon() from another thread stops the statement, and its connection is never handed on."""
    transaction = begun(postgresql)
    postgresql.write(transaction, 1)
    ended: list[BaseException] = []

    def hang() -> None:
        try:
            transaction.session().execute(text("SELECT pg_sleep(60)"))
        except Exception as error:  # noqa: BLE001 - whatever it is
            ended.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    transaction.abandon()
    thread.join(10)
    assert time.monotonic() - began < 8
    assert len(ended) == 1
    assert engine_of(postgresql).pool.checkedout() == 0  # type: ignore[attr-defined]
    busy = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")
    with outside(postgresql).connect() as connection:
        assert connection.scalar(busy) == 0
    assert postgresql.rows() == []


def test_a_window_that_hangs_in_sqlite_can_be_given_up(migrated_sqlite: str) -> None:
    """abandon() from another thread ends the statement and lets the next writer go on."""
    harness = SqliteHarness(migrated_sqlite)
    made(harness.backend)
    transaction = begun(harness)
    harness.write(transaction, 1)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    ended: list[BaseException] = []

    def hang() -> None:
        try:
            transaction.session().execute(text(endless))
        except Exception as error:  # noqa: BLE001 - whatever it is
            ended.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.5)
    transaction.abandon()
    thread.join(10)
    assert len(ended) == 1
    harness.backend.state.close(transaction.claim)
    assert harness.rows() == []
    harness.close()


def test_a_windows_own_thread_is_told_that_it_waits_for_itself(migrated_sqlite: str) -> None:
    """On SQLite, writing beside the open window from its own thread could never come to its turn."""
    harness = SqliteHarness(migrated_sqlite)
    made(harness.backend)
    transaction = begun(harness)
    harness.write(transaction, 1)
    began = time.monotonic()
    with pytest.raises(Overloaded, match="this thread"):
        deferred(harness.backend.state, KEY, None)
    assert time.monotonic() - began < 1
    transaction.seal(seal_of(transaction.claim))
    harness.close()


def test_windows_queue_for_sqlites_only_writer(migrated_sqlite: str) -> None:
    """A second window waits for the first for as long as that takes, and not only for SQLite's timeout."""
    harness = SqliteHarness(migrated_sqlite)
    other = made(harness.backend, [key(script="branch")])
    first = harness.backend.state.transaction(opened(harness.backend, other))
    made(harness.backend)
    second = begun(harness)
    harness.write(first, 1)
    thread = threading.Thread(target=lambda: (harness.write(second, 2), second.seal(seal_of(second.claim))))
    thread.start()
    time.sleep(6)
    assert thread.is_alive()
    first.seal(seal_of(first.claim))
    thread.join(10)
    assert harness.rows() == [("acme", 1), ("acme", 2)]
    harness.close()


def test_a_beat_that_cannot_write_is_not_a_lost_lease(migrated_sqlite: str) -> None:
    """While a window of another process writes, renewing says that it is unknown, not that the lease is gone."""
    harness = SqliteHarness(migrated_sqlite)
    made(harness.backend)
    [lease] = harness.backend.locks.acquire([KEY], owner="me", ttl=TTL)
    beside = harness.beside()
    transaction = beside.state.transaction(opened(beside))
    harness.write(transaction, 1)
    with pytest.raises(Overloaded):
        harness.backend.locks.renew([lease], ttl=TTL)
    transaction.abandon()
    assert harness.backend.locks.renew([lease], ttl=TTL) == {KEY}
    harness.close()


def test_a_collectors_role_and_search_path_end_with_its_part(postgresql: PostgresqlHarness) -> None:
    """Collectors run under their role; neither it nor a search path of theirs reaches the seal."""
    role = "tc_collector"
    with outside(postgresql).begin() as connection:
        connection.execute(text(f"DROP ROLE IF EXISTS {role}"))
        connection.execute(text(f"CREATE ROLE {role}"))
        connection.execute(text(f"GRANT INSERT, SELECT ON collected TO {role}"))
        connection.execute(text(f"GRANT USAGE ON SEQUENCE collected_id_seq TO {role}"))
    backend = SqlBackend(postgresql.url, collector_role=role)
    transaction = backend.state.transaction(opened(backend))
    postgresql.write(transaction, 1)
    assert transaction.session().scalar(text("SELECT current_user")) == role
    assert transaction.read("SELECT current_user")[0][0] == role
    transaction.session().execute(text("SET LOCAL search_path TO nowhere"))
    transaction.seal(seal_of(transaction.claim))
    assert postgresql.rows() == [("acme", 1)]
    backend.close()
    with outside(postgresql).begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "RESET ALL",
        "SET LOCAL tenantcollect.tenant_id = 'other'",
        "DISCARD ALL",
        "  -- a comment\n /* and another */ COMMIT",
        "START TRANSACTION",
        "PREPARE TRANSACTION 'x'",
    ],
)
def test_level_0_refuses_mistakes_before_they_are_sent(postgresql: PostgresqlHarness, statement: str) -> None:
    """What would end the transaction or leave the tenant is refused at once."""
    transaction = begun(postgresql)
    with pytest.raises(TransactionBroken):
        transaction.session().execute(text(statement))
    with pytest.raises(TransactionBroken):
        transaction.seal(seal_of(transaction.claim))


@pytest.mark.parametrize("statement", ["SAVEPOINT a", "SELECT 'COMMIT'", "SET LOCAL work_mem = '8MB'"])
def test_level_0_lets_the_rest_pass(postgresql: PostgresqlHarness, statement: str) -> None:
    """Savepoints, harmless settings and texts that only look dangerous are sent."""
    transaction = begun(postgresql)
    transaction.session().execute(text(statement))
    transaction.seal(seal_of(transaction.claim))
    assert read(postgresql.backend).status is Status.COMPLETED


def test_row_level_security_of_the_host_holds(postgresql: PostgresqlHarness) -> None:
    """G4: a policy on the tenant setting lets a window see and write only its own tenant."""
    role = "tc_rls"
    with outside(postgresql).begin() as connection:
        for statement in (
            f"DROP ROLE IF EXISTS {role}",
            f"CREATE ROLE {role}",
            f"GRANT ALL ON collected TO {role}",
            f"GRANT USAGE ON SEQUENCE collected_id_seq TO {role}",
            "INSERT INTO collected (tenant_id, number) VALUES ('other', 9)",
            "ALTER TABLE collected ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE collected FORCE ROW LEVEL SECURITY",
            "CREATE POLICY own ON collected"
            " USING (tenant_id = NULLIF(current_setting('tenantcollect.tenant_id', true), ''))",
        ):
            connection.execute(text(statement))
    backend = SqlBackend(postgresql.url, collector_role=role)
    transaction = backend.state.transaction(opened(backend))
    assert transaction.read(select(COLLECTED)) == []
    postgresql.write(transaction, 1)
    assert [row.tenant_id for row in transaction.session().execute(select(COLLECTED))] == ["acme"]
    with pytest.raises(DBAPIError, match="row-level security"), transaction.session().begin_nested():
        transaction.session().execute(insert(COLLECTED).values(tenant_id="other", number=1))
    transaction.seal(seal_of(transaction.claim))
    assert postgresql.rows() == [("acme", 1), ("other", 9)]
    backend.close()
    with outside(postgresql).begin() as connection:
        connection.execute(text("ALTER TABLE collected DISABLE ROW LEVEL SECURITY"))
        connection.execute(text("DROP POLICY own ON collected"))
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))


def test_a_former_holder_is_evicted_by_the_next(postgresql: PostgresqlHarness) -> None:
    """Opening with the token of the lease that was taken over ends the transaction that carries it."""
    former = begun(postgresql)
    postgresql.mark(former, "mine")
    successor = postgresql.beside()
    claim = opened(successor, previous=former.claim.token)
    transaction = successor.state.transaction(claim)
    began = time.monotonic()
    postgresql.mark(transaction, "mine")
    assert time.monotonic() - began < 5
    transaction.seal(seal_of(claim))
    with pytest.raises((LeaseLost, DatabaseUnavailable)):
        former.seal(seal_of(former.claim))
    assert postgresql.rows() == [("acme", 0)]


@pytest.mark.parametrize("evict", [True, False])
def test_what_a_killed_process_left_at_work_is_ended_by_who_asks_after_it(
    postgresql: PostgresqlHarness, evict: bool
) -> None:
    """A server goes on with a statement that nobody waits for; what may still be sealed is the same without that."""
    killed = begun(postgresql)
    postgresql.mark(killed, "mine")
    backend = SqlBackend(postgresql.url, evict=evict)
    assert backend.state.standing(killed.claim) == killed.claim
    backend.close()
    count = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :tag")

    def at_work() -> int:
        with outside(postgresql).connect() as connection:
            return connection.scalar(count, {"tag": f"tc:{killed.claim.token}"}) or 0

    deadline = time.monotonic() + 10
    while at_work() == evict:
        assert time.monotonic() < deadline
    killed.abandon()


def test_conflicts_losses_and_overload_are_told_apart(postgresql: PostgresqlHarness) -> None:
    """An error of the collector's SQL that is the database's fault is translated; the collector's own is not."""
    for state, kind in (
        ("40001", TransactionConflict),
        ("40P01", TransactionConflict),
        ("53300", Overloaded),
        ("57014", Overloaded),
        ("57P01", DatabaseUnavailable),
        ("23514", DBAPIError),
        ("22012", DBAPIError),
        ("42P01", DBAPIError),
        ("42501", IsolationRefused),
        ("P0001", DBAPIError),
    ):
        transaction = begun(postgresql)
        raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}', DETAIL = 'a secret'; END $$"
        with pytest.raises(DBAPIError) as failed:
            transaction.session().execute(text(raising))
        meant = transaction.translate(failed.value)
        assert isinstance(meant, kind), state
        assert kind is DBAPIError or "a secret" not in str(meant)
        transaction.abandon()
    assert transaction.translate(ZeroDivisionError()).__class__ is ZeroDivisionError


def test_a_conflict_at_the_seal_of_a_key_that_moved_on_is_a_lost_lease(postgresql: PostgresqlHarness) -> None:
    """Whoever lost the key learns just that, also when the database speaks of a conflict."""
    serializable = SqlBackend(postgresql.url, isolation="REPEATABLE READ")
    transaction = serializable.state.transaction(opened(serializable))
    postgresql.write(transaction, 1)
    opened(postgresql.backend)
    with pytest.raises(LeaseLost):
        transaction.seal(seal_of(transaction.claim))
    assert postgresql.rows() == []
    serializable.close()


def test_a_host_that_listens_for_statements_sees_no_row_of_another_tenant(postgresql: PostgresqlHarness) -> None:
    """The tenant is bound before the host's own listeners see the first statement of the window."""
    engine = engine_of(postgresql)
    seen: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def listen(connection: object, cursor: object, statement: str, *_: object) -> None:
        if "collected" in statement:
            seen.append(cursor.connection.execute("SELECT current_setting('tenantcollect.tenant_id')").fetchone()[0])  # type: ignore[attr-defined]

    transaction = begun(postgresql)
    postgresql.write(transaction, 1)
    transaction.seal(seal_of(transaction.claim))
    assert seen == ["acme"]


def test_a_seal_over_a_failed_attempt_clears_it(harness: SqlHarness) -> None:
    """After a seal nothing of the failure before it is left in the state row."""
    claim = opened(harness.backend)
    harness.backend.state.close(claim, failure("boom", failures=3))
    assert read(harness.backend).status is Status.FAILED
    transaction = begun(harness)
    transaction.seal(seal_of(transaction.claim))
    state = read(harness.backend)
    assert (state.status, state.failures, state.error, state.reason) == (Status.COMPLETED, 0, None, None)
    assert state.coverage is not None
    assert state.coverage.covers(window())
    assert tables().run.name == "tenantcollect_data_source_run"


def test_a_conflict_of_a_checkpoint_stays_a_conflict(postgresql: PostgresqlHarness) -> None:
    """A conflict while the key is still ours is told as one, also where it passes through ``run`` again."""
    serializable = SqlBackend(postgresql.url, isolation="REPEATABLE READ")
    transaction = serializable.state.transaction(opened(serializable))
    postgresql.write(transaction, 1)
    postgresql.execute(text(f"UPDATE {tables().run.name} SET cursor = '1' WHERE tenant_id = 'acme'"))
    with pytest.raises(TransactionConflict) as conflict:
        transaction.checkpoint(Resume(window=transaction.claim.window, value=1))
    assert transaction.translate(conflict.value) is conflict.value
    assert postgresql.rows() == []
    serializable.close()
