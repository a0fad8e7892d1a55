"""How much a pass may do."""

import threading
import time
from typing import Any

from attrs import define, field

from tenantcollect.errors import ConfigurationError

__all__ = ["Limits"]


def _whole(_: object, __: object, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigurationError(f"max_windows must be a whole number of at least 1, not {ascii(value)[:40]}")


def _length(_: object, __: object, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and value >= 0):
        raise ConfigurationError(f"max_duration must be a number of seconds of at least 0, not {ascii(value)[:40]}")


@define
class Limits:
    """How much a pass may do; windows are taken one by one, from any thread. Raises :class:`ConfigurationError`."""

    max_windows: int | None = field(default=None, validator=_whole)
    max_seconds: float | None = field(default=None, validator=_length)
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
    def spent(self) -> bool:
        """Whether no further window may be begun."""
        late = self.max_seconds is not None and time.monotonic() - self._started >= self.max_seconds
        return late or (self.max_windows is not None and self._taken >= self.max_windows)
