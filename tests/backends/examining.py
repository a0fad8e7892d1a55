"""What ``doctor`` finds around an orchestrator with one collector, by topic."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from sqlalchemy import URL, Column, Integer, MetaData, NullPool, String, Table, create_engine

import tenantcollect
from tenantcollect import Orchestrator, hookimpl
from tenantcollect.reports import FindingRow, Severity

METADATA = MetaData()
Table(
    "fact",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String, index=True),
    Column("note", String),
)


class Facts:
    """A collector with these tables."""

    def __init__(self, metadata: MetaData = METADATA) -> None:
        self.metadata = metadata

    @hookimpl
    def tables(self) -> MetaData:
        return self.metadata

    @hookimpl
    def run(self) -> None:
        """Collect nothing."""


class Broken:
    @hookimpl
    def runn(self) -> None:
        """Misspelt."""


COLLECTORS: Mapping[str, object] = {"demo.fact": Facts()}


def connected(url: Any, **options: Any) -> Orchestrator:
    """An orchestrator that knows one collector and no installed ones."""
    return tenantcollect.connect(url, **{"collectors": COLLECTORS, **options})


def examined(url: Any, **options: Any) -> dict[str, list[FindingRow]]:
    """The findings by topic."""
    with connected(url, **options) as orchestrator:
        found: dict[str, list[FindingRow]] = {}
        for row in orchestrator.doctor():
            found.setdefault(row.topic, []).append(row)
            assert row.severity is Severity.OK or row.action
        return found


def severities(found: dict[str, list[FindingRow]]) -> dict[str, set[str]]:
    """How much the findings of each topic matter."""
    return {topic: {row.severity.value for row in rows} for topic, rows in found.items()}


@frozen
class Isolated:
    """A PostgreSQL database in which ``login`` owns our tables, in the schema tc, and the collector's, and collectors
    run as ``role``, which may do with the collector's table whatever it has to.
    """

    server: URL
    login: str
    role: str

    def url(self) -> URL:
        """To connect as the user that is to run passes."""
        return self.server.set(username=self.login)

    def execute(self, *statements: str) -> None:
        """Do that as the server's superuser; ``{login}`` and ``{role}`` are their names."""
        engine = create_engine(self.server.set(drivername="postgresql+psycopg"), poolclass=NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("{login}", self.login).replace("{role}", self.role))

    def found(self, topic: str, **options: Any) -> list[FindingRow]:
        """The findings of a topic."""
        asked = {"schema": "tc", "collector_role": self.role, **options}
        return examined(self.url(), **asked).get(topic, [])
