"""Our tables (floor: backends; PROTOCOL 3). The migrations make the same ones; a test compares the two."""

from collections.abc import Iterator
from importlib import resources

from attrs import frozen
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tenantcollect.backends.sql.columns import BIG, IDENTITY, KEY, KEY_PART, Duration, Json, Prose, Utc, Words
from tenantcollect.backends.sql.expressions import Clock

__all__ = ["PREFIX", "VERSION_TABLE", "Tables", "known_revisions", "tables", "version_table"]

PREFIX = "tenantcollect_"
VERSION_TABLE = "tenantcollect_alembic_version"
LONGEST_ERROR = 4000


@frozen
class Tables:
    """Our tables in one schema."""

    metadata: MetaData
    run: Table
    lease: Table
    hold: Table
    history: Table
    guard: Table
    config: Table
    source: Table


def tables(schema: str | None = None) -> Tables:
    """Our tables; ``schema`` None = without one, as on SQLite."""
    metadata = MetaData(schema=schema)
    return Tables(
        metadata=metadata,
        run=_run(metadata),
        lease=_lease(metadata),
        hold=_hold(metadata),
        history=_history(metadata),
        guard=_guard(metadata),
        config=_config(metadata),
        source=_source(metadata),
    )


def _key(*parts: str) -> Iterator[Column[str]]:
    return (Column(part, KEY_PART, nullable=False) for part in parts or KEY)


def _lengths(name: str, *parts: str) -> Iterator[CheckConstraint]:
    """A key part that is empty or longer than its column says, as SQLite would take it, is refused."""
    for part in parts or KEY:
        yield CheckConstraint(f"length({part}) BETWEEN 1 AND 200", name=f"{PREFIX}{name}_{part}_length")


def _run(metadata: MetaData) -> Table:
    """The state: one row per key. No indexed column changes with a window, so its updates stay in their page."""
    name = f"{PREFIX}data_source_run"
    return Table(
        name,
        metadata,
        Column("id", IDENTITY, Identity(), primary_key=True),
        *_key(),
        Column("status", Words(16), nullable=False, server_default="PENDING"),
        Column("started_at", Utc),
        Column("completed_at", Utc),
        Column("error", Prose),
        Column("reason", Words(64)),
        Column("last_fetched_data_date", Utc),
        Column("history_start", Utc, nullable=False),
        Column("coverage", Prose, nullable=False, server_default="[]"),
        Column("cursor", Json),
        Column("resume", Json),
        Column("window_seq", BIG, nullable=False, server_default="0"),
        Column("fence", BIG, nullable=False, server_default="0"),
        Column("holder", Words(64)),
        Column("open_window_id", Words(64)),
        Column("open_start", Utc),
        Column("open_end", Utc),
        Column("open_owner", Prose),
        Column("open_attempt", BIG),
        Column("opened_at", Utc),
        Column("failures", BIG, nullable=False, server_default="0"),
        Column("first_failure_at", Utc),
        Column("retry_at", Utc),
        Column("window_limit", Duration),
        Column("last_record_at", Utc),
        UniqueConstraint(*KEY, name=f"{name}_key"),
        *_lengths("run"),
        CheckConstraint("status IN ('PENDING', 'COMPLETED', 'FAILED')", name=f"{PREFIX}run_status"),
        CheckConstraint(f"length(error) <= {LONGEST_ERROR}", name=f"{PREFIX}run_error_length"),
        CheckConstraint("open_start < open_end", name=f"{PREFIX}run_open_window"),
        Index(f"{name}_tenant", "tenant_id"),
        Index(f"{name}_source", "data_source"),
        Index(f"{name}_tenant_source", "tenant_id", "data_source"),
    )


def _lease(metadata: MetaData) -> Table:
    """The schedule and the leases: ``next_due_at`` is the only indexed column that changes."""
    name = f"{PREFIX}data_source_lease"
    return Table(
        name,
        metadata,
        *_key(),
        Column("token", Words(64)),
        Column("owner", Prose),
        Column("acquired_at", Utc),
        Column("expires_at", Utc),
        Column("next_due_at", Utc),
        Column("waiting", Boolean, nullable=False, server_default=text("false")),
        Column("progress", Prose),
        Column("triggered", Boolean, nullable=False, server_default=text("false")),
        Column("version", BIG, nullable=False, server_default=text("0")),
        PrimaryKeyConstraint(*KEY, name=f"{name}_pkey"),
        *_lengths("lease"),
        Index(f"{name}_due", "next_due_at"),
    )


