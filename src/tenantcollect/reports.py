"""The frozen rows that reading commands return; the JSON has the same fields (floor: contracts).

Times are aware UTC datetimes, durations are seconds, ranges are ``(start, end)`` pairs, half-open.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, Self

import attrs
from attrs import field, frozen

__all__ = [
    "AttemptRow",
    "CheckRow",
    "CollectorRow",
    "ExplainRow",
    "FindingRow",
    "KeyReport",
    "PassReport",
    "PlanRow",
    "Probe",
    "Severity",
    "StatusRow",
    "WindowCounts",
    "as_json",
]

Range = tuple[datetime, datetime]


@frozen(kw_only=True)
class StatusRow:
    """Where a key stands. ``status`` is RUNNING, COMPLETED, FAILED, PENDING, WAITING or HELD.

    ``lag`` is horizon minus fresh_until in seconds, None before the first seal; ``windows_left`` is how many
    windows the plan still has; ``last_fetched_data_date`` is null until the first seal.
    """

    tenant_id: str
    data_source: str
    script: str
    status: str
    reason: str
    last_fetched_data_date: datetime | None = None
    fresh_until: datetime | None = None
    lag: float | None = None
    history_start: datetime | None = None
    coverage: tuple[Range, ...] = ()
    holes: tuple[Range, ...] = ()
    windows_left: int = 0
    failures: int = 0
    error: str | None = None
    detail: str | None = None
    action: str | None = None
    root_cause: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    next_due_at: datetime | None = None
    last_record_at: datetime | None = None
    warnings: tuple[str, ...] = ()
    progress: str | None = None
    stale: bool = False


@frozen(kw_only=True)
class ExplainRow:
    """The one reason why a key does or does not run (G7); ``action`` is what to do, None = nothing."""

    tenant_id: str
    data_source: str
    script: str
    reason: str
    since: datetime | None = None
    until: datetime | None = None
    detail: str = ""
    action: str | None = None
    root_cause: str | None = None


@frozen(kw_only=True)
class PlanRow:
    """What is still to be collected for a key: ``windows`` are the next of ``windows_left``, in order."""

    tenant_id: str
    data_source: str
    script: str
    reason: str
    history_start: datetime | None = None
    horizon: datetime | None = None
    windows_left: int = 0
    windows: tuple[Range, ...] = ()
    upstreams: tuple[str, ...] = ()


@frozen(kw_only=True)
class AttemptRow:
    """One attempt at one window (G8), timed by the database. ``status`` is COMPLETED, FAILED, ABANDONED or REPLAYED."""

    window_id: str
    tenant_id: str
    data_source: str
    script: str
    window_seq: int
    fence: int
    worker: str
    attempt: int
    window_start: datetime
    window_end: datetime
    started_at: datetime
    completed_at: datetime
    status: str
    reason: str | None = None
    records: int | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


@frozen(kw_only=True)
class CollectorRow:
    """A collector that was found. ``error`` = why it failed to load, and the cure; the rest is then unknown.

    ``dependency_error`` = what it depends on that no installed collector provides, or the circle it stands on.
    ``import_window_duration`` is in seconds, None = one window per unbroken piece.
    """

    name: str
    package: str | None = None
    version: str | None = None
    provides: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    import_window_duration: float | None = None
    snapshot: bool = False
    config_schema: Mapping[str, Any] | None = None
    error: str | None = None
    dependency_error: str | None = None


@frozen(kw_only=True)
class CheckRow:
    """The answer of a data source's ``check``: ``ok``, and a line about what was found or is wrong."""

    tenant_id: str
    data_source: str
    ok: bool
    detail: str = ""
    reason: str | None = None
    action: str | None = None


class Severity(StrEnum):
    """How much a finding matters: a ``problem`` needs somebody, what is ``unusable`` stops everything."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNUSABLE = "unusable"


@frozen(kw_only=True)
class FindingRow:
    """One thing that ``doctor`` looked at. ``severity`` is ok, warning, problem (the CLI's exit code 3) or unusable
    (the database, 4); ``action`` is what to do, None = nothing, for what is ok.
    """

    topic: str
    severity: Severity = Severity.OK
    detail: str
    action: str | None = None

    @classmethod
    def ok(cls, topic: str, detail: str) -> Self:
        """What is as it should be."""
        return cls(topic=topic, detail=detail)

    @classmethod
    def warning(cls, topic: str, detail: str, action: str) -> Self:
        """What is to be known."""
        return cls(topic=topic, severity=Severity.WARNING, detail=detail, action=action)

    @classmethod
    def problem(cls, topic: str, detail: str, action: str) -> Self:
        """What needs somebody."""
        return cls(topic=topic, severity=Severity.PROBLEM, detail=detail, action=action)

    @classmethod
    def unusable(cls, topic: str, detail: str, action: str) -> Self:
        """What lets nothing run."""
        return cls(topic=topic, severity=Severity.UNUSABLE, detail=detail, action=action)


Probe = Callable[[], Iterable[FindingRow]]
"""Looks at one thing when it is called."""


@frozen(kw_only=True)
class KeyReport:
    """What a pass did for one key; ``reason`` is why it stopped there."""

    tenant_id: str
    data_source: str
    script: str
    reason: str
    completed: int = 0
    failed: int = 0
    error: str | None = None
    detail: str | None = None
    action: str | None = None
    root_cause: str | None = None


@frozen(kw_only=True)
class WindowCounts:
    """``completed`` and ``failed`` count windows; ``waiting`` and ``busy`` count keys."""

    completed: int = 0
    failed: int = 0
    waiting: int = 0
    busy: int = 0


@frozen(kw_only=True)
class PassReport:
    """What one pass did. ``keys`` holds those touched, at most 1000, the ones in trouble first."""

    started_at: datetime
    completed_at: datetime
    windows: WindowCounts = field(factory=WindowCounts)
    keys: tuple[KeyReport, ...] = ()
    needs_action: bool = False
    """Of the keys this pass looked at, some failed or cannot run until someone acts (the CLI's exit code 3).

    The first pass of an orchestrator, and each after a change of configuration, looks at all of them.
    """
    error: str | None = None
    """Why the pass stopped early, if the database went away (the CLI's exit code 4)."""


def as_json(value: Any) -> Any:
    """A row as ``json.dumps`` takes it: times in ISO 8601 with offset, durations in seconds, enums plain."""
    if attrs.has(type(value)):
        return {a.name: as_json(getattr(value, a.name)) for a in attrs.fields(type(value))}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(item) for item in value]
    return value
