"""Whether collectors may work on their tables, and policies bind them to their tenant (floor: backends; PROTOCOL 7).

What is told is what was looked at, and no proof: in an expression the tenant setting is looked for, the expression is
not understood.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from attrs import frozen
from sqlalchemy import Connection, Row, Table, text

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.errors import translating
from tenantcollect.backends.sql.rights import Found, found, missing_rights
from tenantcollect.backends.sql.roles import ORDINARY, can_become
from tenantcollect.reports import FindingRow

__all__ = ["policies"]

SETTING = "tenantcollect.tenant_id"
TENANT_COLUMN = "tenant_id"
ALL = "SELECT, INSERT, UPDATE, DELETE"
HOW_TO = "see the how-to on isolating tenants"
PERMISSIVE = f"write a permissive one that applies to it, FOR ALL; {HOW_TO}"
NAMING = f"name the setting in it, or let it apply TO other roles only; {HOW_TO}"
NULLIF = f"write NULLIF(current_setting('{SETTING}', true), '')"
# Without `true` a connection that never had the setting meets an error.
STRICT = re.compile(rf"current_setting\('{re.escape(SETTING)}'::text(, false)?\)", re.IGNORECASE)

USER = text("SELECT current_user")
# Asked as the collectors: whether row-level security is active depends on who asks.
PROTECTION = text(
    "SELECT c.relrowsecurity AS enabled, row_security_active(c.oid) AS active,"
    " (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = :who) AS exempt,"
    " ARRAY(SELECT format('%I.%I', s.nspname, q.relname) FROM pg_depend d"
    " JOIN pg_class q ON q.oid = d.objid JOIN pg_namespace s ON s.oid = q.relnamespace"
    " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid"
    " AND d.deptype = 'a' AND CASE WHEN q.relkind = 'S' THEN NOT has_sequence_privilege(:who, q.oid, 'USAGE, UPDATE')"
    " ELSE false END) AS sequences"
    " FROM unnest(CAST(:oids AS oid[])) WITH ORDINALITY AS n(oid, number) JOIN pg_class c ON c.oid = n.oid"
    " ORDER BY n.number"
)
# Those that apply to the collectors: to everybody, to their role, or to one whose rights it has.
POLICIES = text(
    "SELECT polrelid, polname, CAST(polcmd AS text) AS command, polpermissive AS permissive,"
    " pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS with_check FROM pg_policy"
    " WHERE polrelid = ANY(CAST(:oids AS oid[]))"
    " AND EXISTS (SELECT FROM unnest(polroles) AS r WHERE r = 0 OR pg_has_role(CAST(:who AS name), r, 'USAGE'))"
    " ORDER BY polname"
)


@frozen(kw_only=True)
class Policy:
    """A policy that applies to the collectors: which rows it ``shows`` and ``takes``; None = it does not say."""

    name: str
    command: str
    permissive: bool
    shows: str | None
    takes: str | None


@frozen(kw_only=True)
class Guarded:
    """A collectors' table, and how it is guarded against them."""

    found: Found
    protection: Row[tuple[bool, bool, bool, list[str]]]
    policies: Sequence[Policy]

    @property
    def name(self) -> str:
        return self.found.name


Side = Callable[[Policy], str | None]
SHOWS: Side = attrgetter("shows")
TAKES: Side = attrgetter("takes")
COMMANDS = (
    ("SELECT", "r", SHOWS),
    ("INSERT", "a", TAKES),
    ("UPDATE", "w", SHOWS),
    ("UPDATE", "w", TAKES),
    ("DELETE", "d", SHOWS),
)
"""What is judged: each command, PostgreSQL's letter for it, and by which side of a policy."""


def policies(
    database: Database, role: str | None, used: Sequence[Table], idle: Sequence[Table]
) -> Iterator[FindingRow]:
    """What collectors may not do with their tables though they have to, and for each table whether they are bound.

    What is missing on ``idle`` tables, those of data sources that no tenant has, stops nothing yet.
    """
    if role is not None and not can_become(database, role):
        return  # what `roles` has said
    with translating(), database.connect(database.dialect.collector_reading) as connection:
        who = role or str(connection.scalar(USER))
        needed, others = found(connection, used), found(connection, idle)
        database.dialect.read_as(connection, "", role)
        tables = list(_guarded(connection, who, [*needed, *others]))
        refused = list(missing_rights(connection, who, dict.fromkeys(needed, ALL)))
        refused_later = list(missing_rights(connection, who, dict.fromkeys(others, ALL)))
        grantee = connection.dialect.identifier_preparer.quote(who)
    for told, grant in refused:
        yield FindingRow.problem("policies", told, grant)
    for told, grant in refused_later:
        yield FindingRow.warning("policies", f"{told}, of a data source that no tenant has", grant)
    if closed := ", ".join(name for table in tables for name in table.protection.sequences):
        told = f"{who} may not use {closed}: a row without a number of its own is refused"
        yield FindingRow.warning("policies", told, f"GRANT USAGE ON SEQUENCE {closed} TO {grantee};")
    guarded = [table for table in tables if table.protection.enabled]
    for table in guarded:
        yield from _judged(who, table) if table.protection.active else _unbound(who, table)
    yield from _bare([table for table in tables if not table.protection.enabled], isolated=bool(guarded or role))


