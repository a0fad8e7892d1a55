"""Clocks that a test moves by hand (floor: testing)."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from threading import Lock
from typing import Any, Self

from tenantcollect.windows import utc

__all__ = ["VirtualClock", "skewed_clock"]

DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """A clock that stands still until it is moved; call it for the time (aware UTC)."""

    def __init__(self, start: datetime = DEFAULT_START) -> None:
        self._now = utc(start)
        self._lock = Lock()

    def __call__(self) -> datetime:
        with self._lock:
            return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move the clock by ``by``, also backwards; the new time."""
        with self._lock:
            self._now += by
            return self._now


@contextmanager
def skewed_clock(by: timedelta) -> Iterator[None]:
    """This process's wall clock, as every loaded module of tenantcollect sees it, wrong by ``by``."""
    real, skewed = datetime, _skewed(by)
    places = [
        (module, name)
        for module in tuple(sys.modules.values())
        if getattr(module, "__name__", "").startswith("tenantcollect.")
        for name, value in tuple(vars(module).items())
        if value is real and module.__name__ != __name__
    ]
    real_time = time.time
    try:
        time.time = lambda: real_time() + by.total_seconds()
        for module, name in places:
            setattr(module, name, skewed)
        yield
    finally:
        time.time = real_time
        for module, name in places:
            setattr(module, name, real)


class _AnyDatetime(type):
    """What the database returned is still an instance of datetime while the name means another class."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


def _skewed(by: timedelta) -> type[datetime]:
    class Skewed(datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return datetime.now(tz) + by  # type: ignore[return-value]

    return Skewed
