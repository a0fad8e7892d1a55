"""An overloaded database is asked again, not given up: what was refused was certainly not applied (PROTOCOL 5)."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from tenantcollect.errors import Overloaded

__all__ = ["PATIENCE_SECONDS", "patiently", "pause"]

PATIENCE_SECONDS = 60.0

T = TypeVar("T")


def patiently(act: Callable[[], T]) -> T:
    """What ``act`` returns; while the database is overloaded it is tried again, for a minute at most."""
    began = time.monotonic()
    while True:
        try:
            return act()
        except Overloaded:
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise
            pause()


def pause() -> None:
    """Let others go first, for a random moment."""
    time.sleep(random.uniform(0.02, 0.25))  # noqa: S311 - spreads those who wait
