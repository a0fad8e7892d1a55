"""Another time zone for this process (floor: testing)."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["FAR_ZONES", "local_zone"]

FAR_ZONES = {"Pacific/Kiritimati": "EAST-14", "Pacific/Marquesas": "WEST+9:30"}
"""A day ahead of UTC for most of the day, and a day behind; each with what says so where a system knows no names."""


@contextmanager
def local_zone(name: str) -> Iterator[None]:
    """The process's own time zone is ``name``; where a system cannot change it, it stays."""
    before = os.environ.get("TZ")
    try:
        _set(name)
        if name in FAR_ZONES and not time.localtime().tm_gmtoff:
            _set(FAR_ZONES[name])
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
