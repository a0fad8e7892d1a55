import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, create_engine, inspect, text

from tenantcollect.backends.sql import SqlBackend, include_name
from tenantcollect.backends.sql.schema import VERSION_TABLE, known_revisions, tables
from tenantcollect.errors import SchemaNotCurrent, StorageError
from tenantcollect.keys import EVERYTHING, Key


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A look at the database from outside."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def backend(database_url: str) -> Iterator[SqlBackend]:
    """A backend on a database without tables."""
    backend = SqlBackend(database_url)
    yield backend
    backend.close()


def made_by(engine: Engine, schema: str | None = None) -> dict[str, Any]:
    """Everything that the database tells of our tables but the table of versions."""
    told = inspect(engine)
    return {
        name: [
            [{**column, "type": str(column["type"])} for column in told.get_columns(name, schema)],
            told.get_pk_constraint(name, schema),
            told.get_unique_constraints(name, schema),
            sorted(told.get_check_constraints(name, schema), key=str),
            told.get_foreign_keys(name, schema),
            sorted(map(_plain, told.get_indexes(name, schema))),
        ]
        for name in sorted(told.get_table_names(schema))
        if name != VERSION_TABLE
    }


def _plain(index: Any) -> str:
    """An index as text, its condition too."""
    options = {name: str(option) for name, option in index.get("dialect_options", {}).items()}
    return str({**index, "dialect_options": options})


def test_migrations_make_the_tables_that_the_code_speaks_of(backend: SqlBackend, engine: Engine) -> None:
    """From nothing, migrations and metadata make the same columns, keys, checks and indexes."""
    backend.schema.upgrade()
    migrated = made_by(engine)
    with engine.begin() as connection:
        for name in (*migrated, VERSION_TABLE):
            connection.execute(text(f"DROP TABLE {name}{_cascade(engine)}"))
        tables().metadata.create_all(connection)
    assert made_by(engine) == migrated


def test_rows_that_change_for_each_window_have_room_to(postgresql_url: str) -> None:
    """PROTOCOL 3: the state is filled to 70 %, the schedule to half, so that no index hears of a change."""
    backend = SqlBackend(postgresql_url)
    backend.schema.upgrade()
    options = text("SELECT reloptions FROM pg_class WHERE relname = :name")
    engine = create_engine(postgresql_url)
    with engine.connect() as connection:
        found = [connection.scalar(options, {"name": table.name}) for table in (tables().run, tables().lease)]
    engine.dispose()
    backend.close()
    assert found == [["fillfactor=70"], ["fillfactor=50"]]


def _cascade(engine: Engine) -> str:
    return " CASCADE" if engine.dialect.name == "postgresql" else ""


def test_upgrading_again_changes_nothing(backend: SqlBackend, engine: Engine) -> None:
    """An upgrade is idempotent, and tells where the database is."""
    assert backend.schema.current() is None
    backend.schema.upgrade()
    first = made_by(engine)
    backend.schema.upgrade()
    assert made_by(engine) == first
    assert backend.schema.current() == backend.schema.newest()


def test_many_may_upgrade_at_once(database_url: str) -> None:
    """Processes that start together do not trip over each other's migrations."""
    backends = [SqlBackend(database_url) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda backend: backend.schema.upgrade(), backends))
    assert {backend.schema.current() for backend in backends} == {backends[0].schema.newest()}
    for backend in backends:
        backend.close()


def test_collectors_tables_are_created_and_never_altered(backend: SqlBackend, engine: Engine) -> None:
    """A table of a collector that is missing is made; one that is there stays as it is."""
    old, new = MetaData(), MetaData()
    Table("rows", old, Column("n", Integer))
    Table("rows", new, Column("n", Integer), Column("more", Integer))
    Table("others", new, Column("n", Integer))
    backend.schema.upgrade([old])
    backend.schema.upgrade([new])
    assert [column["name"] for column in inspect(engine).get_columns("rows")] == ["n"]
    assert "others" in inspect(engine).get_table_names()


def test_offline_sql_makes_the_same_tables(backend: SqlBackend, engine: Engine) -> None:
    """What ``db sql`` prints can be run by a person, and is then current."""
    script = backend.schema.sql()
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        run = driver.executescript if engine.dialect.name == "sqlite" else driver.execute  # type: ignore[union-attr]
        run(script)
        connection.commit()
    assert backend.schema.current() == backend.schema.newest()
    by_hand = made_by(engine)
    backend.schema.upgrade()
    assert made_by(engine) == by_hand


def test_a_database_of_a_newer_version_is_refused(backend: SqlBackend, engine: Engine) -> None:
    """An older library does not touch the tables of a newer one, and says what to do."""
    backend.schema.upgrade()
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for dry_run in (True, False):
        with pytest.raises(SchemaNotCurrent, match="newer version"):
            backend.schema.upgrade(dry_run=dry_run)


