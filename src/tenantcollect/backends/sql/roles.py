"""Who PostgreSQL takes our collectors for, and what of ours they can reach (floor: backends; PROTOCOL 7)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import text

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.rights import found
from tenantcollect.backends.sql.schema import version_table
from tenantcollect.errors import StorageError
from tenantcollect.reports import FindingRow

__all__ = ["ORDINARY", "can_become", "roles"]

ORDINARY = "use a role that is neither superuser nor has BYPASSRLS: connect as one, or give connect(collector_role=…)"
PLAIN_USER = "connect as a user that is neither superuser nor has BYPASSRLS, and may not become such a role"
ANOTHER = "give connect(collector_role=…) another role, which owns nothing of ours: {} needs these rights itself"

# Who may become whom goes by the user of the session.
USER = text("SELECT session_user")
WHO = text("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = coalesce(:role, current_user)")
UNBOUND = text(
    "SELECT rolname, rolsuper FROM pg_roles WHERE (rolsuper OR rolbypassrls)"
    " AND pg_has_role(session_user, oid, 'MEMBER') ORDER BY rolname <> session_user, rolname LIMIT 1"
)
# One row for the role, and one for each role it is a member of, by which it has a right on that table.
REACH = text(
    "SELECT n.number, quote_ident(h.rolname) AS holder, h.oid = r.oid AS itself, c.relowner = r.oid AS owner,"
    " EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee IN (0, r.oid))"
    " OR EXISTS (SELECT FROM pg_attribute t, aclexplode(t.attacl) a"
    " WHERE t.attrelid = c.oid AND a.grantee IN (0, r.oid)) AS granted"
    " FROM unnest(CAST(:oids AS oid[])) WITH ORDINALITY AS n(oid, number) JOIN pg_class c ON c.oid = n.oid"
    " JOIN pg_roles r ON r.rolname = :role JOIN pg_roles h ON pg_has_role(r.oid, h.oid, 'USAGE') AND (h.oid = r.oid"
    " OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid AND m.roleid = h.oid))"
    " WHERE has_table_privilege(h.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
    " OR has_any_column_privilege(h.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') ORDER BY n.number, holder"
)
MAKES = text(
    "SELECT quote_ident(nspname) FROM pg_namespace"
    " WHERE nspname = :schema AND has_schema_privilege(:role, oid, 'CREATE')"
)


def roles(database: Database, role: str | None) -> Iterator[FindingRow]:
    """Whether collectors can be run as their role, whether policies can bind it and us, and what of ours it reaches."""
    with database.reading() as connection:
        quote = connection.dialect.identifier_preparer.quote
        user = str(connection.scalar(USER))
        who = connection.execute(WHO, {"role": role}).one_or_none()
    if who is None:
        action = f"CREATE ROLE {quote(str(role))} NOLOGIN; GRANT {quote(str(role))} TO {quote(user)};"
        yield FindingRow.problem("roles", f"the collector_role {role} does not exist: no window can run", action)
    elif role is not None and not can_become(database, role):
        action = f"GRANT {quote(role)} TO {quote(user)};"
        yield FindingRow.problem("roles", f"{user} may not become {role}: no window can run", action)
    elif who.rolsuper or who.rolbypassrls:
        told = f"collectors run as {who.rolname}, which {_why(who)}: no policy ever binds it"
        yield FindingRow.warning("roles", told, ORDINARY)
    else:
        yield from _of_us(database, user)
        if role is None:
            told = f"collectors run as {who.rolname}, with all its rights; there is no collector_role"
            yield FindingRow.ok("roles", told)
        else:
            yield from _of_collectors(database, role, user)


def can_become(database: Database, role: str) -> bool:
    """Whether collectors' transactions can be run as ``role``."""
    try:
        with database.connect(database.dialect.collector_reading) as connection:
            database.dialect.read_as(connection, "", role)
    except StorageError:
        return False
    return True


def _of_us(database: Database, user: str) -> Iterator[FindingRow]:
    """What SQL that the server puts together can become, whatever the collectors' role is."""
    with database.reading() as connection:
        unbound = connection.execute(UNBOUND).one_or_none()
    if unbound is not None:
        becomes = "" if unbound.rolname == user else f" may become {unbound.rolname}, which"
        told = f"{user}, whom we connect as,{becomes} {_why(unbound)}"
        yield FindingRow.warning("roles", f"{told}: what gets back to it, as a DO block can, is not bound", PLAIN_USER)


def _of_collectors(database: Database, role: str, user: str) -> Iterator[FindingRow]:
    """What of ours the collectors' role can reach."""
    told, schema = f"collectors run as {role}", database.tables.metadata.schema
    with database.reading() as connection:
        name = connection.dialect.identifier_preparer.quote(role)
        there = found(connection, [*database.tables.metadata.tables.values(), version_table(schema)])
        reach = connection.execute(REACH, {"role": role, "oids": [table.oid for table in there]}).all()
        makes = connection.scalar(MAKES, {"role": role, "schema": schema})
    if reach:
        names = {row.number: there[row.number - 1].name for row in reach}
        told = f"{told}, which has rights on tables of ours: {', '.join(names.values())}"
        cure = ANOTHER.format(name) if role == user else _cure(reach, names, name)
        yield FindingRow.problem("roles", told, cure)
        return
    yield FindingRow.ok("roles", f"{told}, which has no rights on our tables")
    if makes:
        told = f"{told}, which may make tables beside ours, in the schema {makes}"
        yield FindingRow.warning("roles", told, f"REVOKE CREATE ON SCHEMA {makes} FROM {name}, PUBLIC;")


def _cure(reach: Sequence[Any], names: Mapping[int, str], role: str) -> str:
    """What is granted is to be revoked where it is granted: on the table, or as another role."""
    if any(row.owner for row in reach):
        return ANOTHER.format(role)
    if granted := [names[row.number] for row in reach if row.itself and row.granted]:
        return f"REVOKE ALL ON {', '.join(granted)} FROM {role}, PUBLIC;"
    return f"REVOKE {', '.join(sorted({row.holder for row in reach if not row.itself}))} FROM {role};"


def _why(row: Any) -> str:
    return "is a superuser" if row.rolsuper else "has BYPASSRLS"
