"""The tables of the data source ``git``; the tenant is part of every primary key."""

from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: goes in aware, comes out in UTC, on SQLite too, which keeps no time zone.

    Raises :class:`ValueError` for a naive datetime, which names no instant.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The same instant in UTC, so that SQLite's texts compare as instants do."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime without a time zone names no instant; use an aware one")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The instant in UTC, whatever zone the driver speaks."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = MetaData()

BRANCH = Table(
    "git_branch",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("ref", Text, primary_key=True, comment="refs/heads/main, refs/remotes/origin/main"),
    Column("commit_sha", Text, nullable=False),
    Column("committed_at", UtcDateTime),
    Column("is_current", Boolean, nullable=False, comment="HEAD of the clone stands on it"),
)

TAG = Table(
    "git_tag",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("commit_sha", Text, comment="null if the tag stands for a file or a tree"),
    Column("tagged_at", UtcDateTime),
    Column("is_annotated", Boolean, nullable=False),
)

COMMIT = Table(
    "git_commit",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("sha", Text, primary_key=True),
    Column("author_name", Text, nullable=False),
    Column("author_email", Text, nullable=False),
    Column("authored_at", UtcDateTime, nullable=False),
    Column("committed_at", UtcDateTime, nullable=False),
    Column("subject", Text, nullable=False),
    Column("parents", Integer, nullable=False, comment="0 = a root, 2 or more = a merge"),
)
Index("ix_git_commit_tenant_id_committed_at", COMMIT.c.tenant_id, COMMIT.c.committed_at)

CONTRIBUTOR = Table(
    "git_contributor",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("email", Text, primary_key=True, comment="as written by git, may be empty"),
    Column("name", Text, nullable=False, comment="of the newest commit"),
    Column("first_commit_at", UtcDateTime, nullable=False),
    Column("last_commit_at", UtcDateTime, nullable=False),
)
