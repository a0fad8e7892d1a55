"""``tracker.repository``: the API knows a ``since`` but no end, so the end is filtered here."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from acme_tracker.api import Item, Tracker, moment
from acme_tracker.schema import REPOSITORY, TEAM
from acme_tracker.settings import TrackerConfig
from tenantcollect import Context, hookimpl, upsert


@hookimpl
def dependencies() -> list[str]:
    """The repositories are asked for team by team."""
    return ["team"]


@hookimpl
def run(
    config: TrackerConfig,
    db: Session,
    tenant_id: str,
    start_date: datetime,
    end_date: datetime,
    context: Context,
) -> int:
    """Write the repositories that existed before ``end_date`` and changed since ``start_date``.

    The end is compared with their creation, not with their last change: a repository that changed yesterday
    existed in the windows before, and the commits of those windows need it.
    """
    teams = context.read(select(TEAM.c.id).where(TEAM.c.tenant_id == tenant_id))
    with Tracker(config) as tracker:
        found = [_row(tenant_id, team.id, item) for team in teams for item in tracker.repositories(team.id, start_date)]
    rows = [row for row in found if row["created_at"] < end_date]
    upsert(db, REPOSITORY, rows)
    return len(rows)


def _row(tenant_id: str, team_id: str, item: Item) -> Item:
    return {
        "tenant_id": tenant_id,
        "id": item["id"],
        "team_id": team_id,
        "name": item["name"],
        "created_at": moment(item["created_at"]),
        "updated_at": moment(item["updated_at"]),
    }
