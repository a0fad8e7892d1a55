"""What a collector may do with the database, and what it costs to do more: E06–E11 through the whole engine."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import BaseModel

from tenantcollect import CollectorOptions, Orchestrator, connect, hookimpl
from tenantcollect.errors import StorageError

METADATA = sa.MetaData()
FACT = sa.Table("fact", METADATA, sa.Column("tenant_id", sa.Text), sa.Column("start", sa.Text))
NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Script:
    """Writes one row per window, then does what the test wants."""

    def __init__(self, action: Callable[..., Any], days: int = 3) -> None:
        self.action, self.days = action, days

    @hookimpl
    def options(self) -> CollectorOptions:
        """A short history."""
        return CollectorOptions(initial_range=timedelta(days=self.days))

    @hookimpl
    def tables(self) -> sa.MetaData:
        """The table of facts."""
        return METADATA

    @hookimpl
    def run(self, db: Any, tenant_id: str, start_date: datetime, context: Any) -> Any:
        """A row, then the action."""
        db.execute(FACT.insert().values(tenant_id=tenant_id, start=start_date.isoformat()))
        return self.action(db=db, context=context, tenant_id=tenant_id)


@pytest.fixture
def make(database_url: str) -> Iterator[Callable[..., Orchestrator]]:
    """An orchestrator whose one collector does what the test wants."""
    made = []

    def orchestrator(action: Callable[..., Any], **options: Any) -> Orchestrator:
        one = connect(database_url, collectors={"acme.script": Script(action)}, clock=lambda: NOW, **options)
        one.upgrade()
        one.configure("t1", "acme", {})
        made.append(one)
        return one

    yield orchestrator
    for one in made:
        one.close()


def rows(url: str) -> int:
    """How many rows the collector has kept."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(FACT)).scalar_one()
    engine.dispose()
    return count


def swallow(action: Callable[[], Any]) -> None:
    """Do it, and say nothing of what it raises."""
    with suppress(Exception):
        action()


def raw_commit(db: Any, **_: Any) -> None:
    """A COMMIT sent as SQL."""
    db.execute(sa.text("COMMIT"))


def swallowed_commit(db: Any, **_: Any) -> None:
    """A COMMIT sent as SQL, its error swallowed, then more writing."""
    swallow(lambda: db.execute(sa.text("COMMIT")))
    swallow(lambda: db.execute(FACT.insert().values(tenant_id="t1", start="late")))


def swallowed_twice(db: Any, **_: Any) -> None:
    """Again, and again."""
    swallow(lambda: db.execute(sa.text("COMMIT")))
    swallow(lambda: db.execute(sa.text("COMMIT")))
    swallow(lambda: db.execute(FACT.insert().values(tenant_id="t1", start="late")))


def driver_commit(db: Any, **_: Any) -> None:
    """The driver's own commit, swallowed."""
    driver = db.connection().connection.driver_connection
    swallow(driver.commit)
    swallow(lambda: db.execute(FACT.insert().values(tenant_id="t1", start="late")))


def rollback(db: Any, **_: Any) -> None:
    """A rollback of the session."""
    db.rollback()


def swallowed_rollback(db: Any, **_: Any) -> None:
    """A rollback, its error swallowed."""
    swallow(db.rollback)


def close(db: Any, **_: Any) -> None:
    """A close of the session."""
    db.close()


def swallowed_sql_error(db: Any, **_: Any) -> None:
    """An SQL error outside a savepoint, swallowed."""
    swallow(lambda: db.execute(sa.text("SELECT * FROM not_there")))


@pytest.mark.parametrize(
    "action",
    [
        raw_commit,
        swallowed_commit,
        swallowed_twice,
        driver_commit,
        rollback,
        swallowed_rollback,
        close,
        swallowed_sql_error,
    ],
)
def test_g2_ending_the_transaction_fails_the_window(make: Any, database_url: str, action: Any) -> None:
    """A clear error, nothing of the window kept, coverage where it was."""
    orchestrator = make(action)
    report = orchestrator.run()
    assert (report.windows.completed, report.windows.failed) == (0, 1)
    assert rows(database_url) == 0
    [row] = orchestrator.status()
    assert row.coverage == ()
    assert row.error
    if action is not swallowed_sql_error:
        assert "transaction" in row.error


