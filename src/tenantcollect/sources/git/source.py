"""The data source ``git``: its settings, its check, its tables.

A host that loaded the entry point ``git`` finds :func:`first_commit_at` here: the default range of 90 days
shows nothing of an old repository, so that its history had better begin with the first commit.
"""

from pydantic import BaseModel
from sqlalchemy import MetaData, delete
from sqlalchemy.orm import Session

from tenantcollect import hookimpl

from .clone import Ref, commit_count, first_commit_at
from .schema import METADATA
from .settings import GitSettings

__all__ = ["check", "commit_count", "config", "erase", "first_commit_at", "tables"]


@hookimpl
def config() -> type[BaseModel]:
    """The env keys of a tenant."""
    return GitSettings


@hookimpl
def check(config: GitSettings) -> str:
    """Say what the tenant would see, such as ``main, 12 branches, 5 000 commits``.

    Raises :class:`ConfigurationError` with the cure if the clone cannot be read or a ref does not exist.
    """
    clone = config.clone()
    refs = clone.visible_refs()
    branches = [ref for ref in refs if ref.is_branch]
    return f"{_leading(branches)}, {_counted(len(branches), 'branch')}, {_counted(clone.count(), 'commit')}"


@hookimpl
def tables() -> MetaData:
    """The tables that all scripts of this source write."""
    return METADATA


@hookimpl
def erase(db: Session, tenant_id: str) -> None:
    """Delete every row of the tenant."""
    for table in METADATA.tables.values():
        db.execute(delete(table).where(table.c.tenant_id == tenant_id))


def _leading(branches: list[Ref]) -> str:
    chosen = next((ref for ref in branches if ref.current), branches[0] if branches else None)
    return chosen.name.split("/", 2)[2] if chosen else "no branch"


def _counted(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{plural}".replace(",", " ")
