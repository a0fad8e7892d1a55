"""Rows that are put into the collectors' tables, and taken out of them again."""

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from tenantcollect import ConfigurationError, hookimpl
from tenantcollect.testing import CollectorHarness
from tenantcollect.testing.tenancy import Tenancy
from tests.testing.shop import START

METADATA = MetaData()
TREE = Table(
    "tree",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("id", String(5), primary_key=True),
    Column("parent", String(5)),
    Column("size", Integer, Computed("length(id)")),
    ForeignKeyConstraint(["tenant_id", "parent"], ["tree.tenant_id", "tree.id"]),
)
COUNTED = Table(
    "counted",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True), primary_key=True),
    Column("tenant_id", Text),
    Column("part", SmallInteger),
    Column("at", DateTime(timezone=True)),
    UniqueConstraint("tenant_id", "part"),
)
ROWS = {
    "tree": [
        {"tenant_id": "acme", "id": name, "parent": parent, "size": 5}
        for name, parent in (("leaf1", "root1"), ("leaf2", "leaf1"), ("root1", None), ("self1", "self1"))
    ],
    "counted": [{"id": 7, "tenant_id": "acme", "part": 32_000, "at": START}],
}


class Trees:
    """Has tables, and collects nothing."""

    @hookimpl
    def tables(self):
        return METADATA

    @hookimpl
    def run(self, context):
        context.raise_if_cancelled()


@pytest.fixture
def harness(database_url):
    """The tables on the test's database."""
    with CollectorHarness({"shop.tree": Trees}, history_start=START, url=database_url) as made:
        yield made


def test_rows_can_be_put_back_as_they_were(harness):
    """Children before their parents, computed columns, keys that only the database may count: as they were read."""
    for _ in range(2):
        harness.put_back(ROWS)
        assert harness.rows() == ROWS


def test_another_tenants_rows_fit_the_same_columns(harness):
    """Other keys of the same length and size; references lead to the rows that they led to."""
    tenancy = Tenancy(tenant_id="acme", other="globex", column="tenant_id")
    theirs = tenancy.foreign(ROWS, harness.tables_by_name)
    harness.put_back({name: [*rows, *theirs[name]] for name, rows in ROWS.items()})
    there = tenancy.of("globex", harness.rows())
    assert [len(there[name]) for name in ROWS] == [4, 1]
    ours, others = ({row["id"] for row in rows["tree"]} for rows in (ROWS, there))
    assert not ours & others
    assert {row["parent"] for row in there["tree"]} < {None, *others}


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        ([1], "a mapping of table to rows, or a function, not list"),
        ({"tree": {"tenant_id": "acme"}}, "must be a list of rows, each a dict by column"),
        ({"tree": "acme"}, "must be a list of rows, each a dict by column"),
        ({"tree": [{"tenant_id": "acme", "name": "x"}]}, "names 'name'; its columns are tenant_id, id, parent, size"),
        ({"tree": 2 * [{"tenant_id": "acme", "id": "root1"}]}, "A row of the seed for 'tree' cannot be stored"),
    ],
)
def test_a_seed_that_cannot_be_stored_is_refused(seed, words):
    """What is wrong with it is said in one sentence, whatever the database would say."""
    with (
        CollectorHarness({"shop.tree": Trees}, history_start=START) as harness,
        pytest.raises(ConfigurationError, match=words),
    ):
        harness.seed(seed)


def test_each_row_of_a_seed_has_its_own_columns(harness):
    """What one row leaves out is no loss to the next."""
    harness.seed(
        {"tree": [{"tenant_id": "acme", "id": "root1"}, {"tenant_id": "acme", "id": "leaf1", "parent": "root1"}]}
    )
    assert [row["parent"] for row in harness.rows()["tree"]] == ["root1", None]
