"""The walk of one key's turn: attempt after attempt, each ending in a seal or in a stored failure.

    open ──> env ──> run ──> seal ──> next window under the same claim ... ──> release, wake the dependents
                      └──── error ──> abandon, react (policy), close ──────────┘
"""

import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import define, evolve, field, frozen

from tenantcollect.errors import (
    AuthenticationError,
    DatabaseUnavailable,
    LeaseLost,
    OutcomeUnknown,
    Overloaded,
    PluginError,
    StorageError,
    TransactionConflict,
    WindowCancelled,
    WindowTimedOut,
)
from tenantcollect.events import Event, HoldPlaced, WindowCommitted, WindowFailed
from tenantcollect.keys import Key
from tenantcollect.locks import Locks
from tenantcollect.policy import FIRST_DELAY, Reaction, Reason, Record, ease, react
from tenantcollect.schedule import Hold
from tenantcollect.secrets import Masker
from tenantcollect.state import Claim, Failure, KeyState, Resume, Seal, State, Status
from tenantcollect.windows import NOTHING, Window
from tenantcollect.worker.context import MaskingLogger, WindowContext, checked_json, error_text
from tenantcollect.worker.turn import Turn

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Outcome", "Resolved", "Worker"]

logger = logging.getLogger("tenantcollect.worker")

TRIES = 3
BOUND_TO_CONFIGURATION = frozenset({Reason.AUTH_FAILED, Reason.CONFIG_INVALID})


@frozen(kw_only=True)
class Resolved:
    """The env of one window, its validated form, and the masker of its secrets. Never stored, never shown."""

    env: Mapping[str, str] = field(repr=False)
    config: "BaseModel | None" = field(default=None, repr=False)
    masker: Masker = field(factory=Masker)


@frozen(kw_only=True)
class Outcome:
    """How a turn ended. ``reason`` None = nothing was wrong; ``failed`` False = it only waits.

    ``lost`` = another holder has the key. ``storage_error`` = the database, not the collector, was at fault.
    """

    key: Key
    completed: int = 0
    reason: Reason | None = None
    failed: bool = False
    error: str | None = None
    retry_at: datetime | None = None
    again: bool = False
    lost: bool = False
    storage_error: StorageError | None = None


