"""What somebody may do with tables, asked of PostgreSQL itself (floor: backends)."""

from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen
from sqlalchemy import Connection, Table, text

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.schema import version_table
from tenantcollect.reports import FindingRow

__all__ = ["Found", "found", "missing_rights", "our_rights"]

# By the catalog: a cast to regclass is an error where the schema may not be used.
FOUND = text(
    "SELECT n.number, c.oid, quote_ident(s.nspname) AS schema, format('%I.%I', s.nspname, c.relname) AS name"
    " FROM unnest(CAST(:schemas AS text[]), CAST(:names AS text[])) WITH ORDINALITY AS n(schema, name, number)"
    " JOIN pg_class c ON c.relname = n.name AND c.relkind IN ('r', 'p') JOIN pg_namespace s ON s.oid = c.relnamespace"
    " AND CASE WHEN n.schema IS NULL THEN pg_table_is_visible(c.oid) ELSE s.nspname = n.schema END ORDER BY n.number"
)
MISSING = text(
    "SELECT ARRAY(SELECT p FROM unnest(string_to_array(n.needed, ', ')) AS p WHERE NOT CASE p WHEN 'DELETE'"
    " THEN has_table_privilege(:who, n.oid, p) ELSE has_any_column_privilege(:who, n.oid, p) END) AS rights,"
    " has_schema_privilege(:who, c.relnamespace, 'USAGE') AS reachable"
    " FROM unnest(CAST(:oids AS oid[]), CAST(:needed AS text[])) WITH ORDINALITY AS n(oid, needed, number)"
    " JOIN pg_class c ON c.oid = n.oid ORDER BY n.number"
)


@frozen(kw_only=True)
class Found:
    """A table as the database knows it; ``schema`` and ``name``, which has the schema, as SQL writes them."""

    table: Table
    oid: int
    schema: str
    name: str


def found(connection: Connection, tables: Iterable[Table]) -> list[Found]:
    """Those of ``tables`` that are there."""
    asked = list(tables)
    names = {"schemas": [table.schema for table in asked], "names": [table.name for table in asked]}
    return [
        Found(table=asked[row.number - 1], oid=row.oid, schema=row.schema, name=row.name)
        for row in connection.execute(FOUND, names)
    ]


def missing_rights(connection: Connection, who: str, needed: Mapping[Found, str]) -> Iterator[tuple[str, str]]:
    """What ``who`` may not do though it is needed, each with the statement that allows it."""
    asked = {"who": who, "oids": [each.oid for each in needed], "needed": list(needed.values())}
    schemas: dict[str, None] = {}
    tables: dict[str, list[str]] = {}
    for each, missing in zip(needed, connection.execute(MISSING, asked), strict=True):
        if not missing.reachable:
            schemas[each.schema] = None
        if missing.rights:
            tables.setdefault(", ".join(missing.rights), []).append(each.name)
    grantee = connection.dialect.identifier_preparer.quote(who)
    for schema in schemas:
        yield f"{who} may not use the schema {schema}", f"GRANT USAGE ON SCHEMA {schema} TO {grantee};"
    for rights, names in tables.items():
        on = ", ".join(names)
        yield f"{who} has no right to {rights} on {on}", f"GRANT {rights} ON {on} TO {grantee};"


def our_rights(database: Database) -> Iterator[FindingRow]:
    """What whom we connect as may not do with our tables, though passes and commands do it."""
    ours = database.tables
    changed, everything = "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE, DELETE"
    needed = {
        ours.run: changed,
        ours.lease: changed,
        ours.hold: everything,
        ours.history: "SELECT, INSERT",
        ours.guard: "SELECT, INSERT, DELETE",
        ours.config: everything,
        ours.source: everything,
        version_table(ours.metadata.schema): "SELECT",
    }
    with database.reading() as connection:
        user = str(connection.scalar(text("SELECT current_user")))
        there = {each: needed[each.table] for each in found(connection, needed)}
        for told, grant in missing_rights(connection, user, there):
            yield FindingRow.unusable("schema", told, grant)
