from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import NullPool, create_engine, insert, select, text
from sqlalchemy.orm import Session

from tenantcollect.backends.sql.schema import tables
from tenantcollect.catalog import ConfigValue, Source
from tenantcollect.errors import ConfigurationError
from tenantcollect.testing.sql import PostgresqlHarness, SqlHarness, SqliteHarness
from tenantcollect.testing.steps import KEY, START


@pytest.fixture(params=["sqlite", "postgresql"])
def harness(request: pytest.FixtureRequest) -> Iterator[SqlHarness]:
    """A migrated database of each kind."""
    kind = {"sqlite": SqliteHarness, "postgresql": PostgresqlHarness}[request.param]
    harness = kind(request.getfixturevalue(f"migrated_{request.param}"))
    yield harness
    harness.close()


def value(key: str, told: str = "told", *, is_secret: bool = False) -> ConfigValue:
    """A config value."""
    return ConfigValue(key=key, value=told, is_secret=is_secret)


def test_every_change_changes_version_and_revision(harness: SqlHarness) -> None:
    """Adding, changing, removing, and removing and adding again: each is seen, also by who sleeps in between."""
    catalog = harness.backend.catalog
    seen = [catalog.version()]
    revisions = []
    for write in (
        lambda: catalog.write("acme", "git", [value("A")], settings={}),
        lambda: catalog.write("acme", "git", [value("A")], settings={}),
        lambda: catalog.write("acme", "git", [value("A", "other")], settings={}),
        lambda: catalog.write("acme", "git", [], ["A"], settings={}),
        lambda: catalog.write("acme", "git", [], settings={"interval": timedelta(hours=1)}),
        lambda: catalog.write("beta", "git", [value("A")], settings={}),
        lambda: catalog.remove("beta", "git"),
        lambda: catalog.remove("acme", "git"),
        lambda: catalog.write("acme", "git", [value("A")], settings={}),
    ):
        write()
        seen.append(catalog.version())
        assert catalog.version() == seen[-1]
        revisions += [source.revision for source in catalog.sources(["acme"])]
    assert all(one != other for one, other in pairwise(seen))
    assert seen[-1] not in seen[:-1]
    assert len(set(revisions)) == len(revisions) - 2  # writing and removing beta left that of acme as it was


@pytest.mark.parametrize("harness", ["postgresql"], indirect=True)
def test_a_change_that_is_committed_late_changes_the_version_too(harness: SqlHarness) -> None:
    """A host's transaction may outlast others that began after it: the greatest revision alone would not tell."""
    catalog, engine = harness.backend.catalog, create_engine(harness.url, poolclass=NullPool)
    for tenant in ("acme", "beta"):
        catalog.write(tenant, "git", [value("A")], settings={})
    with engine.begin() as slow:
        catalog.write("acme", "git", [], settings={"interval": timedelta(hours=1)}, connection=slow)
        catalog.write("beta", "git", [], settings={"interval": timedelta(hours=1)})
        before = catalog.version()
    assert catalog.version() != before


def test_what_a_host_writes_into_the_table_by_itself_counts(harness: SqlHarness) -> None:
    """A config row is configuration, whoever inserted it; no row of ours needs to go with it."""
    catalog = harness.backend.catalog
    before = catalog.version()
    config = tables().config
    harness.execute(insert(config).values(tenant_id="acme", data_source="git", key="A", value="told"))
    assert catalog.version() != before
    [source] = catalog.sources()
    assert (source.tenant_id, source.data_source, source.order) == ("acme", "git", "oldest_first")
    assert catalog.values("acme", "git") == [value("A", is_secret=True)]
    harness.execute(
        text(f"INSERT INTO {config.name} (tenant_id, data_source, key, value) VALUES ('acme', 'git', 'B', 'x')")
    )
    [changed] = catalog.sources()
    assert changed.revision != source.revision


def test_settings_and_values_come_back_as_they_were_given(harness: SqlHarness) -> None:
    """To the microsecond, in UTC, with their secret marks, and only those of their own source."""
    catalog = harness.backend.catalog
    settings = {"since": START + timedelta(microseconds=1), "interval": timedelta(seconds=90), "order": "newest_first"}
    values = [value("TOKEN", "s3cret €", is_secret=True), value("ORG", "")]
    catalog.write("acme", "git", values, settings=settings)
    catalog.write("acme", "github", [value("ORG", "other")], settings={})
    [source] = [each for each in catalog.sources(["acme"]) if each.data_source == "git"]
    assert source == Source(tenant_id="acme", data_source="git", revision=source.revision, **settings)
    assert catalog.values("acme", "git") == sorted(values, key=lambda each: each.key)
    assert catalog.env("acme", "git") == {"TOKEN": "s3cret €", "ORG": ""}
    assert catalog.env("beta", "git") == {}


def test_sources_stream_in_order_page_by_page(harness: SqlHarness) -> None:
    """More sources than fit a page come whole, once, and only those of the tenants asked for."""
    rows = [
        {"tenant_id": f"tenant-{number:04}", "data_source": source, "revision": 1}
        for number in range(700)
        for source in ("git", "github")
    ]
    with harness._observer.begin() as connection:
        connection.execute(insert(tables().source), rows)
    names = [(row["tenant_id"], row["data_source"]) for row in rows]
    assert [(each.tenant_id, each.data_source) for each in harness.backend.catalog.sources()] == names
    assert len(list(harness.backend.catalog.sources(["tenant-0001", "tenant-0699", "nobody"]))) == 4
    assert list(harness.backend.catalog.sources([])) == []


def test_a_hosts_transaction_is_joined_and_stays_its_own(harness: SqlHarness) -> None:
    """With ``connection=`` a Connection or a Session of the host decides what becomes of the change."""
    catalog = harness.backend.catalog
    engine = create_engine(harness.url, poolclass=NullPool)
    with engine.connect() as connection:
        catalog.write("acme", "git", [value("A")], settings={}, connection=connection)
        assert connection.in_transaction()
        connection.rollback()
    assert list(catalog.sources()) == []
    with Session(engine) as session, session.begin():
        catalog.write("acme", "git", [value("A")], settings={}, connection=session)
        assert session.scalar(select(tables().config.c.value)) == "told"
    assert catalog.env("acme", "git") == {"A": "told"}
    for wrong in (engine, "connection"):
        with pytest.raises(ConfigurationError, match="connection"):
            catalog.write("acme", "git", [], settings={}, connection=wrong)


def test_values_of_the_hosts_transaction_are_read_through_it(harness: SqlHarness) -> None:
    """What the host has not committed is seen with its ``connection``, and by nobody else."""
    catalog = harness.backend.catalog
    engine = create_engine(harness.url, poolclass=NullPool)
    with Session(engine) as session, session.begin():
        catalog.write("acme", "git", [value("A")], settings={}, connection=session)
        assert catalog.values("acme", "git", connection=session) == [value("A")]
        assert catalog.values("acme", "git") == []


def test_times_of_values_are_the_databases(harness: SqlHarness) -> None:
    """``updated_at`` is an aware time of the database, also where the host inserted the row."""
    config = tables().config
    harness.execute(insert(config).values(tenant_id="acme", data_source=KEY.data_source, key="A", value="x"))
    with harness._observer.connect() as connection:
        updated_at = connection.scalar(select(config.c.updated_at))
    assert abs(updated_at - datetime.now(UTC)) < timedelta(minutes=1)