@define(kw_only=True)
class Worker:
    """Walks turns; one object serves all threads of an orchestrator.

    ``resolve`` gives the env of (tenant_id, data_source); ``dependents`` the keys to wake.
    """

    state: State
    locks: Locks
    resolve: Callable[[str, str], Resolved]
    dependents: Callable[[Key], Collection[Key]]
    emit: Callable[[Event], None]
    clock: Callable[[], datetime]
    retry_delay: timedelta = FIRST_DELAY
    window_timeout: timedelta | None = None

    def walk(self, turn: Turn) -> Outcome:
        """Run windows of ``turn`` until there is none left, it must stop, or one fails. Raises nothing."""
        walk = _Walk(self, turn)
        try:
            walk.go()
        except BaseException as error:  # noqa: BLE001 - SystemExit of a collector costs its own window, no more
            return self._end(turn, walk.completed, walk.masker, error)
        return self._end(turn, walk.completed, walk.masker, None)

    def give_up(self, turn: Turn) -> Outcome | None:
        """End an overdue turn from outside its thread, which may be hung; None if it has just ended itself."""
        if turn.ended:
            return None
        logger.error("[%s] the window did not end within its timeout; its thread is left behind", turn.lease.key)
        return self._end(turn, 0, Masker(), turn.cancelled or WindowTimedOut())

    def _end(self, turn: Turn, completed: int, masker: Masker, error: BaseException | None) -> Outcome:
        """The one way out of a turn: abandon, store, release, wake."""
        key = turn.lease.key
        if not turn.end():
            return Outcome(key=key, completed=completed, lost=True)
        try:
            if turn.transaction is not None:
                turn.transaction.abandon()
            outcome = self._settle(turn, masker, error)
        except LeaseLost:
            outcome = Outcome(key=key, lost=True)
        except StorageError as storage_error:
            outcome = Outcome(key=key, storage_error=storage_error, error=str(storage_error))
        self._release(turn, outcome)
        return evolve(outcome, completed=completed)

    def _settle(self, turn: Turn, masker: Masker, error: BaseException | None) -> Outcome:
        key = turn.lease.key
        if error is None:
            return Outcome(key=key)
        if isinstance(error, LeaseLost):
            return Outcome(key=key, lost=True)
        if isinstance(error, WindowCancelled) and not isinstance(error, WindowTimedOut):
            self.state.close(turn.claim, _failure(Reason.RUNNABLE, str(error), turn, failed=False))
            return Outcome(key=key, reason=Reason.RUNNABLE)
        if isinstance(error, StorageError) and not isinstance(error, Overloaded | TransactionConflict):
            self.state.close(turn.claim, _failure(Reason.BACKOFF, str(error), turn, failed=False))
            return Outcome(key=key, storage_error=error, error=str(error))
        return self._react(turn, masker, error)

    def _react(self, turn: Turn, masker: Masker, error: BaseException) -> Outcome:
        key, claim, now = turn.lease.key, turn.claim, self.clock()
        record = Record(
            failures=turn.state.failures,
            first_failure_at=turn.state.first_failure_at,
            window_limit=turn.state.window_limit,
        )
        reaction = react(error, window=claim.window, record=record, now=now, first_delay=self.retry_delay)
        text = masker.storable(error_text(error))
        self.state.close(
            claim,
            Failure(
                reason=reaction.reason,
                error=text,
                failed=reaction.failed,
                failures=reaction.record.failures,
                first_failure_at=reaction.record.first_failure_at,
                retry_at=None if reaction.hold else reaction.retry_at,
                window_limit=reaction.record.window_limit,
                warnings=tuple(turn.warnings),
            ),
        )
        if reaction.hold:
            self._hold(turn, reaction, text, now)
        self.emit(
            WindowFailed(key=key, window=claim.window, reason=reaction.reason, error=text, attempt=claim.attempt)
        )
        return Outcome(
            key=key,
            reason=reaction.reason,
            failed=reaction.failed,
            error=text,
            retry_at=reaction.retry_at,
            again=reaction.reason is Reason.RUNNABLE,
        )

    def _hold(self, turn: Turn, reaction: Reaction, detail: str, now: datetime) -> None:
        key = turn.lease.key
        hold = Hold(
            tenant_id=key.tenant_id,
            data_source=key.data_source,
            script=None if reaction.whole_source else key.script,
            reason=reaction.reason,
            since=now,
            until=reaction.retry_at,
            detail=detail.split("\n", 1)[0],
            revision=turn.revision if reaction.reason in BOUND_TO_CONFIGURATION else None,
        )
        if self.state.holds.place(hold):
            self.emit(
                HoldPlaced(
                    tenant_id=hold.tenant_id,
                    data_source=hold.data_source,
                    script=hold.script,
                    reason=hold.reason,
                    until=hold.until,
                    detail=hold.detail,
                )
            )

    def _release(self, turn: Turn, outcome: Outcome) -> None:
        """Hints only: whatever fails here costs a poll or the rest of a lease, never a window."""
        key = turn.lease.key
        try:
            if not outcome.lost and outcome.storage_error is None:
                parked = outcome.failed and outcome.retry_at is None
                self.state.schedule.defer(key, None if parked else outcome.retry_at or turn.planned_at)
            self.locks.release([turn.lease])
            self.wake_dependents(key, turn.planned_at)
        except StorageError as error:
            logger.warning("[%s] could not be released, its lease will expire: %s", key, error)

    def wake_dependents(self, key: Key, at: datetime) -> None:
        """Let those that wait for ``key`` look again; an autocommitted hint after the commit (PROTOCOL 2.6)."""
        if dependents := self.dependents(key):
            self.state.schedule.wake(dependents, at=at)


