"""Our tables, from nothing or from an older version: Alembic as a package resource (floor: backends).

Alembic is imported when it is used: a command that only reads should not pay for it.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from attrs import frozen
from sqlalchemy import Connection, MetaData, Table, inspect, text
from sqlalchemy.schema import CreateSchema

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.postgresql import IN_UTF8, OTHER_ENCODING, UTF8
from tenantcollect.backends.sql.schema import PREFIX, VERSION_TABLE, version_table
from tenantcollect.errors import SchemaNotCurrent, StorageError

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["Damage", "SqlSchema", "differences", "include_name"]

ALEMBIC = ("alembic.runtime.migration", "alembic.runtime.plugins", "alembic.ddl.impl")
LOCATION = "tenantcollect.backends.sql:migrations"
RESTORE = "restore it from a backup: db upgrade makes only what a newer revision adds"
# One process migrates at a time; the lock ends with the transaction. The number is arbitrary, and ours.
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7414120926)")


def include_name(name: str | None, kind: str, _parents: Any = None) -> bool:
    """For the ``include_name`` of a host's own Alembic environment: without it, autogenerate drops our tables."""
    return kind != "table" or name is None or not name.startswith(PREFIX)


@contextmanager
def _quiet() -> Iterator[None]:
    """What Alembic tells of our migrations stays out of the host's log; what it tells other threads does not (G10)."""
    me = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != me or record.levelno > logging.INFO

    loggers = [logging.getLogger(name) for name in ALEMBIC]
    for each in loggers:
        each.addFilter(others)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(others)


@frozen
class Damage:
    """What is wrong with our tables, and what to do."""

    told: str
    cure: str


class SqlSchema:
    """A :class:`~tenantcollect.schema.Schema`; the version is kept in a table of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @_quiet()
    def upgrade(self, tables: Iterable[MetaData] = (), *, dry_run: bool = False) -> list[str]:
        """In one transaction; whatever fails leaves the tables as they were."""
        from alembic import command

        if dry_run and self._database.missing():
            return [table.fullname for metadata in tables for table in metadata.tables.values()]
        if not dry_run:
            self._create_schema()
        with self._database.writing(patient=True) as connection:
            if self._database.dialect.name == "postgresql":
                connection.execute(ONE_AT_A_TIME)
            self._refuse(connection)
            if not dry_run:
                command.upgrade(self._config(connection), "head")
        return [name for metadata in tables for name in self._create(metadata, dry_run=dry_run)]

    def _create(self, metadata: MetaData, *, dry_run: bool) -> list[str]:
        with self._database.writing(patient=True) as connection:
            missing, _ = differences(connection, metadata.tables.values())
            if not dry_run:
                metadata.create_all(connection)
        return missing

    def _refuse(self, connection: Connection) -> None:
        """Raises :class:`StorageError` for tables that no revision of ours leads on from."""
        if self._database.dialect.name == "postgresql":
            encoding = connection.scalar(text("SELECT current_setting('server_encoding')"))
            if encoding != UTF8:
                raise StorageError(f"{_sentence(OTHER_ENCODING.format(encoding))}; {IN_UTF8}.")
        if damage := self._damage(connection):
            raise StorageError(f"{_sentence(damage.told)}; {damage.cure}.")
        at = self._at(connection)
        if at is not None:
            self._known(at)

    def _known(self, revision: str) -> None:
        from alembic.script import ScriptDirectory
        from alembic.util import CommandError

        try:
            ScriptDirectory.from_config(self._config()).get_revision(revision)
        except CommandError as error:
            raise SchemaNotCurrent(
                f"The tables were made by a newer version of tenantcollect ({error}); install that version."
            ) from None

    def _create_schema(self) -> None:
        """A named schema that is not there is made; one that is there may belong to somebody else."""
        schema = self._database.tables.metadata.schema
        if schema is None:
            return
        exists = text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
        with self._database.writing() as connection:
            if connection.scalar(exists, {"name": schema}) is None:
                connection.execute(CreateSchema(schema, if_not_exists=True))

    @_quiet()
    def current(self) -> str | None:
        if self._database.missing():
            return None
        with self._database.reading() as connection:
            return self._at(connection)

    def _at(self, connection: Connection) -> str | None:
        from alembic.runtime.migration import MigrationContext

        options = {"version_table": VERSION_TABLE, "version_table_schema": self._database.tables.metadata.schema}
        return MigrationContext.configure(connection, opts=options).get_current_revision()

    @_quiet()
    def damage(self) -> Damage | None:
        """What of our tables is lost, so that no upgrade brings it back."""
        with self._database.reading() as connection:
            return self._damage(connection)

    def _damage(self, connection: Connection) -> Damage | None:
        ours = self._database.tables.metadata
        at = self._at(connection)
        missing, lacking = differences(connection, ours.tables.values())
        if at is None and len(missing) < len(ours.tables):
            version = version_table(ours.schema).fullname
            return Damage(f"our tables are there, but their revision, in {version}, is lost", RESTORE)
        if at == self.newest() and (missing or lacking):
            return Damage(f"of our tables at revision {at} there is no {', '.join(missing + lacking)}", RESTORE)
        return None

    @_quiet()
    def newest(self) -> str:
        from alembic.script import ScriptDirectory

        head = ScriptDirectory.from_config(self._config()).get_current_head()
        return head or ""

    @_quiet()
    def sql(self) -> str:
        from alembic import command

        buffer = StringIO()
        config = self._config(buffer=buffer)
        command.upgrade(config, "head", sql=True)
        return buffer.getvalue()

    def described(self) -> str:
        return self._database.described()

    def _config(self, connection: Connection | None = None, buffer: StringIO | None = None) -> "Config":
        from alembic.config import Config

        config = Config(output_buffer=buffer)
        config.set_main_option("script_location", LOCATION)
        config.attributes["connection"] = connection
        config.attributes["dialect"] = self._database.dialect.name
        config.attributes["schema"] = (
            self._database.named_schema if connection is None else self._database.tables.metadata.schema
        )
        return config


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def differences(connection: Connection, tables: Iterable[Table]) -> tuple[list[str], list[str]]:
    """Which of ``tables`` are not in the database, and which columns of the others."""
    missing, lacking = [], []
    inspector = inspect(connection)
    for table in tables:
        if not inspector.has_table(table.name, schema=table.schema):
            missing.append(table.fullname)
            continue
        there = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
        lacking += [f"{table.fullname}.{column.name}" for column in table.columns if column.name not in there]
    return missing, lacking
