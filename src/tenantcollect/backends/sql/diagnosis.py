"""What a SQL database tells of itself (floor: backends); the roles of PostgreSQL have a module of their own."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import MetaData, Row, Table, select, text

from tenantcollect.backends.sql.columns import KEY
from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.errors import COMMAND, translating
from tenantcollect.backends.sql.expressions import scope_of
from tenantcollect.backends.sql.migrate import SqlSchema, differences
from tenantcollect.backends.sql.policies import policies
from tenantcollect.backends.sql.pooling import BY_STATEMENT, WITHOUT_TRANSACTIONS, pooler
from tenantcollect.backends.sql.postgresql import IN_UTF8, OTHER_ENCODING, UTF8
from tenantcollect.backends.sql.rights import our_rights
from tenantcollect.backends.sql.roles import roles
from tenantcollect.backends.sql.sqlite import PRAGMAS
from tenantcollect.errors import ConfigurationError, DatabaseUnavailable, Overloaded, StorageError
from tenantcollect.reports import FindingRow, Probe

__all__ = ["SqlDiagnosis"]

OLDEST_POSTGRESQL = 14
OLDEST_SQLITE = (3, 40)
USABLE_FILE = (
    "give the path of a SQLite file that this user may read and write, in a folder that exists and that it may write"
)
PRIMARY = "connect to the primary; a URL that names several servers finds it with target_session_attrs=read-write"
READ_WRITE = "ALTER ROLE {} SET default_transaction_read_only = off; or take that setting out of the URL"
SERVER = text(
    "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number,"
    " pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::boolean AS read_only,"
    " quote_ident(session_user) AS user, current_setting('server_encoding') AS encoding"
)


class SqlDiagnosis:
    """A :class:`~tenantcollect.diagnosis.Diagnosis`; it reads, and makes no SQLite file."""

    def __init__(self, database: Database, schema: SqlSchema, role: str | None) -> None:
        self._database, self._schema, self._role = database, schema, role

    @property
    def _told(self) -> str:
        return self._database.described()

    def probes(self, tables: Mapping[str, MetaData], used: Collection[str]) -> Mapping[str, Probe]:
        # By name: data sources may share a table.
        collected = {table.fullname: table for metadata in tables.values() for table in metadata.tables.values()}
        shared: dict[str, Probe] = {
            "schema": self._ours,
            "tables": partial(self._tables, collected.values()),
            "rows": self._rows,
        }
        if self._database.dialect.name == "sqlite":
            return {"database": self._sqlite, **shared, "pragmas": self._pragmas}
        return {
            "database": self._postgresql,
            **shared,
            "roles": partial(roles, self._database, self._role),
            "policies": partial(self._policies, tables, used),
            "pooler": partial(pooler, self._database),
        }

    def _sqlite(self) -> Iterator[FindingRow]:
        try:
            if self._database.missing():
                yield FindingRow.unusable("database", f"there is no database {self._told}", f"run: {COMMAND}")
                return
            with self._database.reading() as connection:
                version = connection.scalar(text("SELECT sqlite_version()"))
            with suppress(Overloaded):  # who has to wait for another's writing may write
                self._try_to_write()
        except (StorageError, OSError) as error:
            yield FindingRow.unusable("database", f"{self._told}: {error}", USABLE_FILE)
            return
        told = f"{self._told} is SQLite {version}"
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            needed = ".".join(map(str, OLDEST_SQLITE))
            yield FindingRow.unusable("database", told, f"use a Python whose SQLite is {needed} or newer")
        else:
            yield FindingRow.ok("database", told)

    def _try_to_write(self) -> None:
        """Nothing is kept; to begin is not enough, SQLite lets that also who may only read."""
        with translating(), self._database.connect(self._database.dialect.single) as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar()
            connection.exec_driver_sql(f"PRAGMA user_version={version}")
            connection.rollback()

    def _postgresql(self) -> Iterator[FindingRow]:
        try:
            with self._database.reading() as connection:
                server = connection.execute(SERVER).one()
        except DatabaseUnavailable as error:
            if BY_STATEMENT not in str(error):
                raise
            yield FindingRow.unusable("database", f"{self._told}: {error}", WITHOUT_TRANSACTIONS)
            return
        told = f"{self._told} is PostgreSQL {server.version}"
        if server.number // 10_000 < OLDEST_POSTGRESQL:
            yield FindingRow.unusable("database", told, f"upgrade it to PostgreSQL {OLDEST_POSTGRESQL} or newer")
        elif server.encoding != UTF8:
            yield FindingRow.unusable("database", f"{told}; {OTHER_ENCODING.format(server.encoding)}", IN_UTF8)
        elif server.standby:
            yield FindingRow.unusable("database", f"{told}, a standby: it can only be read", PRIMARY)
        elif server.read_only:
            told = f"{told}, which lets us only read: default_transaction_read_only is on"
            yield FindingRow.unusable("database", told, READ_WRITE.format(server.user))
        else:
            yield FindingRow.ok("database", told)

    def _ours(self) -> Iterator[FindingRow]:
        refused = list(our_rights(self._database)) if self._database.dialect.name == "postgresql" else []
        yield from refused or self._revision()

    def _revision(self) -> Iterator[FindingRow]:
        at, newest = self._schema.current(), self._schema.newest()
        if damage := self._schema.damage():
            yield FindingRow.unusable("schema", damage.told, damage.cure)
        elif at == newest:
            yield FindingRow.ok("schema", f"our tables are at revision {at}")
        elif at is None:
            yield FindingRow.unusable("schema", "our tables are not there", f"run: {COMMAND}")
        else:
            action = f"run: {COMMAND}; if a newer version of tenantcollect made them, install that one"
            yield FindingRow.unusable("schema", f"our tables are at revision {at}, the newest is {newest}", action)

    def _policies(self, tables: Mapping[str, MetaData], used: Collection[str]) -> Iterator[FindingRow]:
        needed = {name: table for source in sorted(used) for name, table in tables[source].tables.items()}
        others = {name: table for metadata in tables.values() for name, table in metadata.tables.items()}
        idle = [table for name, table in others.items() if name not in needed]
        return policies(self._database, self._role, [*needed.values()], idle)

    def _tables(self, collected: Collection[Table]) -> Iterator[FindingRow]:
        with self._database.reading() as connection:
            missing, lacking = differences(connection, collected)
        if missing:
            told = f"tables of collectors are missing: {', '.join(missing)}"
            yield FindingRow.problem("tables", told, f"run: {COMMAND}")
        if lacking:
            told = f"tables of collectors lack columns: {', '.join(lacking)}"
            yield FindingRow.problem(
                "tables", told, "add them with your own migrations: upgrade alters no collector's table"
            )
        if not missing and not lacking:
            yield FindingRow.ok("tables", f"all {len(collected)} tables of the installed collectors are there")

    def _rows(self) -> Iterator[FindingRow]:
        """Rows that belong to nobody: no pass collects for them, and no other command tells of them."""
        tables, sound = self._database.tables, True
        for table in (tables.source, tables.config, tables.run, tables.lease, tables.hold):
            parts = [table.c[part] for part in KEY if part in table.c]
            with self._database.reading() as connection:
                rows = connection.execute(select(*parts).distinct())
                strange = [told for row in rows if (told := _nobodys(row))]
            if strange:
                told = f"{table.name} has rows that are left out, of {len(strange)} names such as {strange[0]}"
                yield FindingRow.problem("rows", told, "correct these rows, or delete them")
                sound = False
        if sound:
            yield FindingRow.ok("rows", "every row has the name of a tenant and of a data source")

    def _pragmas(self) -> Iterator[FindingRow]:
        """Those that we set; a database that refuses one cannot be connected to at all."""
        with self._database.reading() as connection:
            found = [(name, connection.exec_driver_sql(f"PRAGMA {name}").scalar()) for name, _ in PRAGMAS]
        yield FindingRow.ok("pragmas", ", ".join(f"{name}={value}" for name, value in found))


def _nobodys(row: Row[Any]) -> str | None:
    """Why a row has no name that anybody could ask for, if it has none."""
    try:
        scope_of(row)
    except ConfigurationError as error:
        return f"{'/'.join(map(ascii, row))[:200]} ({error})"
    return None
