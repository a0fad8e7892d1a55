"""A collector for each way to mix tenants; run by ``test_collector_suite``, not by our own suite."""

from sqlalchemy import Column, Table, Text, delete, select

from tenantcollect import hookimpl, upsert
from tests.testing.shop import EVENT, GROUP, METADATA, Good, Source, rows, suites

TENANTS = "tenants_stay_apart"
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
    breaks = {TENANTS: "shop_unowned: tenant_id is no part of the primary key"}

    def write(self, db, tenant_id, items, context):
        upsert(db, UNOWNED, [{"id": name, "tenant_id": tenant_id} for name, _ in items])


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
