"""Rows as values, judged on the way: what cannot be trusted is told, not raised (floor: backends)."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from attrs import define, field
from sqlalchemy import Row, Table

from tenantcollect.backends.sql.columns import KEY
from tenantcollect.backends.sql.expressions import key_of
from tenantcollect.errors import ConfigurationError, CoverageInvalid
from tenantcollect.state import HistoryRow, KeyState, Resume, Status
from tenantcollect.windows import Window, WindowSet

__all__ = ["Unread", "attempt_of", "state_of"]

logger = logging.getLogger("tenantcollect.backends.sql")

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER_GUESSED = ("window_seq", "fence", "failures", "status")
"""What every state row has, beside its coverage and where that begins."""
ALWAYS_TOLD = ("window_id", "window_seq", "fence", "worker", "attempt", "started_at", "completed_at", "status")
"""What every history row has, beside its window."""
MOST_TOLD = 100


@define
class Unread:
    """The rows of one database that were left out; each is told once, and of very many the first hundred."""

    _told: set[str] = field(factory=set)

    def sift(self, table: Table, rows: Iterable[Row[Any]], made: Callable[[Row[Any]], T]) -> list[T]:
        """What is ``made`` of each row; one of which nothing can be made costs itself only."""
        return [value for row in rows for value in self._made(table, row, made)]

    def _made(self, table: Table, row: Row[Any], made: Callable[[Row[Any]], T]) -> Iterator[T]:
        try:
            yield made(row)
        except ConfigurationError as error:
            parts = (getattr(row, part, None) for part in (*KEY, "window_id"))
            named = "/".join(ascii(part) for part in parts if part is not None)
            told = f"a row of {table.name} is left out, {named[:200]}: {error}; correct it, or delete it"
            if told not in self._told and len(self._told) < MOST_TOLD:
                self._told.add(told)
                logger.warning(told)


def state_of(row: Row[Any]) -> KeyState:
    """A state row. What cannot be guessed is told as its problem: that key cannot go on, and no other is troubled."""
    coverage, problem = _coverage(row)
    spoiled = [name for name in NEVER_GUESSED if getattr(row, name) is None]
    if spoiled and problem is None:
        problem = f"The stored {' and '.join(spoiled)} cannot be read; replay the key."
    return KeyState(
        key=key_of(row),
        history_start=row.history_start or EPOCH,
        history_lost=row.history_start is None,
        coverage=coverage,
        problem=problem,
        window_seq=row.window_seq or 0,
        fence=row.fence or 0,
        status=_status(row.status) or Status.PENDING,
        cursor=row.cursor,
        resume=_resume(row.resume),
        started_at=row.started_at,
        completed_at=row.completed_at,
        reason=row.reason,
        error=row.error,
        failures=row.failures or 0,
        first_failure_at=row.first_failure_at,
        retry_at=row.retry_at,
        window_limit=row.window_limit,
        last_record_at=row.last_record_at,
        last_fetched_data_date=row.last_fetched_data_date,
        open_window=_window(row.open_start, row.open_end) if row.open_window_id else None,
        opened_at=row.opened_at,
    )


def _status(text: str | None) -> Status | None:
    return next((status for status in Status if status == text), None)


def _coverage(row: Row[Any]) -> tuple[WindowSet | None, str | None]:
    """The coverage, or why there is none."""
    if row.history_start is None:
        return None, "The stored history start is no time; replay the key."
    try:
        return WindowSet.from_json(json.loads(row.coverage)), None
    except CoverageInvalid as invalid:
        return None, str(invalid)
    except (TypeError, ValueError, RecursionError):
        return None, "The stored coverage is not JSON; replay the key."


def _resume(point: Any) -> Resume | None:
    """The resume point; one that was spoiled is as good as none, the window begins anew."""
    try:
        start, end = (datetime.fromisoformat(point[side]) for side in ("start", "end"))
        return Resume(window=Window(start, end), value=point["value"])
    except (KeyError, TypeError, ValueError, ConfigurationError):
        return None


def _window(start: datetime | None, end: datetime | None) -> Window | None:
    return Window(start, end) if start and end and start < end else None


def attempt_of(row: Row[Any]) -> HistoryRow:
    """A history row; raises :class:`ConfigurationError` if it cannot be told when or how that attempt was."""
    window, status = _window(row.window_start, row.window_end), _status(row.status)
    spoiled = [name for name in ALWAYS_TOLD if getattr(row, name) is None]
    if window is None or status is None or spoiled:
        raise ConfigurationError(f"its {' and '.join(spoiled) or 'window'} cannot be read")
    return HistoryRow(
        window_id=row.window_id,
        key=key_of(row),
        window_seq=row.window_seq,
        fence=row.fence,
        worker=row.worker,
        attempt=row.attempt,
        window=window,
        started_at=row.started_at,
        completed_at=row.completed_at,
        status=status,
        reason=row.reason,
        records=row.records,
        warnings=_texts(row.warnings),
        error=row.error,
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
