"""``tracker.commit``: true windows, in pages, going on after a rate limit where it stopped."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from acme_tracker.api import Item, Tracker, moment
from acme_tracker.schema import COMMIT, REPOSITORY
from acme_tracker.settings import TrackerConfig
from tenantcollect import Context, RateLimited, hookimpl, upsert


@hookimpl
def dependencies() -> list[str]:
    """No window is collected before the repositories of that time are known."""
    return ["repository"]


@hookimpl
def import_window_duration() -> timedelta:
    """A week of commits fits into memory and into one transaction."""
    return timedelta(days=7)


@hookimpl
def run(
    config: TrackerConfig,
    db: Session,
    tenant_id: str,
    start_date: datetime,
    end_date: datetime,
    context: Context,
) -> int:
    """Write the commits in ``[start_date, end_date)`` of every repository known so far."""
    known = select(REPOSITORY.c.id).where(REPOSITORY.c.tenant_id == tenant_id).order_by(REPOSITORY.c.id)
    repositories = [row.id for row in context.read(known)]
    # The next page of each repository; None = it has no more. After a rate limit this is what was saved.
    pages: dict[str, int | None] = dict(context.resume or {})
    rows: list[Item] = []
    try:
        with Tracker(config) as tracker:
            for done, repository in enumerate(repositories):
                context.progress(done, len(repositories), "repositories")
                while (page := pages.get(repository, 1)) is not None:
                    context.raise_if_cancelled()
                    items, following = tracker.commits(repository, start_date, end_date, page)
                    rows += [_row(tenant_id, repository, item) for item in items]
                    pages[repository] = following
    except RateLimited:
        upsert(db, COMMIT, rows)
        context.resume = pages
        context.checkpoint()  # the rows and the place are durable now; the window goes on here
        raise
    upsert(db, COMMIT, rows)
    return len(rows)


def _row(tenant_id: str, repository_id: str, item: Item) -> Item:
    return {
        "tenant_id": tenant_id,
        "repository_id": repository_id,
        "sha": item["sha"],
        "author": item["author"],
        "committed_at": moment(item["committed_at"]),
    }