def _failure(reason: Reason, error: str, turn: Turn, *, failed: bool) -> Failure:
    """A stored attempt that says nothing new about the key's record."""
    state = turn.state
    return Failure(
        reason=reason,
        error=error,
        failed=failed,
        failures=state.failures,
        first_failure_at=state.first_failure_at,
        window_limit=state.window_limit,
        warnings=tuple(turn.warnings),
    )


@define
class _Walk:
    """What one thread carries from window to window."""

    worker: Worker
    turn: Turn
    completed: int = 0
    masker: Masker = field(factory=Masker)
    _started: float = field(factory=time.monotonic)

    def go(self) -> None:
        claim: Claim | None = self.turn.claim
        while claim is not None:
            claim = self._window(claim.window)

    def _window(self, window: Window) -> Claim | None:
        """Run until ``window`` is sealed whole; what was certainly not applied is tried again (PROTOCOL 5)."""
        tried_env: Mapping[str, str] | None = None
        for left in reversed(range(TRIES)):
            resolved = self._resolved()
            try:
                return self._attempt(resolved, Window(self.turn.claim.window.start, window.end))
            except (TransactionConflict, DatabaseUnavailable, Overloaded):
                if not left or self.turn.cancelled or not self.turn.trusted:
                    raise
                self._abandon()
                time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - jitter between holders in conflict
            except AuthenticationError:
                fresh = self._resolved().env
                if tried_env is not None or fresh == resolved.env:
                    raise
                self._abandon()
                tried_env = fresh
        raise AssertionError("the last try returns or raises")

    def _resolved(self) -> Resolved:
        key = self.turn.lease.key
        resolved = self.worker.resolve(key.tenant_id, key.data_source)
        self.masker = resolved.masker
        return resolved

    def _abandon(self) -> None:
        if self.turn.transaction is not None:
            self.turn.transaction.abandon()

    def _attempt(self, resolved: Resolved, window: Window) -> Claim | None:
        """One call of ``run`` for what is left of a window, and its seal."""
        turn, worker = self.turn, self.worker
        collector, key = turn.collector, turn.lease.key
        turn.begin_window(turn.claim, worker.window_timeout or collector.options.window_timeout)
        turn.transaction = transaction = worker.state.transaction(turn.claim)
        self._started = time.monotonic()
        context = self._context(resolved, window)
        try:
            records = collector.run(
                env=dict(resolved.env),
                config=resolved.config,
                db=transaction.session() if "db" in collector.arguments else None,
                tenant_id=key.tenant_id,
                start_date=window.start - collector.options.lookback,
                end_date=window.end,
                context=context,
            )
        except Exception as error:
            meaning = transaction.translate(error)
            if meaning is error:
                raise
            raise meaning from error
        if turn.cancelled is not None:
            raise turn.cancelled
        claim = self._seal(context, context.window, checked_records(collector.name, records), final=True)
        transaction.abandon()
        return claim

    def _context(self, resolved: Resolved, window: Window) -> WindowContext:
        turn = self.turn
        resume = turn.state.resume
        context = WindowContext(
            turn,
            resolved.masker,
            lambda until: self._seal_part(context, until),
            lambda value: self._keep_resume(context, value),
            MaskingLogger(turn.lease.key, resolved.masker),
            window,
            turn.claim.attempt,
            turn.state.history_start,
            resume=resume.value if resume and resume.window == window else None,
            cursor=checked_json(turn.state.cursor, "context.cursor"),
        )
        turn.warnings = context.warnings
        return context

    def _seal_part(self, context: WindowContext, until: datetime) -> Window:
        """``checkpoint(until)``: seal the part, and go on with the rest under the same claim."""
        self._seal(context, Window(context.window.start, until), None, final=False)
        return Window(until, context.window.end)

    def _keep_resume(self, context: WindowContext, value: Any) -> None:
        """``checkpoint()``: rows and the resume point, durable now; the window stays as it is."""
        resume = Resume(window=context.window, value=value)
        transaction = self.turn.transaction
        assert transaction is not None  # noqa: S101 - a context exists only inside an attempt
        self.turn.claim = transaction.checkpoint(resume)
        self.turn.state = evolve(self.turn.state, resume=resume, window_seq=self.turn.claim.window_seq)

    def _seal(self, context: WindowContext, part: Window, records: int | None, *, final: bool) -> Claim | None:
        turn = self.turn
        seal, state = self._sealed(context, part, records, final=final)
        before = turn.claim
        after = self._commit(before, seal)
        turn.state = evolve(state, window_seq=before.window_seq + 1)
        turn.claim = after or turn.claim
        self.completed += 1
        self._tell(before, part, records)
        return after

    def _sealed(self, context: WindowContext, part: Window, records: int | None, *, final: bool) -> tuple[Seal, KeyState]:
        """The seal of ``part``, and the key's state after it."""
        turn, old = self.turn, self.turn.state
        covered = old.coverage or NOTHING
        coverage = covered | type(covered)((part,))
        forward = covered.end is None or part.end > covered.end
        cursor = checked_json(context.cursor, "context.cursor") if forward else old.cursor
        record = ease(Record(window_limit=old.window_limit), turn.collector.duration)
        state = evolve(
            old,
            coverage=coverage,
            status=Status.COMPLETED,
            cursor=cursor,
            resume=None,
            failures=0,
            first_failure_at=None,
            window_limit=record.window_limit,
            last_record_at=self.worker.clock() if records else old.last_record_at,
        )
        following = self._following(state) if final else Window(part.end, context.window.end)
        seal = Seal(
            window=part,
            coverage=coverage,
            last_fetched_data_date=coverage.unbroken_end(old.history_start),
            cursor=(cursor,) if forward and cursor != old.cursor else None,
            window_limit=record.window_limit,
            records=records,
            warnings=tuple(context.warnings),
            last_record_at=state.last_record_at,
            next_window_id=str(uuid4()) if following else None,
            next_window=following,
        )
        return seal, state

    def _following(self, state: KeyState) -> Window | None:
        turn = self.turn
        if turn.cancelled or not turn.trusted or not turn.may_continue():
            return None
        return turn.next_window(state)

    def _commit(self, claim: Claim, seal: Seal) -> Claim | None:
        """Seal; if the reply was lost, the database says whether it happened (PROTOCOL 2.8)."""
        transaction = self.turn.transaction
        assert transaction is not None  # noqa: S101 - sealed from inside an attempt
        try:
            return transaction.seal(seal)
        except OutcomeUnknown as unknown:
            transaction.abandon()
            if not self.worker.state.outcome(claim):
                raise DatabaseUnavailable("The connection was lost before the commit; it is tried again.") from unknown
        if seal.next_window is None or seal.next_window_id is None:
            return None
        return evolve(
            claim, window_seq=claim.window_seq + 1, window_id=seal.next_window_id, window=seal.next_window, attempt=1
        )

    def _tell(self, claim: Claim, part: Window, records: int | None) -> None:
        seconds = time.monotonic() - self._started
        self._started = time.monotonic()
        key = claim.key
        self.worker.emit(
            WindowCommitted(key=key, window=part, records=records, attempt=claim.attempt, seconds=seconds)
        )
        try:
            self.worker.wake_dependents(key, self.turn.planned_at)
        except StorageError as error:
            logger.warning("[%s] its dependents were not woken, they will poll: %s", key, error)


def checked_records(collector: str, records: object) -> int | None:
    """What ``run`` returned, if it is a number of records or None; raises :class:`PluginError` otherwise."""
    if records is None or (isinstance(records, int) and not isinstance(records, bool) and records >= 0):
        return records
    raise PluginError(
        f"run() of {collector} returned {type(records).__name__}; return the number of records, or nothing"
    )
