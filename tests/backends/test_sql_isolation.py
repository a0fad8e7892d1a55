"""Level 0 of tenant isolation on a real PostgreSQL: what holds, what is refused, and what gets through (G4)."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from attrs import evolve
from psycopg import sql
from sqlalchemy import Engine, NullPool, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError

import tenantcollect
from tenantcollect import ConfigurationError, hookimpl
from tenantcollect.backends.sql import SqlBackend
from tenantcollect.errors import IsolationRefused, StorageError, TransactionBroken
from tenantcollect.state import WindowTransaction
from tenantcollect.testing.sql import COLLECTED, PostgresqlHarness
from tenantcollect.testing.steps import KEY, failure, made, opened, seal_of

TENANT = "NULLIF(current_setting('tenantcollect.tenant_id', true), '')"
PROTECTED = (
    "ALTER TABLE collected ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE collected FORCE ROW LEVEL SECURITY",
    f"CREATE POLICY own ON collected USING (tenant_id = {TENANT})",
    "INSERT INTO collected (tenant_id, number) VALUES ('acme', 1), ('globex', 9)",
)
AS_BEFORE = (
    "ALTER TABLE collected NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE collected DISABLE ROW LEVEL SECURITY",
    "DROP POLICY own ON collected",
    "ALTER TABLE collected OWNER TO CURRENT_USER",
)
SPOOF = "SET LOCAL tenantcollect.tenant_id = 'globex'"
DO_SPOOF = "DO $$ BEGIN EXECUTE 'SET tenantcollect.tenant_id = ''globex'''; END $$"
FOUND = (
    "SELECT current_setting('tenantcollect.tenant_id', true), current_setting('role'), current_setting('search_path')"
)
SEEN = select(COLLECTED.c.tenant_id).order_by(COLLECTED.c.tenant_id)
Send = Callable[[WindowTransaction, str], object]


@pytest.fixture
def postgresql(migrated_postgresql: str) -> Iterator[PostgresqlHarness]:
    """Two tenants' rows in a table whose policy speaks of the tenant setting."""
    harness = PostgresqlHarness(migrated_postgresql)
    made(harness.backend)
    for statement in PROTECTED:
        harness.execute(text(statement))
    yield harness
    for statement in AS_BEFORE:
        harness.execute(text(statement))
    harness.close()


@pytest.fixture
def role(postgresql: PostgresqlHarness) -> Iterator[str]:
    """A role for collectors: their table, nothing of ours."""
    with _role(postgresql, "NOLOGIN") as name:
        yield name


@contextlib.contextmanager
def _role(postgresql: PostgresqlHarness, attributes: str) -> Iterator[str]:
    name = f"tc_{uuid4().hex}"
    postgresql.execute(text(f"CREATE ROLE {name} {attributes}"))
    postgresql.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON collected TO {name}"))
    postgresql.execute(text(f"GRANT USAGE ON SEQUENCE collected_id_seq TO {name}"))
    try:
        yield name
    finally:
        postgresql.execute(text(f"REASSIGN OWNED BY {name} TO CURRENT_USER"))
        postgresql.execute(text(f"DROP OWNED BY {name}"))
        postgresql.execute(text(f"DROP ROLE {name}"))


@pytest.fixture
def engine(postgresql: PostgresqlHarness) -> Iterator[Engine]:
    """A host's engine with one pooled connection, which every transaction uses again."""
    engine = create_engine(postgresql.url, pool_size=1, max_overflow=1)
    yield engine
    engine.dispose()


@pytest.fixture
def window(engine: Engine, role: str) -> Iterator[WindowTransaction]:
    """A window of acme, run as the collectors' role."""
    backend = SqlBackend(engine, collector_role=role)
    transaction = backend.state.transaction(opened(backend))
    yield transaction
    transaction.abandon()
    backend.close()


def seen(transaction: WindowTransaction) -> list[str]:
    """Whose rows the window sees."""
    return list(transaction.session().scalars(SEEN))


def driver(transaction: WindowTransaction) -> Any:
    """The driver's own connection of the window."""
    return transaction.session().connection().connection.driver_connection


def _by_named_cursor(connection: Any, statement: str) -> None:
    with connection.cursor("named") as cursor:
        cursor.execute(statement)


