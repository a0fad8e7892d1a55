"""Whether PostgreSQL's policies bind the collectors to their tenant (floor: backends; PROTOCOL 7)."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, text

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.roles import ORDINARY, can_become
from tenantcollect.reports import FindingRow

__all__ = ["policies"]

SETTING = "tenantcollect.tenant_id"
TENANT_COLUMN = "tenant_id"
HOW_TO = "see the how-to on isolating tenants"
# Without `true` a connection that never had the setting meets an error.
STRICT = re.compile(rf"current_setting\('{re.escape(SETTING)}'::text\)", re.IGNORECASE)

PROTECTION = text(
    "SELECT n.name, c.oid, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,"
    " has_table_privilege(coalesce(:role, current_user), c.oid, 'INSERT') AS writable,"
    " ARRAY(SELECT concat(pg_get_expr(polqual, polrelid), ' ', pg_get_expr(polwithcheck, polrelid))"
    " FROM pg_policy WHERE polrelid = c.oid) AS policies"
    " FROM unnest(CAST(:names AS text[])) AS n(name) JOIN pg_class c ON c.oid = to_regclass(n.name)"
)
ACTIVE = text("SELECT row_security_active(CAST(:oid AS oid))")


def policies(database: Database, role: str | None, collected: Sequence[Table]) -> Iterator[FindingRow]:
    """For each collector's table with a tenant: does row-level security bind who collects into it?"""
    if role is not None and not can_become(database, role):
        return  # what `roles` has said
    of_tenants = [table for table in collected if TENANT_COLUMN in table.c]
    with database.connect(database.dialect.collector_reading) as connection:
        found = connection.execute(PROTECTION, {"names": _names(connection, of_tenants), "role": role}).all()
        database.dialect.read_as(connection, "", role)
        active = {row.oid for row in found if connection.scalar(ACTIVE, {"oid": row.oid})}
    bare = [row.name for row in found if not row.enabled]
    guarded = [row for row in found if row.enabled]
    for row in guarded:
        yield from _judged(row, bound=row.oid in active)
    if role is not None and (closed := [row.name for row in found if not row.writable]):
        action = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(closed)} TO {role};"
        yield FindingRow.problem("policies", f"{role} may not write into {', '.join(closed)}", action)
    if bare and (guarded or role is not None):
        yield FindingRow.warning("policies", f"without row-level security: {', '.join(bare)}", HOW_TO)
    elif not guarded:
        yield FindingRow.ok("policies", "no collector's table has row-level security")


def _judged(row: Any, *, bound: bool) -> Iterator[FindingRow]:
    table, said = row.name, [policy for policy in row.policies if SETTING in policy.lower()]
    if not bound:
        action = ORDINARY if row.forced else f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY; and {ORDINARY}"
        yield FindingRow.problem("policies", f"row-level security of {table} does not bind the collectors", action)
    elif not row.policies:
        yield FindingRow.problem(
            "policies", f"{table} has row-level security and no policy: every row is refused", HOW_TO
        )
    elif not said:
        yield FindingRow.warning("policies", f"no policy of {table} speaks of {SETTING}", HOW_TO)
    elif any("nullif" not in policy.lower() or STRICT.search(policy) for policy in said):
        told = f"a policy of {table} takes the setting as it is, which is missing, or '' on a reused connection"
        yield FindingRow.warning("policies", told, f"write NULLIF(current_setting('{SETTING}', true), '')")
    else:
        yield FindingRow.ok("policies", f"row-level security of {table} binds the collectors")


def _names(connection: Connection, tables: Sequence[Table]) -> list[str]:
    """The tables as SQL names them, quoted where they must be."""
    return [connection.dialect.identifier_preparer.format_table(table) for table in tables]
