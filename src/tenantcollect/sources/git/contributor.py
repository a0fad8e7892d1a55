"""The script ``git.contributor``: who wrote the collected commits, derived from them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from tenantcollect import CollectorOptions, Context, hookimpl, upsert

from .commit import LATE
from .schema import COMMIT, CONTRIBUTOR

Row = dict[str, Any]


@hookimpl
def options() -> CollectorOptions:
    """Looks back as far as the commits do, so that late ones count here too."""
    return CollectorOptions(lookback=LATE)


@hookimpl
def dependencies() -> list[str]:
    """Contributors are read from the commits, window by window."""
    return ["commit"]


@hookimpl
def import_window_duration() -> timedelta:
    """The commits' own window."""
    return timedelta(days=90)


@hookimpl
def run(db: Session, tenant_id: str, start_date: datetime, end_date: datetime, context: Context) -> int:
    """Widen each contributor's span by the commits dated in ``[start_date, end_date)``; return how many grew.

    Spans never shrink and a name follows the newest commit, so that windows may come in any order and again.
    """
    window = and_(
        COMMIT.c.tenant_id == tenant_id,
        COMMIT.c.committed_at >= start_date,
        COMMIT.c.committed_at < end_date,
    )
    stored = {row.email: dict(row._mapping) for row in context.read(_contributors_of(tenant_id, window))}
    merged = dict(stored)
    for found in _found(tenant_id, context, window):
        merged[found["email"]] = _widened(merged.get(found["email"], found), found)
    if changed := [row for email, row in merged.items() if stored.get(email) != row]:
        upsert(db, CONTRIBUTOR, changed)
    return len(changed)


def _contributors_of(tenant_id: str, window: ColumnElement[bool]) -> Any:
    emails = select(COMMIT.c.author_email).where(window)
    return select(CONTRIBUTOR).where(CONTRIBUTOR.c.tenant_id == tenant_id, CONTRIBUTOR.c.email.in_(emails))


def _found(tenant_id: str, context: Context, window: ColumnElement[bool]) -> Iterable[Row]:
    """One span per email and name: the database sums up, memory holds people and not commits."""
    spans = (
        select(
            COMMIT.c.author_email.label("email"),
            COMMIT.c.author_name.label("name"),
            func.min(COMMIT.c.committed_at).label("first_commit_at"),
            func.max(COMMIT.c.committed_at).label("last_commit_at"),
        )
        .where(window)
        .group_by(COMMIT.c.author_email, COMMIT.c.author_name)
    )
    return ({"tenant_id": tenant_id, **row._mapping} for row in context.read(spans))


def _widened(one: Row, other: Row) -> Row:
    newest = max(one, other, key=lambda row: (row["last_commit_at"], row["name"]))
    return newest | {"first_commit_at": min(one["first_commit_at"], other["first_commit_at"])}
