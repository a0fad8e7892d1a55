"""Everything an orchestrator stores, in one SQL database (floor: backends)."""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import URL, Engine, text

from tenantcollect.backends.sql.catalog import SqlCatalog
from tenantcollect.backends.sql.diagnosis import SqlDiagnosis
from tenantcollect.backends.sql.dialect import Terms
from tenantcollect.backends.sql.engine import Database, checked_identifier
from tenantcollect.backends.sql.locks import SqlLocks
from tenantcollect.backends.sql.migrate import SqlSchema
from tenantcollect.backends.sql.state import SqlState
from tenantcollect.ciphers import Cipher
from tenantcollect.errors import ConfigurationError
from tenantcollect.locks import DEFAULT_TTL

__all__ = ["SqlBackend"]


LONGEST_IDLE = timedelta(minutes=5)
ISOLATIONS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


def _go_on(_: str) -> None:
    """No crash."""


class SqlBackend:
    """State, leases, catalog and schema in SQLite (by URL) or PostgreSQL 14+ (by URL, or the host's engine).

    Each part is usable alone: ``locks`` may be replaced by another lock backend, and so on. Nothing connects before
    the first use. A host's engine is only borrowed (G10); one that was made from a URL is disposed by ``close()``.

    ``schema`` is the PostgreSQL schema of our tables (default: the connection's current one). ``create`` False
    refuses a SQLite file that is not there. ``evict`` ends the transactions of a holder whose lease was taken over.
    ``collector_role`` is what collectors' transactions are run as (``SET LOCAL ROLE``), ``isolation`` how isolated
    they are on PostgreSQL; our own are READ COMMITTED. ``lock_timeout`` bounds how long a window waits for a lock,
    ``idle_timeout`` how long its transaction may lie idle before PostgreSQL ends it (default: five minutes, or the
    default TTL of a lease where ``evict`` is off, as nothing else then ends what a stalled holder has locked).
    ``crash`` is told of each named point that is reached (PROTOCOL 8). ``cipher`` encrypts the secrets of the catalog.

    Raises :class:`ConfigurationError` for what can never work.
    """

    def __init__(
        self,
        engine_or_url: Engine | URL | str,
        *,
        schema: str | None = None,
        create: bool = True,
        evict: bool = True,
        collector_role: str | None = None,
        isolation: str = "READ COMMITTED",
        lock_timeout: timedelta = timedelta(seconds=60),
        idle_timeout: timedelta | None = None,
        crash: Callable[[str], object] | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        if collector_role is not None:
            checked_identifier(collector_role, "collector_role")
        if isolation not in ISOLATIONS:
            raise ConfigurationError(f"isolation must be one of {', '.join(ISOLATIONS)}")
        terms = Terms(
            role=collector_role,
            isolation=isolation,
            lock_timeout=lock_timeout,
            idle_timeout=idle_timeout or (LONGEST_IDLE if evict else DEFAULT_TTL),
            crash=crash or _go_on,
        )
        self._database = Database(engine_or_url, schema=schema, create=create)
        if collector_role is not None and self._database.dialect.name == "sqlite":
            raise ConfigurationError(
                "SQLite has no roles; leave collector_role out", fields={"collector_role": "not on SQLite"}
            )
        self.locks = SqlLocks(self._database)
        self.state = SqlState(self._database, terms, evict=evict)
        self.catalog = SqlCatalog(self._database, cipher)
        self.schema = SqlSchema(self._database)
        self.diagnosis = SqlDiagnosis(self._database, self.schema, collector_role)

    def ping(self) -> None:
        """Raises :class:`DatabaseUnavailable` unless the database answers."""
        with self._database.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Dispose the engine, if it is ours; what the host owns is left alone."""
        self._database.close()
