"""Where windows run: in threads of this process, with objects (floor: engine). Other places: ``errands``."""

from concurrent.futures import Executor, Future
from typing import Any, Protocol

from attrs import frozen

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

    def moved_on(self, turn: Turn, future: Future[Any] | None) -> bool:
        """Whether an overdue turn has more time after all: it has just begun, or something of it became durable."""
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

    def ended(self, turn: Turn, future: Future[Any]) -> Outcome:  # noqa: ARG002 - the walk has ended its turn
        """See :meth:`Place.ended`."""
        outcome: Outcome = future.result()
        return outcome

    def moved_on(self, turn: Turn, future: Future[Any] | None) -> bool:  # noqa: ARG002 - it extends its own turn
        """See :meth:`Place.moved_on`."""
        return False

    def give_up(self, turn: Turn, future: Future[Any] | None) -> Outcome | None:
        """See :meth:`Place.give_up`."""
        if future is not None:
            future.cancel()
        return self.worker.give_up(turn)
