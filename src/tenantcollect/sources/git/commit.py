"""The script ``git.commit``: the commits a tenant sees, by committer date."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenantcollect import CollectorOptions, Context, hookimpl, upsert

from .clone import Commit, Dated
from .schema import COMMIT
from .settings import GitSettings

LATE = timedelta(days=30)
"""How late a commit may arrive: it is dated when it is made, but seen when it is pushed or fetched."""

PART = 5_000
"""Commits fetched, written and sealed at once; bounds memory and what a crash undoes."""


@hookimpl
def options() -> CollectorOptions:
    """Each window looks back for commits that were pushed after their time was collected."""
    return CollectorOptions(lookback=LATE)


@hookimpl
def dependencies() -> list[str]:
    """A tenant whose repository cannot be read gets one error, there."""
    return ["repository"]


@hookimpl
def import_window_duration() -> timedelta:
    """A quarter: few enough commits for one transaction in most repositories."""
    return timedelta(days=90)


@hookimpl
def run(
    config: GitSettings,
    db: Session,
    tenant_id: str,
    start_date: datetime,
    end_date: datetime,
    context: Context,
) -> int:
    """Write the commits dated in ``[start_date, end_date)`` that the tenant sees; return how many.

    The window itself is always written, what came late before it only once: a quiet interval writes nothing.
    Nothing before the key's history start is taken. A window of many commits is sealed in parts.
    """
    clone = config.clone()
    start = max(start_date, context.history_start)
    known = _known(context, tenant_id, start)
    found = clone.dated(start, end_date, context.raise_if_cancelled)
    wanted = [dated for dated in found if dated.sha not in known]
    for begin in range(0, len(wanted), PART):
        part = wanted[begin : begin + PART]
        commits = list(clone.commits(part, context.raise_if_cancelled))
        upsert(db, COMMIT, _rows(tenant_id, commits))
        _seal(context, wanted, begin + len(part))
    return len(wanted)


def _known(context: Context, tenant_id: str, start: datetime) -> set[str]:
    """The commits before the window, in its lookback, that are there already."""
    if start >= context.window.start:
        return set()
    before = COMMIT.c.committed_at < context.window.start
    late = select(COMMIT.c.sha).where(COMMIT.c.tenant_id == tenant_id, COMMIT.c.committed_at >= start, before)
    return {row.sha for row in context.read(late)}


def _rows(tenant_id: str, commits: Iterable[Commit]) -> list[dict[str, object]]:
    return [{"tenant_id": tenant_id, **asdict(commit)} for commit in commits]


def _seal(context: Context, wanted: Sequence[Dated], done: int) -> None:
    """Seal what is written, if more follows and a boundary lies between: one second is never cut in two."""
    context.progress(done, len(wanted), "commits")
    if done == len(wanted):
        return
    written, following = wanted[done - 1].committed_at, wanted[done].committed_at
    if written < following and following > context.window.start:
        context.checkpoint(following)
