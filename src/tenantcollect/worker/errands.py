"""Windows that run in other processes: what travels there, what comes back, and who waits here (floor: engine).

    turn ──> Errand ──> executor ──> child: the same worker walks one window ──> Report ──> outcome, events, log lines
                 the child dies, or is killed ──> the database is asked what it had sealed ──> outcome

What travels is small, picklable and holds no secret: the child reads the env itself. The heartbeat stays here, so
that a collector cannot starve it.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from tenantcollect.collectors import Collector
from tenantcollect.errors import ChildDied, ConfigurationError, LeaseLost, StorageError, WindowCancelled, WindowTimedOut
from tenantcollect.events import Event
from tenantcollect.keys import Key
from tenantcollect.locks import Lease
from tenantcollect.schedule import Entry
from tenantcollect.secrets import Masker
from tenantcollect.state import Claim, State
from tenantcollect.telling import class_name
from tenantcollect.windows import Window
from tenantcollect.worker.patience import patiently
from tenantcollect.worker.places import Place, Threads
from tenantcollect.worker.slots import DaemonThreads
from tenantcollect.worker.turn import Turn
from tenantcollect.worker.worker import Outcome, Worker

__all__ = ["Children", "Errand", "Report", "place_of", "run_errand"]

logger = logging.getLogger("tenantcollect.worker")

LATE = timedelta(seconds=1)
"""How much longer than its timeout a window may take before it is ended from here: a child ends it by itself."""
BEGIN_WITHIN = timedelta(minutes=5)
"""How long a window may wait for its child to begin."""
KILLED_BY_NOW_SECONDS = 10.0
STORED_BY_NOW_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.25
MOST_LINES = 1000


@frozen(kw_only=True)
class Errand:
    """One window to be run elsewhere, under a claim that was opened here."""

    lease: Lease
    claim: Claim
    seen: Entry
    revision: str
    planned_at: datetime
    timeout: timedelta
    dependents: tuple[Key, ...]
    descendants: tuple[Key, ...]
    log_level: int


@frozen(kw_only=True)
class Line:
    """A log line of a child. What ``context.logger`` says is masked before it is logged."""

    logger: str
    level: int
    text: str


@frozen(kw_only=True)
class Report:
    """What a child sends back: how the turn ended, and what is to be told of it here.

    ``outcome`` None = it could not begin, and ``error`` says why; ``usable`` False = no other window could either.
    """

    outcome: Outcome | None
    error: str | None = None
    usable: bool = True
    events: tuple[Event, ...] = ()
    lines: tuple[Line, ...] = ()

    @property
    def unable(self) -> bool:
        """Whether the process could not begin, or could not say how it ended: it is no use, or not any more."""
        return self.outcome is None

    @property
    def sound(self) -> bool:
        """Whether the window was sealed, and nothing was wrong: then its process may serve another."""
        return self.outcome is not None and not (self.outcome.reason or self.outcome.lost or self.outcome.down)


@frozen(kw_only=True)
class Children:
    """The place of windows that run in other processes. ``perform`` is picklable and runs an errand there."""

    worker: Worker
    executor: Executor
    perform: Callable[[Errand], Report]

    def start(self, turn: Turn) -> Future[Any]:
        """See :meth:`~tenantcollect.worker.places.Place.start`. One window per errand: the pass plans the next."""
        errand = Errand(
            lease=turn.lease,
            claim=turn.claim,
            seen=turn.seen,
            revision=turn.revision,
            planned_at=turn.planned_at,
            timeout=self.worker.parts.timeout(turn.collector),
            dependents=tuple(turn.dependents),
            descendants=tuple(turn.descendants),
            log_level=logging.getLogger("tenantcollect").getEffectiveLevel(),
        )
        return self.executor.submit(self.perform, errand)

    def ended(self, turn: Turn, future: Future[Any]) -> Outcome:
        """See :meth:`~tenantcollect.worker.places.Place.ended`."""
        error = CancelledError() if future.cancelled() else future.exception()
        if error is not None:
            return self._lost(turn, error)
        report: Report = future.result()
        if not report.usable:
            return self.worker.unbegun(turn, f"No window can run: {report.error}")
        wrong = report.error if report.outcome is None else report.outcome.down
        if report.outcome is None or wrong:
            return self.worker.bury(turn, turn.cancelled or ChildDied(f"The process cannot go on: {wrong}"))
        for line in report.lines:
            logging.getLogger(line.logger).log(line.level, "%s", line.text)
        if report.outcome.lost:
            return self.worker.bury(turn, LeaseLost())
        turn.end()
        for event in report.events:
            self.worker.parts.emit(event)
        return report.outcome

    def _lost(self, turn: Turn, error: BaseException) -> Outcome:
        """A child has died, of whatever; while the pass is told to end, so may its children be."""
        died = error if isinstance(error, ChildDied) else ChildDied(f"{ChildDied()} ({class_name(error)})")
        if not turn.cancelled and turn.stopping():
            turn.cancel(WindowCancelled(f"The pass was told to stop. {died}"))
        if not turn.cancelled and not died.begun:
            return self.worker.unbegun(turn, f"No window can run: {died}")
        return self.worker.bury(turn, turn.cancelled or died)

    def overdue(self, turn: Turn, future: Future[Any] | None) -> bool:
        """See :meth:`~tenantcollect.worker.places.Place.overdue`; the time of a window counts from its beginning."""
        if turn.deadline is None:
            if (future is not None and future.running()) or turn.age > BEGIN_WITHIN:
                turn.begin_window(turn.claim, self.worker.parts.timeout(turn.collector) + LATE)
            return False
        overdue = turn.overdue
        return (overdue or not turn.may_go_on()) and not self._moved_on(turn) and overdue

    def _moved_on(self, turn: Turn) -> bool:
        """Whether rows of the window became durable meanwhile: the database knows of a child's checkpoints. Behind a
        part that was sealed the turn ends, if the pass has no time for the rest: as between two windows.
        """
        try:
            state = next(iter(self.worker.parts.state.load([turn.lease.key])), None)
        except StorageError:
            return False
        claim = turn.claim
        if state is None or state.open_window is None or state.fence != claim.fence:
            return False
        if state.window_seq == claim.window_seq:
            return False
        turn.claim = evolve(claim, window_seq=state.window_seq, window=state.open_window)
        turn.extend()
        if state.open_window.start > claim.window.start and not turn.may_go_on():
            turn.cancel(WindowCancelled("The pass has no time for the rest of the window; a later one has."))
        return not turn.overdue

    def give_up(self, turn: Turn, future: Future[Any] | None) -> Outcome | None:
        """See :meth:`~tenantcollect.worker.places.Place.give_up`: the child is killed, where the executor can."""
        if future is not None:
            dying = future.cancel() and turn.unheard_for() < KILLED_BY_NOW_SECONDS
            if dying or future.done():
                return None
        first = turn.end(given_up=True)
        return self.worker.bury(turn, turn.cancelled or WindowTimedOut()) if first else None


def place_of(worker: Worker, executor: Executor | None, perform: Callable[[Errand], Report] | None) -> Place:
    """Where windows run: in threads, of ``executor`` or of our own; with ``perform``, wherever it runs calls."""
    if perform is None or executor is None:
        return Threads(worker, executor or DaemonThreads())
    return Children(worker=worker, executor=executor, perform=perform)


def run_errand(errand: Errand, worker: Worker, collector: Collector) -> Report:
    """Walk the one window of ``errand`` here, in a child. Raises only what ends the process."""
    events: list[Event] = []
    settings = evolve(worker.parts.settings, window_timeout=errand.timeout)
    parts = evolve(worker.parts, emit=events.append, settings=settings)
    with _Lines.collected(errand.log_level) as lines:
        try:
            turn = _turn(errand, parts.state, collector)
        except (ConfigurationError, StorageError) as error:
            return Report(outcome=None, error=Masker().storable(str(error)), usable=False)
        if turn is None:
            return Report(outcome=Outcome(key=errand.claim.key, lost=True))
        with _watched(turn, parts.state):
            outcome = evolve(worker, parts=parts).walk(turn, in_child=True)
    return Report(outcome=outcome, events=tuple(events), lines=tuple(lines))


def _turn(errand: Errand, state: State, collector: Collector) -> Turn | None:
    """The turn as a child walks it: one window, and no heartbeat; None if nobody may run it any more.

    Of a window that another child has begun, it is what is left. Raises :class:`ConfigurationError` where the claim
    is not known: the parent knows whether it has just lost it. Raises :class:`StorageError`.
    """
    claim: Claim | None = errand.claim
    found = next(iter(patiently(lambda: list(state.load([errand.claim.key])))), None)
    if found is None or found.fence != errand.claim.fence:
        raise ConfigurationError(f"this orchestrator is on another database: {errand.claim.key} was not claimed there")
    if found.window_seq != errand.claim.window_seq:
        claim = state.standing(errand.claim)
    if claim is None or found.open_window is None:
        return None
    return Turn(
        lease=errand.lease,
        claim=claim,
        seen=errand.seen,
        state=found,
        collector=collector,
        revision=errand.revision,
        planned_at=errand.planned_at,
        ttl=errand.timeout + LATE,  # nobody beats here; the parent ends a child whose lease is lost
        dependents=errand.dependents,
        descendants=errand.descendants,
        next_step=_none,
        may_continue=bool,
    )


def _none(_: object) -> Window | None:
    return None


@contextmanager
def _watched(turn: Turn, state: State) -> Iterator[None]:
    """Beside the window: cancel it when it is overdue, and store its progress."""
    over = threading.Event()

    def watch() -> None:
        told = None
        while not over.wait(LOOK_EVERY_SECONDS):
            if turn.overdue:
                turn.cancel(WindowTimedOut())
            if turn.progress and turn.progress != told:
                told = turn.progress
                try:
                    state.schedule.report({turn.lease.key: told})
                except StorageError as error:
                    logger.info("progress could not be stored: %s", error)

    watcher = threading.Thread(target=watch, name="tenantcollect-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(timeout=STORED_BY_NOW_SECONDS)


class _Lines(logging.Handler):
    """Keeps what the library and its collectors log, for the parent to say in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Line] = []
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; beyond a thousand they are counted."""
        if len(self.kept) < MOST_LINES:
            text = Masker().storable(self.format(record))
            self.kept.append(Line(logger=record.name, level=record.levelno, text=text))
        else:
            self.dropped += 1

    @classmethod
    @contextmanager
    def collected(cls, level: int) -> Iterator[list[Line]]:
        """What is logged inside, at ``level`` and above."""
        ours, handler = logging.getLogger("tenantcollect"), cls()
        before = ours.level
        ours.addHandler(handler)
        ours.setLevel(level)
        try:
            yield handler.kept
        finally:
            ours.setLevel(before)
            ours.removeHandler(handler)
            if handler.dropped:
                text = f"{handler.dropped} more lines of this window were dropped"
                handler.kept.append(Line(logger=logger.name, level=logging.WARNING, text=text))