DOORS: dict[str, Send] = {
    "session": lambda t, s: t.session().execute(text(s)),
    "connection": lambda t, s: t.session().connection().exec_driver_sql(s),
    "read": lambda t, s: t.read(s),
    "driver": lambda t, s: driver(t).execute(s),
    "driver bytes": lambda t, s: driver(t).execute(s.encode()),
    "driver composed": lambda t, s: driver(t).execute(sql.SQL(s) + sql.SQL("")),
    "driver cursor": lambda t, s: driver(t).cursor().execute(s, prepare=False),
    "driver executemany": lambda t, s: driver(t).cursor().executemany(s, [()]),
    "driver stream": lambda t, s: list(driver(t).cursor().stream(s)),
    "driver named cursor": lambda t, s: _by_named_cursor(driver(t), s),
    "driver copy": lambda t, s: driver(t).cursor().copy(s).__enter__(),
    "pool's cursor": lambda t, s: t.session().connection().connection.cursor().execute(s),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_spoof_is_refused_by_every_door(postgresql: PostgresqlHarness, window: WindowTransaction, door: str) -> None:
    """The session, the connection, the driver's cursors, ``context.read``: refused at once, and the seal too."""
    assert seen(window) == ["acme"]
    with pytest.raises(IsolationRefused, match="TENANT_ID"):
        DOORS[door](window, f"SELECT 1; {SPOOF}")
    with pytest.raises(TransactionBroken):
        seen(window)
    with pytest.raises(IsolationRefused):
        window.seal(seal_of(window.claim))
    assert postgresql.rows() == [("acme", 1), ("globex", 9)]


@pytest.mark.parametrize(
    "statement",
    [
        "RESET ROLE",
        "SET ROLE NONE",
        "SET LOCAL ROLE NONE",
        "SET SESSION AUTHORIZATION DEFAULT",
        "RESET ALL",
        "/* reset */ reSET\n ALL",
        "SELECT 1; DISCARD ALL",
        "SELECT set_config('role', 'none', true)",
        "WITH x AS MATERIALIZED (SELECT set_config('ro' || 'le', 'none', true)) SELECT * FROM x",
        SPOOF,
    ],
)
def test_a_refused_statement_is_never_sent(window: WindowTransaction, role: str, statement: str) -> None:
    """What is refused did not happen: the connection still has its role and its tenant."""
    window.session().execute(text("SELECT 1"))
    raw = driver(window)
    with pytest.raises(IsolationRefused):
        window.session().execute(text(statement))
    answered = raw.pgconn.exec_(b"SELECT current_user, current_setting('tenantcollect.tenant_id')")
    assert (answered.get_value(0, 0), answered.get_value(0, 1)) == (role.encode(), b"acme")


def test_another_tenants_row_is_refused_by_the_policy(postgresql: PostgresqlHarness, window: WindowTransaction) -> None:
    """A foreign row cannot be written, moved or deleted; the database's refusal is said as one of isolation."""
    session = window.session()
    assert session.execute(text("UPDATE collected SET number = 0 WHERE tenant_id = 'globex'")).rowcount == 0  # type: ignore[attr-defined]
    assert session.execute(text("DELETE FROM collected WHERE tenant_id = 'globex'")).rowcount == 0  # type: ignore[attr-defined]
    with pytest.raises(DBAPIError) as refused:
        session.execute(insert(COLLECTED).values(tenant_id="globex", number=5))
    meant = window.translate(refused.value)
    assert isinstance(meant, IsolationRefused)
    assert "row-level security policy" in str(meant)
    window.abandon()
    assert postgresql.rows() == [("acme", 1), ("globex", 9)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT value FROM tenantcollect_tenant_data_source_config",
        "DELETE FROM tenantcollect_window_guard",
        "UPDATE tenantcollect_data_source_run SET fence = fence + 1",
    ],
)
def test_the_role_needs_and_has_nothing_of_ours(window: WindowTransaction, statement: str) -> None:
    """Guard, state and other tenants' secrets are out of a collector's reach, and yet its window is sealed."""
    window.session().execute(insert(COLLECTED).values(tenant_id="acme", number=2))
    with pytest.raises(DBAPIError, match="permission denied"), window.session().begin_nested():
        window.session().execute(text(statement))
    window.seal(seal_of(window.claim))


def test_a_read_is_refused_by_the_database_in_the_same_words(window: WindowTransaction) -> None:
    """``context.read`` runs under the role, too."""
    with pytest.raises(IsolationRefused, match="permission denied"):
        window.read("SELECT value FROM tenantcollect_tenant_data_source_config")


