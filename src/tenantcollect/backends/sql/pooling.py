"""Whether something stands between us and PostgreSQL, and shares its connections (floor: backends)."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from tenantcollect.backends.sql.engine import Database
from tenantcollect.reports import FindingRow

__all__ = ["BY_STATEMENT", "WITHOUT_TRANSACTIONS", "pooler"]

BACKEND = text("SELECT pg_backend_pid()")
BY_STATEMENT = "statement pooling mode"
"""What PgBouncer says of a transaction when it shares server processes by statement; we cannot do without any."""
WITHOUT_TRANSACTIONS = "let the pooler share by transaction, or not at all: pool_mode = transaction, or session"
CURE = "add ?prepare_threshold=none to the URL, or connect_args={'prepare_threshold': None} to the engine"


def pooler(database: Database) -> Iterator[FindingRow]:
    """A pooler is known by its announcing another process than the one that answers; one per transaction, by a
    second connection's being answered by the process of the first.
    """
    with database.connect(database.dialect.reading) as first:
        driver = first.connection.driver_connection
        threshold = driver.prepare_threshold  # type: ignore[union-attr]
        if driver.info.backend_pid == first.scalar(BACKEND):  # type: ignore[union-attr]
            yield FindingRow.ok("pooler", "no pooler: connections go to the server itself")
            return
        shared = _shared(database, first)
    prepares = "nothing is prepared" if threshold is None else "but statements are prepared"
    if not shared:
        yield FindingRow.ok("pooler", "a pooler that gives each connection a server process of its own")
    elif threshold is None:
        yield FindingRow.ok("pooler", f"a pooler that shares server processes by transaction; {prepares}")
    else:
        told = f"a pooler that shares server processes by transaction, {prepares} on one and asked for on another"
        yield FindingRow.problem("pooler", told, CURE)


def _shared(database: Database, first: Connection) -> bool:
    before = first.scalar(BACKEND)
    with database.connect(database.dialect.writing) as second, second.begin():
        return bool(second.scalar(BACKEND) == before or first.scalar(BACKEND) != before)
