"""What has gone wrong with a window, and what its errors mean because of it (floor: backends; PROTOCOL 5)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import WeakSet

from attrs import define, field

from tenantcollect.backends.sql.errors import (
    FAILED_STATEMENT,
    SHARED_FAULTS,
    cause_of,
    described,
    meaning,
    translated,
    unsealed,
)
from tenantcollect.errors import IsolationRefused, TenantcollectError, TransactionBroken

__all__ = ["Verdict"]


@define(eq=False)
class Verdict:
    """``broken`` = what the collector did to the transaction; ``failed`` = a statement failed, and nothing undid it."""

    broken: TransactionBroken | None = None
    failed: bool = False
    _told: WeakSet[BaseException] = field(factory=WeakSet)
    _met: WeakSet[BaseException] = field(factory=WeakSet)

    @property
    def lost(self) -> bool:
        """Whether nothing of the window can be kept."""
        return self.broken is not None or self.failed

    def error(self) -> TransactionBroken:
        """What a window that is lost is told."""
        return self.broken or TransactionBroken(FAILED_STATEMENT)

    def met(self, error: BaseException) -> None:
        """Remember that a statement of the window met ``error``: a collector may have databases of its own, whose
        faults say nothing of this one (G4).
        """
        with suppress(TypeError):  # what cannot be referred to so is Python's own, and no database's
            self._met.add(cause_of(error))

    def of(self, error: BaseException) -> BaseException:
        """What ``error``, which left the collector, means."""
        if isinstance(error, TenantcollectError):
            return error
        meant = meaning(error)
        if self.broken is not None or (self.failed and meant is TransactionBroken):
            return self.error()
        if cause_of(error) not in self._met and not unsealed(error):
            return error
        if meant is IsolationRefused:
            return IsolationRefused(f"{IsolationRefused()} ({described(error)})")
        return translated(error, ours=False) if meant in SHARED_FAULTS else error

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What is raised in here is the database's word, which a collector only passes on."""
        try:
            yield
        except TenantcollectError as error:
            self._told.add(error)
            raise

    def told(self, error: BaseException) -> bool:
        """Whether ``error`` was raised by the window itself."""
        return error in self._told
