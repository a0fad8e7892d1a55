"""``doctor`` on PostgreSQL: whether collectors may work on their tables, and policies bind them to their tenant."""

from typing import NoReturn

import pytest
from sqlalchemy import Column, MetaData, String, Table

from tenantcollect.reports import FindingRow
from tests.backends.examining import COLLECTORS, Facts, Isolated, connected

TENANT = "current_setting('tenantcollect.tenant_id', true)"
BOUND = f"(tenant_id = NULLIF({TENANT}, ''))"
ENABLE = "ALTER TABLE fact ENABLE ROW LEVEL SECURITY"
OWN = f"CREATE POLICY own ON fact USING {BOUND}"
OTHER = "CREATE POLICY other ON fact"
ANY_RIGHT = "SELECT, INSERT, UPDATE, DELETE"


def said(rows: list[FindingRow]) -> list[tuple[str, str]]:
    """How much each finding matters, and what it says."""
    return [(row.severity.value, row.detail) for row in rows]


class Down:
    """A host's catalog that cannot be read."""

    def sources(self, tenant_ids: object = None) -> NoReturn:
        raise ConnectionError

    def env(self, tenant_id: str, data_source: str) -> NoReturn:
        raise ConnectionError

    def version(self) -> NoReturn:
        raise ConnectionError


WELL = "is judged by a policy that names the tenant setting"


@pytest.mark.parametrize(
    "policies",
    [
        [OWN],
        [f"{OWN} WITH CHECK {BOUND}"],
        [OWN.replace("USING", "TO {role} USING")],
        [OWN, f"{OTHER} TO {{login}} USING (true)"],
        [OWN.replace("USING", "AS RESTRICTIVE USING"), f"{OTHER} USING (true)"],
        [
            f"CREATE POLICY s ON fact FOR SELECT USING {BOUND}",
            f"CREATE POLICY i ON fact FOR INSERT WITH CHECK {BOUND}",
            f"CREATE POLICY u ON fact FOR UPDATE USING {BOUND}",
            f"CREATE POLICY d ON fact FOR DELETE USING {BOUND}",
        ],
    ],
)
def test_policies_that_bind_each_command(isolated: Isolated, policies: list[str]) -> None:
    """For everybody or for the role, one for all commands or one for each, and beside what applies to others."""
    isolated.execute(ENABLE, *policies)
    assert said(isolated.found("policies")) == [("ok", f"whatever {isolated.role} does with public.fact {WELL}")]


@pytest.mark.parametrize(
    ("statements", "severity", "told"),
    [
        ([], "warning", "without row-level security: public.fact"),
        ([ENABLE, OWN, "ALTER TABLE fact OWNER TO {role}"], "problem", "does not bind the collectors: {role} has the"),
        (
            [ENABLE, OWN, "ALTER ROLE {role} BYPASSRLS"],
            "problem",
            "bind the collectors: {role} is bound by none",
        ),
        ([ENABLE], "problem", "no policy of public.fact lets {role} SELECT, INSERT, UPDATE, DELETE"),
        ([ENABLE, OWN.replace("USING", "FOR SELECT USING")], "problem", "lets {role} INSERT, UPDATE, DELETE"),
        ([ENABLE, OWN.replace("USING", "TO {login} USING")], "problem", "lets {role} SELECT, INSERT, UPDATE, DELETE"),
        ([ENABLE, OWN.replace("USING", "AS RESTRICTIVE USING")], "problem", "lets {role} SELECT, INSERT, UPDATE"),
        ([ENABLE, OWN, f"{OTHER} USING (true)"], "problem", "does not name tenantcollect.tenant_id: other"),
        ([ENABLE, OWN, f"{OTHER} TO {{role}}_group USING (true)"], "problem", "tenantcollect.tenant_id: other"),
        ([ENABLE, f"{OWN} WITH CHECK (true)"], "problem", "tenantcollect.tenant_id: own"),
        ([ENABLE, OWN, f"{OTHER} FOR INSERT WITH CHECK (true)"], "problem", "tenantcollect.tenant_id: other"),
        ([ENABLE, OWN, f"{OTHER} FOR SELECT USING (note = 'public')"], "warning", "tenantcollect.tenant_id: other"),
        ([ENABLE, "CREATE POLICY own ON fact USING (true)"], "warning", "tenantcollect.tenant_id: own"),
        ([ENABLE, f"CREATE POLICY own ON fact USING (tenant_id = {TENANT})"], "warning", "'' on a reused connection"),
        ([ENABLE, OWN.replace(", true", "")], "warning", "which is missing"),
        ([ENABLE, OWN.replace(", true", ", false")], "warning", "which is missing"),
    ],
)
def test_policies_that_do_not_protect(isolated: Isolated, statements: list[str], severity: str, told: str) -> None:
    """Each way in which isolation looks set up and is not, or is so that nothing can be collected; and no other."""
    isolated.execute("CREATE ROLE {role}_group", "GRANT {role}_group TO {role}")
    try:
        isolated.execute(*statements)
        [(found, detail)] = said(isolated.found("policies"))
        assert (found, told.replace("{role}", isolated.role) in detail) == (severity, True)
    finally:
        isolated.execute("DROP OWNED BY {role}_group", "DROP ROLE {role}_group")


