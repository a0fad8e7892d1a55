"""``doctor`` on PostgreSQL: as whom collectors run, what they may do, and whether policies bind them."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from tenantcollect.reports import Severity
from tests.backends.examining import examined, severities

TENANT = "current_setting('tenantcollect.tenant_id', true)"
OWN = f"CREATE POLICY own ON fact USING (tenant_id = NULLIF({TENANT}, ''))"


@pytest.fixture
def role(execute: Callable[..., None]) -> Iterator[str]:
    """A role for collectors, with what they need."""
    name = f"tc_{uuid4().hex}"
    execute(f"CREATE ROLE {name} NOLOGIN", f"GRANT SELECT, INSERT, UPDATE, DELETE ON fact TO {name}")
    yield name
    execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_superuser_is_warned_of(collected_postgresql: str) -> None:
    """No policy binds a superuser."""
    [row] = examined(collected_postgresql, schema="tc")["roles"]
    assert (row.severity, "superuser" in row.detail) == (Severity.WARNING, True)


def test_a_collector_role_in_order(execute: Callable[..., None], collected_postgresql: str, role: str) -> None:
    """A role without rights on ours, and a table with a good policy: nothing to do."""
    execute("ALTER TABLE fact ENABLE ROW LEVEL SECURITY", OWN)
    found = examined(collected_postgresql, schema="tc", collector_role=role)
    assert severities(found)["roles"] == severities(found)["policies"] == {"ok"}
    assert "binds" in found["policies"][0].detail


@pytest.mark.parametrize(
    ("statements", "topic", "severity", "said"),
    [
        (["GRANT SELECT ON tc.tenantcollect_data_source_run TO {role}"], "roles", "problem", "tables of ours"),
        (["ALTER ROLE {role} BYPASSRLS"], "roles", "warning", "BYPASSRLS"),
        (["REVOKE ALL ON fact FROM {role}"], "policies", "problem", "may not write into fact"),
        ([], "policies", "warning", "without row-level security: fact"),
        (["{enable}", OWN, "ALTER TABLE fact OWNER TO {role}"], "policies", "problem", "does not bind"),
        (["{enable}", OWN, "ALTER ROLE {role} BYPASSRLS"], "policies", "problem", "does not bind"),
        (["{enable}"], "policies", "problem", "no policy"),
        (["{enable}", "CREATE POLICY own ON fact USING (true)"], "policies", "warning", "no policy of fact speaks"),
        (["{enable}", f"CREATE POLICY own ON fact USING (tenant_id = {TENANT})"], "policies", "warning", "reused"),
        (
            ["{enable}", OWN.replace(", true", "")],
            "policies",
            "warning",
            "missing",
        ),
    ],
)
def test_roles_and_policies_that_do_not_protect(
    execute: Callable[..., None],
    collected_postgresql: str,
    role: str,
    statements: list[str],
    topic: str,
    severity: str,
    said: str,
) -> None:
    """Each way in which isolation looks set up and is not, with what to do."""
    enable = "ALTER TABLE fact ENABLE ROW LEVEL SECURITY"
    execute(*(statement.replace("{role}", role).replace("{enable}", enable) for statement in statements))
    rows = examined(collected_postgresql, schema="tc", collector_role=role)[topic]
    assert [row.severity.value for row in rows if said in row.detail] == [severity]
    assert all(row.action for row in rows if said in row.detail)


def test_a_role_that_cannot_be_taken_is_told(
    execute: Callable[..., None], collected_postgresql: str, role: str
) -> None:
    """The role is not there, or is not granted to the user we connect as: no window could run."""
    [missing] = examined(collected_postgresql, schema="tc", collector_role="tc_nobody")["roles"]
    assert (missing.severity, "CREATE ROLE tc_nobody" in (missing.action or "")) == (Severity.PROBLEM, True)
    login = f"{role}_login"
    execute(f"CREATE ROLE {login} LOGIN", f"GRANT ALL ON SCHEMA tc TO {login}", "CREATE SCHEMA mine")
    execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA tc TO {login}")
    try:
        url = make_url(collected_postgresql).set(username=login)
        [refused] = examined(url, schema="tc", collector_role=role)["roles"]
        assert (refused.severity, f"GRANT {role} TO" in (refused.action or "")) == (Severity.PROBLEM, True)
    finally:
        execute(f"DROP OWNED BY {login}", f"DROP ROLE {login}")
