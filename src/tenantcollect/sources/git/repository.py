"""The script ``git.repository``: the branches and tags a tenant sees now, as a snapshot."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Table, delete, select, tuple_
from sqlalchemy.orm import Session

from tenantcollect import CollectorOptions, Context, hookimpl, upsert

from .clone import Clone, Ref
from .schema import BRANCH, TAG
from .settings import GitSettings

Row = dict[str, Any]

DELETED_AT_ONCE = 500
"""Names in one DELETE: databases limit the parameters of a statement."""


@hookimpl
def options() -> CollectorOptions:
    """A clone shows only its present refs, so there is one window, taken again at each interval."""
    return CollectorOptions(snapshot=True)


@hookimpl
def provides() -> list[str]:
    """The repository, on which its commits depend."""
    return ["repository"]


@hookimpl
def run(config: GitSettings, db: Session, tenant_id: str, context: Context) -> int:
    """Make the tenant's branches and tags equal to the clone's; return how many there are.

    Only rows that differ are written, so an unchanged clone opens no transaction. What vanished is deleted in
    the same window.
    """
    clone = config.clone()
    refs = clone.visible_refs()
    branches = [_branch(tenant_id, ref) for ref in refs if ref.is_branch]
    tags = list(_tags(tenant_id, clone, [ref for ref in refs if ref.is_tag]))
    stored = {table: _stored(context, table, tenant_id) for table in (BRANCH, TAG)}
    _replace(db, BRANCH, stored[BRANCH], branches)
    _replace(db, TAG, stored[TAG], tags)
    return len(branches) + len(tags)


def _branch(tenant_id: str, ref: Ref) -> Row:
    return {
        "tenant_id": tenant_id,
        "ref": ref.name,
        "commit_sha": ref.sha,
        "committed_at": ref.created_at,
        "is_current": ref.current,
    }


def _tags(tenant_id: str, clone: Clone, refs: Sequence[Ref]) -> Iterator[Row]:
    for ref, commit_sha in zip(refs, clone.commits_of(refs), strict=True):
        yield {
            "tenant_id": tenant_id,
            "name": ref.name.removeprefix("refs/tags/"),
            "commit_sha": commit_sha,
            "tagged_at": ref.created_at,
            "is_annotated": ref.annotated,
        }


def _stored(context: Context, table: Table, tenant_id: str) -> dict[tuple[Any, ...], Row]:
    rows = context.read(select(table).where(table.c.tenant_id == tenant_id))
    return {_key(table, row._mapping): dict(row._mapping) for row in rows}


def _replace(db: Session, table: Table, stored: dict[tuple[Any, ...], Row], rows: Sequence[Row]) -> None:
    """Write what differs from ``stored``, delete what is no more in ``rows``."""
    gone = sorted(stored.keys() - {_key(table, row) for row in rows})
    for begin in range(0, len(gone), DELETED_AT_ONCE):
        keys = tuple_(*table.primary_key.columns)
        db.execute(delete(table).where(keys.in_(gone[begin : begin + DELETED_AT_ONCE])))
    if changed := [row for row in rows if stored.get(_key(table, row)) != row]:
        upsert(db, table, changed)


def _key(table: Table, row: Any) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.primary_key.columns)