def test_g2_commit_joins_and_savepoints_work(make: Any, database_url: str) -> None:
    """``db.commit()`` makes nothing durable before the seal, and ``begin_nested`` undoes a part."""

    def action(db: Any, **_: Any) -> int:
        db.commit()
        assert rows(database_url) == done[0]
        done[0] += 1
        swallow(lambda: nested(db))
        return 1

    def nested(db: Any) -> None:
        with db.begin_nested():
            db.execute(FACT.insert().values(tenant_id="t1", start="undone"))
            raise ValueError

    done = [0]
    orchestrator = make(action)
    assert orchestrator.run().windows.completed == 3
    assert rows(database_url) == 3


def test_read_then_fetch_holds_no_connection(make: Any, database_url: str) -> None:
    """After ``context.read`` nothing is open while the collector fetches."""
    seen = []

    class Reader(Script):
        @hookimpl
        def run(self, db: Any, context: Any) -> None:
            """Read, then look at what is open."""
            context.read(sa.select(FACT))
            if database_url.startswith("postgresql"):
                engine = sa.create_engine(database_url)
                with engine.connect() as connection:
                    seen.append(
                        connection.execute(
                            sa.text(
                                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                                "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
                            )
                        ).scalar_one()
                    )
                engine.dispose()
            else:
                engine = sa.create_engine(database_url)
                with engine.begin() as connection:
                    connection.execute(FACT.insert().values(tenant_id="other", start="x"))
                    seen.append(0)
                engine.dispose()

    orchestrator = connect(database_url, collectors={"acme.script": Reader(print, 1)}, clock=lambda: NOW)
    with orchestrator:
        orchestrator.upgrade()
        orchestrator.configure("t1", "acme", {})
        assert orchestrator.run().windows.completed == 1
    assert seen == [0]


def test_g10_a_host_engine_is_left_as_it_was(postgresql_url: str) -> None:
    """The host's engine is used, not disposed, not configured."""
    engine = sa.create_engine(postgresql_url, pool_size=6)
    with connect(engine, collectors={"acme.script": Script(lambda **_: 1)}, clock=lambda: NOW) as orchestrator:
        orchestrator.upgrade()
        orchestrator.configure("t1", "acme", {})
        assert orchestrator.run().windows.completed == 3
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with engine.connect() as connection:
        assert connection.execute(sa.text("SHOW transaction_read_only")).scalar_one() == "off"
        connection.execute(FACT.insert().values(tenant_id="host", start="x"))
        connection.commit()
    engine.dispose()


def test_configure_joins_the_hosts_transaction(postgresql_url: str) -> None:
    """What the host rolls back was never configured."""
    engine = sa.create_engine(postgresql_url)
    with connect(engine, collectors={"acme.script": Script(lambda **_: 1)}, clock=lambda: NOW) as orchestrator:
        orchestrator.upgrade()
        with engine.connect() as connection:
            orchestrator.configure("t1", "acme", {"A": "b"}, connection=connection)
            connection.rollback()
        assert list(orchestrator.configured()) == []
        with engine.begin() as connection:
            orchestrator.configure("t1", "acme", {"A": "b"}, connection=connection)
        assert orchestrator.run().windows.completed == 3
    engine.dispose()


def test_configuring_twice_in_one_transaction_merges_with_itself(postgresql_url: str) -> None:
    """The second call validates and keeps what the first one wrote in the same transaction."""

    class Settings(BaseModel):
        FIRST: str
        SECOND: str

    script = Script(lambda **_: 1)
    script.config = hookimpl(lambda: Settings)  # type: ignore[attr-defined]
    engine = sa.create_engine(postgresql_url)
    with connect(engine, collectors={"acme.script": script}, clock=lambda: NOW) as orchestrator:
        orchestrator.upgrade()
        with engine.begin() as connection:
            orchestrator.configure("t1", "acme", {"FIRST": "1", "SECOND": "2"}, connection=connection)
            orchestrator.configure("t1", "acme", {"SECOND": "two"}, connection=connection)
        assert orchestrator.config("t1", "acme") == {"FIRST": "1", "SECOND": "two"}
    engine.dispose()