def _hold(metadata: MetaData) -> Table:
    name = f"{PREFIX}data_source_hold"
    hold = Table(
        name,
        metadata,
        Column("id", IDENTITY, Identity(), primary_key=True),
        *_key("tenant_id", "data_source"),
        Column("script", KEY_PART),
        Column("reason", Words(64), nullable=False),
        Column("since", Utc, nullable=False),
        Column("until", Utc),
        Column("detail", Prose, nullable=False, server_default=""),
        Column("revision", Prose),
        *_lengths("hold"),
    )
    # Two: NULLs would be distinct from each other in one.
    for scope, of_script in (("source", hold.c.script.is_(None)), ("script", hold.c.script.is_not(None))):
        parts = [hold.c.tenant_id, hold.c.data_source, *([hold.c.script] if scope == "script" else []), hold.c.reason]
        Index(f"{name}_{scope}", *parts, unique=True, postgresql_where=of_script, sqlite_where=of_script)
    return hold


def _history(metadata: MetaData) -> Table:
    """One row per attempt, insert-only. A second seal of the same step is refused by the server itself."""
    name = f"{PREFIX}data_source_run_history"
    history = Table(
        name,
        metadata,
        Column("window_id", Words(64), nullable=False),
        *_key(),
        Column("window_seq", BIG, nullable=False),
        Column("fence", BIG, nullable=False),
        Column("worker", Prose, nullable=False),
        Column("attempt", BIG, nullable=False),
        Column("window_start", Utc, nullable=False),
        Column("window_end", Utc, nullable=False),
        Column("started_at", Utc, nullable=False),
        Column("completed_at", Utc, nullable=False),
        Column("status", Words(16), nullable=False),
        Column("reason", Words(64)),
        Column("records", BIG),
        Column("warnings", Json),
        Column("error", Prose),
        PrimaryKeyConstraint("window_id", name=f"{name}_pkey"),
        *_lengths("history"),
        CheckConstraint("window_start < window_end", name=f"{PREFIX}history_window"),
        CheckConstraint(f"length(error) <= {LONGEST_ERROR}", name=f"{PREFIX}history_error_length"),
        CheckConstraint("status IN ('COMPLETED', 'FAILED', 'ABANDONED', 'REPLAYED')", name=f"{PREFIX}history_status"),
    )
    newest = history.c.completed_at.desc()
    Index(f"{name}_newest", newest)
    Index(f"{name}_newest_of_key", *(history.c[part] for part in KEY), newest)
    done = history.c.status == text("'COMPLETED'")
    Index(
        f"{name}_sealed_once",
        *(history.c[part] for part in KEY),
        history.c.window_seq,
        unique=True,
        postgresql_where=done,
        sqlite_where=done,
    )
    return history


def _guard(metadata: MetaData) -> Table:
    """The row that makes the server refuse any COMMIT but the seal's: its key is checked at the end, in vain."""
    name = f"{PREFIX}window_guard"
    void = Table(f"{name}_void", metadata, Column("window_id", String(64), primary_key=True))
    return Table(
        name,
        metadata,
        Column("window_id", String(64), nullable=False),
        PrimaryKeyConstraint("window_id", name=f"{name}_pkey"),
        ForeignKeyConstraint(
            ["window_id"],
            [void.c.window_id],
            name=f"{name}_must_be_sealed",
            deferrable=True,
            initially="DEFERRED",
        ),
    )


def _config(metadata: MetaData) -> Table:
    name = f"{PREFIX}tenant_data_source_config"
    return Table(
        name,
        metadata,
        *_key("tenant_id", "data_source", "key"),
        Column("value", Prose, nullable=False),
        Column("is_secret", Boolean, nullable=False, server_default=text("true")),
        Column("updated_at", Utc, nullable=False, server_default=Clock()),
        PrimaryKeyConstraint("tenant_id", "data_source", "key", name=f"{name}_pkey"),
        *_lengths("config", "tenant_id", "data_source", "key"),
    )


def _source(metadata: MetaData) -> Table:
    name = f"{PREFIX}tenant_data_source"
    return Table(
        name,
        metadata,
        *_key("tenant_id", "data_source"),
        Column("revision", BIG, nullable=False),
        Column("since", Utc),
        Column("interval", Duration),
        Column("order", Words(16), nullable=False, server_default="oldest_first"),
        PrimaryKeyConstraint("tenant_id", "data_source", name=f"{name}_pkey"),
        *_lengths("source", "tenant_id", "data_source"),
    )


def version_table(schema: str | None) -> Table:
    """The table that holds the revision of ours; Alembic's, so it is none of them."""
    return Table(VERSION_TABLE, MetaData(), Column("version_num", Text), schema=schema)


def known_revisions() -> set[str]:
    """Those that this version of the library can lead on from, by the names of their files: Alembic costs too much."""
    names = (file.name for file in resources.files("tenantcollect.backends.sql.migrations.versions").iterdir())
    return {name.partition("_")[0] for name in names if name.endswith(".py") and name[:1].isdigit()}