@pytest.mark.parametrize("ending", ["seal", "abandon", "refusal"])
def test_nothing_of_a_window_is_left_in_its_connection(engine: Engine, window: WindowTransaction, ending: str) -> None:
    """The host, and the next tenant, find a connection of the pool as it was before."""
    with engine.connect() as connection:
        before = connection.exec_driver_sql(FOUND).one()
    assert seen(window) == ["acme"]
    if ending == "seal":
        window.seal(seal_of(window.claim))
    elif ending == "refusal":
        with pytest.raises(IsolationRefused):
            window.session().execute(text("SET search_path TO nowhere"))
    window.abandon()
    with engine.connect() as connection:
        found = connection.exec_driver_sql(FOUND).one()
        assert (found[0] or None, *found[1:]) == tuple(before)
        made_by = connection.connection.driver_connection
        assert (made_by.cursor_factory, made_by.server_cursor_factory) == (psycopg.Cursor, psycopg.ServerCursor)  # type: ignore[union-attr]


def test_a_reused_connection_has_an_empty_setting_and_sees_nobody(
    engine: Engine, postgresql: PostgresqlHarness, window: WindowTransaction, role: str
) -> None:
    """After a window the setting is '' and no longer missing: with NULLIF it is nobody's, not a tenant named ''."""
    postgresql.execute(text("INSERT INTO collected (tenant_id, number) VALUES ('', 0)"))
    seen(window)
    window.seal(seal_of(window.claim))
    with engine.begin() as connection:
        assert connection.exec_driver_sql(FOUND).one()[0] == ""
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        assert connection.execute(SEEN).all() == []
        connection.execute(text("RESET ROLE"))
        connection.execute(text("DROP POLICY own ON collected"))
        naive = "current_setting('tenantcollect.tenant_id', true)"
        connection.execute(text(f"CREATE POLICY own ON collected USING (tenant_id = {naive})"))
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        assert connection.scalars(SEEN).all() == [""]


def test_each_tenants_window_on_one_connection_sees_its_own(postgresql: PostgresqlHarness, role: str) -> None:
    """The only connection goes from tenant to tenant, and the rows with it."""
    engine = create_engine(postgresql.url, pool_size=1, max_overflow=0, pool_timeout=5)
    backend = SqlBackend(engine, collector_role=role)
    for tenant_id in ("acme", "globex", "initech"):
        key = evolve(KEY, tenant_id=tenant_id)
        made(backend, [key])
        transaction = backend.state.transaction(opened(backend, key))
        expected = [] if tenant_id == "initech" else [tenant_id]
        assert [row.tenant_id for row in transaction.read(SEEN)] == expected
        assert seen(transaction) == expected
        transaction.seal(seal_of(transaction.claim))
    engine.dispose()


@pytest.mark.parametrize("ending", ["seal", "abandon"])
def test_level_0_does_not_stop_a_do_block(engine: Engine, window: WindowTransaction, role: str, ending: str) -> None:
    """Said plainly: code that the server runs can take another tenant. Its connection is put right all the same."""
    assert seen(window) == ["acme"]
    window.session().execute(text(DO_SPOOF))
    assert seen(window) == ["globex"]
    window.session().execute(text("DO $$ BEGIN EXECUTE 'SET ROLE NONE'; END $$"))
    assert window.session().scalar(text("SELECT session_user = current_user"))
    window.session().execute(text(f"DO $$ BEGIN EXECUTE 'SET ROLE {role}; SET search_path TO nowhere'; END $$"))
    if ending == "seal":
        window.seal(seal_of(window.claim))
    window.abandon()
    with engine.connect() as connection:
        assert connection.exec_driver_sql(FOUND).one()[0] in (None, "")
        assert tuple(connection.exec_driver_sql(FOUND).one()[1:]) == ("none", '"$user", public')


def test_level_0_does_not_stop_dynamic_sql_while_reading(engine: Engine, window: WindowTransaction) -> None:
    """Said plainly: nor a query inside a text, in ``context.read``; but what it sets ends with that reading."""
    hidden = "SELECT to_tsvector(set' || '_config(''tenantcollect.tenant_id'', ''globex'', false))"
    spoof = f"WITH x AS MATERIALIZED (SELECT count(*) AS n FROM ts_stat('{hidden}'))"
    [(tenant_id,)] = window.read(f"{spoof} SELECT current_setting('tenantcollect.tenant_id') FROM x WHERE n > 0")
    assert tenant_id == "globex"
    assert [row.tenant_id for row in window.read(SEEN)] == ["acme"]
    with engine.connect() as connection:
        assert connection.exec_driver_sql(FOUND).one()[0] in (None, "")


