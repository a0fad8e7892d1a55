"""The rules about tenants: they share tables, and nothing else (floor: testing)."""

from collections.abc import Mapping

import pytest

from tenantcollect.testing.case import Case, Tenancy, described, require
from tenantcollect.testing.collector import CollectorHarness
from tenantcollect.testing.collectors import SEE_HOOKS, CollectorTests, hook_problem

__all__ = ["TenantRules"]


class TenantRules(CollectorTests):
    """No tenant's rows depend on another's, and one that leaves takes its own along."""

    def test_tenants_stay_apart(self, case: Case) -> None:
        """Beside the rows of another tenant the script writes its own rows, and touches no others."""
        tenancy, tables = case.tenancy, case.harness.tables_by_name
        shared = [name for name in case.written() if tenancy.column not in tables[name].primary_key.columns]
        require(
            not shared,
            f"{', '.join(shared)}: {tenancy.column} is no part of the primary key, so that one tenant's row "
            "replaces another's; put it there",
        )
        theirs = tenancy.foreign(case.whole.rows, tables)
        case.fresh({name: [*rows, *theirs[name]] for name, rows in case.before.items()})
        beside = case.run()
        require(
            beside.error is None,
            f"beside the rows of another tenant {case.script} failed; "
            f"select its upstream rows with .where(table.c.{tenancy.column} == tenant_id)\n{described(beside.error)}",
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
        """With the very same data, the other tenant gets the very same rows beside ours."""
        tenancy, before = case.tenancy, case.tenancy.moved(case.before)
        case.fresh({name: [*rows, *before[name]] for name, rows in case.whole.rows.items()})
        other = case.run(tenant_id=tenancy.other)
        require(other.error is None, f"for another tenant {case.script} failed: {described(other.error)}")
        expected = {name: [*rows, *tenancy.moved(case.whole.rows)[name]] for name, rows in case.whole.rows.items()}
        require(
            not (wrong := case.differs(other.rows, expected)),
            f"running for {tenancy.other!r} with the same data as {tenancy.tenant_id!r}, {wrong}; "
            "write the tenant_id that run() is given, and keep nothing of one tenant in a variable of the module",
        )

    def test_erase_deletes_one_tenant_only(
        self, harness: CollectorHarness, data_source: str, env: Mapping[str, str], tenancy: Tenancy
    ) -> None:
        """erase() deletes every row of its tenant, and none of another."""
        if any(hook_problem(harness.registry, name, env, seeded=True) for name in self.collectors if "." in name):
            pytest.skip(SEE_HOOKS)
        if self.seed is not None:
            harness.seed(self.seed)
        for name in harness.registry.graph([data_source]).order:
            harness.run(name, self.window, env=env, tenant_id=tenancy.tenant_id)
        rows = harness.rows()
        theirs = tenancy.foreign(rows, harness.tables_by_name)
        harness.put_back({name: [*some, *theirs[name]] for name, some in rows.items()})
        if not harness.erase(data_source, tenancy.tenant_id):
            pytest.skip("there is no erase(); a tenant that leaves leaves its rows behind")
        left = harness.rows()
        kept = [name for name, some in tenancy.of(tenancy.tenant_id, left).items() if some]
        require(not kept, f"erase() left rows of its tenant in {', '.join(kept)}; it has to empty every table of it")
        gone = [name for name, some in theirs.items() if len(left[name]) != len(some)]
        require(not gone, f"erase() deleted rows of another tenant from {', '.join(gone)}: add .where(tenant_id)")
