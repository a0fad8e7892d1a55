"""What can be made to happen at a named point of a window (floor: testing).

Give one of these as ``at`` to a run of :class:`CollectorHarness`, or as ``crash`` to a backend; it is called with the
name of each point that is reached.
"""

import os
from collections.abc import Callable
from threading import Event

from attrs import define, field

from tenantcollect.errors import ConfigurationError, OutcomeUnknown

__all__ = [
    "COLLECTOR_POINTS",
    "EXIT_CODE",
    "LOOKS",
    "POINTS",
    "At",
    "CrashAt",
    "Crashed",
    "DieAt",
    "LoseConnection",
    "StallAt",
]

POINTS = ("after_open", "after_run", "after_fence", "after_history", "before_commit", "after_commit")
"""The points of a backend, in this order; all but the first are passed again by each checkpoint."""
LOOKS = ("read", "checkpoint", "raise_if_cancelled")
"""The calls of a context that end a cancelled window."""
COLLECTOR_POINTS = (POINTS[0], "run", *LOOKS, "progress", "warn", "returned", *POINTS[1:])
"""Every point that a collector's window may pass, in this order; those of the context any number of times."""
EXIT_CODE = 77
LONGEST_STALL = 60.0


class Crashed(BaseException):
    """The process would have ended here; no ordinary except clause catches it."""


def _known(_instance: object, _attribute: object, point: str) -> None:
    """A point that no window passes would never be reached, and its test prove nothing."""
    if point not in COLLECTOR_POINTS:
        raise ConfigurationError(f"There is no point {point!r}; the points are {', '.join(COLLECTOR_POINTS)}.")


@define(eq=False)
class _AtPoint:
    """From the ``nth`` time on that a point is reached. Raises :class:`ConfigurationError` for an unknown point."""

    point: str = field(validator=_known)
    nth: int = field(default=1, kw_only=True)
    _times: int = field(default=0, init=False)

    def __call__(self, point: str) -> None:
        if point == self.point:
            self._times += 1
            if self._times >= self.nth:
                self.happen()

    def happen(self) -> object:
        """What happens there."""
        raise NotImplementedError


@define(eq=False)
class At(_AtPoint):
    """Does something at a point, each time it is reached from the ``nth`` on."""

    act: Callable[[], object]

    def happen(self) -> object:
        """Do it."""
        return self.act()


@define(eq=False)
class CrashAt(_AtPoint):
    """Raises :class:`Crashed` at a point, when it is reached for the ``nth`` time."""

    def happen(self) -> object:
        """Crash."""
        raise Crashed(self.point)


@define(eq=False)
class DieAt(_AtPoint):
    """Ends the process at a point, at once, as ``kill -9`` does."""

    def happen(self) -> object:
        """Die."""
        os._exit(EXIT_CODE)


@define(eq=False)
class LoseConnection(_AtPoint):
    """Raises :class:`OutcomeUnknown` at a point: before the commit it never arrives, after it the reply is lost."""

    def happen(self) -> object:
        """Let the answer be lost."""
        raise OutcomeUnknown


@define(eq=False)
class StallAt(_AtPoint):
    """Stops at a point from when it is armed until told to go on."""

    reached: Event = field(factory=Event)
    go_on: Event = field(factory=Event)

    def happen(self) -> object:
        """Wait."""
        self.reached.set()
        return self.go_on.wait(LONGEST_STALL)
