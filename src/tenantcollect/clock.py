"""The time that planning uses, when the host injects none (floor: survey)."""

import time
from datetime import datetime, timedelta

from tenantcollect.errors import StorageError
from tenantcollect.state import State

__all__ = ["DatabaseClock"]

READ_AGAIN_AFTER_SECONDS = 60


class DatabaseClock:
    """The database's time, asked once a minute and carried on by the monotonic clock in between (PROTOCOL 2.9)."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._read: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """Now, in UTC. Raises :class:`StorageError` only if the database was never reached."""
        if self._read is None or time.monotonic() - self._read[1] > READ_AGAIN_AFTER_SECONDS:
            try:
                self._read = self._state.now(), time.monotonic()
            except StorageError:
                if self._read is None:
                    raise
        moment, at = self._read
        return moment + timedelta(seconds=time.monotonic() - at)
