"""``doctor`` on PostgreSQL: whether row-level security binds collectors to their tenant."""

import pytest

from tests.backends.examining import Isolated

TENANT = "current_setting('tenantcollect.tenant_id', true)"
OWN = f"CREATE POLICY own ON fact USING (tenant_id = NULLIF({TENANT}, ''))"


def test_a_table_in_order(isolated: Isolated) -> None:
    """A table with a good policy: nothing to do."""
    isolated.execute("ALTER TABLE fact ENABLE ROW LEVEL SECURITY", OWN)
    [row] = isolated.found("policies")
    assert (row.severity.value, "binds" in row.detail) == ("ok", True)


@pytest.mark.parametrize(
    ("statements", "severity", "said"),
    [
        (["REVOKE ALL ON fact FROM {role}"], "problem", "may not write into fact"),
        ([], "warning", "without row-level security: fact"),
        (["{enable}", OWN, "ALTER TABLE fact OWNER TO {role}"], "problem", "does not bind"),
        (["{enable}", OWN, "ALTER ROLE {role} BYPASSRLS"], "problem", "does not bind"),
        (["{enable}"], "problem", "no policy"),
        (["{enable}", "CREATE POLICY own ON fact USING (true)"], "warning", "no policy of fact speaks"),
        (["{enable}", f"CREATE POLICY own ON fact USING (tenant_id = {TENANT})"], "warning", "reused"),
        (["{enable}", OWN.replace(", true", "")], "warning", "missing"),
    ],
)
def test_policies_that_do_not_protect(isolated: Isolated, statements: list[str], severity: str, said: str) -> None:
    """Each way in which isolation looks set up and is not, with what to do."""
    enable = "ALTER TABLE fact ENABLE ROW LEVEL SECURITY"
    isolated.execute(*(statement.replace("{enable}", enable) for statement in statements))
    rows = isolated.found("policies")
    assert [row.severity.value for row in rows if said in row.detail] == [severity]
    assert all(row.action for row in rows if said in row.detail)
