"""The tables of the data source; the tenant is part of every primary key."""

from sqlalchemy import Column, DateTime, MetaData, Table, Text

METADATA = MetaData()

TEAM = Table(
    "tracker_team",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
)

REPOSITORY = Table(
    "tracker_repository",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("team_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

COMMIT = Table(
    "tracker_commit",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("repository_id", Text, primary_key=True),
    Column("sha", Text, primary_key=True),
    Column("author", Text, nullable=False),
    Column("committed_at", DateTime(timezone=True), nullable=False),
)
