"""What a person sees of each kind of row (floor: cli). The JSON has every field."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from tenantcollect.catalog import Source
from tenantcollect.cli.printing import Column, counted, first_line, instant, say
from tenantcollect.policy import Reason
from tenantcollect.reports import PassReport, Range, StatusRow
from tenantcollect.secrets import MASK

UNREADABLE = f"{MASK} (cannot be decrypted)"


@frozen(kw_only=True)
class SourceRow:
    """A configured data source; secret values of ``env`` are masked, ``interval`` is in seconds. ``unreadable`` are
    the keys whose value cannot be decrypted.
    """

    tenant_id: str
    data_source: str
    env: Mapping[str, str]
    unreadable: tuple[str, ...]
    since: datetime | None
    interval: float | None
    order: str


@frozen(kw_only=True)
class ChangeRow:
    """Which keys of a data source were set or removed; no value."""

    tenant_id: str
    data_source: str
    set: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    dry_run: bool = False


@frozen(kw_only=True)
class FreshRow:
    """Where a key stands, and how many rows of its tables the tenant has."""

    tenant_id: str
    data_source: str
    script: str
    status: str
    reason: str
    last_fetched_data_date: datetime | None
    lag: float | None
    rows: int


def fresh_row(row: StatusRow, rows: int) -> FreshRow:
    """A status row, and the number of rows counted."""
    return FreshRow(
        tenant_id=row.tenant_id,
        data_source=row.data_source,
        script=row.script,
        status=row.status,
        reason=row.reason,
        last_fetched_data_date=row.last_fetched_data_date,
        lag=row.lag,
        rows=rows,
    )


def source_row(source: Source, env: Mapping[str, str]) -> SourceRow:
    """What is configured, with ``env`` already masked."""
    return SourceRow(
        tenant_id=source.tenant_id,
        data_source=source.data_source,
        env={key: MASK if value == UNREADABLE else value for key, value in env.items()},
        unreadable=tuple(key for key, value in env.items() if value == UNREADABLE),
        since=source.since,
        interval=source.interval.total_seconds() if source.interval else None,
        order=source.order,
    )


def _source(row: Any) -> str:
    return f"{row.tenant_id}/{row.data_source}"


def _key(row: Any) -> str:
    return f"{row.tenant_id}/{row.data_source}/{row.script}"


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _ranges(ranges: Sequence[Range]) -> str:
    """The first range, and how many more there are."""
    if not ranges:
        return ""
    start, end = ranges[0]
    more = f" and {len(ranges) - 1} more" if len(ranges) > 1 else ""
    return f"{instant(start)} – {instant(end)}{more}"


def _advice(row: Any) -> str:
    """What is wrong, why, and what to do, as far as it is known."""
    root = _root(row)
    parts = [row.detail or row.error, root and f"root cause: {root}", row.action]
    return " → ".join(first_line(part) for part in parts if part)


def _root(row: Any) -> str | None:
    """The root cause, where it is another key's: what is wrong with the key itself stands beside it already."""
    its_own = row.root_cause and row.root_cause.startswith(f"{row.data_source}.{row.script}: ")
    return None if its_own else row.root_cause