def test_the_state_of_a_newer_version_is_not_read(backend: SqlBackend, engine: Engine) -> None:
    """Its columns may mean something else: every door to the state says what to do, until it is ours again."""
    backend.schema.upgrade()
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    keys = [Key("acme", "hub", "team")]
    for door in (
        lambda: backend.state.ensure([], due_at=datetime.now(UTC)),
        lambda: list(backend.state.load(keys)),
        lambda: list(backend.state.load(EVERYTHING)),
        lambda: list(backend.state.history(EVERYTHING, limit=1)),
    ):
        with pytest.raises(SchemaNotCurrent, match="revision 9999, which this version of tenantcollect does not know"):
            door()
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = :ours"), {"ours": backend.schema.newest()})
    assert list(backend.state.load(keys)) == []


def test_every_migration_is_known_by_the_name_of_its_file() -> None:
    """So that nobody has to import Alembic to know them."""
    scripts = ScriptDirectory.from_config(SqlBackend("sqlite:///any.db").schema._config())
    assert known_revisions() == {script.revision for script in scripts.walk_revisions()}


LOSSES = {
    "a table": f"DROP TABLE {tables().hold.name}",
    "a column": f"ALTER TABLE {tables().lease.name} DROP COLUMN progress",
    "the table of the revision": f"DROP TABLE {VERSION_TABLE}",
    "the revision": f"DELETE FROM {VERSION_TABLE}",
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_is_lost_is_not_said_to_be_upgraded(backend: SqlBackend, engine: Engine, loss: str, dry_run: bool) -> None:
    """Migrations bring back neither a table nor a column nor the revision: what is lost is named, and untouched."""
    backend.schema.upgrade()
    with engine.begin() as connection:
        connection.execute(text(LOSSES[loss]))
    before = made_by(engine)
    names = {"a table": tables().hold.name, "a column": f"{tables().lease.name}.progress"}
    with pytest.raises(StorageError, match=f"{names.get(loss, VERSION_TABLE)}.* backup") as refused:
        backend.schema.upgrade(dry_run=dry_run)
    assert not isinstance(refused.value, SchemaNotCurrent), "whose cure is to upgrade"
    assert made_by(engine) == before


def test_trying_an_upgrade_changes_nothing_and_tells_what_it_would_make(backend: SqlBackend, engine: Engine) -> None:
    """Ours, and the collectors' that are missing; the names are those that the upgrade itself tells."""
    rows = MetaData()
    Table("rows", rows, Column("n", Integer))
    assert backend.schema.upgrade([rows], dry_run=True) == ["rows"]
    assert inspect(engine).get_table_names() == []
    assert backend.schema.upgrade([rows]) == ["rows"]
    assert backend.schema.upgrade([rows], dry_run=True) == backend.schema.upgrade([rows]) == []


def test_missing_tables_name_the_command(backend: SqlBackend) -> None:
    """Whoever forgot to upgrade is told the exact command, on every door."""
    for door in (
        backend.catalog.version,
        lambda: list(backend.catalog.sources()),
        backend.state.holds.held,
        lambda: list(backend.state.history(EVERYTHING, limit=1)),
    ):
        with pytest.raises(SchemaNotCurrent, match="run: tenantcollect db upgrade"):
            door()


def test_a_host_that_autogenerates_keeps_our_tables(backend: SqlBackend, engine: Engine) -> None:
    """With ``include_name`` a host's Alembic sees nothing of ours; without it, it would drop our tables."""
    backend.schema.upgrade()
    with engine.connect() as connection:
        assert _differences(connection) != []
        assert _differences(connection, include_name=include_name) == []


def _differences(connection: Connection, **options: Any) -> list[Any]:
    return compare_metadata(MigrationContext.configure(connection, opts=options), MetaData())


def test_a_named_schema_is_made_and_used(postgresql_url: str) -> None:
    """All tables, the version too, stand in the schema that was named, whatever the search path is."""
    backend = SqlBackend(postgresql_url, schema="collecting")
    backend.schema.upgrade()
    assert backend.schema.current() == backend.schema.newest()
    engine = create_engine(postgresql_url)
    found = inspect(engine)
    assert found.get_table_names("public") == []
    assert VERSION_TABLE in found.get_table_names("collecting")
    assert tables().run.name in found.get_table_names("collecting")
    engine.dispose()
    assert "CREATE TABLE collecting." in backend.schema.sql()
    backend.close()


def test_g10_migrating_leaves_the_hosts_log_alone(database_url: str) -> None:
    """A host that logs all there is at INFO reads nothing of Alembic's, also when Alembic is imported just now."""
    program = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(message)s")
from tenantcollect.backends.sql import SqlBackend
backend = SqlBackend(sys.argv[1])
backend.schema.upgrade()
assert backend.schema.current() == backend.schema.newest()
backend.close()
logging.getLogger("alembic.runtime.migration").info("the host's own migration")
"""
    told = subprocess.run([sys.executable, "-c", program, database_url], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["alembic.runtime.migration the host's own migration"]
