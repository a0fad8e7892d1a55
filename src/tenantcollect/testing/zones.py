"""Another time zone for this process (floor: testing)."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["local_zone"]


@contextmanager
def local_zone(name: str) -> Iterator[None]:
    """The process's own time zone is ``name``; where a system cannot change it, it stays."""
    before = os.environ.get("TZ")
    try:
        _set(name)
        yield
    finally:
        _set(before)


def _set(name: str | None) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    if hasattr(time, "tzset"):
        time.tzset()
