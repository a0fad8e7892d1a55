"""What a window's one transaction lets its collector do, and what it refuses (PROTOCOL 2.10, 7)."""

import contextlib

import pytest
from sqlalchemy import Column, Integer, String, event, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.orm import DeclarativeBase

from tenantcollect.backends.sql import SqlBackend
from tenantcollect.backends.sql.schema import tables
from tenantcollect.errors import (
    SchemaNotCurrent,
    TenantcollectError,
    TransactionBroken,
)
from tenantcollect.state import Status
from tenantcollect.testing.sql import COLLECTED, PostgresqlHarness, SqlHarness, SqliteHarness
from tenantcollect.testing.steps import failure, made, opened, read, seal_of, window
from tests.backends.windows import begun, engine_of, outside


class Base(DeclarativeBase):
    pass


class Collected(Base):
    __tablename__ = "collected"
    id = Column(Integer, primary_key=True)
    tenant_id = Column(String(200), nullable=False)
    number = Column(Integer, nullable=False)
    mark = Column(String(20), unique=True)


def test_orm_objects_are_sealed_without_a_flush(harness: SqlHarness) -> None:
    """What was only added to the session is written by the seal."""
    transaction = begun(harness.backend)
    transaction.session().add(Collected(tenant_id="acme", number=7))
    transaction.seal(seal_of(transaction.claim))
    assert harness.rows() == [("acme", 7)]
    assert engine_of(harness).pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_failed_flush_tells_the_collector_its_own_error(harness: SqlHarness) -> None:
    """SQLAlchemy rolls back after a failed flush; the collector sees its IntegrityError, and nothing is kept."""
    transaction = begun(harness.backend)
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
    transaction = begun(harness.backend)
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
        transaction = begun(harness.backend)
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
    transaction = begun(harness.backend)
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
    transaction = begun(postgresql.backend)
    [(tenant_id, read_only)] = transaction.read(
        text("SELECT current_setting('tenantcollect.tenant_id'), current_setting('transaction_read_only')")
    )
    assert (tenant_id, read_only) == ("acme", "on")
    assert engine_of(postgresql).pool.checkedout() == 0  # type: ignore[attr-defined]
    assert transaction.read("SELECT current_setting('tenantcollect.tenant_id')")[0][0] == "acme"


def test_reading_cannot_write_and_its_errors_are_the_collectors(harness: SqlHarness) -> None:
    """A write is refused, and a table that is not there is no sign of a missing migration of ours."""
    transaction = begun(harness.backend)
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
    [(found,)] = begun(harness.backend).read(select(Collected))
    assert (found.tenant_id, found.number) == ("acme", 3)


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
    transaction = begun(postgresql.backend)
    with pytest.raises(TransactionBroken):
        transaction.session().execute(text(statement))
    with pytest.raises(TransactionBroken):
        transaction.seal(seal_of(transaction.claim))


@pytest.mark.parametrize("statement", ["SAVEPOINT a", "SELECT 'COMMIT'", "SET LOCAL work_mem = '8MB'"])
def test_level_0_lets_the_rest_pass(postgresql: PostgresqlHarness, statement: str) -> None:
    """Savepoints, harmless settings and texts that only look dangerous are sent."""
    transaction = begun(postgresql.backend)
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


def test_a_host_that_listens_for_statements_sees_no_row_of_another_tenant(postgresql: PostgresqlHarness) -> None:
    """The tenant is bound before the host's own listeners see the first statement of the window."""
    engine = engine_of(postgresql)
    seen: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def listen(connection: object, cursor: object, statement: str, *_: object) -> None:
        if "collected" in statement:
            seen.append(cursor.connection.execute("SELECT current_setting('tenantcollect.tenant_id')").fetchone()[0])  # type: ignore[attr-defined]

    transaction = begun(postgresql.backend)
    postgresql.write(transaction, 1)
    transaction.seal(seal_of(transaction.claim))
    assert seen == ["acme"]


def test_a_seal_over_a_failed_attempt_clears_it(harness: SqlHarness) -> None:
    """After a seal nothing of the failure before it is left in the state row."""
    claim = opened(harness.backend)
    harness.backend.state.close(claim, failure("boom", failures=3))
    assert read(harness.backend).status is Status.FAILED
    transaction = begun(harness.backend)
    transaction.seal(seal_of(transaction.claim))
    state = read(harness.backend)
    assert (state.status, state.failures, state.error, state.reason) == (Status.COMPLETED, 0, None, None)
    assert state.coverage is not None
    assert state.coverage.covers(window())
    assert tables().run.name == "tenantcollect_data_source_run"


def test_what_a_listener_raises_in_a_statement_is_told_as_it_is(harness: SqlHarness) -> None:
    """An error of Python's own, of whoever listens to statements, is no fault of the database."""
    transaction = begun(harness.backend)
    connection = transaction.session().connection()
    event.listen(connection, "before_cursor_execute", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as met:
        transaction.session().execute(select(COLLECTED))
    assert transaction.translate(met.value) is met.value
    transaction.abandon()
