import gc
import os
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

from tenantcollect.backends.sql import SqlBackend
from tenantcollect.errors import ConfigurationError, DatabaseUnavailable, SchemaNotCurrent, StorageError
from tenantcollect.testing.sql import SqlHarness
from tenantcollect.testing.steps import DAY, made, opened, seal_of


@pytest.fixture
def host_engine(migrated_postgresql: str) -> Iterator[Engine]:
    """An engine that belongs to the host."""
    engine = create_engine(migrated_postgresql, pool_size=3, max_overflow=0)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite+aiosqlite:///file.db", "use: sqlite:///file.db"),
        ("postgresql+asyncpg://me:secret@host/db", r"use: postgresql\+psycopg://me:\*\*\*@host/db"),
        ("postgresql+psycopg2://me:secret@host/db", r"use: postgresql\+psycopg://me:\*\*\*@host/db"),
        ("mysql://me:secret@host/db", "not supported"),
        ("mysql://me@host/db?password=secret", "not supported"),
        ("postgresql+asyncpg://me@host/db?ssl_secret=secret", r"use: postgresql\+psycopg://me@host/db\?ssl_secret=\*"),
        ("postgresql://me:a@secret@host/db", "%40"),
        ("no url at all", "cannot be read"),
        ("postgresql://host/db?prepare_threshold=many", "prepare_threshold"),
        ("postgresql://host/db?connect_timeout=soon", "connect_timeout"),
        ("postgresql://host/db?no_such=option", "no_such"),
        ("postgresql://me:pa@host:secret/db", "cannot be read"),
        ("sqlite:///file.db?no_such=option", "no option 'no_such'"),
        ("sqlite:///fi\0le.db", "NUL"),
        (42, "not int"),
    ],
)
def test_what_can_never_work_is_refused_before_any_connection(url: str, told: str) -> None:
    """A URL that cannot serve is refused with the one to use, and without its password."""
    with pytest.raises(ConfigurationError, match=told) as refused:
        SqlBackend(url).ping()
    assert "secret" not in str(refused.value).replace("ssl_secret=", "")


def test_engines_that_cannot_serve_are_refused_with_the_url_to_use() -> None:
    """Async engines, SQLite engines and other drivers: the message names the URL that works."""

    class AsyncEngine:  # SQLAlchemy's own needs greenlet
        url = make_url("postgresql+asyncpg://me:secret@host/db")

    for engine in (AsyncEngine(), create_engine("postgresql+psycopg_async://me:secret@host/db")):
        with pytest.raises(ConfigurationError, match=r"postgresql\+psycopg://me:\*\*\*@host/db") as refused:
            SqlBackend(engine)  # type: ignore[arg-type]
        assert "secret" not in str(refused.value)
    with pytest.raises(ConfigurationError, match=r"pass the URL, not an engine.*sqlite:///file\.db"):
        SqlBackend(create_engine("sqlite:///file.db"))


@pytest.mark.parametrize("name", ['x"; DROP TABLE t; --', "x" * 64, "", "a\0b", "Upper", "1st", "a-b", None, 7])
def test_hostile_names_of_schemas_and_roles_are_refused(name: object) -> None:
    """Only ``[a-z_][a-z0-9_]{0,62}`` may name a schema or a role."""
    url = "postgresql://host/db"
    with pytest.raises(ConfigurationError, match="collector_role"):
        SqlBackend(url, collector_role=name or "")  # type: ignore[arg-type]
    if name is not None:
        with pytest.raises(ConfigurationError, match="schema"):
            SqlBackend(url, schema=name)  # type: ignore[arg-type]


def test_nothing_connects_and_no_file_is_made_before_the_first_use(tmp_path: Path) -> None:
    """Building a backend costs nothing and leaves nothing."""
    backend = SqlBackend(f"sqlite:///{tmp_path / 'new.db'}")
    assert list(tmp_path.iterdir()) == []
    backend.ping()
    assert (tmp_path / "new.db").exists()
    backend.close()
    SqlBackend("postgresql://nobody@192.0.2.1/nowhere").close()


def test_a_file_that_must_not_be_made_is_named_with_the_cure(tmp_path: Path) -> None:
    """With ``create=False`` a missing file is an error that says what to run or to set."""
    url = f"sqlite:///{tmp_path / 'missing.db'}"
    with pytest.raises(SchemaNotCurrent, match=r"tenantcollect db upgrade.*TENANTCOLLECT_DATABASE_URL"):
        SqlBackend(url, create=False).ping()
    assert list(tmp_path.iterdir()) == []


