"""The rules about tenants: they share tables, and nothing else (floor: testing)."""

from collections.abc import Mapping

import pytest

from tenantcollect.testing.case import Case, described, require
from tenantcollect.testing.collector import CollectorHarness
from tenantcollect.testing.collectors import SEE_HOOKS, CollectorTests, hook_problem
from tenantcollect.testing.tenancy import Tenancy

__all__ = ["TenantRules"]


class TenantRules(CollectorTests):
    """No tenant's rows depend on another's, and one that leaves takes its own along."""

    def test_tenants_stay_apart(self, case: Case) -> None:
        """Beside the rows of another tenant the script writes its own rows, and touches no others."""
        tenancy, tables = case.tenancy, case.harness.tables_by_name
        shared = [f"{name} ({key})" for name in case.written() for key in tenancy.unowned_keys(tables[name])]
        require(
            not shared,
            f"{', '.join(shared)}: {tenancy.column} is no part of the key, so that one tenant's row replaces or "
            "hinders another's; put it there",
        )
        theirs = tenancy.foreign(case.whole.rows, tables)
        case.fresh({name: [*rows, *theirs[name]] for name, rows in tenancy.without_other(case.before).items()})
        beside = case.run()
        require(
            beside.error is None,
            f"beside the rows of another tenant {case.script} failed; "
            f"select its upstream rows with .where(table.c.{tenancy.column} == tenant_id)\n{described(beside.error)}",
        )
        unbound = [sql for sql in case.harness.watched.sent.changes if tenancy.unbound(sql, tables)]
        require(
            not unbound,
            f"{case.script} changes rows of every tenant: {''.join(unbound[:1])}; "
            f"every DELETE and UPDATE needs .where(table.c.{tenancy.column} == tenant_id)",
        )
        require(
            not (wrong := case.differs(tenancy.of(tenancy.other, beside.rows), theirs)),
            f"running for {tenancy.tenant_id!r}, {case.script} changed rows of {tenancy.other!r}: {wrong}; "
            f"every DELETE and UPDATE needs .where(table.c.{tenancy.column} == tenant_id), every row tenant_id",
        )
        ours = tenancy.of(tenancy.tenant_id, case.whole.rows)
        require(
            not (wrong := case.differs(tenancy.of(tenancy.tenant_id, beside.rows), ours)),
            f"beside the rows of another tenant {case.script} wrote other rows: {wrong}; "
            f"select its upstream rows with .where(table.c.{tenancy.column} == tenant_id)",
        )
        self._other_tenant(case)

    def _other_tenant(self, case: Case) -> None:
        """With the very same data, the other tenant gets the very same rows beside ours, which stay as they are."""
        tenancy, tables = case.tenancy, case.harness.tables_by_name
        ours = tenancy.marked(tenancy.without_other(case.whole.rows), tables)
        before, after = tenancy.moved(case.before, tables), tenancy.moved(case.whole.rows, tables)
        case.fresh({name: [*rows, *before[name]] for name, rows in ours.items()})
        other = case.run(tenant_id=tenancy.other)
        require(other.error is None, f"for another tenant {case.script} failed: {described(other.error)}")
        wrong = case.differs(other.rows, {name: [*rows, *after[name]] for name, rows in ours.items()})
        require(
            not wrong,
            f"running for {tenancy.other!r} with the same data as {tenancy.tenant_id!r}, {wrong}; "
            "write the tenant_id that run() is given, change only its own rows, keep nothing in variables of a module",
        )

    def test_tenants_share_no_answers(self, case: Case, other_env: Mapping[str, str] | None) -> None:
        """Another tenant of the same process gets its own data, and ours are not mixed with them afterwards."""
        if other_env is None:
            pytest.skip("a shared client or answer can be seen only with a fixture other_env(self), for other data")
        tenancy, harness = case.tenancy, case.harness
        case.fresh(tenancy.without_other(case.before))
        self._collect_above(harness, case.script, other_env, tenancy.other)
        other = case.run(tenant_id=tenancy.other, env=other_env)
        cure = "keep no client, token or answer of one tenant in a variable of the module, the class or the object"
        require(other.error is None, f"with other_env {case.script} failed; {cure}\n{described(other.error)}")
        wanted = tenancy.moved(case.whole.rows, harness.tables_by_name)
        require(
            case.differs({**wanted, **{name: other.rows[name] for name in case.written()}}, wanted),
            f"with other_env {case.script} wrote what it wrote for {tenancy.tenant_id!r}; {cure}; "
            "or let your fake have other data for other_env",
        )
        case.fresh()
        ours = case.run()
        require(ours.error is None, f"after another tenant {case.script} failed; {cure}\n{described(ours.error)}")
        require(not (wrong := case.differs(ours.rows)), f"after another tenant, {wrong}; {cure}")

    def test_erase_deletes_one_tenant_only(
        self, harness: CollectorHarness, data_source: str, env: Mapping[str, str], tenancy: Tenancy
    ) -> None:
        """erase() deletes every row of its tenant, and none of another."""
        if any(hook_problem(harness.registry, name, env, seeded=True) for name in self.collectors if "." in name):
            pytest.skip(SEE_HOOKS)
        own = {table.fullname: table for metadata in harness.tables for table in metadata.sorted_tables}
        if self.seed is not None:
            harness.seed(self.seed)
        for name in harness.registry.graph([data_source]).order:
            harness.run(name, self.window, env=env, tenant_id=tenancy.tenant_id)
        rows = tenancy.without_other(harness.rows())
        if any(rows[name] and tenancy.unowned_keys(table) for name, table in own.items()):
            pytest.skip("tenants share a key: see test_tenants_stay_apart")
        theirs = tenancy.foreign(rows, harness.tables_by_name)
        harness.put_back({name: [*some, *theirs[name]] for name, some in rows.items()})
        if not harness.erase(data_source, tenancy.tenant_id):
            pytest.skip("there is no erase(); a tenant that leaves leaves its rows behind")
        left, leftover = (tenancy.of(whose, harness.rows()) for whose in (tenancy.tenant_id, tenancy.other))
        kept = [name for name in own if left[name]]
        require(not kept, f"erase() left rows of its tenant in {', '.join(kept)}; it has to empty every table of it")
        gone = [name for name in own if len(leftover[name]) != len(theirs[name])]
        require(not gone, f"erase() deleted rows of another tenant from {', '.join(gone)}: add .where(tenant_id)")
