"""A collector for each way to mix tenants; run by ``test_collector_suite``, not by our own suite."""

from sqlalchemy import Column, MetaData, Table, Text, delete, select, text, update

from tenantcollect import hookimpl, upsert
from tests.testing.shop import EVENT, GROUP, METADATA, OTHER_TOKEN, Good, Source, asked, rows, suites

TENANTS = "tenants_stay_apart"
OWNER = Table(
    "shop_owner",
    MetaData(),
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text),
)
NUMBERED = Table(
    "shop_numbered",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("number", Text, unique=True),
)
UNOWNED = Table("shop_unowned", METADATA, Column("id", Text, primary_key=True), Column("tenant_id", Text))


class DeletesEverybodys(Good):
    breaks = {TENANTS: "every DELETE and UPDATE needs .where(table.c.tenant_id == tenant_id)"}

    def write(self, db, tenant_id, items, context):
        window = context.window
        db.execute(delete(EVENT).where(EVENT.c.at >= window.start, EVENT.c.at < window.end))
        super().write(db, tenant_id, items, context)


class NamesOneTenant(Good):
    breaks = {TENANTS: "write the tenant_id that run() is given"}

    def write(self, db, tenant_id, items, context):
        super().write(db, "acme", items, context)


class ReadsEverybodys(Good):
    breaks = {TENANTS: "select its upstream rows with .where(table.c.tenant_id == tenant_id)"}

    @hookimpl
    def run(self, env, db, tenant_id, start_date, end_date, context):
        groups = ", ".join(sorted(row.id for row in context.read(select(GROUP.c.id))))
        upsert(db, EVENT, rows(tenant_id, self.items(env["SHOP_TOKEN"], start_date, end_date), note=groups))


class SharesAKey(Good):
    breaks = {TENANTS: "shop_unowned (id): tenant_id is no part of the key"}

    def write(self, db, tenant_id, items, context):
        upsert(db, UNOWNED, [{"id": name, "tenant_id": tenant_id} for name, _ in items])


class SharesAnOutsideKey(Good):
    """What another system calls unique is so for one tenant only."""

    breaks = {TENANTS: "shop_numbered (number): tenant_id is no part of the key"}

    def write(self, db, tenant_id, items, context):
        upsert(db, NUMBERED, [{"id": name, "tenant_id": tenant_id, "number": name} for name, _ in items])


class ClosesById(Good):
    breaks = {TENANTS: "changes rows of every tenant"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        db.execute(update(EVENT).where(EVENT.c.id.in_([name for name, _ in items])).values(note="closed"))


class ClosesByAnUpstream(Good):
    """The statement names a tenant, but not for the rows that it changes."""

    breaks = {TENANTS: "change only its own rows"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        owned = select(EVENT.c.id).where(EVENT.c.tenant_id == tenant_id)
        db.execute(update(EVENT).where(EVENT.c.id.in_(owned)).values(note="closed"))


class DeletesById(Good):
    """Of an item that the source has no more."""

    breaks = {TENANTS: "DELETE FROM shop_event WHERE shop_event.id"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        db.execute(delete(EVENT).where(EVENT.c.id == "gone"))


class TouchesAnothersTable(Good):
    """A table of another package, which only the seed knows."""

    breaks = {TENANTS: "UPDATE shop_owner"}
    told = {"seed": {OWNER: [{"tenant_id": "acme", "id": "ada"}, {"tenant_id": "globex", "id": "bob"}]}}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        db.execute(update(OWNER).values(name="seen"))


class ReadsAnothersTable(Good):
    breaks = {TENANTS: "select its upstream rows with .where(table.c.tenant_id == tenant_id)"}
    told = {"seed": {OWNER: [{"tenant_id": "acme", "id": "ada"}]}}

    def write(self, db, tenant_id, items, context):
        owners = ", ".join(sorted(db.scalars(select(OWNER.c.id))))
        upsert(db, EVENT, rows(tenant_id, items, note=owners))


class LowersTheTenant(Good):
    breaks = {TENANTS: "write the tenant_id that run() is given"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id.lower(), items, context)


class QuotesByHand(Good):
    breaks = {TENANTS: "for another tenant shop.event failed"}

    def write(self, db, tenant_id, items, context):
        super().write(db, tenant_id, items, context)
        db.execute(text(f"DELETE FROM shop_event WHERE tenant_id = '{tenant_id}' AND id = 'gone'"))


class SharesTheFirstClient(Good):
    """The first tenant's token is everybody's."""

    breaks = {"tenants_share_no_answers": "keep no client, token or answer of one tenant"}
    told = {"shops": 2}
    tokens = []

    def items(self, token, start, end):
        self.tokens.append(token)
        return asked(self.tokens[0], start, end)


class SharesTheLastClient(SharesTheFirstClient):
    """Once another tenant was there, ours is asked for with the token of that one."""

    breaks = {"tenants_share_no_answers": "after another tenant"}

    def items(self, token, start, end):
        self.tokens[:] = self.tokens or [token]
        if token == OTHER_TOKEN:
            self.tokens[:] = [token]
        return asked(self.tokens[0], start, end)


class ErasingAll(Source):
    """erase() forgets whom it was called for."""

    @hookimpl
    def erase(self, db, tenant_id):
        for table in METADATA.tables.values():
            db.execute(delete(table))


class ErasesAll(Good):
    breaks = {"erase_deletes_one_tenant_only": "deleted rows of another tenant"}
    source = ErasingAll


globals().update(suites(globals()))