def test_sqlite_is_as_safe_as_it_can_be(sqlite_url: str) -> None:
    """Write-ahead log, foreign keys, full synchronisation and a timeout are set and checked on each connection."""
    backend = SqlBackend(sqlite_url)
    with backend.state._database.reading() as connection:  # type: ignore[attr-defined]
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        ]
    assert found == ["wal", 1, 2, 5000]
    backend.close()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """Garbage is a storage error, which stops the pass."""
    (tmp_path / "garbage.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageError, match=r"no SQLite database .*SQLITE_NOTADB.*give another path"):
        SqlBackend(f"sqlite:///{tmp_path / 'garbage.db'}").ping()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """SQLite would only say that it cannot open the file."""
    with pytest.raises(DatabaseUnavailable, match=rf"no folder {tmp_path / 'nowhere'} .*make it"):
        SqlBackend(f"sqlite:///{tmp_path / 'nowhere' / 'my.db'}").ping()


def test_a_database_that_does_not_answer_is_told_without_its_password() -> None:
    """The message says that nobody listens where, and not the password."""
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1") as down:
        SqlBackend("postgresql://me:hidden@127.0.0.1:1/db").ping()
    assert "hidden" not in str(down.value)


def test_the_hosts_engine_is_only_borrowed(host_engine: Engine) -> None:
    """G10: no connection stays out, nothing listens, nothing is disposed, and sessions are as the host left them."""
    listeners = _listeners(host_engine)
    backend = SqlBackend(host_engine)
    made(backend)
    transaction = backend.state.transaction(opened(backend))
    transaction.session().execute(text("INSERT INTO collected (tenant_id, number) VALUES ('acme', 1)"))
    transaction.read(text("SELECT 1"))
    following = transaction.seal(seal_of(transaction.claim, next_window=_next(transaction.claim.window)))
    assert following is not None
    transaction.session().execute(text("SET LOCAL search_path TO nowhere"))
    transaction.abandon()
    backend.close()
    assert _listeners(host_engine) == listeners
    assert host_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with host_engine.begin() as connection:
        connection.execute(text("INSERT INTO collected (tenant_id, number) VALUES ('host', 2)"))
        told = "current_setting('application_name'), current_setting('search_path'), current_setting('role')"
        names, path, role = connection.execute(text(f"SELECT {told}")).one()
        assert "tc:" not in names
        assert path == '"$user", public'
        assert role == "none"
        assert connection.get_isolation_level() == "READ COMMITTED"
    host_engine.dispose()


def _next(window: object) -> object:
    from attrs import evolve

    return evolve(window, start=window.end, end=window.end + DAY)  # type: ignore[attr-defined, misc]


def _listeners(engine: Engine) -> list[object]:
    return [
        *engine.dispatch.before_cursor_execute,
        *engine.dispatch.begin,
        *engine.dispatch.commit,
        *engine.dispatch.rollback,
        *engine.pool.dispatch.connect,
        *engine.pool.dispatch.checkin,
        *engine.pool.dispatch.checkout,
    ]


def test_a_role_of_the_hosts_session_survives_the_window(postgresql_url: str, migrated_postgresql: str) -> None:
    """A host that works under a role of its own seals under it, too: settings are put back, not reset."""
    engine = create_engine(migrated_postgresql)
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS tc_host_role"))
        connection.execute(text("CREATE ROLE tc_host_role"))
        connection.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO tc_host_role"))
        connection.execute(text("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO tc_host_role"))

    @event.listens_for(engine, "connect")
    def work_as_role(driver: object, _: object) -> None:
        driver.execute("SET ROLE tc_host_role")  # type: ignore[attr-defined]
        driver.commit()  # type: ignore[attr-defined]

    engine.dispose()
    backend = SqlBackend(engine)
    made(backend)
    transaction = backend.state.transaction(opened(backend))
    session = transaction.session()
    session.execute(text("INSERT INTO collected (tenant_id, number) VALUES ('acme', 1)"))
    session.execute(text("DO $$ BEGIN EXECUTE 'SET LOCAL ROLE NONE'; END $$"))
    transaction.seal(seal_of(transaction.claim))
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT current_user")) == "tc_host_role"
        connection.execute(text("RESET ROLE"))
        connection.execute(text("DROP OWNED BY tc_host_role"))
        connection.execute(text("DROP ROLE tc_host_role"))
    engine.dispose()


def test_prepared_statements_can_be_switched_off_by_url(migrated_postgresql: str) -> None:
    """Behind a transaction pooler ``?prepare_threshold=none`` keeps the server from preparing anything."""
    url = make_url(str(migrated_postgresql)).update_query_dict({"prepare_threshold": "none"})
    backend = SqlBackend(url)
    with backend.state._database.reading() as connection:  # type: ignore[attr-defined]
        assert connection.connection.driver_connection.prepare_threshold is None
    backend.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_backend_serves_in_a_forked_child(database_url: str) -> None:
    """A server that forks its workers after building the backend has one that works in each of them."""
    harness = SqlHarness(database_url)
    backend = harness.backend
    made(backend)
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if len(list(backend.state.load([]))) == 0 and backend.state.now() else 1
            opened(backend)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend.state.now()
    harness.close()


def test_backends_that_come_and_go_leave_nothing_behind(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fork calls can never be taken back: a backend adds nothing to it, and is not kept alive by it."""
    hooks: list[object] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hook: hooks.append(hook), raising=False)
    backend = SqlBackend(sqlite_url)
    backend.close()
    gone = weakref.ref(backend.state._database)
    del backend
    gc.collect()
    assert hooks == []
    assert gone() is None


def test_sqlite_versions_that_are_too_old_are_not_met() -> None:
    """What we rely on (UPDATE FROM, RETURNING, JSON) came with SQLite 3.38."""
    assert sqlite3.sqlite_version_info >= (3, 38)
