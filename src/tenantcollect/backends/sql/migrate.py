"""Our tables, from nothing or from an older version: Alembic as a package resource (floor: backends).

Alembic is imported when it is used: a command that only reads should not pay for it.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, MetaData, text
from sqlalchemy.schema import CreateSchema

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.schema import PREFIX, VERSION_TABLE
from tenantcollect.errors import SchemaNotCurrent

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["SqlSchema", "include_name"]

ALEMBIC = ("alembic.runtime.migration", "alembic.runtime.plugins", "alembic.ddl.impl")
LOCATION = "tenantcollect.backends.sql:migrations"
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


class SqlSchema:
    """A :class:`~tenantcollect.state.Schema`; the version is kept in a table of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @_quiet()
    def upgrade(self, tables: Iterable[MetaData] = ()) -> None:
        """In one transaction; whatever fails leaves the tables as they were."""
        from alembic import command

        self._create_schema()
        with self._database.writing(patient=True) as connection:
            if self._database.dialect.name == "postgresql":
                connection.execute(ONE_AT_A_TIME)
            with _newer_refused():
                command.upgrade(self._config(connection), "head")
        for metadata in tables:
            with self._database.writing(patient=True) as connection:
                metadata.create_all(connection)

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
        from alembic.runtime.migration import MigrationContext

        options = {"version_table": VERSION_TABLE, "version_table_schema": self._database.tables.metadata.schema}
        with self._database.reading() as connection:
            return MigrationContext.configure(connection, opts=options).get_current_revision()

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


@contextmanager
def _newer_refused() -> Iterator[None]:
    from alembic.util import CommandError

    try:
        yield
    except CommandError as error:
        raise SchemaNotCurrent(
            f"The tables were made by a newer version of tenantcollect ({error}); install that version."
        ) from None
