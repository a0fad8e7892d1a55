"""``doctor`` on PostgreSQL: as whom collectors run, what binds neither them nor us, what of ours they can reach."""

import pytest

from tenantcollect.reports import Severity
from tests.backends.examining import Isolated, examined

OF_OURS = "rights on tables of ours"


def test_a_role_that_reaches_nothing_of_ours(isolated: Isolated) -> None:
    """An ordinary user and an ordinary role: nothing to do."""
    [row] = isolated.found("roles")
    assert (row.severity, row.detail) == (
        Severity.OK,
        f"collectors run as {isolated.role}, which has no rights on our tables",
    )


def test_without_a_role_collectors_are_ourselves(isolated: Isolated) -> None:
    """That is said, and is no problem."""
    [row] = isolated.found("roles", collector_role=None)
    assert (row.severity, f"run as {isolated.login}, with all its rights" in row.detail) == (Severity.OK, True)


def test_a_superuser_is_warned_of(collected_postgresql: str) -> None:
    """No policy binds a superuser."""
    [row] = examined(collected_postgresql, schema="tc")["roles"]
    assert (row.severity, "superuser" in row.detail) == (Severity.WARNING, True)


def test_a_role_that_is_not_there_is_told(isolated: Isolated) -> None:
    """No window could run; the statements make it."""
    [row] = isolated.found("roles", collector_role="tc_nobody")
    assert (row.severity, "CREATE ROLE tc_nobody" in (row.action or "")) == (Severity.PROBLEM, True)
    assert isolated.found("policies", collector_role="tc_nobody") == []


def test_a_role_that_cannot_be_taken_is_told(isolated: Isolated) -> None:
    """It is not granted to the user we connect as: no window could run; the statement grants it."""
    isolated.execute("REVOKE {role} FROM {login}")
    [row] = isolated.found("roles")
    assert (row.severity, "may not become" in row.detail) == (Severity.PROBLEM, True)
    isolated.execute(str(row.action))
    assert {row.severity for row in isolated.found("roles")} == {Severity.OK}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER ROLE {login} BYPASSRLS", "whom we connect as, has BYPASSRLS"),
        ("ALTER ROLE {login} SUPERUSER", "whom we connect as, is a superuser"),
        ("GRANT {role}_other TO {login}", "may become {role}_other, which has BYPASSRLS"),
        ("ALTER ROLE {role} BYPASSRLS", "run as {role}, which has BYPASSRLS"),
    ],
)
def test_what_no_policy_binds_is_warned_of(isolated: Isolated, statement: str, said: str) -> None:
    """The role itself, and the user we connect as: a DO block gets back to it, and to all that it may become."""
    isolated.execute("CREATE ROLE {role}_other BYPASSRLS")
    try:
        isolated.execute(statement)
        told = [row.detail for row in isolated.found("roles") if row.severity is Severity.WARNING]
        assert [said.replace("{role}", isolated.role) in detail for detail in told] == [True]
    finally:
        isolated.execute("DROP ROLE {role}_other")


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT SELECT ON tc.tenantcollect_data_source_run TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA tc TO PUBLIC",
        "GRANT SELECT (value) ON tc.tenantcollect_tenant_data_source_config TO {role}",
        "GRANT TRIGGER ON tc.tenantcollect_window_guard TO {role}",
        "GRANT REFERENCES ON tc.tenantcollect_window_guard TO {role}",
        "GRANT UPDATE ON tc.tenantcollect_alembic_version TO {role}",
        "GRANT pg_read_all_data TO {role}",
        "GRANT pg_read_all_data TO {role}_group",
        "GRANT DELETE ON tc.tenantcollect_data_source_hold TO {role}_group",
    ],
)
def test_rights_on_ours_are_told_and_the_statement_takes_them(isolated: Isolated, statement: str) -> None:
    """On a table, a column, through everybody, a predefined role or a group; whoever has some could undo a hold, read a
    secret, or let every window fail.
    """
    isolated.execute("CREATE ROLE {role}_group", "GRANT {role}_group TO {role}")
    try:
        isolated.execute(statement)
        [row] = isolated.found("roles")
        assert (row.severity, OF_OURS in row.detail) == (Severity.PROBLEM, True)
        isolated.execute(str(row.action))
        assert [row.severity for row in isolated.found("roles")] == [Severity.OK]
        assert [row.severity for row in isolated.found("schema")] == [Severity.OK], "ours are left to us"
    finally:
        isolated.execute("DROP OWNED BY {role}_group", "DROP ROLE {role}_group")


def test_whose_rights_are_needed_is_not_to_lose_them(isolated: Isolated) -> None:
    """The user we connect as, and the owner of a table of ours, are no role for collectors: use another one."""
    isolated.execute("CREATE ROLE {role}_owner", "GRANT {role}_owner TO {login}")
    isolated.execute("ALTER TABLE tc.tenantcollect_data_source_hold OWNER TO {role}_owner")
    try:
        for role in (isolated.login, f"{isolated.role}_owner"):
            [row] = isolated.found("roles", collector_role=role)
            assert (row.severity, OF_OURS in row.detail) == (Severity.PROBLEM, True)
            assert (row.action or "").startswith("give connect(collector_role=…) another role")
    finally:
        isolated.execute("DROP OWNED BY {role}_owner", "DROP ROLE {role}_owner")


def test_who_may_make_tables_beside_ours_is_warned_of(isolated: Isolated) -> None:
    """The next migration could meet them."""
    isolated.execute("GRANT CREATE ON SCHEMA tc TO {role}")
    *_, row = isolated.found("roles")
    assert (row.severity, "in the schema tc" in row.detail) == (Severity.WARNING, True)
    isolated.execute(str(row.action))
    assert [row.severity for row in isolated.found("roles")] == [Severity.OK]
