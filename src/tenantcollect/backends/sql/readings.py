"""Rows as values, judged on the way: what cannot be trusted is told, not raised (floor: backends)."""

import json
from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from sqlalchemy import Row

from tenantcollect.backends.sql.expressions import key_of
from tenantcollect.errors import ConfigurationError, CoverageInvalid
from tenantcollect.state import HistoryRow, KeyState, Resume, Status
from tenantcollect.windows import Window, WindowSet

__all__ = ["attempt_of", "state_of"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def state_of(row: Row[Any]) -> KeyState:
    """A state row. Coverage that cannot be trusted is None, with the problem."""
    state = KeyState(
        key=key_of(row),
        history_start=row.history_start or EPOCH,
        history_lost=row.history_start is None,
        window_seq=row.window_seq,
        fence=row.fence,
        status=Status(row.status),
        cursor=row.cursor,
        started_at=row.started_at,
        completed_at=row.completed_at,
        reason=row.reason,
        error=row.error,
        failures=row.failures,
        first_failure_at=row.first_failure_at,
        retry_at=row.retry_at,
        window_limit=row.window_limit,
        last_record_at=row.last_record_at,
        last_fetched_data_date=row.last_fetched_data_date,
        open_window=_open_window(row),
        opened_at=row.opened_at,
    )
    try:
        return evolve(state, coverage=_coverage(row), resume=_resume(row.resume))
    except CoverageInvalid as invalid:
        return evolve(state, coverage=None, problem=str(invalid))


def _coverage(row: Row[Any]) -> WindowSet:
    if row.history_start is None:
        raise CoverageInvalid("The stored history start is no time; replay the key.")
    try:
        return WindowSet.from_json(json.loads(row.coverage))
    except (ValueError, RecursionError):
        raise CoverageInvalid("The stored coverage is not JSON; replay the key.") from None


def _resume(point: Any) -> Resume | None:
    """The resume point; one that was spoiled is as good as none, the window begins anew."""
    try:
        start, end = (datetime.fromisoformat(point[side]) for side in ("start", "end"))
        return Resume(window=Window(start, end), value=point["value"])
    except (KeyError, TypeError, ValueError, ConfigurationError):
        return None


def _open_window(row: Row[Any]) -> Window | None:
    if row.open_window_id is None or row.open_start is None or row.open_end is None:
        return None
    return Window(row.open_start, row.open_end)


def attempt_of(row: Row[Any]) -> HistoryRow:
    """A history row."""
    return HistoryRow(
        window_id=row.window_id,
        key=key_of(row),
        window_seq=row.window_seq,
        fence=row.fence,
        worker=row.worker,
        attempt=row.attempt,
        window=Window(row.window_start, row.window_end),
        started_at=row.started_at,
        completed_at=row.completed_at,
        status=Status(row.status),
        reason=row.reason,
        records=row.records,
        warnings=tuple(row.warnings or ()),
        error=row.error,
    )
