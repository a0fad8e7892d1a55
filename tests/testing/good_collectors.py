"""Collectors that do as they should, each in its own way; run by ``test_collector_suite``, not by our own suite."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from uuid import uuid4

from sqlalchemy import (
    Column,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from tenantcollect import CollectorOptions, hookimpl, upsert
from tests.testing.shop import EVENT, GROUP, HOUR, METADATA, START, Good, Source, asked, found, rows, suites


class Naive(Source):
    """Whose tables know no time zone at all."""

    @hookimpl
    def tables(self):
        return PLAIN

    @hookimpl
    def erase(self, db, tenant_id):
        for table in PLAIN.tables.values():
            db.execute(delete(table).where(table.c.tenant_id == tenant_id))


PLAIN = MetaData()
GROUP.to_metadata(PLAIN)
Table(
    "shop_plain",
    PLAIN,
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("at", DateTime),
)


COUNTED = Table(
    "shop_counted",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("at", DateTime(timezone=True)),
    UniqueConstraint("tenant_id", "name"),
)
LINE = Table(
    "shop_line",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("event_id", ForeignKey("shop_counted.id"), primary_key=True),
)
TREE = Table(
    "shop_tree",
    METADATA,
    Column("tenant_id", String(64), primary_key=True),
    Column("kind", Enum("open", "closed", name="shop_kind"), primary_key=True),
    Column("sha", String(40), primary_key=True),
    Column("part", SmallInteger, primary_key=True, autoincrement=False),
    Column("parent", String(40)),
    Column("at", DateTime(timezone=True)),
    Column("size", Integer, Computed("length(sha)")),
    ForeignKeyConstraint(
        ["tenant_id", "kind", "parent", "part"],
        ["shop_tree.tenant_id", "shop_tree.kind", "shop_tree.sha", "shop_tree.part"],
    ),
)


class Plain(Good):
    breaks = {}


class Stamps(Good):
    """Says in each row by which run it was written; its suite knows that."""

    breaks = {}
    told = {"volatile": frozenset({"note"})}

    def write(self, db, tenant_id, items, context):
        upsert(db, EVENT, rows(tenant_id, items, note=str(uuid4())))


class Resumes(Good):
    """Makes each page durable, and goes on behind it."""

    breaks = {}

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        items = found(start_date, end_date)
        for page in range(context.resume or 0, len(items), 3):
            context.raise_if_cancelled()
            upsert(db, EVENT, rows(tenant_id, items[page : page + 3]))
            context.resume = page + 3
            context.checkpoint()


class FetchesFirst(Good):
    """Makes only its resume point durable, page by page, and writes at the end."""

    breaks = {}

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        items = found(start_date, end_date)
        for _ in range(len(context.resume or []), len(items)):
            context.raise_if_cancelled()
            context.resume = [*(context.resume or []), "one more"]
            context.checkpoint()
        upsert(db, EVENT, rows(tenant_id, items))


class SealsParts(Good):
    breaks = {}

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        while start_date < end_date:
            context.raise_if_cancelled()
            until = min(start_date + 7 * HOUR, end_date)
            upsert(db, EVENT, rows(tenant_id, found(start_date, until)))
            context.checkpoint(until)
            start_date = until


class FetchesInThreads(Good):
    breaks = {}

    @hookimpl
    def run(self, db, tenant_id, start_date, end_date, context):
        def fetched(item):
            context.raise_if_cancelled()
            return item

        with ThreadPoolExecutor(3) as pool:
            items = list(pool.map(fetched, found(start_date, end_date)))
        upsert(db, EVENT, rows(tenant_id, items))


class KeepsAPool(Good):
    """Threads that stay for the next window are not left behind by this one."""

    breaks = {}
    pool = ThreadPoolExecutor(2)

    def items(self, token, start, end):
        return list(self.pool.map(lambda item: item, asked(token, start, end)))


class LooksBack(Good):
    """Asks for half a day more each time, also before the first window."""

    breaks = {}

    @hookimpl
    def options(self):
        return CollectorOptions(lookback=13 * HOUR)


class KeepsUtcWithoutSaying(Good):
    """A column without a time zone, filled with UTC, also by text()."""

    breaks = {}
    source = Naive
    told = {"dated": {"shop_plain": "at"}}

    def write(self, db, tenant_id, items, context):
        sent = "INSERT INTO shop_plain VALUES (:tenant, :name, :at) ON CONFLICT DO NOTHING"
        for name, at in items:
            db.execute(text(sent), {"tenant": tenant_id, "name": name, "at": at.replace(tzinfo=None)})


class TwoShops(Good):
    """Each tenant gets its own."""

    breaks = {}
    told = {"shops": 2}


class CountsKeys(Good):
    """A key that the database counts, beside a unique one of the source; lines refer to it."""

    breaks = {}
    told = {"dated": {"shop_counted": "at"}}

    def write(self, db, tenant_id, items, context):
        db.execute(delete(LINE).where(LINE.c.tenant_id == tenant_id))
        for name, at in items:
            key = (COUNTED.c.tenant_id == tenant_id, COUNTED.c.name == name)
            number = db.scalar(select(COUNTED.c.id).where(*key))
            if number is None:
                made = db.execute(insert(COUNTED).values(tenant_id=tenant_id, name=name, at=at))
                number = made.inserted_primary_key[0]
            db.execute(update(COUNTED).where(COUNTED.c.id == number).values(at=at))
        for number in list(db.scalars(select(COUNTED.c.id).where(COUNTED.c.tenant_id == tenant_id))):
            db.execute(insert(LINE).values(tenant_id=tenant_id, event_id=number))


class ComparesWithALiteral(Good):
    """Of a literal SQLAlchemy guesses a type without a time zone."""

    breaks = {}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        late = (EVENT.c.tenant_id == tenant_id, literal(context.window.end) < func.coalesce(EVENT.c.at, START))
        db.scalars(select(EVENT.c.id).where(*late)).all()


class KeepsATree(Good):
    """Rows that refer to others of their table, with sized and listed keys and a computed column."""

    breaks = {}
    told = {"dated": {"shop_tree": "at"}}

    def write(self, db, tenant_id, items, context):
        root = {"tenant_id": tenant_id, "kind": "open", "sha": 10 * "zero", "part": 1, "parent": None, "at": None}
        upsert(db, TREE, [root])
        leaves = [
            {**root, "sha": sha1(name.encode()).hexdigest(), "parent": root["sha"], "at": at} for name, at in items
        ]
        upsert(db, TREE, leaves)


globals().update(suites(globals()))
