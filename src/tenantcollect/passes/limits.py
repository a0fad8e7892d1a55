"""How much a pass may do."""

import threading
import time
from datetime import timedelta

from attrs import converters, define, field

from tenantcollect.settings import duration, whole_number

__all__ = ["Limits"]


def _max_windows(value: object) -> int:
    return whole_number(value, "max_windows", least=1)


def _max_duration(value: object) -> timedelta:
    return duration(value, "max_duration", least=timedelta())


@define
class Limits:
    """How much a pass may do; windows are taken one by one, from any thread. Raises :class:`ConfigurationError`."""

    max_windows: int | None = field(default=None, converter=converters.optional(_max_windows))
    max_duration: timedelta | None = field(default=None, converter=converters.optional(_max_duration))
    _started: float = field(factory=time.monotonic)
    _taken: int = 0
    _lock: threading.Lock = field(factory=threading.Lock)

    def take(self) -> bool:
        """Take one window from the budget, if there is one left and time too."""
        with self._lock:
            if self.spent:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        """Return a window that was not run."""
        with self._lock:
            self._taken -= 1

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        age = time.monotonic() - self._started
        return self.max_duration is not None and age >= self.max_duration.total_seconds()

    @property
    def spent(self) -> bool:
        """Whether no further window may be begun."""
        return self.late or (self.max_windows is not None and self._taken >= self.max_windows)
