"""State, leases and catalog in dicts under one lock: for tests and for trying things out (floor: backends).

It keeps every promise of the contracts but durability and ``db``: a window here can write no rows.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self

from tenantcollect.backends.memory.catalog import MemoryCatalog
from tenantcollect.backends.memory.locks import MemoryLocks
from tenantcollect.backends.memory.schedule import MemoryHolds, MemorySchedule
from tenantcollect.backends.memory.state import MemoryState
from tenantcollect.backends.memory.tables import Store
from tenantcollect.schema import Schema

__all__ = ["MemoryBackend"]


def _go_on(_: str) -> None:
    """No crash."""


class MemoryBackend:
    """Everything an orchestrator stores, in one process.

    ``clock`` times leases and state (aware UTC). ``crash`` is told when the points ``after_open``,
    ``before_commit`` and ``after_commit`` are reached; what it raises simulates a crash there.
    """

    schema: Schema | None = None

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] | None = None,
        crash: Callable[[str], object] | None = None,
    ) -> None:
        self._serve(Store(clock or (lambda: datetime.now(UTC))), crash)

    def beside(self, *, crash: Callable[[str], object] | None = None) -> Self:
        """A second backend on the same data, as another process would have it."""
        other = type(self)()
        other._serve(self._store, crash)
        return other

    def _serve(self, store: Store, crash: Callable[[str], object] | None) -> None:
        self._store = store
        self.locks = MemoryLocks(store)
        self.state = MemoryState(store, MemorySchedule(store), MemoryHolds(store), crash or _go_on)
        self.catalog = MemoryCatalog(store)

    def close(self) -> None:
        """There is nothing to give back."""
