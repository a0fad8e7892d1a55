"""The first tables (floor: backends)."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY_PART = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
TIME = sa.TIMESTAMP(timezone=True).with_variant(sa.String(32), "sqlite")
KEY = ("tenant_id", "data_source", "script")
CLOCK = {
    "postgresql": "clock_timestamp()",
    "sqlite": "(strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00')",
}


def upgrade() -> None:
    """Make the tables of the catalog, the state, the schedule, the holds, the history and the guard."""
    schema = context.config.attributes.get("schema")
    _catalog(schema)
    _state(schema)
    _schedule(schema)
    _holds(schema)
    _history(schema)
    _guard(schema)


def _key(*parts: str) -> Iterator[sa.Column[Any]]:
    return (sa.Column(part, KEY_PART, nullable=False) for part in parts or KEY)


def _lengths(name: str, *parts: str) -> Iterator[sa.CheckConstraint]:
    for part in parts or KEY:
        bound = f"length({part}) BETWEEN 1 AND 200"
        yield sa.CheckConstraint(bound, name=f"tenantcollect_{name}_{part}_length")


def _room_for_changes(name: str, schema: str | None, *, fillfactor: int) -> None:
    """PostgreSQL changes a row within its page, if the page has room, without a word to the indexes."""
    here = op.get_context()
    if here.dialect.name == "postgresql":
        table = here.dialect.identifier_preparer.format_table(sa.table(name, schema=schema))
        op.execute(f"ALTER TABLE {table} SET (fillfactor={fillfactor})")


def _catalog(schema: str | None) -> None:
    source = ("tenant_id", "data_source")
    op.create_table(
        "tenantcollect_tenant_data_source_config",
        *_key(*source, "key"),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("is_secret", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        sa.Column("updated_at", TIME, nullable=False, server_default=sa.text(CLOCK[op.get_context().dialect.name])),
        sa.PrimaryKeyConstraint(*source, "key", name="tenantcollect_tenant_data_source_config_pkey"),
        *_lengths("config", *source, "key"),
        schema=schema,
    )
    op.create_table(
        "tenantcollect_tenant_data_source",
        *_key(*source),
        sa.Column("revision", BIG, nullable=False),
        sa.Column("since", TIME),
        sa.Column("interval", BIG),
        sa.Column("order", sa.String(16), nullable=False, server_default="oldest_first"),
        sa.PrimaryKeyConstraint(*source, name="tenantcollect_tenant_data_source_pkey"),
        *_lengths("source", *source),
        schema=schema,
    )


def _state(schema: str | None) -> None:
    name = "tenantcollect_data_source_run"
    op.create_table(
        name,
        sa.Column("id", IDENTITY, sa.Identity(), primary_key=True),
        *_key(),
        sa.Column("status", sa.String(16), nullable=False, server_default="PENDING"),
        sa.Column("started_at", TIME),
        sa.Column("completed_at", TIME),
        sa.Column("error", sa.Text()),
        sa.Column("reason", sa.String(64)),
        sa.Column("last_fetched_data_date", TIME),
        sa.Column("history_start", TIME, nullable=False),
        sa.Column("coverage", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("cursor", sa.Text()),
        sa.Column("resume", sa.Text()),
        sa.Column("window_seq", BIG, nullable=False, server_default="0"),
        sa.Column("fence", BIG, nullable=False, server_default="0"),
        sa.Column("holder", sa.String(64)),
        sa.Column("open_window_id", sa.String(64)),
        sa.Column("open_start", TIME),
        sa.Column("open_end", TIME),
        sa.Column("open_owner", sa.Text()),
        sa.Column("open_attempt", BIG),
        sa.Column("opened_at", TIME),
        sa.Column("failures", BIG, nullable=False, server_default="0"),
        sa.Column("first_failure_at", TIME),
        sa.Column("retry_at", TIME),
        sa.Column("window_limit", BIG),
        sa.Column("last_record_at", TIME),
        sa.UniqueConstraint(*KEY, name=f"{name}_key"),
        *_lengths("run"),
        sa.CheckConstraint("status IN ('PENDING', 'COMPLETED', 'FAILED')", name="tenantcollect_run_status"),
        sa.CheckConstraint("length(error) <= 4000", name="tenantcollect_run_error_length"),
        sa.CheckConstraint("open_start < open_end", name="tenantcollect_run_open_window"),
        schema=schema,
    )
    _room_for_changes(name, schema, fillfactor=70)
    op.create_index(f"{name}_tenant", name, ["tenant_id"], schema=schema)
    op.create_index(f"{name}_source", name, ["data_source"], schema=schema)
    op.create_index(f"{name}_tenant_source", name, ["tenant_id", "data_source"], schema=schema)


def _schedule(schema: str | None) -> None:
    name = "tenantcollect_data_source_lease"
    op.create_table(
        name,
        *_key(),
        sa.Column("token", sa.String(64)),
        sa.Column("owner", sa.Text()),
        sa.Column("acquired_at", TIME),
        sa.Column("expires_at", TIME),
        sa.Column("next_due_at", TIME),
        sa.Column("waiting", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("progress", sa.Text()),
        sa.Column("triggered", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("version", BIG, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint(*KEY, name=f"{name}_pkey"),
        *_lengths("lease"),
        schema=schema,
    )
    _room_for_changes(name, schema, fillfactor=50)
    op.create_index(f"{name}_due", name, ["next_due_at"], schema=schema)


def _holds(schema: str | None) -> None:
    name = "tenantcollect_data_source_hold"
    op.create_table(
        name,
        sa.Column("id", IDENTITY, sa.Identity(), primary_key=True),
        *_key("tenant_id", "data_source"),
        sa.Column("script", KEY_PART),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("until", TIME),
        sa.Column("detail", sa.Text(), nullable=False, server_default=""),
        sa.Column("revision", sa.Text()),
        *_lengths("hold"),
        schema=schema,
    )
    scopes = {
        "source": (["tenant_id", "data_source", "reason"], sa.text("script IS NULL")),
        "script": (["tenant_id", "data_source", "script", "reason"], sa.text("script IS NOT NULL")),
    }
    for scope, (parts, where) in scopes.items():
        op.create_index(
            f"{name}_{scope}",
            name,
            parts,
            unique=True,
            schema=schema,
            postgresql_where=where,
            sqlite_where=where,
        )


def _history(schema: str | None) -> None:
    name = "tenantcollect_data_source_run_history"
    statuses = "status IN ('COMPLETED', 'FAILED', 'ABANDONED', 'REPLAYED')"
    op.create_table(
        name,
        sa.Column("window_id", sa.String(64), nullable=False),
        *_key(),
        sa.Column("window_seq", BIG, nullable=False),
        sa.Column("fence", BIG, nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("attempt", BIG, nullable=False),
        sa.Column("window_start", TIME, nullable=False),
        sa.Column("window_end", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("completed_at", TIME, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("records", BIG),
        sa.Column("warnings", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("window_id", name=f"{name}_pkey"),
        *_lengths("history"),
        sa.CheckConstraint("window_start < window_end", name="tenantcollect_history_window"),
        sa.CheckConstraint("length(error) <= 4000", name="tenantcollect_history_error_length"),
        sa.CheckConstraint(statuses, name="tenantcollect_history_status"),
        schema=schema,
    )
    newest = sa.text("completed_at DESC")
    op.create_index(f"{name}_newest", name, [newest], schema=schema)
    op.create_index(f"{name}_newest_of_key", name, [*KEY, newest], schema=schema)
    done = sa.text("status = 'COMPLETED'")
    op.create_index(
        f"{name}_sealed_once",
        name,
        [*KEY, "window_seq"],
        unique=True,
        schema=schema,
        postgresql_where=done,
        sqlite_where=done,
    )


def _guard(schema: str | None) -> None:
    void, name = "tenantcollect_window_guard_void", "tenantcollect_window_guard"
    op.create_table(void, sa.Column("window_id", sa.String(64), primary_key=True), schema=schema)
    op.create_table(
        name,
        sa.Column("window_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("window_id", name=f"{name}_pkey"),
        sa.ForeignKeyConstraint(
            ["window_id"],
            [f"{schema}.{void}.window_id" if schema else f"{void}.window_id"],
            name=f"{name}_must_be_sealed",
            deferrable=True,
            initially="DEFERRED",
        ),
        schema=schema,
    )
