"""What a database's error means: the one place that reads SQLSTATE and SQLite's codes (floor: backends; PROTOCOL 5).

A translated error names the class, the SQLSTATE, the constraint and the column, never the DETAIL, which repeats
rows, nor the parameters, which hold secrets. The driver's error stays at hand as ``__context__``; tracebacks do
not print it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import exc

from tenantcollect.errors import (
    CoverageInvalid,
    DatabaseReadOnly,
    DatabaseUnavailable,
    IsolationRefused,
    Overloaded,
    SchemaNotCurrent,
    StorageError,
    TenantcollectError,
    TransactionBroken,
    TransactionConflict,
)
from tenantcollect.secrets import Masker, one_line

__all__ = [
    "COMMAND",
    "FAILED_STATEMENT",
    "SHARED_FAULTS",
    "cause_of",
    "connection_lost",
    "described",
    "meaning",
    "translated",
    "translating",
    "unsealed",
]

COMMAND = "tenantcollect db upgrade"
SHARED_FAULTS = (DatabaseUnavailable, Overloaded, TransactionBroken, TransactionConflict)
"""What may befall a collector's own SQL without being the collector's failure, or by its ending our transaction.

Any other error is the collector's: of a database that is really broken our own statements will tell.
"""

FAILED_STATEMENT = (
    "An SQL statement failed outside begin_nested() and its error was swallowed; nothing of this window was kept."
)
IDLE = (
    "The database ended the transaction, in which nothing was done for too long; fetch first, write last. Nothing of "
    "this window was kept."
)
ABORTED = (
    "The transaction cannot be committed: an SQL statement failed outside begin_nested() and its error was swallowed, "
    "or the collector ended the framework's transaction; nothing of this window was kept."
)

Meaning = type[TenantcollectError] | None

# The longest matching beginning of the SQLSTATE decides.
BY_SQLSTATE: dict[str, type[TenantcollectError]] = {
    "08": DatabaseUnavailable,
    "25006": TransactionBroken,
    "25P02": TransactionBroken,
    "25P03": TransactionBroken,
    "25P04": TransactionBroken,
    "28": DatabaseUnavailable,
    "3D000": DatabaseUnavailable,
    "3F000": SchemaNotCurrent,
    "40": TransactionConflict,
    "42": SchemaNotCurrent,
    "42501": IsolationRefused,
    "53": Overloaded,
    "55P03": Overloaded,
    "57014": Overloaded,
    "57P": DatabaseUnavailable,
    "58": StorageError,
    "XX": StorageError,
}
TOLD = {"25P02": ABORTED, "25P03": IDLE, "25P04": IDLE}
CANNOT_WRITE = ("25006", "0A000")
"""What our own SQL is told by a server that may only be read; a standby refuses even to begin."""
BY_SQLITE_CODE: dict[int, type[TenantcollectError]] = {
    sqlite3.SQLITE_AUTH: TransactionBroken,
    sqlite3.SQLITE_BUSY: Overloaded,
    sqlite3.SQLITE_CANTOPEN: DatabaseUnavailable,
    sqlite3.SQLITE_CORRUPT: StorageError,
    sqlite3.SQLITE_FULL: StorageError,
    sqlite3.SQLITE_INTERRUPT: Overloaded,
    sqlite3.SQLITE_IOERR: StorageError,
    sqlite3.SQLITE_LOCKED: Overloaded,
    sqlite3.SQLITE_NOTADB: StorageError,
    sqlite3.SQLITE_READONLY: TransactionBroken,
}


@contextmanager
def translating() -> Iterator[None]:
    """Whatever the database raises in here is raised as one of our errors."""
    try:
        yield
    except _database_errors() as error:
        raise translated(error) from None


def translated(error: BaseException, *, ours: bool = True) -> TenantcollectError:
    """``error``, which our own SQL met (``ours``) or a collector's on our connection, as one of ours."""
    cause = cause_of(error)
    if isinstance(cause, TenantcollectError):
        return cause
    kind = (_in_our_sql(cause) if ours else None) or meaning(error) or StorageError
    if told := TOLD.get(getattr(cause, "sqlstate", None) or ""):
        return TransactionBroken(told)
    if _code(cause) == sqlite3.SQLITE_NOTADB:
        return StorageError(f"The file is no SQLite database ({described(error)}); give another path.")
    if kind is SchemaNotCurrent:
        return SchemaNotCurrent(f"The tables are missing or of another version ({described(error)}); run: {COMMAND}")
    return kind(f"{kind()} ({described(error)})")