STATUS: Sequence[Column] = (
    ("key", _key),
    ("status", lambda row: row.status),
    ("reason", lambda row: row.reason),
    ("collected until", lambda row: row.last_fetched_data_date),
    ("lag", lambda row: _seconds(row.lag)),
    ("stale", lambda row: row.stale),
    ("holes", lambda row: len(row.holes)),
    ("windows left", lambda row: row.windows_left),
    ("last record", lambda row: row.last_record_at),
    ("warnings", lambda row: len(row.warnings)),
    ("progress", lambda row: row.progress),
)
PLAN: Sequence[Column] = (
    ("key", _key),
    ("reason", lambda row: row.reason),
    ("from", lambda row: row.history_start),
    ("to", lambda row: row.horizon),
    ("windows left", lambda row: row.windows_left),
    ("next window", lambda row: _ranges(row.windows)),
    ("after", lambda row: row.upstreams),
)
HISTORY: Sequence[Column] = (
    ("key", _key),
    ("window", lambda row: _ranges([(row.window_start, row.window_end)])),
    ("status", lambda row: row.status),
    ("attempt", lambda row: row.attempt),
    ("records", lambda row: row.records),
    ("completed", lambda row: row.completed_at),
    ("took", lambda row: row.completed_at - row.started_at),
    ("reason", lambda row: row.reason),
    ("warnings", lambda row: len(row.warnings)),
    ("error", lambda row: row.error and first_line(row.error)),
)
EXPLAIN: Sequence[Column] = (
    ("key", _key),
    ("reason", lambda row: row.reason),
    ("since", lambda row: row.since),
    ("until", lambda row: row.until),
    ("detail", lambda row: row.detail),
    ("root cause", _root),
    ("what to do", lambda row: row.action),
)
CHECK: Sequence[Column] = (
    ("source", _source),
    ("ok", lambda row: "yes" if row.ok else "no"),
    ("detail", lambda row: row.detail),
    ("reason", lambda row: row.reason),
    ("what to do", lambda row: row.action),
)
FINDINGS: Sequence[Column] = (
    ("topic", lambda row: row.topic),
    ("severity", lambda row: row.severity),
    ("finding", lambda row: row.detail),
    ("what to do", lambda row: row.action),
)
PLUGINS: Sequence[Column] = (
    ("collector", lambda row: row.name),
    ("package", lambda row: " ".join(part for part in (row.package, row.version) if part)),
    ("provides", lambda row: row.provides),
    ("depends on", lambda row: row.dependencies),
    ("window", lambda row: "snapshot" if row.snapshot else _seconds(row.import_window_duration) or "whole"),
    ("config", lambda row: sorted((row.config_schema or {}).get("properties", ()))),
)
PASS: Sequence[Column] = (
    ("key", _key),
    ("reason", lambda row: row.reason),
    ("completed", lambda row: row.completed),
    ("failed", lambda row: row.failed),
    ("what is wrong → what to do", _advice),
)
SOURCES: Sequence[Column] = (
    ("source", _source),
    ("env", lambda row: [f"{key}={UNREADABLE if key in row.unreadable else text}" for key, text in row.env.items()]),
    ("since", lambda row: row.since),
    ("interval", lambda row: _seconds(row.interval)),
    ("order", lambda row: row.order),
)
FRESHNESS: Sequence[Column] = (
    ("key", _key),
    ("status", lambda row: row.status),
    ("reason", lambda row: row.reason),
    ("collected until", lambda row: row.last_fetched_data_date),
    ("lag", lambda row: _seconds(row.lag)),
    ("rows", lambda row: row.rows),
)
CHANGES: Sequence[Column] = (
    ("source", _source),
    ("set", lambda row: row.set),
    ("removed", lambda row: row.removed),
)
ROTATIONS: Sequence[Column] = (
    ("source", _source),
    ("were plain", lambda row: row.plain),
    ("had an older key", lambda row: row.older),
    ("had the newest key", lambda row: row.newest),
    ("cannot be decrypted", lambda row: [f"{key}: {problem}" for key, problem in row.unreadable.items()]),
)
KEYS: Sequence[Column] = (("key", _key),)


def troubles(rows: Sequence[Any]) -> None:
    """One line for each key that someone must look after."""
    for row in rows:
        if (row.action or row.error) and (advice := _advice(row)):
            say(f"{_key(row)}  {row.reason}: {advice}")


def summary(report: PassReport) -> str:
    """What a pass did, in one line; held = someone must act."""
    counts = report.windows
    acting = [key for key in report.keys if key.action]
    # What waits for a held key names the same action, and is counted as waiting.
    held = len([key for key in acting if key.reason != Reason.WAITING_FOR_UPSTREAM] or acting)
    if not (counts.completed or counts.failed or counts.waiting or counts.busy or held):
        return "nothing to do"
    parts = [f"{counted(counts.completed, 'window')} completed", f"{counts.failed} failed"]
    if counts.waiting:
        parts.append(f"{counted(counts.waiting, 'key')} waiting")
    if counts.busy:
        parts.append(f"{counted(counts.busy, 'key')} busy in another process")
    if held:
        parts.append(f"{counted(held, 'key')} held")
    return ", ".join(parts)
