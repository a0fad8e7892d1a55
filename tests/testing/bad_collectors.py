"""A good collector, and one for each way to break a rule; run by ``test_collector_suite``, not by our own suite."""

import logging
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import Column, DateTime, MetaData, Table, Text, delete, insert, select

from tenantcollect import CollectorOptions, Window, hookimpl, upsert
from tenantcollect.testing import CollectorSuite

START = datetime(2026, 5, 1, tzinfo=UTC)
ITEMS = [(f"item-{number}", START + timedelta(hours=6 * number)) for number in range(8)]
TOKEN = "a-token-for-tests"
BERLIN = timezone(timedelta(hours=2))

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
UNOWNED = Table("shop_unowned", METADATA, Column("id", Text, primary_key=True), Column("tenant_id", Text))


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


class ErasesAll(Source):
    """erase() forgets whom it was called for."""

    @hookimpl
    def erase(self, db, tenant_id):
        for table in METADATA.tables.values():
            db.execute(delete(table))


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


def rows(tenant_id, items, note=""):
    """The rows of some items."""
    return [{"tenant_id": tenant_id, "id": name, "at": at, "note": note} for name, at in items]


class Good:
    """Does all as it should."""

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
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))


class Stamps(Good):
    """Says in each row by which run it was written; its suite knows that."""

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date), note=str(uuid4())))


class InsertsOnly(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        db.execute(insert(EVENT), rows(tenant_id, found(start_date, end_date)))


class TakesTheEnd(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        upsert(db, EVENT, rows(tenant_id, [(name, at) for name, at in ITEMS if start_date <= at <= end_date]))


class LosesTheStart(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        upsert(db, EVENT, rows(tenant_id, [(name, at) for name, at in ITEMS if start_date < at < end_date]))


class KeepsTheLast(Good):
    """What came last is not what is newest, when an older window comes later."""

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        items = found(start_date, end_date)
        upsert(db, EVENT, rows(tenant_id, items))
        if items:
            upsert(db, EVENT, rows(tenant_id, [("latest", None)], note=items[-1][0]))


class WritesNaive(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        upsert(db, EVENT, rows(tenant_id, [(n, at.replace(tzinfo=None)) for n, at in found(start_date, end_date)]))


class WritesSummerTime(Good):
    """On SQLite another time is read than was meant; the fake has it so that this shows only here."""

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        items = [(name, at.replace(tzinfo=BERLIN)) for name, at in found(start_date, end_date)]
        upsert(db, EVENT, rows(tenant_id, items))


class ReadsTheWallClock(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        for name, at in found(start_date, end_date):
            local = datetime.fromtimestamp(at.timestamp())  # noqa: DTZ006 - the mistake itself
            upsert(db, EVENT, rows(tenant_id, [(name, at)], note=f"{local:%H:%M}"))


class DeletesEverybodys(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        db.execute(delete(EVENT).where(EVENT.c.at >= start_date, EVENT.c.at < end_date))
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))


class NamesOneTenant(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        upsert(db, EVENT, rows("acme", found(start_date, end_date)))


class ReadsEverybodys(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        groups = ", ".join(sorted(row.id for row in context.read(select(GROUP.c.id))))
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date), note=groups))


class SharesAKey(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        items = found(start_date, end_date)
        upsert(db, UNOWNED, [{"id": name, "tenant_id": tenant_id} for name, _ in items])


class Leaks(Good):
    """Collects well, and repeats its secret where ``leak`` says."""

    def leak(self, token, context, written):
        raise NotImplementedError

    @hookimpl
    def run(self, env, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()
        written = rows(tenant_id, found(start_date, end_date))
        self.leak(env["SHOP_TOKEN"], context, written)
        upsert(db, EVENT, written)


class LeaksIntoRows(Leaks):
    def leak(self, token, context, written):
        for row in written:
            row["note"] = f"?token={token}"


class LeaksIntoCursor(Leaks):
    def leak(self, token, context, written):
        context.cursor = {"next": f"https://shop.example/?token={token}"}


class LeaksIntoWarnings(Leaks):
    def leak(self, token, context, written):
        context.warn(f"{token} will expire")


class LeaksIntoErrors(Leaks):
    def leak(self, token, context, written):
        if token != TOKEN:
            raise OSError(f"GET https://shop.example/?token={token}: 401")


class LeaksIntoTheLog(Leaks):
    def leak(self, token, context, written):
        logging.getLogger("shop").info("asking with %s", token)


class LeaksOnTheScreen(Leaks):
    def leak(self, token, context, written):
        print(token)  # noqa: T201 - the mistake itself


class NeverLooks(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date):
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))


class SwallowsCancellation(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        for item in found(start_date, end_date):
            try:
                context.raise_if_cancelled()
                upsert(db, EVENT, rows(tenant_id, [item]))
            except Exception:  # noqa: BLE001 - the mistake itself
                context.warn("one item is missing")


class LocksItself(Good):
    """A lock of its own, which a killed run never gives back."""

    busy = False

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        if self.busy:
            return
        self.busy = True
        context.raise_if_cancelled()
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))
        self.busy = False


class WritesOutside(Good):
    """Counts its runs by a connection of its own."""

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        path = context.read("SELECT file FROM pragma_database_list")[0].file
        context.raise_if_cancelled()
        outside = sqlite3.connect(path, isolation_level=None)
        counted = (
            "INSERT INTO shop_event VALUES (?, 'runs', NULL, '.', NULL) ON CONFLICT DO UPDATE SET note = note || '.'"
        )
        outside.execute(counted, [tenant_id])
        outside.close()
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))


class WritesNothing(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        context.raise_if_cancelled()


class Fails(Good):
    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        raise OSError("no such host")


class LacksTheMark(Good):
    def run(self, db, tenant_id, start_date, end_date, context):
        upsert(db, EVENT, rows(tenant_id, found(start_date, end_date)))


class ProvidesAText(Good):
    @hookimpl
    def provides(self):
        return "event"


class DependsOnNobody(Good):
    @hookimpl
    def dependencies(self):
        return ["groups"]


class Shop(CollectorSuite):
    """Two days of the shop, with an item at its very start and one every six hours."""

    script = Good
    source = Source
    window = Window(START, START + timedelta(days=2))
    dated = {"shop_event": "at"}

    def __init_subclass__(cls):
        cls.volatile = frozenset({"note"}) if cls.script is Stamps else frozenset()
        cls.collectors = {"shop": cls.source, "shop.group": Groups, "shop.event": cls.script}

    @pytest.fixture
    def env(self):
        """What a tenant configures."""
        return {"SHOP_TOKEN": TOKEN}


for bad in [Good, *Good.__subclasses__(), *Leaks.__subclasses__()]:
    if bad is not Leaks:
        globals()[f"Test{bad.__name__}"] = type(f"Test{bad.__name__}", (Shop,), {"script": bad})
TestErasesAll = type("TestErasesAll", (Shop,), {"source": ErasesAll})
