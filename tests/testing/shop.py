"""A shop with an event every six hours: its source, its tables, and a suite for each collector that claims it."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import Column, DateTime, MetaData, Table, Text, delete, select

from tenantcollect import AuthenticationError, CollectorOptions, Window, hookimpl, upsert
from tenantcollect.testing import CollectorSuite

START = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ITEMS = [(f"item-{number}", START + 6 * number * HOUR) for number in range(-4, 16)]
TOKEN, OTHER_TOKEN = "a-token-for-tests", "the-token-of-another"

METADATA = MetaData()
GROUP = Table(
    "shop_group",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
)
EVENT = Table(
    "shop_event",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("at", DateTime(timezone=True)),
    Column("note", Text),
    Column("seen_at", DateTime(timezone=True), default=lambda: datetime.now(UTC)),
)


class Config(BaseModel):
    SHOP_TOKEN: SecretStr


class Source:
    """What the scripts share."""

    @hookimpl
    def config(self):
        return Config

    @hookimpl
    def tables(self):
        return METADATA

    @hookimpl
    def erase(self, db, tenant_id):
        for table in METADATA.tables.values():
            db.execute(delete(table).where(table.c.tenant_id == tenant_id))


class Groups:
    """The upstream: a snapshot."""

    @hookimpl
    def options(self):
        return CollectorOptions(snapshot=True)

    @hookimpl
    def run(self, db, tenant_id, context):
        context.raise_if_cancelled()
        upsert(db, GROUP, [{"tenant_id": tenant_id, "id": "core"}])


def found(start, end):
    """What the shop has in ``[start, end)``."""
    return [(name, at) for name, at in ITEMS if start <= at < end]


def asked(token, start, end):
    """The same, if it admits the token; the other shop is a little smaller."""
    if token not in (TOKEN, OTHER_TOKEN):
        raise AuthenticationError("who are you?")
    return [item for item in found(start, end) if token == TOKEN or item[0] != "item-3"]


def rows(tenant_id, items, note=""):
    """The rows of some items."""
    return [{"tenant_id": tenant_id, "id": name, "at": at, "note": note} for name, at in items]


class Good:
    """Does all as it should; each bad one does a part of it in another way.

    ``breaks`` names the rules of the suite that must fail, with words of the cure; ``told`` is what its suite says.
    """

    told = {}
    source = Source

    @hookimpl
    def dependencies(self):
        return ["group"]

    @hookimpl
    def run(self, env, db, tenant_id, start_date, end_date, context):
        groups = context.read(select(GROUP.c.id).where(GROUP.c.tenant_id == tenant_id))
        assert [group.id for group in groups] == ["core"]
        context.progress(0, 1, "events")
        context.logger.info("asked with %s", env["SHOP_TOKEN"])
        context.raise_if_cancelled()
        self.write(db, tenant_id, self.items(env["SHOP_TOKEN"], start_date, end_date), context)

    def items(self, token, start, end):
        """What is fetched."""
        return asked(token, start, end)

    def write(self, db, tenant_id, items, context):
        """What is kept of it."""
        upsert(db, EVENT, rows(tenant_id, items))


class Shop(CollectorSuite):
    """Two days of the shop."""

    window = Window(START, START + timedelta(days=2))
    dated = {"shop_event": "at"}
    shops = 1

    @pytest.fixture
    def env(self):
        """What a tenant configures."""
        return {"SHOP_TOKEN": TOKEN}

    @pytest.fixture
    def other_env(self):
        """What another tenant configures."""
        return {"SHOP_TOKEN": OTHER_TOKEN} if self.shops > 1 else None


def suites(namespace):
    """A suite for each collector of a module that says what it breaks, by the name that pytest looks for."""
    made = {}
    for name, collector in namespace.items():
        if "breaks" in getattr(collector, "__dict__", ()):
            collectors = {"shop": collector.source, "shop.group": Groups, "shop.event": collector}
            made[f"Test{name}"] = type(f"Test{name}", (Shop,), {"collectors": collectors, **collector.told})
    return made
