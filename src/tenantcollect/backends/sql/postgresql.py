"""PostgreSQL 14 and later through psycopg 3 (floor: backends; PROTOCOL 3)."""

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, Engine, FromClause, Row, Select, Update, create_engine, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from tenantcollect.backends.sql.dialect import Options, Step, Terms
from tenantcollect.backends.sql.schema import Tables
from tenantcollect.errors import ConfigurationError, StorageError
from tenantcollect.state import Claim

__all__ = ["PostgreSQL"]

# Half a minute of silence from a vanished server is enough; what the URL says goes first.
CONNECTING: Mapping[str, Any] = {
    "connect_timeout": 10,
    "client_encoding": "UTF8",
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
NO_SUCH_ROLE = ("22023", "42501")
DOCTOR = "tenantcollect doctor"
UTF8 = "UTF8"
OTHER_ENCODING = "the encoding of the database is {}, which cannot hold every text"
IN_UTF8 = "make one with: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'; and restore a dump into it"
# What a collector may have changed, as it was when its transaction began.
FOUND = "tenantcollect_found_settings"

READ_WRITE = "SET TRANSACTION READ WRITE"
# What a collector may change, as it is; then the settings of this transaction only (PROTOCOL 2.13), then the guard.
BEGIN_WINDOW = """
SET TRANSACTION READ WRITE;
SELECT current_setting('role'), current_setting('search_path'),
       set_config('application_name', {tag}, true), set_config('tenantcollect.tenant_id', {tenant_id}, true),
       set_config('TimeZone', 'UTC', true), set_config('lock_timeout', {lock_timeout}, true),
       set_config('idle_in_transaction_session_timeout', {idle_timeout}, true);
INSERT INTO {guard} (window_id) VALUES ({window_id})
"""
SET_ROLE = text("SELECT set_config('role', :role, true)")
SET_TENANT = text("SELECT set_config('tenantcollect.tenant_id', :tenant_id, true)")
# The seal is written as ourselves, and what the database does at COMMIT is done for the tenant. What the collector has
# changed may outlive the transaction, as a SET in a DO block does, and so does a temporary table.
END_WINDOW = text(
    "SELECT pg_catalog.current_setting('role') = :as_role"
    " AND pg_catalog.current_setting('search_path') = :search_path"
    " AND pg_catalog.current_setting('tenantcollect.tenant_id', true) = :tenant_id"
    " AND pg_catalog.pg_my_temp_schema() = 0,"
    " pg_catalog.set_config('role', :role, true), pg_catalog.set_config('search_path', :search_path, true),"
    " pg_catalog.set_config('tenantcollect.tenant_id', :tenant_id, true)"
)
HURRY = text("SELECT set_config('statement_timeout', :within, true)")
# Liveness only: whoever still works for a lease that was taken over is ended, if we may.
EVICT = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = ANY(:tags) AND pid <> pg_backend_pid()"
)


