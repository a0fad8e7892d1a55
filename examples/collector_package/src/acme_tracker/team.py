"""``tracker.team``: a snapshot, because the API shows only the teams of this moment."""

from sqlalchemy import delete
from sqlalchemy.orm import Session

from acme_tracker.api import Tracker
from acme_tracker.schema import TEAM
from acme_tracker.settings import TrackerConfig
from tenantcollect import CollectorOptions, hookimpl, upsert


@hookimpl
def options() -> CollectorOptions:
    """One window from the history start until now, taken again at each interval."""
    return CollectorOptions(snapshot=True)


@hookimpl
def run(config: TrackerConfig, db: Session, tenant_id: str) -> int:
    """Make the tenant's teams equal to those of the API."""
    with Tracker(config) as tracker:
        teams = tracker.teams()
    rows = [{"tenant_id": tenant_id, "id": team["id"], "name": team["name"]} for team in teams]
    db.execute(delete(TEAM).where(TEAM.c.tenant_id == tenant_id, TEAM.c.id.not_in([row["id"] for row in rows])))
    upsert(db, TEAM, rows)
    return len(rows)