def test_g7_a_table_that_was_not_made_yet_is_told_with_the_command_that_makes_it(database_url: str) -> None:
    """Who installed a collector and forgot the migration reads what to run, not the driver's words alone."""
    with connect(database_url) as ours:
        ours.upgrade()
    with connect(database_url, collectors={"acme.script": Script(lambda **_: 1)}, clock=lambda: NOW) as orchestrator:
        orchestrator.configure("t1", "acme", {})
        assert orchestrator.run().windows.failed == 1
        [row] = orchestrator.explain("t1")
        assert row.detail.startswith("The collector's table fact is not there yet; run: tenantcollect db upgrade\n")
        orchestrator.upgrade()
        orchestrator.trigger("t1")
        assert orchestrator.run().windows.completed == 3


def test_no_thread_is_left_behind(make: Any) -> None:
    """After a pass only the threads from before it are there."""
    before = set(threading.enumerate())
    make(lambda **_: 1).run()
    assert set(threading.enumerate()) <= before


def foreign_sqlite(**_: Any) -> None:
    """A database of the collector's own that cannot be opened."""
    sqlite3.connect("/no/such/folder/tenant.db")


def foreign_postgresql(**_: Any) -> None:
    """A server of the collector's own that is down."""
    psycopg.connect("host=127.0.0.1 port=1 connect_timeout=1")


def raised_by_itself(**_: Any) -> None:
    """An error of ours that we never raised."""
    raise StorageError("the disk of my dreams is full")


def write_by_read(context: Any, **_: Any) -> None:
    """What reads does not write."""
    context.read(FACT.insert().values(tenant_id="t1"))


def read_only(db: Any, **_: Any) -> None:
    """The transaction can only read from here on."""
    on_sqlite = db.get_bind().dialect.name == "sqlite"
    db.execute(sa.text("PRAGMA query_only=ON" if on_sqlite else "SET TRANSACTION READ ONLY"))
    db.execute(FACT.insert().values(tenant_id="t1"))


@pytest.mark.parametrize("fault", [foreign_sqlite, foreign_postgresql, raised_by_itself, write_by_read, read_only])
def test_g4_a_collectors_own_database_stops_nobody_else(make: Any, fault: Any) -> None:
    """Its fault is that collector's failure; the pass goes on with the other tenants."""
    orchestrator = make(lambda tenant_id, **given: fault(**given) if tenant_id == "t1" else 1)
    orchestrator.configure("t2", "acme", {})
    report = orchestrator.run()
    assert report.error is None
    assert (report.windows.completed, report.windows.failed) == (3, 1)


@pytest.mark.parametrize(
    ("column", "spoiled"),
    [
        ("coverage", "by hand"),
        ("coverage", '[["2026-04-28T00:00:00+00:00", "2999-01-01T00:00:00+00:00"]]'),
        ("history_start", "infinity"),
        ("history_start", "2999-01-01 00:00:00+00:00"),
    ],
)
def test_g7_what_was_spoiled_by_hand_is_told_with_the_replay_that_cures_it(
    make: Any, database_url: str, column: str, spoiled: str
) -> None:
    """Coverage or a history start that cannot be trusted holds that key, and its replay begins it anew."""
    orchestrator = make(lambda **_: 1)
    orchestrator.configure("t2", "acme", {})
    orchestrator.run()
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        spoil = f"UPDATE tenantcollect_data_source_run SET {column} = '{spoiled}' WHERE tenant_id = 't1'"
        connection.execute(sa.text(spoil))
    engine.dispose()
    [row] = orchestrator.explain("t1")
    assert row.action == "collect it anew: tenantcollect replay t1 acme script"
    assert [other.reason for other in orchestrator.explain("t2")] == ["up_to_date"]
    orchestrator.replay("t1")
    assert orchestrator.run().windows.completed == 3
    [cured] = orchestrator.status("t1")
    assert (cured.status, cured.history_start) == ("COMPLETED", NOW - timedelta(days=3))