class PostgreSQL:
    """The server itself refuses a COMMIT that is not the seal's."""

    name: ClassVar[str] = "postgresql"
    one_writer: ClassVar[bool] = False
    reading: ClassVar[Options] = {"isolation_level": "AUTOCOMMIT"}
    single: ClassVar[Options] = {"isolation_level": "AUTOCOMMIT"}
    hint: ClassVar[Options] = {}
    writing: ClassVar[Options] = {"isolation_level": "READ COMMITTED", "postgresql_readonly": False}
    collector_reading: ClassVar[Options] = {"isolation_level": "READ COMMITTED", "postgresql_readonly": True}

    def engine(self, url: URL) -> Engine:
        arguments = {name: value for name, value in CONNECTING.items() if name not in url.query}
        threshold = url.query.get("prepare_threshold")
        if threshold is not None:
            url = url.difference_update_query(["prepare_threshold"])
            arguments["prepare_threshold"] = _threshold(str(threshold))
        _check_options(url)
        return create_engine(
            url,
            # As many connections as there are windows and beats at once; no thread waits for another's.
            pool_size=10,
            max_overflow=-1,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=arguments,
        )

    def schema(self, connection: Connection) -> str | None:
        found = connection.scalar(select(func.current_schema()))
        if found is None:
            raise ConfigurationError("No schema of the search_path exists; name one, or create it.")
        return str(found)

    def insert(self, table: Any) -> Any:
        return insert(table)

    def materialized(self, connection: Connection, statement: Select[Any] | Update, name: str) -> FromClause:  # noqa: ARG002
        return statement.cte(name)

    def together(self, connection: Connection, steps: Sequence[Step]) -> Sequence[Row[Any]]:
        *first, last = steps
        for number, step in enumerate(first):
            last = last.add_cte(step.cte(f"step_{number}"))
        return connection.execute(last).all()

    def window_options(self, isolation: str) -> Options:
        """Read-only for the driver, so that what the collector begins by itself cannot write (PROTOCOL 2.4)."""
        return {"isolation_level": isolation, "postgresql_readonly": True}

    def read_as(self, connection: Connection, tenant_id: str, role: str | None) -> None:
        connection.execute(SET_TENANT, {"tenant_id": tenant_id})
        _become(connection, role)

    def begin_window(self, connection: Connection, tables: Tables, claim: Claim, terms: Terms) -> None:
        """In the driver's terms: several statements in one round trip."""
        from psycopg import sql

        query = sql.SQL(BEGIN_WINDOW).format(
            tag=sql.Literal(f"tc:{claim.token}"[:63]),
            tenant_id=sql.Literal(claim.key.tenant_id),
            lock_timeout=sql.Literal(_milliseconds(terms.lock_timeout)),
            idle_timeout=sql.Literal(_milliseconds(terms.idle_timeout)),
            guard=sql.Identifier(*filter(None, (tables.guard.schema, tables.guard.name))),
            window_id=sql.Literal(claim.window_id),
        )
        with _driver(connection).cursor() as cursor:
            if connection.dispatch.begin:  # a host's own statement there would settle that the transaction only reads
                cursor.execute(READ_WRITE)
            connection.begin()
            cursor.execute(query, prepare=False)  # several statements cannot be prepared
            cursor.nextset()
            role, search_path, *_ = cursor.fetchone()
        connection.info[FOUND] = {
            "role": role,
            "as_role": terms.role or role,
            "search_path": search_path,
            "tenant_id": claim.key.tenant_id,
        }
        _become(connection, terms.role)

    def end_window(self, connection: Connection) -> bool:
        return bool(connection.execute(END_WINDOW, connection.info[FOUND]).scalar_one())

    def break_window(self, connection: Connection) -> None:
        """The server has done it already: the transaction is aborted, and the next one is read-only."""

    def aborted(self, connection: Connection) -> bool:
        status = _driver(connection).info.transaction_status
        return bool(status in (status.INERROR, status.UNKNOWN))

    def idle(self, connection: Connection) -> bool:
        status = _driver(connection).info.transaction_status
        return bool(status != status.ACTIVE)

    def cut(self, connection: Connection) -> None:
        """Ask the server to stop the statement, then wake the thread that waits for its answer."""
        driver = _driver(connection)
        if not self.idle(connection):
            with suppress(Exception):
                driver.cancel_safe(timeout=2)
        with suppress(Exception), socket.socket(fileno=os.dup(driver.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def hurry(self, connection: Connection, within: timedelta) -> None:
        connection.execute(HURRY, {"within": _milliseconds(within)})

    def evict(self, connection: Connection, tokens: Sequence[str]) -> None:
        connection.execute(EVICT, {"tags": [f"tc:{token}"[:63] for token in tokens]})


def _become(connection: Connection, role: str | None) -> None:
    """Go on as the collectors' role; raises :class:`StorageError`, because no window can run, if it may not be."""
    if role is None:
        return
    try:
        connection.execute(SET_ROLE, {"role": role})
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in NO_SUCH_ROLE:
            raise
        told = f"The collector_role {role} does not exist, or is not granted to the user we connect as; see: {DOCTOR}"
        raise StorageError(told) from None


def _milliseconds(length: timedelta) -> str:
    return f"{length // timedelta(milliseconds=1)}ms"


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _threshold(text: str) -> int | None:
    """``?prepare_threshold=none`` in a URL: no prepared statements, as behind a transaction pooler."""
    if text.lower() in ("", "none"):
        return None
    if not text.isdecimal():
        raise ConfigurationError("prepare_threshold in the database URL must be a number or none")
    return int(text)


def _check_options(url: URL) -> None:
    """Raise :class:`ConfigurationError` for an option that libpq cannot read, before anything connects."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        int(str(url.query.get("connect_timeout", 0)))
    except ValueError:
        raise ConfigurationError("connect_timeout in the database URL must be a number of seconds") from None

    try:
        make_conninfo(**dict.fromkeys(url.query, ""))
    except ProgrammingError as error:
        raise ConfigurationError(f"The options of the database URL are not valid: {error}") from None
