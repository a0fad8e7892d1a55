"""Answers for people, from the same decision the engine acts on: plan, status, history, explain (G7; floor: passes)."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from datetime import UTC, datetime
from heapq import nsmallest
from itertools import chain
from typing import Any, TypeVar

from attrs import define, evolve

from tenantcollect.catalog import Source
from tenantcollect.decisions import Decision
from tenantcollect.errors import (
    AuthenticationError,
    ConfigurationError,
    PluginError,
    ResolvedEnvInvalid,
    SecretUnreadable,
)
from tenantcollect.keys import Key, Selection
from tenantcollect.planning import Plan, Upstream, plan
from tenantcollect.policy import ELSEWHERE, Reason
from tenantcollect.registry import Registry
from tenantcollect.reports import AttemptRow, CheckRow, ExplainRow, PlanRow, StatusRow
from tenantcollect.scheduling import Facts, decide, is_stale, terms_of
from tenantcollect.secrets import Masker
from tenantcollect.settings import whole_number
from tenantcollect.state import HistoryRow, KeyState, State
from tenantcollect.survey import Survey
from tenantcollect.windows import NOTHING, WindowSet
from tenantcollect.worker import DaemonThreads, Learn, Resolved, error_text, spoken

__all__ = ["CHECK_TIMEOUT", "Inspection", "checked", "unanswered"]

CHECK_TIMEOUT = 30.0
ALLOW_MORE = "see whether the data source can be reached from here, or allow more time"

WINDOWS_SHOWN = 1000
WAITING = frozenset({Reason.WAITING_FOR_UPSTREAM, Reason.RATE_LIMITED, Reason.AT_CAPACITY})
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
Range = tuple[datetime, datetime]
Resolve = Callable[[str, str, Learn], Resolved]
T = TypeVar("T")


@define
class Inspection:
    """Reads the state of a selection; every method streams frozen rows, those of the stalest keys first."""

    survey: Survey
    state: State

    def status(self, selection: Selection, now: datetime, limit: int | None = None) -> Iterator[StatusRow]:
        """Where each key stands."""
        rows = chain.from_iterable(map(self._statuses, self._pages(selection, now)))
        return iter(_first(rows, limit, key=lambda row: (row.fresh_until or BEFORE_ALL, row.tenant_id)))

    def explain(self, selection: Selection, now: datetime, limit: int | None = None) -> Iterator[ExplainRow]:
        """The one reason of each key, those in need of somebody first."""
        decisions = (decide(facts, key) for facts, key in self._keys(selection, now))
        return map(_explained, _first(decisions, limit, key=lambda d: (not d.needs_action, not d.blocks, d.key)))

    def plan(self, selection: Selection, now: datetime, limit: int | None = None) -> Iterator[PlanRow]:
        """What is still to be collected for each key, as if every upstream that can move had arrived."""
        return (_planned(facts, key) for facts, key in _first(self._keys(selection, now), limit, key=_stalest_first))

    def history(self, selection: Selection, limit: int, before: datetime | None) -> Iterator[AttemptRow]:
        """Attempts, newest first."""
        return map(_attempt, self.state.history(selection, limit=whole_number(limit, "limit"), before=before))

    def _keys(self, selection: Selection, now: datetime) -> Iterator[tuple[Facts, Key]]:
        return chain.from_iterable(self._pages(selection, now))

    def _pages(self, selection: Selection, now: datetime) -> Iterator[list[tuple[Facts, Key]]]:
        """The keys of some tenants at a time: what is asked of them is asked of all of a page together."""
        for tenant_ids in self.survey.tenants(selection):
            page = []
            for facts in self.survey.facts(tenant_ids, now).values():
                page += [(facts, key) for key in sorted(facts.known()) if selection.matches(key)]
            yield page

    def _statuses(self, page: list[tuple[Facts, Key]]) -> Iterator[StatusRow]:
        attempted = [key for facts, key in page if key in facts.states and facts.states[key].completed_at]
        latest = self.state.latest(attempted) if attempted else {}
        return (self._status(facts, key, latest.get(key)) for facts, key in page)

    def _status(self, facts: Facts, key: Key, latest: HistoryRow | None) -> StatusRow:
        decision, state = decide(facts, key), facts.states.get(key)
        row = StatusRow(
            tenant_id=key.tenant_id,
            data_source=key.data_source,
            script=key.script,
            status=_status_word(decision, state),
            reason=decision.reason.value,
            detail=decision.detail or None,
            action=decision.action,
            root_cause=decision.root_cause,
        )
        return row if state is None else self._with_state(row, facts, state, latest)

    def _with_state(self, row: StatusRow, facts: Facts, state: KeyState, latest: HistoryRow | None) -> StatusRow:
        coverage = state.coverage or NOTHING
        whole = _todo(facts, state.key, state, 1)
        entry = facts.entries.get(state.key)
        collector = facts.collectors.get(state.key.collector)
        lag = (whole.horizon - coverage.end).total_seconds() if coverage.end else None
        interval = terms_of(collector, facts.sources.get(state.key.data_source)).interval if collector else None
        return evolve(
            row,
            last_fetched_data_date=state.last_fetched_data_date,
            fresh_until=coverage.end,
            lag=lag,
            history_start=state.history_start,
            coverage=_ranges(coverage),
            holes=_ranges(_holes(state, coverage)),
            windows_left=whole.windows_left,
            failures=state.failures,
            error=state.error,
            started_at=state.started_at,
            completed_at=state.completed_at,
            next_due_at=entry.next_due_at if entry else None,
            last_record_at=state.last_record_at,
            warnings=latest.warnings if latest else (),
            progress=entry.progress if entry and row.status == "RUNNING" else None,
            stale=interval is None or is_stale(whole.horizon, coverage.end or state.history_start, interval),
        )


def _first(rows: Iterable[T], limit: int | None, *, key: Callable[[T], Any]) -> list[T]:
    """The first ``limit`` rows in the order of ``key``; no more than these are kept."""
    limit = _bound(limit)
    return sorted(rows, key=key) if limit is None else nsmallest(limit, rows, key=key)


def _stalest_first(found: tuple[Facts, Key]) -> tuple[datetime, Key]:
    """The order of keys by how far they are collected; what was never collected comes first."""
    facts, key = found
    coverage = facts.states[key].coverage if key in facts.states else None
    return (coverage and coverage.end) or BEFORE_ALL, key


def _bound(limit: int | None) -> int | None:
    return None if limit is None else whole_number(limit, "limit")


def _ranges(windows: WindowSet | Iterable[object]) -> tuple[Range, ...]:
    return tuple((window.start, window.end) for window in windows)  # type: ignore[attr-defined]


def _holes(state: KeyState, coverage: WindowSet) -> WindowSet:
    """What is missing below the newest covered instant."""
    return WindowSet.between(state.history_start, coverage.end) - coverage if coverage.end else NOTHING


def _status_word(decision: Decision, state: KeyState | None) -> str:
    if decision.reason is Reason.RUNNING:
        return "RUNNING"
    if decision.needs_action or decision.reason in (Reason.NOT_CONFIGURED, Reason.ERASED):
        return "HELD"
    if decision.reason in WAITING:
        return "WAITING"
    return state.status.value if state else "PENDING"


def _todo(facts: Facts, key: Key, state: KeyState, at_most: int) -> Plan:
    """The plan of a key as if every upstream that can move had already covered all it is going to."""
    collector = facts.collectors.get(key.collector)
    if collector is None or key.data_source not in facts.sources:
        return Plan(horizon=facts.now)
    upstreams = tuple(
        Upstream(coverage=WindowSet.between(state.history_start, facts.now))
        for up in facts.upstreams(key)
        if not decide(facts, up).blocks
    )
    stuck = tuple(
        Upstream(coverage=facts.states[up].coverage or NOTHING if up in facts.states else NOTHING)
        for up in facts.upstreams(key)
        if decide(facts, up).blocks
    )
    return plan(
        history_start=state.history_start,
        coverage=state.coverage or NOTHING,
        terms=terms_of(collector, facts.sources[key.data_source]),
        now=facts.now,
        upstreams=upstreams + stuck,
        window_limit=state.window_limit,
        unfinished=None,
        at_most=at_most,
    )


def _planned(facts: Facts, key: Key) -> PlanRow:
    state, decision = facts.states.get(key), decide(facts, key)
    row = PlanRow(
        tenant_id=key.tenant_id,
        data_source=key.data_source,
        script=key.script,
        reason=decision.reason.value,
        upstreams=tuple(up.collector for up in facts.upstreams(key)),
    )
    if state is None:
        return row
    found = _todo(facts, key, state, WINDOWS_SHOWN)
    return evolve(
        row,
        history_start=state.history_start,
        horizon=found.horizon,
        windows_left=found.windows_left,
        windows=_ranges(found.ready),
    )


def _explained(decision: Decision) -> ExplainRow:
    return ExplainRow(
        tenant_id=decision.key.tenant_id,
        data_source=decision.key.data_source,
        script=decision.key.script,
        reason=decision.reason.value,
        since=decision.since,
        until=decision.until,
        detail=decision.detail,
        action=decision.action,
        root_cause=decision.root_cause,
    )


def _attempt(row: HistoryRow) -> AttemptRow:
    return AttemptRow(
        window_id=row.window_id,
        tenant_id=row.key.tenant_id,
        data_source=row.key.data_source,
        script=row.key.script,
        window_seq=row.window_seq,
        fence=row.fence,
        worker=row.worker,
        attempt=row.attempt,
        window_start=row.window.start,
        window_end=row.window.end,
        started_at=row.started_at,
        completed_at=row.completed_at,
        status=row.status.value,
        reason=row.reason,
        records=row.records,
        warnings=row.warnings,
        error=row.error,
    )


def checked(source: Source, registry: Registry, resolve: Resolve, timeout: float) -> CheckRow:
    """Validate one data source's configuration and ask its ``check`` hook; what is wrong is in the row.

    In a thread of its own, so that neither the hook nor ``resolve_env`` can hang the caller; it is left behind then.
    """
    row = CheckRow(tenant_id=source.tenant_id, data_source=source.data_source, ok=True)
    answer = DaemonThreads().submit(_checked, row, registry, resolve)
    if wait([answer], timeout).done:
        return answer.result()
    return unanswered(row.tenant_id, row.data_source, f"no answer within {timeout:g} s")


def unanswered(tenant_id: str, data_source: str, detail: str, action: str = ALLOW_MORE) -> CheckRow:
    """The row of a data source that gave no answer."""
    return CheckRow(
        tenant_id=tenant_id,
        data_source=data_source,
        ok=False,
        detail=detail,
        reason=Reason.BACKOFF.value,
        action=action,
    )


def _checked(row: CheckRow, registry: Registry, resolve: Resolve) -> CheckRow:
    secrets: set[str] = set()
    try:
        found = _line(_asked(row, registry, lambda: resolve(row.tenant_id, row.data_source, secrets.update)), row)
        return evolve(row, detail=Masker.of(secrets).storable(found))
    except BaseException as raised:  # noqa: BLE001 - whatever a collector raises is the answer, also SystemExit
        error = spoken(raised) if isinstance(raised, Exception) else raised
        reason = _check_reason(error)
        key = Key(row.tenant_id, row.data_source, "check")
        cure = ELSEWHERE if isinstance(error, SecretUnreadable | ResolvedEnvInvalid) else None
        action = Decision(key=key, reason=reason, cure=cure).action
        return evolve(
            row, ok=False, detail=Masker.of(secrets).storable(error_text(error)), reason=reason.value, action=action
        )


def _asked(row: CheckRow, registry: Registry, resolved: Callable[[], Resolved]) -> object:
    """What ``check`` answers; credentials that were refused are resolved anew once, as a window does."""
    first = resolved()
    check = registry.source(row.data_source).check
    if check is None:
        return "the configuration is valid; this data source has no check of its own"

    try:
        return check(env=dict(first.env), config=first.config, tenant_id=row.tenant_id)
    except Exception as error:
        second = resolved() if isinstance(spoken(error), AuthenticationError) else first
        if second.env == first.env:
            raise
    return check(env=dict(second.env), config=second.config, tenant_id=row.tenant_id)


def _line(found: object, row: CheckRow) -> str:
    """What ``check`` returned, if it is a line or nothing; raises :class:`PluginError` otherwise."""
    if isinstance(found, str | None):
        return found if found is not None else "ok"
    what = type(found).__name__
    raise PluginError(f"check() of {row.data_source} returned {what}; raise what is wrong, or return a line or nothing")


def _check_reason(error: BaseException) -> Reason:
    match error:
        case PluginError():
            return Reason.COLLECTOR_BROKEN
        case ConfigurationError():
            return Reason.CONFIG_INVALID
        case AuthenticationError():
            return Reason.AUTH_FAILED
    return Reason.BACKOFF
