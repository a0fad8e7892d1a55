"""Ends turns: whatever a walk ended with becomes a stored attempt, a reaction and an outcome.

walk ──> error? ──> abandon, react (policy), close, hold ──> defer, release, wake the dependents
"""

import logging
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from itertools import takewhile

from attrs import evolve, frozen

from tenantcollect.decisions import REPLAY
from tenantcollect.errors import (
    CoverageInvalid,
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
from tenantcollect.events import HoldPlaced, WindowCommitted, WindowFailed
from tenantcollect.keys import Key, Selection
from tenantcollect.policy import POLL_HELD, Reaction, Reason, Record, elsewhere, react
from tenantcollect.schedule import Hold
from tenantcollect.secrets import Masker
from tenantcollect.state import Claim, Failure, KeyState, Status
from tenantcollect.telling import class_name
from tenantcollect.worker.context import error_text
from tenantcollect.worker.missing import missing_table
from tenantcollect.worker.parts import Parts
from tenantcollect.worker.patience import patiently
from tenantcollect.worker.turn import Turn, wake_dependents
from tenantcollect.worker.walk import Walk

__all__ = ["Outcome", "Worker"]

logger = logging.getLogger("tenantcollect.worker")

MOST_ATTEMPTS = 1_000_000
"""More than any turn leaves."""
BOUND_TO_CONFIGURATION = frozenset({Reason.AUTH_FAILED, Reason.CONFIG_INVALID})


@frozen(kw_only=True)
class Outcome:
    """How a turn ended. ``reason`` None = nothing was wrong; ``failed`` False = it only waits; ``cure`` = what helps.

    ``lost`` = another holder has the key. ``down`` = not the collector was at fault but what all windows need, the
    database or the processes they run in, and how.
    It travels between processes, so it holds no exception: one that cannot be unpickled breaks a whole pool.
    """

    key: Key
    completed: int = 0
    reason: Reason | None = None
    failed: bool = False
    error: str | None = None
    retry_at: datetime | None = None
    cure: str | None = None
    again: bool = False
    lost: bool = False
    down: str | None = None


@frozen
class Worker:
    """Walks turns and ends them; one object serves all threads of an orchestrator."""

    parts: Parts

    def walk(self, turn: Turn, *, in_child: bool = False) -> Outcome:
        """Run windows of ``turn`` until there is none left, it must stop, or one fails. Raises nothing.

        In a child a fault of the database is only told, and whatever else keeps the turn from being ended there:
        whether it is the child's or everybody's, its parent finds out, who also ends the turn.
        """
        turn.thread, walk = threading.current_thread(), Walk(self.parts, turn)
        error = _raised(walk.go)
        text = self._text(turn, walk.masker, error)  # this may hang: the end is claimed only then
        if in_child and error is not None and _storage_fault(error):
            if turn.transaction is not None:
                turn.transaction.abandon()
            return Outcome(key=turn.lease.key, down=text)
        if not turn.end():
            return Outcome(key=turn.lease.key, completed=turn.completed, lost=True)
        return self._concluded(turn, error, text, in_child=in_child)

    def give_up(self, turn: Turn) -> Outcome | None:
        """End an overdue turn from outside its thread, which may be hung; None if it has just ended itself."""
        if not turn.end(given_up=True):
            return None
        logger.error("[%s] the window did not end when it was told to; its thread is left behind", turn.lease.key)
        return self._concluded_as(turn, turn.cancelled or WindowTimedOut())

    def unbegun(self, turn: Turn, why: str) -> Outcome:
        """End the turn of a window that could not be begun, nor could any other: it leaves no trace in its history.

        One whose claim is gone could not be begun for that alone, and says nothing of the others.
        """
        turn.end()
        outcome = Outcome(key=turn.lease.key, down=why)
        try:
            patiently(lambda: self.parts.state.close(turn.claim))
        except LeaseLost:
            outcome = Outcome(key=turn.lease.key, lost=True)
        except StorageError as error:
            logger.warning("[%s] its window stays open until the key is claimed again: %s", turn.lease.key, error)
        self.give_back(turn, outcome)
        return outcome

    def bury(self, turn: Turn, error: BaseException) -> Outcome:
        """End the turn of a process that is gone. What it had sealed counts: the database is asked (PROTOCOL 2.8)."""
        key = turn.lease.key
        turn.end()
        try:
            standing = self.parts.state.standing(turn.claim)
            now = next(iter(self.parts.state.load([key])), turn.state)
            left = self._left(turn, now)
        except OutcomeUnknown:
            left, standing, now = Outcome(key=key, lost=True), None, turn.state
        except StorageError as storage_error:
            return Outcome(key=key, down=str(storage_error), error=str(storage_error))
        turn.completed = left.completed
        if standing is not None:
            turn.claim, turn.state = standing, now
            return self._concluded_as(turn, error)
        self.give_back(turn, left)
        return left

    def _left(self, turn: Turn, now: KeyState) -> Outcome:
        """What a process that is gone had stored of its turn, told in its place: nobody else has."""
        key, fence = turn.lease.key, turn.claim.fence
        newest = self.parts.state.history(Selection(key.tenant_id, key.data_source, key.script), limit=MOST_ATTEMPTS)
        mine = [row for row in takewhile(lambda row: row.fence >= fence, newest) if row.fence == fence]
        sealed = [row for row in mine if row.status is Status.COMPLETED]
        for row in reversed(sealed):
            lasted = (row.completed_at - row.started_at).total_seconds()
            self.parts.emit(
                WindowCommitted(key=key, window=row.window, records=row.records, attempt=row.attempt, seconds=lasted)
            )
        failed = next(iter(mine), None)
        if failed is None or failed.status is not Status.FAILED:
            return Outcome(key=key, completed=len(sealed), lost=not sealed)
        reason, error = Reason(failed.reason or Reason.BACKOFF), failed.error or ""
        self.parts.emit(WindowFailed(key=key, window=failed.window, reason=reason, error=error, attempt=failed.attempt))
        counted = now.failures > turn.state.failures
        return Outcome(key=key, completed=len(sealed), reason=reason, failed=counted, error=error)

    def _text(self, turn: Turn, masker: Masker, error: BaseException | None) -> str:
        """What is stored of ``error``, masked; its class alone where its own code keeps the rest from being written.

        What the frames it came through hold is let go: it may be all the memory there is.
        """
        if error is None:
            return ""
        try:
            hint = missing_table(error, self.parts.tables(turn.lease.key.data_source))
            return masker.storable("\n".join(filter(None, (hint, error_text(error)))))
        except BaseException:  # noqa: BLE001 - somebody else's attributes, or what a collector left of this process
            return masker.storable(class_name(error))
        finally:
            _clear_frames(error)

    def _concluded_as(self, turn: Turn, error: BaseException) -> Outcome:
        return self._concluded(turn, error, self._text(turn, Masker(), error))

    def _concluded(self, turn: Turn, error: BaseException | None, text: str, *, in_child: bool = False) -> Outcome:
        """The one way out of a turn: abandon, store, release, wake."""
        key = turn.lease.key
        try:
            if turn.transaction is not None:
                turn.transaction.abandon()
            outcome = self._settle(turn, error, text)
        except LeaseLost:
            outcome = Outcome(key=key, lost=True)
        except StorageError as storage_error:
            outcome = Outcome(key=key, down=str(storage_error), error=str(storage_error))
        except BaseException as unforeseen:  # noqa: BLE001 - the other turns go on
            if in_child:
                return Outcome(key=key, down=f"the turn could not be ended: {class_name(unforeseen)}")
            outcome = self._plainly(turn, text, unforeseen)
        self._release(turn, outcome)
        return evolve(outcome, completed=turn.completed)

    def _plainly(self, turn: Turn, text: str, unforeseen: BaseException) -> Outcome:
        """Store the attempt as a failure like any other, whatever there was to know of its error (G8)."""
        key, name = turn.lease.key, class_name(unforeseen)
        logger.error("[%s] what its turn ended with could not be looked at: %s", key, name)
        try:
            return self._react(turn, PluginError(name), text or name)
        except BaseException as again:  # noqa: BLE001 - the next look at the key tells it from the open window
            return Outcome(key=key, reason=Reason.BACKOFF, failed=True, error=class_name(again))

    def _settle(self, turn: Turn, error: BaseException | None, text: str) -> Outcome:
        """Store what the turn ended with. A database that takes that is there, whatever became of the window's own
        connection: then only this key has failed, and nobody else is kept from running (G4).
        """
        key = turn.lease.key
        if error is None:
            return Outcome(key=key)
        if isinstance(error, LeaseLost | OutcomeUnknown):
            # What is in doubt is left alone: the next look at the key is told by the database.
            return Outcome(key=key, lost=True)
        if isinstance(error, WindowCancelled) and not isinstance(error, WindowTimedOut):
            self._close(turn.claim, turn.failure(Reason.RUNNABLE, text))
            return Outcome(key=key, reason=Reason.RUNNABLE)
        if _storage_fault(error) and not isinstance(error, DatabaseUnavailable):
            retry_at = self.parts.clock() + self.parts.settings.retry_delay
            self._close(turn.claim, turn.failure(Reason.BACKOFF, text, retry_at=retry_at))
            return Outcome(key=key, down=text, error=text, retry_at=retry_at)
        return self._react(turn, error, text)

    def _react(self, turn: Turn, error: BaseException, text: str) -> Outcome:
        key, claim, now = turn.lease.key, turn.claim, self.parts.clock()
        record = Record(
            failures=turn.state.failures,
            first_failure_at=turn.state.first_failure_at,
            window_limit=turn.state.window_limit,
        )
        delay = self.parts.settings.retry_delay
        reaction = react(error, window=claim.window, record=record, now=now, first_delay=delay)
        again = reaction.reason is Reason.RUNNABLE
        self._close(
            claim,
            Failure(
                reason=reaction.reason,
                error=text,
                failed=reaction.failed,
                failures=reaction.record.failures,
                first_failure_at=reaction.record.first_failure_at,
                retry_at=None if reaction.hold or again else reaction.retry_at,
                window_limit=reaction.record.window_limit,
                warnings=tuple(turn.warnings),
            ),
        )
        if reaction.hold:
            self._hold(turn, reaction, f"{key.collector}: {text}" if reaction.whole_source else text, now)
        self.parts.emit(
            WindowFailed(key=key, window=claim.window, reason=reaction.reason, error=text, attempt=claim.attempt)
        )
        return Outcome(
            key=key,
            reason=reaction.reason,
            failed=reaction.failed,
            error=text,
            retry_at=None if again else reaction.retry_at,
            cure=REPLAY if isinstance(error, CoverageInvalid) else elsewhere(reaction.reason, reaction.retry_at),
            again=again,
        )

    def _close(self, claim: Claim, failure: Failure) -> None:
        patiently(lambda: self.parts.state.close(claim, failure))

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
        if patiently(lambda: self.parts.state.holds.place(hold)):
            self.parts.emit(HoldPlaced.of(hold))

    def _release(self, turn: Turn, outcome: Outcome) -> None:
        """When to look at the key again, and the lease."""
        key = turn.lease.key
        try:
            if not outcome.lost and (outcome.down is None or outcome.retry_at):
                parked = outcome.failed and outcome.retry_at is None
                planned = outcome.retry_at or (turn.due_at if outcome.reason is None else None)
                due_at = turn.planned_at + POLL_HELD if parked else planned or turn.planned_at
                schedule, fence = self.parts.state.schedule, turn.claim.fence
                patiently(lambda: schedule.defer(turn.seen, due_at, waiting=parked, fence=fence))
        except StorageError as error:
            logger.warning("[%s] could not be put off, it is looked at once more: %s", key, error)
        self.give_back(turn, outcome)

    def give_back(self, turn: Turn, outcome: Outcome) -> None:
        """Hints only: whatever fails here costs a poll or the rest of a lease, never a window."""
        key = turn.lease.key
        try:
            patiently(lambda: self.parts.locks.release([turn.lease]))
            wake_dependents(self.parts.state, turn, all_below=bool(outcome.reason))
        except StorageError as error:
            logger.warning("[%s] could not be released, its lease will expire: %s", key, error)


def _storage_fault(error: BaseException) -> bool:
    """Whether the database was at fault, rather than busy."""
    return isinstance(error, StorageError) and not isinstance(error, Overloaded | TransactionConflict)


def _raised(walk: Callable[[], None]) -> BaseException | None:
    """What ``walk`` raised. It is handled before the turn is ended, so that no later traceback tells it too (G6)."""
    try:
        walk()
    except BaseException as error:  # noqa: BLE001 - SystemExit of a collector costs its own window, no more
        return error
    return None


def _clear_frames(error: BaseException | None) -> None:
    """Forget the locals of the frames that ``error`` and what led to it came through."""
    seen: set[int] = set()
    with suppress(BaseException):
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            traceback.clear_frames(error.__traceback__)
            error = error.__cause__ if error.__cause__ is not None else error.__context__
