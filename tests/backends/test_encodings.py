"""A PostgreSQL database that cannot hold every text."""

from collections.abc import Iterator
from functools import partial

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL

from tenantcollect import StorageError
from tenantcollect.reports import Severity
from tests.backends.examining import connected, examined


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def narrow(request: pytest.FixtureRequest, postgresql_server: URL) -> Iterator[URL]:
    """An empty database of this encoding."""
    name = f"tenantcollect_test_{request.param.lower()}"
    server = postgresql_server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        made = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.execute(sql.SQL(made).format(sql.Identifier(name), sql.Literal(request.param)))
        yield postgresql_server.set(database=name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_doctor_says_that_the_encoding_will_not_do(narrow: URL) -> None:
    """A tenant's name, or an error in another alphabet, could not be stored."""
    [row] = examined(narrow)["database"]
    assert row.severity is Severity.UNUSABLE
    assert "which cannot hold every text" in row.detail
    assert "ENCODING 'UTF8'" in (row.action or "")


def test_no_tables_are_made_in_it(narrow: URL) -> None:
    """Before the first tenant stands there, it is easy to make another one; a trial says so, too."""
    with connected(narrow) as orchestrator:
        assert orchestrator.schema is not None
        for upgrade in (orchestrator.upgrade, partial(orchestrator.schema.upgrade, dry_run=True)):
            with pytest.raises(StorageError, match=r"encoding of the database is .*ENCODING 'UTF8'"):
                upgrade()
        assert orchestrator.schema.current() is None
