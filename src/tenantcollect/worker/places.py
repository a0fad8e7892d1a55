"""Where windows run: in threads of this process, with objects (floor: engine). Other places: ``errands``."""

from concurrent.futures import Executor, Future
from typing import Any, Protocol

from attrs import frozen

from tenantcollect.errors import WindowCancelled
from tenantcollect.worker.turn import Turn
from tenantcollect.worker.worker import Outcome, Worker

__all__ = ["Place", "Threads"]


class Place(Protocol):
    """1. ``start`` returns at once. 2. Every turn that was started is ended once, by ``ended`` or ``give_up``."""

    def start(self, turn: Turn) -> Future[Any]:
        """Begin to walk ``turn``."""
        ...

    def ended(self, turn: Turn, future: Future[Any]) -> Outcome:
        """How the walk ended whose ``future`` is done. Raises nothing."""
        ...

    def overdue(self, turn: Turn, future: Future[Any] | None) -> bool:
        """Whether the window has used up its time; asked again and again while it runs."""
        ...

    def give_up(self, turn: Turn, future: Future[Any] | None) -> Outcome | None:
        """End a turn that was told to end and does not, or was never started (no future); None if it is ending."""
        ...


@frozen
class Threads:
    """Windows run in this process; one that hangs is left behind with its thread, and fenced off."""

    worker: Worker
    executor: Executor

    def start(self, turn: Turn) -> Future[Any]:
        """See :meth:`Place.start`."""
        return self.executor.submit(self.worker.walk, turn)

    def ended(self, turn: Turn, future: Future[Any]) -> Outcome:
        """See :meth:`Place.ended`; an executor that was shut down has cancelled what it had not begun."""
        if future.cancelled():
            return self.worker.bury(turn, turn.cancelled or WindowCancelled("The executor was shut down."))
        if (error := future.exception()) is not None:
            return self.worker.bury(turn, turn.cancelled or error)
        outcome: Outcome = future.result()
        return outcome

    def overdue(self, turn: Turn, future: Future[Any] | None) -> bool:  # noqa: ARG002 - the thread times itself
        """See :meth:`Place.overdue`."""
        return turn.overdue

    def give_up(self, turn: Turn, future: Future[Any] | None) -> Outcome | None:
        """See :meth:`Place.give_up`."""
        if future is not None:
            future.cancel()
        return self.worker.give_up(turn)
