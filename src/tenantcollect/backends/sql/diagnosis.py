"""What a SQL database tells of itself (floor: backends); the roles of PostgreSQL have a module of their own."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from sqlalchemy import MetaData, Table, inspect, text

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.errors import COMMAND
from tenantcollect.backends.sql.migrate import SqlSchema
from tenantcollect.backends.sql.pooling import pooler
from tenantcollect.backends.sql.roles import policies, roles
from tenantcollect.backends.sql.sqlite import PRAGMAS, checked_file
from tenantcollect.reports import FindingRow, Probe

__all__ = ["SqlDiagnosis"]

OLDEST_POSTGRESQL = 14
OLDEST_SQLITE = (3, 40)


class SqlDiagnosis:
    """A :class:`~tenantcollect.diagnosis.Diagnosis`; it reads, and makes no SQLite file."""

    def __init__(self, database: Database, schema: SqlSchema, role: str | None) -> None:
        self._database, self._schema, self._role = database, schema, role

    def probes(self, tables: Iterable[MetaData]) -> Mapping[str, Probe]:
        collected = [table for metadata in tables for table in metadata.sorted_tables]
        shared: dict[str, Probe] = {
            "schema": self._revision,
            "tables": partial(self._tables, collected),
        }
        if self._database.dialect.name == "sqlite":
            return {"database": self._sqlite, **shared, "pragmas": self._pragmas}
        return {
            "database": self._postgresql,
            **shared,
            "roles": partial(roles, self._database, self._role),
            "policies": partial(policies, self._database, self._role, collected),
            "pooler": partial(pooler, self._database),
        }

    def _sqlite(self) -> Iterator[FindingRow]:
        file = checked_file(self._database.url)
        if not file.exists():
            yield FindingRow.unusable(
                "database", f"there is no database {self._database.described()}", f"run: {COMMAND}"
            )
            return
        with self._database.reading() as connection:
            version = connection.scalar(text("SELECT sqlite_version()"))
        told = f"{self._database.described()} is SQLite {version}"
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            yield FindingRow.unusable("database", told, "use a Python whose SQLite is 3.40 or newer")
        else:
            yield FindingRow.ok("database", told)

    def _postgresql(self) -> Iterator[FindingRow]:
        with self._database.reading() as connection:
            version = str(connection.scalar(text("SHOW server_version")))
            number = int(str(connection.scalar(text("SHOW server_version_num"))))
        told = f"{self._database.described()} is PostgreSQL {version}"
        if number // 10_000 < OLDEST_POSTGRESQL:
            yield FindingRow.unusable("database", told, f"upgrade it to PostgreSQL {OLDEST_POSTGRESQL} or newer")
        else:
            yield FindingRow.ok("database", told)

    def _revision(self) -> Iterator[FindingRow]:
        at, newest = self._schema.current(), self._schema.newest()
        if at == newest:
            yield FindingRow.ok("schema", f"our tables are at revision {at}")
        elif at is None:
            yield FindingRow.unusable("schema", "our tables are not there", f"run: {COMMAND}")
        else:
            action = f"run: {COMMAND}; if a newer version of tenantcollect made them, install that one"
            yield FindingRow.unusable("schema", f"our tables are at revision {at}, the newest is {newest}", action)

    def _tables(self, collected: list[Table]) -> Iterator[FindingRow]:
        missing, lacking = [], []
        with self._database.reading() as connection:
            inspector = inspect(connection)
            for table in collected:
                if not inspector.has_table(table.name, schema=table.schema):
                    missing.append(table.fullname)
                    continue
                there = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
                lacking += [f"{table.fullname}.{name}" for name in table.c.keys() if table.c[name].name not in there]  # noqa: SIM118
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

    def _pragmas(self) -> Iterator[FindingRow]:
        """Those that we set; a database that refuses one cannot be connected to at all."""
        with self._database.reading() as connection:
            found = [(name, connection.exec_driver_sql(f"PRAGMA {name}").scalar()) for name, _ in PRAGMAS]
        yield FindingRow.ok("pragmas", ", ".join(f"{name}={value}" for name, value in found))
