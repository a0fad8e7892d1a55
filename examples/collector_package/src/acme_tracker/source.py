"""The data source ``tracker``: what its three scripts share."""

from pydantic import BaseModel
from sqlalchemy import MetaData, delete
from sqlalchemy.orm import Session

from acme_tracker.api import Tracker
from acme_tracker.schema import METADATA
from acme_tracker.settings import TrackerConfig
from tenantcollect import hookimpl


@hookimpl
def config() -> type[BaseModel]:
    """The env is validated against this when it is configured, and before each window."""
    return TrackerConfig


@hookimpl
def check(config: TrackerConfig) -> str:
    """One cheap request: is the token any good?"""
    with Tracker(config) as tracker:
        return f"connected to {tracker.organization()}"


@hookimpl
def tables() -> MetaData:
    """``upgrade()`` creates those that are missing."""
    return METADATA


@hookimpl
def erase(db: Session, tenant_id: str) -> None:
    """Delete every row of one tenant."""
    for table in METADATA.tables.values():
        db.execute(delete(table).where(table.c.tenant_id == tenant_id))
