"""G6: the whole database, as text."""

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, NullPool, Table, create_engine, select, text

from tenantcollect import connect, hookimpl
from tenantcollect.backends.sql.schema import tables
from tenantcollect.contrib.crypto import FernetCipher
from tests.canaries import OPTIONS, QUERIES, WAYS, build, leaks

CONFIG = tables().config.name


def columns(table: Table, config: bool) -> list[Column[Any]]:
    """All columns; those of config values only with ``config``."""
    return [column for column in table.c if config or (table.name, column.name) != (CONFIG, "value")]


def dumped(url: str, *, config: bool) -> str:
    """Every value of every row of every table; with ``config``, those of the config table too."""
    engine = create_engine(url, poolclass=NullPool)
    found = MetaData()
    with engine.connect() as connection:
        found.reflect(connection)
        rows = {table.name: connection.execute(select(*columns(table, config))).all() for table in found.sorted_tables}
    engine.dispose()
    assert len(rows[CONFIG]) >= 4
    return repr(rows)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_g6_no_secret_stands_in_the_database_but_among_the_config_values(request, kind, encrypted):
    """Whatever collectors let out; with a cipher not even there."""
    url = request.getfixturevalue(f"migrated_{kind}").render_as_string(hide_password=False)
    cipher = FernetCipher([urlsafe_b64encode(b"k" * 32).decode()]) if encrypted else None
    with build(url, cipher=cipher) as orchestrator:
        report = orchestrator.run()
        attempts = list(orchestrator.history(limit=100))
        assert {row.data_source for row in attempts} == {way.__name__ for way in WAYS} | set(QUERIES)
        assert leaks(repr([report, attempts, list(orchestrator.explain()), list(orchestrator.status())])) == []
    assert leaks(dumped(url, config=encrypted)) == []
    assert bool(leaks(dumped(url, config=True))) is not encrypted


@pytest.mark.parametrize("secret", ["canary of  two  spaces", "canary\tand\nlines", "canary-at-the-edge-of-a-cut"])
@pytest.mark.parametrize("code", ["42501", "53000", "57014"])
def test_g6_a_secret_in_the_words_of_the_server_is_masked_before_they_are_shortened(migrated_postgresql, secret, code):
    """Neither white space that is made one nor a cut leaves a part of it that nobody knows."""
    words = f"{'x' * 485} {secret} {'y' * 5000}"

    class Raising:
        @hookimpl
        def options(self):
            return OPTIONS

        @hookimpl
        def run(self, db):
            db.execute(text(f"DO $$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE='{code}'; END $$"))

    url = migrated_postgresql.render_as_string(hide_password=False)
    with connect(url, collectors={"acme.a": Raising()}) as orchestrator:
        orchestrator.configure("t1", "acme", {"TOKEN": secret})
        orchestrator.run()
        [row] = orchestrator.history(limit=1)
        assert f"SQLSTATE {code}" in row.error
        assert "canary" not in repr([row, *orchestrator.explain(), *orchestrator.status()])
