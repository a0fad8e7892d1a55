"""The walk of one key's turn: window after window under one claim, each attempt ending in a seal or an error.

open ──> env ──> run ──> seal ──> next window under the same claim ──> ...
                  └──── error: it leaves the walk, and ``worker`` ends the turn
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from attrs import define, evolve, field

from tenantcollect.errors import (
    AuthenticationError,
    DatabaseUnavailable,
    LeaseLost,
    OutcomeUnknown,
    Overloaded,
    PluginError,
    StorageError,
    TenantcollectError,
    TransactionConflict,
    WindowCancelled,
)
from tenantcollect.events import WindowCommitted, WindowFailed
from tenantcollect.policy import Reason, Record, ease
from tenantcollect.secrets import Masker
from tenantcollect.state import Claim, KeyState, Resume, Seal, Status, WindowTransaction
from tenantcollect.windows import NOTHING, Window
from tenantcollect.worker.context import MaskingLogger, WindowContext, checked_json, checked_records, error_text, spoken
from tenantcollect.worker.parts import Parts, Resolved
from tenantcollect.worker.patience import patiently, pause
from tenantcollect.worker.turn import Turn, wake_dependents

__all__ = ["Walk"]

logger = logging.getLogger("tenantcollect.worker")

TRIES = 3
WAKE_EVERY_SECONDS = 1.0
EARLIEST = datetime.min.replace(tzinfo=UTC)
OURS = (StorageError, LeaseLost, WindowCancelled)
"""What a collector can only pass on: raised by itself it says nothing of the database or of the lease (G4)."""
Following = Callable[[KeyState], Window | None]
"""What goes on under the same claim after a seal, told the key's state by then."""