def test_a_superuser_is_never_bound(postgresql: PostgresqlHarness) -> None:
    """Without a role, and connected as a superuser, even FORCE shows every tenant's rows: doctor says so."""
    transaction = postgresql.backend.state.transaction(opened(postgresql.backend))
    assert seen(transaction) == ["acme", "globex"]
    transaction.abandon()


def test_bypassrls_is_never_bound(postgresql: PostgresqlHarness) -> None:
    """Nor is a role with BYPASSRLS."""
    with _role(postgresql, "BYPASSRLS") as role:
        backend = SqlBackend(postgresql.url, collector_role=role)
        transaction = backend.state.transaction(opened(backend))
        assert seen(transaction) == ["acme", "globex"]
        transaction.abandon()
        backend.close()


def test_only_force_binds_the_owner(postgresql: PostgresqlHarness, role: str) -> None:
    """``ENABLE`` alone leaves out the table's owner, which a collector's role must therefore not be."""
    postgresql.execute(text(f"ALTER TABLE collected OWNER TO {role}"))
    backend = SqlBackend(postgresql.url, collector_role=role)
    for force, expected in (("FORCE", ["acme"]), ("NO FORCE", ["acme", "globex"])):
        postgresql.execute(text(f"ALTER TABLE collected {force} ROW LEVEL SECURITY"))
        transaction = backend.state.transaction(opened(backend))
        assert seen(transaction) == expected
        transaction.abandon()
        backend.state.close(transaction.claim, failure())
    backend.close()


class Foreign:
    """A collector that writes another tenant's row, and one that spoofs."""

    def __init__(self, statement: str) -> None:
        self.statement = statement

    @hookimpl
    def run(self, db: Any) -> None:
        with contextlib.suppress(TransactionBroken):
            db.execute(text(self.statement))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("INSERT INTO collected (tenant_id, number) VALUES ('globex', 5)", "row-level security policy"),
        (SPOOF, "the collector called SET LOCAL TENANTCOLLECT.TENANT_ID"),
    ],
)
def test_a_pass_tells_who_reached_beyond_its_tenant(
    postgresql: PostgresqlHarness, role: str, statement: str, said: str
) -> None:
    """``connect(collector_role=)``: the attempt's history row and ``status`` say that isolation was refused."""
    collectors = {"demo.good": Foreign("SELECT 1"), "demo.bad": Foreign(statement)}
    engine = create_engine(postgresql.url, poolclass=NullPool)
    with tenantcollect.connect(engine, collector_role=role, collectors=collectors) as orchestrator:
        orchestrator.configure("acme", "demo", {})
        report = orchestrator.run(max_windows=4)
        [bad] = orchestrator.status("acme", "demo", "bad")
        assert report.windows.failed == 1
        assert report.windows.completed > 0
        assert bad.error is not None
        assert bad.error.startswith("IsolationRefused")
        assert said in bad.error
    assert postgresql.rows() == [("acme", 1), ("globex", 9)]


def test_a_role_that_cannot_be_taken_stops_the_pass_and_names_the_cure(postgresql: PostgresqlHarness) -> None:
    """No window can run then, and no key is to blame: the error says which role, and to ask doctor."""
    backend = SqlBackend(postgresql.url, collector_role="tc_nobody")
    transaction = backend.state.transaction(opened(backend))
    for ask in (lambda: transaction.session().execute(text("SELECT 1")), lambda: transaction.read("SELECT 1")):
        with pytest.raises(StorageError, match=r"tc_nobody.*tenantcollect doctor"):
            ask()
    transaction.abandon()
    backend.close()


def test_sqlite_has_no_roles(sqlite_url: str) -> None:
    """A role that nothing would ever take is refused, not ignored."""
    with pytest.raises(ConfigurationError, match="SQLite has no roles"):
        tenantcollect.connect(sqlite_url, collector_role="collector")


def test_windows_in_other_processes_keep_their_role(postgresql: PostgresqlHarness, role: str) -> None:
    """What a child builds its orchestrator from names the role: it would be lost in silence."""
    url = postgresql.url.render_as_string(hide_password=False)
    with ProcessPoolExecutor(1) as executor, tenantcollect.connect(url, collector_role=role, executor=executor) as one:
        recipe = one._passes.engine.place.perform  # type: ignore[union-attr]
    with recipe.build() as orchestrator:  # type: ignore[union-attr]
        transaction = orchestrator.state.transaction(opened(postgresql.backend))
        assert [row[0] for row in transaction.read("SELECT current_user")] == [role]