def _guarded(connection: Connection, who: str, there: Sequence[Found]) -> Iterator[Guarded]:
    asked = {"who": who, "oids": [table.oid for table in there]}
    applying: dict[int, list[Policy]] = {table.oid: [] for table in there}
    for row in connection.execute(POLICIES, asked):
        takes = row.using if row.with_check is None else row.with_check
        policy = Policy(name=row.polname, command=row.command, permissive=row.permissive, shows=row.using, takes=takes)
        applying[row.polrelid].append(policy)
    for table, protection in zip(there, connection.execute(PROTECTION, asked), strict=True):
        yield Guarded(found=table, protection=protection, policies=applying[table.oid])


def _unbound(who: str, table: Guarded) -> Iterator[FindingRow]:
    told = f"row-level security of {table.name} does not bind the collectors"
    if table.protection.exempt:
        yield FindingRow.problem("policies", f"{told}: {who} is bound by none", ORDINARY)
    else:
        cure = f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY;"
        yield FindingRow.problem("policies", f"{told}: {who} has the rights of its owner", cure)


def _judged(who: str, table: Guarded) -> Iterator[FindingRow]:
    refused = dict.fromkeys(command for command, met in _met(table) if not any(p.permissive for p in met))
    silent = list(_silent(table))
    said = [expression for _, met in _met(table) for expression in met.values() if _names_tenant(expression)]
    if refused:
        told = f"no policy of {table.name} lets {who} {', '.join(refused)}"
        yield FindingRow.problem("policies", told, PERMISSIVE)
    if silent:
        # Beside one that was meant to bind, what lets all rows through undoes it; anything else may be meant so.
        finding = FindingRow.problem if said and any(rows == "true" for _, rows in silent) else FindingRow.warning
        names = ", ".join(dict.fromkeys(name for name, _ in silent))
        told = f"what {who} does with {table.name} is let through by a policy that does not name {SETTING}: {names}"
        yield finding("policies", told, NAMING)
    if any("nullif" not in expression.lower() or STRICT.search(expression) for expression in said):
        told = f"a policy of {table.name} takes the setting as it is, which is missing, or '' on a reused connection"
        yield FindingRow.warning("policies", told, NULLIF)
    elif not refused and not silent:
        told = f"whatever {who} does with {table.name} is judged by a policy that names the tenant setting"
        yield FindingRow.ok("policies", told)


def _met(table: Guarded) -> Iterator[tuple[str, dict[Policy, str]]]:
    """For each command and side of a policy: the policies it meets, with what they say."""
    for command, letter, side in COMMANDS:
        said = {policy: side(policy) for policy in table.policies if policy.command in ("*", letter)}
        yield command, {policy: expression for policy, expression in said.items() if expression is not None}


def _silent(table: Guarded) -> Iterator[tuple[str, str]]:
    """The policies that let rows through without naming the tenant, with what they say."""
    for _, met in _met(table):
        restricted = any(_names_tenant(expression) for policy, expression in met.items() if not policy.permissive)
        for policy, expression in met.items():
            if policy.permissive and not restricted and not _names_tenant(expression):
                yield policy.name, expression


def _names_tenant(expression: str) -> bool:
    return SETTING in expression.lower()


def _bare(tables: Sequence[Guarded], *, isolated: bool) -> Iterator[FindingRow]:
    """Tables without row-level security; only who has begun to isolate tenants has forgotten any."""
    of_tenants = ", ".join(table.name for table in tables if TENANT_COLUMN in table.found.table.c)
    others = ", ".join(table.name for table in tables if TENANT_COLUMN not in table.found.table.c)
    if not isolated:
        yield FindingRow.ok("policies", "no collector's table has row-level security")
        return
    if of_tenants:
        yield FindingRow.warning("policies", f"without row-level security: {of_tenants}", HOW_TO)
    if others:
        told = f"without row-level security, and without a column {TENANT_COLUMN}: {others}"
        yield FindingRow.ok("policies", told)