def test_an_application_s_policy_for_everybody_opens_the_table_to_collectors_without_a_role(isolated: Isolated) -> None:
    """Collectors that run as the application are let through by what is meant for it; those with a role are not."""
    isolated.execute(ENABLE, "ALTER TABLE fact FORCE ROW LEVEL SECURITY", OWN, f"{OTHER} TO {{login}} USING (true)")
    [(severity, detail)] = said(isolated.found("policies", collector_role=None))
    assert (severity, "tenantcollect.tenant_id: other" in detail) == ("problem", True)
    assert [severity for severity, _ in said(isolated.found("policies"))] == ["ok"]


@pytest.mark.parametrize(
    ("statement", "severity", "told"),
    [
        (f"REVOKE {ANY_RIGHT} ON fact FROM {{role}}", "problem", f"has no right to {ANY_RIGHT} on public.fact"),
        ("REVOKE SELECT, UPDATE ON fact FROM {role}", "problem", "has no right to SELECT, UPDATE on public.fact"),
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "problem", "may not use the schema public"),
        ("REVOKE USAGE ON fact_id_seq FROM {role}", "warning", "may not use public.fact_id_seq"),
    ],
)
def test_what_collectors_lack_is_told_and_the_statement_gives_it(
    isolated: Isolated, statement: str, severity: str, told: str
) -> None:
    """A right on the table, its schema or its sequence; what is said to be done helps."""
    isolated.execute(ENABLE, OWN, statement)
    row, well = isolated.found("policies")
    assert (row.severity.value, told in row.detail, WELL in well.detail) == (severity, True, True)
    isolated.execute(str(row.action))
    assert [severity for severity, _ in said(isolated.found("policies"))] == ["ok"]


def test_what_no_tenant_needs_yet_is_no_problem(isolated: Isolated) -> None:
    """An installed data source that nobody has, such as the bundled git: what its collectors lack stops nothing."""
    isolated.execute(ENABLE, OWN, "REVOKE INSERT ON fact FROM {role}")
    assert said(isolated.found("policies"))[0][0] == "problem"
    assert said(isolated.found("policies", catalog=Down()))[0][0] == "problem", "it may be anybody's"
    with connected(isolated.url(), schema="tc") as orchestrator:
        orchestrator.disconnect("acme", "demo")
    [(severity, detail), _] = said(isolated.found("policies"))
    assert (severity, "of a data source that no tenant has" in detail) == ("warning", True)


def test_rights_on_single_columns_are_rights(isolated: Isolated) -> None:
    """A host may grant no more than the columns that are collected."""
    isolated.execute(ENABLE, OWN, "REVOKE ALL ON fact FROM {role}", "GRANT DELETE ON fact TO {role}")
    isolated.execute("GRANT SELECT (id, tenant_id), INSERT (tenant_id), UPDATE (tenant_id) ON fact TO {role}")
    assert [severity for severity, _ in said(isolated.found("policies"))] == ["ok"]


def test_tables_without_a_tenant_are_told_and_no_trouble(isolated: Isolated) -> None:
    """They may be the same for all tenants, or have another name for them: who reads the names knows."""
    more = MetaData()
    Table("lookup", more, Column("id", String, primary_key=True))
    isolated.execute(ENABLE, OWN, "CREATE TABLE lookup (id text)", f"GRANT {ANY_RIGHT} ON lookup TO {{role}}")
    collectors = {**COLLECTORS, "other.lookup": Facts(more)}
    *_, (severity, detail) = said(isolated.found("policies", collectors=collectors))
    assert severity == "ok"
    assert detail == "without row-level security, and without a column tenant_id: public.lookup"


def test_nobody_who_does_not_isolate_is_told_to(isolated: Isolated) -> None:
    """Without a role and without row-level security there is nothing that was forgotten."""
    found = said(isolated.found("policies", collector_role=None))
    assert found == [("ok", "no collector's table has row-level security")]
