"""One database: an engine of our own, made by URL at the first use, or the host's, which is only borrowed (G10)."""

import os
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import URL, Connection, Engine, make_url, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from tenantcollect.backends.sql.dialect import PATIENCE, Dialect, Options
from tenantcollect.backends.sql.errors import COMMAND, translating
from tenantcollect.backends.sql.postgresql import PostgreSQL
from tenantcollect.backends.sql.readings import Unread
from tenantcollect.backends.sql.schema import Tables, known_revisions, tables, version_table
from tenantcollect.backends.sql.sqlite import SQLite, checked_file
from tenantcollect.backends.sql.turns import Turns, for_seconds
from tenantcollect.errors import ConfigurationError, DatabaseUnavailable, SchemaNotCurrent, StorageError
from tenantcollect.secrets import Masker

__all__ = ["Database", "checked_identifier"]

IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
POSTGRESQL_DRIVER = "postgresql+psycopg"
IMPATIENT = 5.0
PATIENT = 300.0


def checked_identifier(value: object, what: str) -> str:
    """``value`` if it may name a schema or a role; raises :class:`ConfigurationError`, naming ``what``."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        problem = "must be 1 to 63 of a-z, 0-9 and _, not beginning with a digit"
        raise ConfigurationError(f"{what} {problem}", fields={what: problem})
    return value


class Database:
    """Gives out connections with the right options, and translates what goes wrong with them.

    Nothing connects before the first use. In a forked child the parent's sockets are cut and our own engine
    begins anew (E16).
    """

    def __init__(self, engine_or_url: Engine | URL | str, *, schema: str | None = None, create: bool = True) -> None:
        self._host_engine, self.url = _told(engine_or_url)
        self.dialect: Dialect = SQLite() if self.url.get_backend_name() == "sqlite" else PostgreSQL()
        if schema is not None:
            checked_identifier(schema, "schema")
            if self.dialect.name == "sqlite":
                raise ConfigurationError("SQLite has no schemas; leave schema out", fields={"schema": "not on SQLite"})
        self._schema = schema
        self._create = create
        self._own_engine: Engine | None = None
        self._tables: Tables | None = None
        self._known = False
        self.unread = Unread()
        self._lock = threading.RLock()
        self.turns = Turns(needed=self.dialect.one_writer)
        self._lent: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._inherited: list[Any] = []
        _made.add(self)

    @property
    def engine(self) -> Engine:
        """The engine; raises :class:`SchemaNotCurrent` for a SQLite file that must not be made here."""
        if self._host_engine is not None:
            return self._host_engine
        with self._lock:
            if self._own_engine is None:
                self._require_file()
                self._own_engine = self.dialect.engine(self.url)
            return self._own_engine

    def missing(self) -> bool:
        """Whether it is a SQLite file that is not there yet, or is empty; raises :class:`DatabaseUnavailable` where
        none can be made.
        """
        if self.dialect.name != "sqlite":
            return False
        file = checked_file(self.url).absolute()
        if not file.parent.is_dir():
            folder = file.parent
            raise DatabaseUnavailable(f"There is no folder {folder} for the database; make it, or give another path.")
        return not (file.exists() and file.stat().st_size)

    def _require_file(self) -> None:
        if self.missing() and not self._create:
            raise SchemaNotCurrent(
                f"There is no database {self.described()}; run: {COMMAND}, or set TENANTCOLLECT_DATABASE_URL."
            )

    @property
    def tables(self) -> Tables:
        """Our tables in their schema, which is asked of the first connection unless it was named."""
        if self._tables is None:
            schema = self._schema
            if schema is None and self.dialect.name != "sqlite":
                with self._connected(self.dialect.reading) as connection:
                    schema = self.dialect.schema(connection)
            self._tables = tables(schema)
        return self._tables

    def known_tables(self) -> Tables:
        """Our tables, once their revision is found to be one of ours: what a newer one means nobody here can know.

        Asked once, before a connection is taken; one that is not there, or that we may not see, is left to the
        statements that follow. Raises :class:`SchemaNotCurrent`.
        """
        if not self._known:
            kept = version_table(self.tables.metadata.schema)
            try:
                with self.reading() as connection:
                    revision = connection.scalar(select(kept.c.version_num))
            except DatabaseUnavailable:
                raise
            except StorageError:
                revision = None
            if revision not in (None, *known_revisions()):
                raise SchemaNotCurrent(
                    f"Our tables are at revision {revision}, which this version of tenantcollect does not know: "
                    "a newer one made them; install that one."
                )
            self._known = True
        return self.tables

    @property
    def named_schema(self) -> str | None:
        """The schema that was named, if one was."""
        return self._schema

    def described(self) -> str:
        """The database and the schema, without a password."""
        shown = _shown(self.url)
        return f"{shown} (schema {self._schema})" if self._schema else shown

    def reading(self) -> Any:
        """A connection for our own reads."""
        return self._connected(self.dialect.reading)

    def single(self, *, patient: bool = False) -> Any:
        """A connection for one statement that commits itself."""
        return self._writing(self.dialect.single, patient)

    def hinting(self, *, several: bool = False) -> Any:
        """As :meth:`single` or :meth:`writing`, for what a crash of the whole machine may lose: leases, due times."""
        options = self.dialect.writing if several else self.dialect.single
        return self._writing({**options, **self.dialect.hint}, patient=False)

    def writing(self, *, patient: bool = False) -> Any:
        """A connection in a transaction of ours, committed at the end."""
        return self._writing(self.dialect.writing, patient)

    @contextmanager
    def joined(self, connection: Any) -> Iterator[Connection]:
        """The host's own transaction, which stays its own (G10); without one, a transaction of ours."""
        if connection is None:
            with self.writing(patient=True) as ours:
                yield ours
            return
        theirs = connection.connection() if isinstance(connection, Session) else connection
        if not isinstance(theirs, Connection) or theirs.dialect.name != self.dialect.name:
            raise ConfigurationError("connection must be a SQLAlchemy Connection or Session on the same database")
        with translating():
            yield theirs

    @contextmanager
    def _writing(self, options: Options, patient: bool) -> Iterator[Connection]:
        patience = for_seconds(PATIENT if patient else IMPATIENT)
        self.turns.take(patience)
        try:
            with self._connected({**options, PATIENCE: patience}) as connection:
                yield connection
        finally:
            self.turns.end()

    @contextmanager
    def _connected(self, options: Options) -> Iterator[Connection]:
        with translating(), self.connect(options) as connection, connection.begin():
            yield connection

    def connect(self, options: Options) -> Connection:
        """A connection with ``options``; whoever asks gives it back. SQLAlchemy's errors go through."""
        connection = self.engine.connect()
        try:
            self._lent.add(connection)
            return connection.execution_options(**options)
        except BaseException:
            connection.close()
            raise

    def throw_away(self, connection: Connection, *, alone: bool) -> None:
        """Roll back and let go; a connection that another thread may be using is cut, and never used again."""
        with suppress(Exception):
            if alone and self.dialect.idle(connection):
                self.dialect.break_window(connection)
                connection.rollback()
            else:
                self.dialect.cut(connection)
                connection.invalidate()
        with suppress(Exception):
            connection.close()

    def close(self) -> None:
        """Dispose the engine, if it is ours."""
        with self._lock:
            engine, self._own_engine = self._own_engine, None
        if engine is not None:
            engine.dispose()

    def _after_fork(self) -> None:
        """In the child: what the parent's server would hear from us must not be sent."""
        self._lock, self.turns = threading.RLock(), Turns(needed=self.dialect.one_writer)
        for connection in list(self._lent):
            with suppress(Exception):
                _point_nowhere(connection.connection.driver_connection.fileno())  # type: ignore[union-attr]
        # Nothing of these may be closed here: that, too, the server or the file would take for the parent's word.
        self._inherited += [*self._lent, self._own_engine]
        self._own_engine = None