def meaning(error: BaseException) -> Meaning:
    """Which of our errors ``error`` is, whoever's SQL met it; None = the fault of the statement itself."""
    cause = cause_of(error)
    if isinstance(error, exc.TimeoutError):
        return Overloaded
    if isinstance(error, exc.PendingRollbackError | exc.ResourceClosedError):
        return TransactionBroken
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause)
    if _is_psycopg(cause):
        return _of_postgresql(cause)
    return None


def connection_lost(error: BaseException) -> bool:
    """Whether the reply of what was sent last may just not have arrived."""
    return meaning(error) is DatabaseUnavailable


def unsealed(error: BaseException) -> bool:
    """Whether the server refused a COMMIT that was not the seal's."""
    cause = cause_of(error)
    refused = getattr(cause, "sqlstate", None) == "23503"
    return refused and str(cause.diag.table_name).endswith("window_guard")  # type: ignore[attr-defined]


def described(error: BaseException) -> str:
    """What may be shown of a database's error: no DETAIL, no parameters, no statement.

    A message is left whole, in one line: a secret in it is masked above, where it is known, and then it is cut.
    """
    cause = cause_of(error)
    if _is_psycopg(cause):
        return ", ".join(_told_by_postgresql(cause))
    if isinstance(cause, sqlite3.Error):
        return ", ".join(filter(None, (getattr(cause, "sqlite_errorname", None), _told_by_sqlite(cause))))
    return type(cause).__name__


def cause_of(error: BaseException) -> BaseException:
    """The driver's error inside SQLAlchemy's, or ``error`` itself."""
    return getattr(error, "orig", None) or error


def _database_errors() -> tuple[type[BaseException], ...]:
    """Not all of SQLAlchemy's: what else it raises is a mistake of ours, and is not to be hidden."""
    wrapped = (exc.StatementError, exc.TimeoutError, exc.ResourceClosedError, exc.PendingRollbackError)
    return (*wrapped, sqlite3.Error, *_psycopg_errors())


def _psycopg_errors() -> tuple[type[BaseException], ...]:
    """The driver's errors, if it is there: a host on SQLite has no libpq."""
    try:
        import psycopg
    except ImportError:
        return ()
    return (psycopg.Error,)


def _is_psycopg(error: BaseException) -> bool:
    return isinstance(error, _psycopg_errors())


def _of_postgresql(error: Any) -> Meaning:
    state = error.sqlstate
    if state is None:
        lost = type(error).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
        return DatabaseUnavailable if lost else None
    if unsealed(error):
        return TransactionBroken
    known = (BY_SQLSTATE.get(state[:length]) for length in (5, 3, 2))
    return next(filter(None, known), None)


def _of_sqlite(error: sqlite3.Error) -> Meaning:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return TransactionBroken if "closed database" in str(error) else None
    if code == sqlite3.SQLITE_ERROR and str(error).startswith(("no such table", "no such column")):
        return SchemaNotCurrent
    return BY_SQLITE_CODE.get(code & 0xFF)


def _code(error: BaseException) -> int:
    """SQLite's primary code of an error; 0 = it has none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _in_our_sql(cause: BaseException) -> Meaning:
    """What only our own SQL may conclude from an error."""
    if getattr(cause, "sqlstate", None) in CANNOT_WRITE or _code(cause) == sqlite3.SQLITE_READONLY:
        return DatabaseReadOnly
    if getattr(cause, "sqlstate", None) == "42501":
        return StorageError
    unique = getattr(cause, "sqlstate", None) == "23505" or "UNIQUE" in getattr(cause, "sqlite_errorname", "")
    # The third net: history holds a seal that the coverage knows nothing of, as after restoring a backup.
    return CoverageInvalid if unique and "_run_history" in described(cause) else None


def _told_by_postgresql(error: Any) -> Iterator[str]:
    yield type(error).__name__
    if error.sqlstate is None:
        if _of_postgresql(error) is DatabaseUnavailable:
            # The client's own words, for example that nobody listens: no row, no password.
            yield " ".join(Masker().mask(str(error)).split())
        return
    yield f"SQLSTATE {error.sqlstate}"
    for what in ("schema", "table", "column", "constraint"):
        if name := getattr(error.diag, f"{what}_name"):
            yield f"{what} {name}"
    if error.sqlstate[:2] in ("08", "28", "3D", "3F", "42", "53", "57"):
        yield one_line(error.diag.message_primary or "")


def _told_by_sqlite(error: sqlite3.Error) -> str:
    """SQLite's messages name tables and columns; those of a RAISE or a cast in a trigger are the host's own."""
    return one_line(str(error))
