"""Whose turn it is to write, where a database has only one writer (floor: backends; PROTOCOL 2.10)."""

import threading
import time
from collections.abc import Callable

from tenantcollect.errors import Overloaded

__all__ = ["Patience", "Turns", "for_seconds"]

Patience = Callable[[], bool]
"""Whether to wait on."""

SLICE = 0.1


def for_seconds(seconds: float) -> Patience:
    """Wait that long, and no longer."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


class Turns:
    """The writers of this process queue here, as long as their own patience lasts, not SQLite's timeout."""

    def __init__(self, *, needed: bool) -> None:
        self._needed = needed
        self._lock = threading.Lock()
        self._writer: int | None = None

    def take(self, patience: Patience) -> None:
        """Wait for the turn; raises :class:`Overloaded` when ``patience`` ends, or the turn can never come."""
        if not self._needed:
            return
        if self._writer == threading.get_ident():
            raise Overloaded("The window of this thread is writing to the SQLite database; nobody else can.")
        while not self._lock.acquire(timeout=SLICE):
            if not patience():
                raise Overloaded("Another window of this process is writing to the SQLite database.")
        self._writer = threading.get_ident()

    def end(self) -> None:
        """Let the next one go on; from any thread."""
        if self._needed:
            self._writer = None
            self._lock.release()