def _told(engine_or_url: object) -> tuple[Engine | None, URL]:
    """The host's engine, or the URL for one of our own; raises :class:`ConfigurationError` for what cannot work."""
    if isinstance(engine_or_url, Engine):
        return _checked_engine(engine_or_url), engine_or_url.url
    if not isinstance(engine_or_url, str | URL):
        url = getattr(engine_or_url, "url", None)
        if isinstance(url, URL):
            raise ConfigurationError(f"An AsyncEngine cannot be used; pass the URL instead: {_usable(url)}")
        raise ConfigurationError(f"An engine or a URL is needed, not {type(engine_or_url).__name__}")
    return None, _checked_url(engine_or_url)


def _checked_engine(engine: Engine) -> Engine:
    if engine.dialect.name == "sqlite":
        raise ConfigurationError(
            f"For SQLite pass the URL, not an engine: we set its pragmas; use: {_usable(engine.url)}"
        )
    if engine.dialect.name != "postgresql" or engine.dialect.driver != "psycopg" or engine.dialect.is_async:
        raise ConfigurationError(
            f"This engine uses {engine.dialect.name}+{engine.dialect.driver}; pass a URL instead: {_usable(engine.url)}"
        )
    return engine


def _checked_url(text: str | URL) -> URL:
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):  # the latter for a port that is no number: what it repeats may be a password
        raise ConfigurationError(
            "The database URL cannot be read; use sqlite:///file.db or postgresql://user@host/name"
        ) from None
    if url.host and "@" in url.host:  # what stands before it is the end of a password, and every error would tell it
        raise ConfigurationError("The database URL has an '@' in its user or password; write it as %40")
    if backend == "sqlite" and url.drivername in ("sqlite", "sqlite+pysqlite"):
        checked_file(url)
        return url
    if url.drivername in ("postgres", "postgresql", POSTGRESQL_DRIVER):
        return url.set(drivername=POSTGRESQL_DRIVER)
    raise ConfigurationError(f"{url.drivername} is not supported; use: {_usable(url)}")


def _usable(url: URL) -> str:
    """The URL that would work, without a password."""
    return _shown(url.set(drivername="sqlite" if url.drivername.startswith("sqlite") else POSTGRESQL_DRIVER))


def _shown(url: URL) -> str:
    """The URL without a password, which may also stand among its options."""
    return Masker().mask(url.render_as_string(hide_password=True))


def _point_nowhere(descriptor: int) -> None:
    """Make the child's copy of a socket a dead end; the parent's own stays as it is."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


# What a fork calls can never be taken back, so it is one function for all databases there are. Nobody else asks for
# them, and none is kept alive by it.
_made: weakref.WeakSet[Database] = weakref.WeakSet()


def _after_fork() -> None:
    for database in list(_made):
        database._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
