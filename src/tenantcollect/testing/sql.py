"""The SQL backends with a table to collect into, and connections that look on from outside (floor: testing)."""

import os
import socket
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from sqlalchemy import (
    URL,
    Column,
    Executable,
    Integer,
    MetaData,
    NullPool,
    String,
    Table,
    and_,
    create_engine,
    delete,
    insert,
    make_url,
    select,
    text,
    update,
)

from tenantcollect.backends.sql import SqlBackend
from tenantcollect.backends.sql.schema import tables
from tenantcollect.keys import Key
from tenantcollect.state import NewKey, WindowTransaction
from tenantcollect.testing.harness import Backend, Crash, Factory, Harness, Row
from tenantcollect.testing.steps import START

__all__ = ["COLLECTED", "PostgresqlHarness", "SqlHarness", "SqliteHarness"]

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

COLLECTED = Table(
    "collected",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(200), nullable=False),
    Column("number", Integer, nullable=False),
    Column("mark", String(20), unique=True),
)
"""What the suites write: a row that was written twice shows, and a mark can be there only once."""


class SqlHarness(Harness):
    """A backend on the database of ``url``, whose tables are made if they are not there."""

    capabilities: ClassVar[frozenset[str]] = frozenset({"sql", "processes", "own_clock", "unreachable"})

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self._made: list[SqlBackend] = []
        self._backend = self._make(self.url)
        if self._backend.schema.current() != self._backend.schema.newest():
            self._backend.schema.upgrade([COLLECTED.metadata])
        self._observer = create_engine(self.url, poolclass=NullPool)

    def _make(self, url: URL, crash: Crash | None = None) -> SqlBackend:
        backend = SqlBackend(url, crash=crash)
        self._made.append(backend)
        return backend

    @property
    def backend(self) -> Backend:
        return self._backend

    def beside(self, *, crash: Crash | None = None, isolation: str | None = None) -> Backend:
        return self._make(self._isolated(isolation) if isolation else self.url, crash)

    def _isolated(self, isolation: str) -> URL:
        raise NotImplementedError("the capability postgresql needs this")

    def close(self) -> None:
        for backend in self._made:
            backend.close()
        self._observer.dispose()

    @property
    def factory(self) -> Factory:
        return partial(SqlBackend, self.url.render_as_string(hide_password=False))

    def prepare(self, keys: Collection[Key]) -> None:
        self._backend.state.ensure((NewKey(key=key, history_start=START) for key in keys), due_at=START)

    def expire(self, keys: Collection[Key]) -> None:
        lease = tables().lease
        for key in keys:
            self.execute(update(lease).where(_is(lease, key)).values(expires_at=LONG_AGO))

    @staticmethod
    def write(transaction: WindowTransaction, *numbers: int) -> None:
        rows = [{"tenant_id": transaction.claim.key.tenant_id, "number": number} for number in numbers]
        transaction.session().execute(insert(COLLECTED), rows)

    def mark(self, transaction: WindowTransaction, mark: str) -> None:
        row = {"tenant_id": transaction.claim.key.tenant_id, "number": 0, "mark": mark}
        transaction.session().execute(insert(COLLECTED), [row])

    def rows(self) -> list[Row]:
        statement = select(COLLECTED.c.tenant_id, COLLECTED.c.number)
        with self._observer.connect() as connection:
            return sorted((row.tenant_id, row.number) for row in connection.execute(statement))

    def driver(self, transaction: WindowTransaction) -> Any:
        return transaction.session().connection().connection.driver_connection

    def spoil(self, key: Key, coverage: str) -> None:
        run = tables().run
        self.execute(update(run).where(_is(run, key)).values(coverage=coverage))

    def state_backup(self) -> Any:
        with self._observer.connect() as connection:
            return [dict(row) for row in connection.execute(select(tables().run)).mappings()]

    def restore(self, backup: Any) -> None:
        self.execute(delete(tables().run))
        for row in backup:
            self.execute(insert(tables().run).values(**row))

    def execute(self, statement: Executable) -> Any:
        """Run one statement by a connection of its own, and commit it."""
        with self._observer.begin() as connection:
            return connection.execute(statement)


def _is(table: Table, key: Key) -> Any:
    return and_(
        table.c.tenant_id == key.tenant_id,
        table.c.data_source == key.data_source,
        table.c.script == key.script,
    )


class SqliteHarness(SqlHarness):
    """SQLite: a file, one writer at a time."""

    def unreachable(self) -> Backend:
        return self._make(self.url.set(database=f"{self.url.database}.nowhere/state.db"))

    def script(self, transaction: WindowTransaction, statements: Sequence[str]) -> None:
        self.driver(transaction).executescript(";".join(statements))


class PostgresqlHarness(SqlHarness):
    """PostgreSQL: the server enforces the protocol."""

    capabilities: ClassVar[frozenset[str]] = SqlHarness.capabilities | {"postgresql", "concurrent_writers"}

    def unreachable(self) -> Backend:
        return self._make(self.url.set(host="127.0.0.1", port=1, query={}))

    def _isolated(self, isolation: str) -> URL:
        escaped = isolation.replace(" ", r"\ ")
        return self.url.update_query_dict({"options": f"-c default_transaction_isolation={escaped}"})

    def script(self, transaction: WindowTransaction, statements: Sequence[str]) -> None:
        self.driver(transaction).execute(";".join(statements))

    def line(self, transaction: WindowTransaction) -> socket.socket:
        return socket.socket(fileno=os.dup(self.driver(transaction).fileno()))

    def terminate(self, token: str) -> int:
        """End the database session whose transaction holds ``token``, as an administrator would; how many."""
        activity = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name")
        with self._observer.connect() as connection:
            return len(connection.execute(activity, {"name": f"tc:{token}"}).all())