@define
class Walk:
    """What one thread carries from window to window."""

    parts: Parts
    turn: Turn
    masker: Masker = field(factory=Masker)
    _secrets: set[str] = field(factory=set, repr=False)
    _current: WindowContext | None = None
    _started: float = field(factory=time.monotonic)
    _cut_off: bool = False
    _parted: WindowCancelled | None = None
    """Why nothing follows a part that was sealed, if nothing does."""
    _told: TenantcollectError | None = None

    def go(self) -> None:
        """Run windows until there is none left or the turn must end; raises what a window ended with."""
        claim: Claim | None = self.turn.claim
        try:
            while claim is not None:
                claim = self._window(claim.window)
        except BaseException:
            if not self._parted:  # else the turn has ended with the part, whatever its collector makes of that
                raise

    def _window(self, window: Window) -> Claim | None:
        """Run until ``window`` is sealed whole; what was certainly not applied is tried again (PROTOCOL 5)."""
        resolved, refreshed = self._resolved(), False
        for left in reversed(range(TRIES)):
            try:
                return self._attempt(resolved, Window(self.turn.claim.window.start, window.end))
            except (TransactionConflict, DatabaseUnavailable, Overloaded) as error:
                if not left or self.turn.cancelled or not self.turn.trusted:
                    raise
                self._try_again(error)
                pause()
                resolved = self._resolved()
            except AuthenticationError as error:
                if refreshed or not left:
                    raise
                old, resolved, refreshed = resolved, self._resolved(), True
                if resolved.env == old.env:
                    raise
                self._try_again(error)
        raise AssertionError("the last try returns or raises")

    def _resolved(self) -> Resolved:
        key = self.turn.lease.key
        turn = self.turn
        turn.begin_window(turn.claim, self.parts.timeout(turn.collector))
        return self.parts.resolve(key.tenant_id, key.data_source, self._learn)

    def _learn(self, secrets: Iterable[str]) -> None:
        """Mask these from now on, in whatever this turn stores or says: also what was secret a moment ago."""
        self._secrets.update(secrets)
        self.masker = Masker.of(self._secrets)

    def _try_again(self, error: Exception) -> None:
        """End the attempt that ``error`` left, and open the next one of its window: each has its history row (G8)."""
        turn, ended = self.turn, self.turn.claim
        if turn.transaction is not None:
            turn.transaction.abandon()
        text = self.masker.storable(error_text(error))
        failure = turn.failure(Reason.RUNNABLE, text, following=ended.again())
        turn.claim = patiently(lambda: self.parts.state.close(ended, failure)) or ended
        turn.state = evolve(turn.state, window_seq=turn.claim.window_seq)
        self.parts.emit(
            WindowFailed(key=ended.key, window=ended.window, reason=Reason.RUNNABLE, error=text, attempt=ended.attempt)
        )

    def _attempt(self, resolved: Resolved, window: Window) -> Claim | None:
        """One call of ``run`` for what is left of a window, and its seal."""
        turn, parts = self.turn, self.parts
        collector, key = turn.collector, turn.lease.key
        turn.transaction = transaction = parts.state.transaction(turn.claim)
        self._cut_off = False
        self._started = time.monotonic()
        here = os.getpid()
        context = self._current = self._context(window)
        if turn.cancelled is not None:
            raise turn.cancelled
        try:
            records = collector.run(
                env=dict(resolved.env),
                config=resolved.config,
                db=transaction.session() if "db" in collector.arguments else None,
                tenant_id=key.tenant_id,
                start_date=window.start - min(collector.options.lookback, window.start - EARLIEST),
                end_date=window.end,
                context=context,
            )
        except Exception as error:
            said = spoken(error)
            meaning = self._meant(transaction, said)
            if meaning is error:
                raise
            raise meaning from (said.__cause__ if meaning is said else error)
        finally:
            _end_if_forked(here)
        if turn.cancelled is not None:
            raise turn.cancelled
        if self._parted is not None:
            raise self._parted
        claim = self._seal(context, context.window, checked_records(collector.name, records), self._following)
        transaction.abandon()
        return claim

    def _meant(self, transaction: WindowTransaction, error: Exception) -> BaseException:
        """What an error that left ``run`` means; one of ours that we never raised is the collector's own mistake."""
        cancelled = self.turn.cancelled and isinstance(error, WindowCancelled | LeaseLost)
        if cancelled or error is self._told or not isinstance(error, OURS) or transaction.vouches(error):
            return transaction.translate(error)
        told = f"run() of {self.turn.collector.name} raised {type(error).__name__} by itself"
        return PluginError(f"{told}; raise an error of its own there")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What is raised in here is our word, which a collector only passes on."""
        try:
            yield
        except TenantcollectError as error:
            self._told = error
            raise

    def _context(self, window: Window) -> WindowContext:
        turn, resume = self.turn, self.turn.state.resume
        context = WindowContext(
            turn,
            self.masker,
            lambda until: self._seal_part(context, until),
            lambda value: self._keep_resume(context, value),
            MaskingLogger(turn.lease.key, self.masker),
            window,
            turn.claim.attempt,
            turn.state.history_start,
            resume=resume.value if resume and resume.window == window else None,
            cursor=checked_json(turn.state.cursor, "context.cursor"),
        )
        turn.warnings = context.warnings
        return context

    def _seal_part(self, context: WindowContext, until: datetime) -> Window:
        """``checkpoint(until)``: seal the part, and go on with the rest under the same claim; if the pass has no time
        for that, the turn ends here, as between two windows.
        """
        self._require_current(context)
        rest = Window(until, context.window.end)
        with self._telling():
            going_on = self.turn.may_go_on()
            self._seal(context, Window(context.window.start, until), None, lambda _: rest if going_on else None)
            if not going_on:
                self._parted = WindowCancelled("The pass has no time for the rest of the window; a later one has.")
                raise self._parted
            if self._cut_off:
                raise DatabaseUnavailable("The connection was lost after a checkpoint; the rest is run again.")
        self.turn.extend()
        return rest

    def _require_current(self, context: WindowContext) -> None:
        """A context that somebody kept must not seal a part of a later window."""
        if context is not self._current:
            raise WindowCancelled("The window of this context is over.")

    def _keep_resume(self, context: WindowContext, value: Any) -> None:
        """``checkpoint()``: rows and the resume point, durable now; the window stays as it is."""
        self._require_current(context)
        resume = Resume(window=context.window, value=value)
        transaction = self.turn.transaction
        assert transaction is not None  # noqa: S101 - a context exists only inside an attempt
        with self._telling():
            try:
                self._kept(resume, transaction.checkpoint(resume))
            except OutcomeUnknown as unknown:
                transaction.abandon()
                self._kept(resume, self.parts.state.standing(self.turn.claim))
                raise DatabaseUnavailable("The connection was lost in a checkpoint; it is tried again.") from unknown
        self.turn.extend()

    def _kept(self, resume: Resume, claim: Claim | None) -> None:
        """Go on with ``claim``; the resume point is durable if it has moved on."""
        if claim is None:
            raise LeaseLost
        if claim.window_seq != self.turn.claim.window_seq:
            self.turn.state = evolve(self.turn.state, resume=resume, window_seq=claim.window_seq)
        self.turn.claim = claim

    def _seal(self, context: WindowContext, part: Window, records: int | None, following: Following) -> Claim | None:
        turn = self.turn
        seal, state = self._sealed(context, part, records, following)
        before = turn.claim
        after = self._commit(before, seal)
        turn.state = evolve(state, window_seq=before.window_seq + 1)
        turn.claim, turn.granted = after or turn.claim, False
        turn.completed += 1
        self._tell(before, part, records)
        return after

    def _sealed(
        self, context: WindowContext, part: Window, records: int | None, following: Following
    ) -> tuple[Seal, KeyState]:
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
            last_record_at=self.parts.clock() if records else old.last_record_at,
        )
        then = following(state)
        seal = Seal(
            window=part,
            coverage=coverage,
            last_fetched_data_date=coverage.unbroken_end(old.history_start),
            cursor=(cursor,) if forward and cursor != old.cursor else None,
            window_limit=record.window_limit,
            records=records,
            warnings=tuple(context.warnings),
            last_record_at=state.last_record_at,
            next=turn.claim.onto(then) if then else None,
        )
        return seal, state

    def _following(self, state: KeyState) -> Window | None:
        turn = self.turn
        step = None if turn.cancelled or not turn.trusted else turn.next_step(state)
        if not isinstance(step, Window):
            turn.due_at = step
            return None
        turn.due_at, turn.granted = None, turn.granted or turn.may_continue()
        return step if turn.granted else None

    def _commit(self, claim: Claim, seal: Seal) -> Claim | None:
        """Seal; if the reply was lost, the database says whether it happened (PROTOCOL 2.8)."""
        transaction = self.turn.transaction
        assert transaction is not None  # noqa: S101 - sealed from inside an attempt
        try:
            return transaction.seal(seal)
        except OutcomeUnknown as unknown:
            transaction.abandon()
            if not self.parts.state.outcome(claim):
                raise DatabaseUnavailable("The connection was lost before the commit; it is tried again.") from unknown
        self._cut_off = True
        return seal.next

    def _tell(self, claim: Claim, part: Window, records: int | None) -> None:
        seconds = time.monotonic() - self._started
        self._started = time.monotonic()
        key = claim.key
        self.parts.emit(WindowCommitted(key=key, window=part, records=records, attempt=claim.attempt, seconds=seconds))
        if time.monotonic() - self.turn.woken_at < WAKE_EVERY_SECONDS:
            return
        try:
            wake_dependents(self.parts.state, self.turn)
        except StorageError as error:
            logger.warning("[%s] its dependents were not woken, they will poll: %s", key, error)


def _end_if_forked(here: int) -> None:
    """A collector's fork that comes back from ``run`` is nobody's: it ends here, and the window is its parent's."""
    if os.getpid() != here:
        os._exit(0)
