"""SQLite: one writer, no server to refuse a COMMIT for us (floor: backends; PROTOCOL 3)."""

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, Engine, FromClause, QueuePool, Row, Select, Update, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError

from tenantcollect.backends.sql.dialect import PATIENCE, WINDOW, Options, Step, Terms
from tenantcollect.backends.sql.expressions import kept
from tenantcollect.backends.sql.gate import GatedConnection
from tenantcollect.backends.sql.schema import Tables
from tenantcollect.backends.sql.turns import Patience
from tenantcollect.errors import ConfigurationError, StorageError
from tenantcollect.state import Claim

__all__ = ["SQLite", "checked_file"]

READ_ONLY = "tenantcollect_read_only"
# Leases and due times need not survive a power failure, which no holder survives either: no fsync for them.
HINT = "tenantcollect_hint"
# Value as PRAGMA name shows it afterwards. The timeout comes first: the switch to WAL may have to wait.
PRAGMAS = (("busy_timeout", "5000"), ("journal_mode", "wal"), ("foreign_keys", "1"), ("synchronous", "2"))


def checked_file(url: URL) -> Path:
    """The file of a SQLite URL; raises :class:`ConfigurationError` where there is none."""
    name = url.database or ":memory:"
    if url.host is not None:
        raise ConfigurationError("A SQLite URL has no host; begin it with three slashes: sqlite:///file.db")
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise ConfigurationError("The file of the database URL must be named in UTF-8, without NUL")
    if url.query and "uri" not in url.query:
        raise ConfigurationError(f"A SQLite URL has no option {next(iter(url.query))!r}; use: sqlite:///file.db")
    if ":memory:" in name or "mode=memory" in str(url):
        raise ConfigurationError(
            "SQLite must be a file, such as sqlite:///tenantcollect.db: every thread has a connection of its own"
        )
    try:
        file = Path(name.removeprefix("file:")).absolute()
        file.exists()  # raises for a name that no file system takes
    except OSError as error:
        raise ConfigurationError(f"The file of the database URL cannot be used ({error.strerror})") from None
    return file


class SQLite:
    """Writers queue in the process; ``set_authorizer`` keeps a collector from ending our transaction."""

    name: ClassVar[str] = "sqlite"
    one_writer: ClassVar[bool] = True
    reading: ClassVar[Options] = {READ_ONLY: True}
    single: ClassVar[Options] = {}
    hint: ClassVar[Options] = {HINT: True}
    writing: ClassVar[Options] = {}
    collector_reading: ClassVar[Options] = {READ_ONLY: True}

    def engine(self, url: URL) -> Engine:
        engine = create_engine(
            url,
            poolclass=QueuePool,
            max_overflow=-1,
            hide_parameters=True,
            # The driver begins nothing by itself: its DEFERRED transaction fails at once where ours waits.
            connect_args={
                "factory": GatedConnection,
                "timeout": 5,
                "check_same_thread": False,
                "isolation_level": None,
            },
        )
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "checkin", _make_ordinary)
        event.listen(engine, "handle_error", _tell_window)
        return engine

    def schema(self, connection: Connection) -> str | None:  # noqa: ARG002 - the contract's
        return None

    def insert(self, table: Any) -> Any:
        return insert(table)

    def materialized(self, connection: Connection, statement: Select[Any] | Update, name: str) -> FromClause:
        """SQLite has no DML in a CTE: the rows travel here and back."""
        return kept(connection, statement, name)

    def together(self, connection: Connection, steps: Sequence[Step]) -> Sequence[Row[Any]]:
        results = [connection.execute(step) for step in steps]
        return results[-1].all()

    def window_options(self, isolation: str) -> Options:  # noqa: ARG002 - SQLite has one
        return {}

    def read_as(self, connection: Connection, tenant_id: str, role: str | None) -> None:
        """SQLite knows neither settings nor roles."""

    def begin_window(self, connection: Connection, tables: Tables, claim: Claim, terms: Terms) -> None:  # noqa: ARG002
        connection.begin()
        connection.execute(tables.guard.insert().values(window_id=claim.window_id))
        window = connection.get_execution_options()[WINDOW]

        def judge(action: int, operation: str | None, *_: str | None) -> int:
            if action != sqlite3.SQLITE_TRANSACTION:
                return sqlite3.SQLITE_OK
            window.was_broken(f"the collector sent {operation}")
            return sqlite3.SQLITE_DENY

        _driver(connection).set_authorizer(judge)

    def end_window(self, connection: Connection) -> bool:
        driver = _driver(connection)
        driver.set_authorizer(None)
        driver.execute("PRAGMA query_only=OFF").close()
        return not connection.exec_driver_sql("SELECT EXISTS (SELECT 1 FROM sqlite_temp_master)").scalar_one()

    def break_window(self, connection: Connection) -> None:
        """After an error or a rollback SQLite would commit each further statement by itself: deny them all."""
        _driver(connection).set_authorizer(_only_rollback)

    def aborted(self, connection: Connection) -> bool:  # noqa: ARG002 - a failed statement was told by handle_error
        return False

    def idle(self, connection: Connection) -> bool:
        return _driver(connection).idle

    def cut(self, connection: Connection) -> None:
        driver = _driver(connection)
        with driver.taken_over():
            driver.set_authorizer(None)
            driver.rollback()

    def hurry(self, connection: Connection, within: timedelta) -> None:
        """Our own statements never last; what they might wait for has ended when the transaction begins."""

    def evict(self, connection: Connection, tokens: Sequence[str]) -> None:
        """Whoever writes is in this process or ends with its own; there is nobody to ask."""


def _driver(connection: Connection) -> GatedConnection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, GatedConnection):
        raise StorageError("The connection of this window is closed.")
    return driver


def _only_rollback(action: int, operation: str | None, *_: str | None) -> int:
    allowed = action == sqlite3.SQLITE_TRANSACTION and operation == "ROLLBACK"
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _set_pragmas(driver: sqlite3.Connection, _: object) -> None:
    for name, value in PRAGMAS:
        if str(driver.execute(f"PRAGMA {name}").fetchone()[0]) != value:
            driver.execute(f"PRAGMA {name}={value}").close()
        found = driver.execute(f"PRAGMA {name}").fetchone()[0]
        if str(found) != value:
            raise StorageError(f"SQLite refuses PRAGMA {name}={value} (it stays {found}); use a local disk.")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(READ_ONLY):
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.exec_driver_sql("BEGIN")
        return
    if options.get(HINT):
        connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
    _begin_writing(connection, options.get(PATIENCE, lambda: False))


def _begin_writing(connection: Connection, patience: Patience) -> None:
    """Another process may be writing for longer than SQLite's own timeout; its turn ends all the same."""
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or not patience():
                raise
        else:
            return


def _make_ordinary(driver: sqlite3.Connection | None, _: object) -> None:
    if driver is not None:
        driver.set_authorizer(None)
        driver.execute("PRAGMA query_only=OFF").close()
        driver.execute("PRAGMA synchronous=FULL").close()


def _tell_window(context: ExceptionContext) -> None:
    """SQLite goes on after a failed statement; the window must not, unless a savepoint is there to undo it."""
    connection = context.connection
    window = connection.get_execution_options().get(WINDOW) if connection is not None else None
    if window is not None and connection is not None:
        window.was_hit(context.original_exception)
        window.statement_failed(connection)
