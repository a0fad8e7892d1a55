"""What a conformance suite needs of a backend besides the backend (floor: testing).

A suite names the capabilities it needs test by test; a backend's test class names those it has, and what it
has not is skipped with that reason::

    sql                 db writes rows into a table, which the harness reads back by a connection of its own
    concurrent_writers  somebody else may write while the transaction of a window is open
    postgresql          the server itself enforces the protocol
    processes           other processes can open the same store; ``factory`` builds their backend
    own_clock           the backend's clock times leases, not the wall clock of the Python process
    unreachable         the harness can make a backend whose store is down
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from socket import socket
from typing import Any, ClassVar, Protocol

from tenantcollect.backends.memory import MemoryBackend
from tenantcollect.catalog import EditableCatalog
from tenantcollect.keys import Key
from tenantcollect.locks import LONGEST_TTL, Locks
from tenantcollect.schema import Schema
from tenantcollect.state import State, WindowTransaction
from tenantcollect.testing.clock import VirtualClock

__all__ = ["Backend", "Crash", "Factory", "Harness", "MemoryHarness", "Row"]

Crash = Callable[[str], object]
Row = tuple[str, int]
"""The tenant a row was written for, and its number."""


class Backend(Protocol):
    """Everything one technology stores for an orchestrator."""

    @property
    def locks(self) -> Locks:
        """The leases."""
        ...

    @property
    def state(self) -> State:
        """The state of every key."""
        ...

    @property
    def catalog(self) -> EditableCatalog:
        """The configured sources."""
        ...

    @property
    def schema(self) -> Schema | None:
        """The tables, if there are any."""
        ...

    def close(self) -> None:
        """Give back what the backend itself opened."""
        ...


class Factory(Protocol):
    """How another process builds its backend on the same store; it can be pickled."""

    def __call__(self, *, crash: Crash | None = None) -> Backend:
        """A backend of its own, with connections of its own."""
        ...


class Harness(ABC):
    """A fresh store with one backend on it. What belongs to a capability is implemented with it."""

    capabilities: ClassVar[frozenset[str]] = frozenset()

    @property
    @abstractmethod
    def backend(self) -> Backend:
        """The backend under test."""

    @abstractmethod
    def beside(self, *, crash: Crash | None = None, isolation: str | None = None) -> Backend:
        """Another backend on the same store, as another process has it; closed with the harness.

        ``isolation`` is what its database sessions would use if nobody said anything (postgresql).
        """

    @abstractmethod
    def expire(self, keys: Collection[Key]) -> None:
        """Let the leases of ``keys`` be over now."""

    def prepare(self, keys: Collection[Key]) -> None:  # noqa: B027 (most need nothing)
        """Make what a lease of ``keys`` needs to exist, if anything."""

    def close(self) -> None:  # noqa: B027 (as above)
        """Close every backend this harness made."""

    @property
    def factory(self) -> Factory:
        """How other processes open the store (processes)."""
        raise NotImplementedError("the capability processes needs this")

    def unreachable(self) -> Backend:
        """A backend whose store is down (unreachable)."""
        raise NotImplementedError("the capability unreachable needs this")

    @staticmethod
    def write(transaction: WindowTransaction, *numbers: int) -> None:
        """What a collector would do: insert one row per number through ``db``; also in a child (sql)."""
        raise NotImplementedError("the capability sql needs this")

    def mark(self, transaction: WindowTransaction, mark: str) -> None:
        """Insert a row numbered 0 with a mark, which may be there only once (sql)."""
        raise NotImplementedError("the capability sql needs this")

    def rows(self) -> list[Row]:
        """The rows that are durable, sorted, read by a connection of its own (sql)."""
        raise NotImplementedError("the capability sql needs this")

    def driver(self, transaction: WindowTransaction) -> Any:
        """The driver's own connection, which lies below ``db`` (sql)."""
        raise NotImplementedError("the capability sql needs this")

    def line(self, transaction: WindowTransaction) -> socket:
        """The network line to the server that the window's transaction uses, to be cut (postgresql)."""
        raise NotImplementedError("the capability postgresql needs this")

    def script(self, transaction: WindowTransaction, statements: Sequence[str]) -> None:
        """Send several statements in one call of the driver (sql)."""
        raise NotImplementedError("the capability sql needs this")

    def spoil(self, key: Key, coverage: str) -> None:
        """Overwrite the stored coverage of ``key`` by hand (sql)."""
        raise NotImplementedError("the capability sql needs this")

    def state_backup(self) -> Any:
        """The state rows as they are now, for :meth:`restore` (sql)."""
        raise NotImplementedError("the capability sql needs this")

    def restore(self, backup: Any) -> None:
        """Put the state rows of a backup back, and nothing else (sql)."""
        raise NotImplementedError("the capability sql needs this")

    def terminate(self, token: str) -> int:
        """End the database sessions whose transaction holds ``token``; how many there were (postgresql)."""
        raise NotImplementedError("the capability postgresql needs this")


class MemoryHarness(Harness):
    """The memory backend on a virtual clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self._backend = MemoryBackend(clock=self._tick)

    def _tick(self) -> Any:
        """Every reading is a little later than the one before, as on a real clock."""
        return self.clock.advance(timedelta(microseconds=1))

    @property
    def backend(self) -> Backend:
        return self._backend

    def beside(self, *, crash: Crash | None = None, isolation: str | None = None) -> Backend:
        if isolation:
            raise NotImplementedError("the capability postgresql needs this")
        return self._backend.beside(crash=crash)

    def expire(self, keys: Collection[Key]) -> None:
        if self._backend.locks.holders(keys):
            self.clock.advance(LONGEST_TTL)
