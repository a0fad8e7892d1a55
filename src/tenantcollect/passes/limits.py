"""How much a pass may do."""

import threading
import time

from attrs import define, field

__all__ = ["Limits"]


@define
class Limits:
    """How much a pass may do; windows are taken one by one, from any thread."""

    max_windows: int | None = None
    max_seconds: float | None = None
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
