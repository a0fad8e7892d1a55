"""Runs our revisions on the connection of the caller, or writes their SQL (floor: backends)."""

from typing import Any

from alembic import context

from tenantcollect.backends.sql.schema import VERSION_TABLE, tables

attributes = context.config.attributes
schema = attributes.get("schema")
options: dict[str, Any] = {
    "target_metadata": tables(schema).metadata,
    "version_table": VERSION_TABLE,
    "version_table_schema": schema,
    "include_schemas": schema is not None,
}

if context.is_offline_mode():
    context.configure(dialect_name=attributes["dialect"], literal_binds=True, **options)
else:
    # SQLite cannot alter a table: batches copy it.
    connection = attributes["connection"]
    context.configure(connection=connection, render_as_batch=connection.dialect.name == "sqlite", **options)

with context.begin_transaction():
    context.run_migrations()
