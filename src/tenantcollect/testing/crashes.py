"""What a backend's named crash points can be made to do (floor: testing).

Give one of these as ``crash`` to a backend; it is called with the name of each point that is reached.
"""

import os
from collections.abc import Callable
from threading import Event

from attrs import define, field, frozen

from tenantcollect.errors import OutcomeUnknown

__all__ = ["EXIT_CODE", "POINTS", "At", "CrashAt", "Crashed", "DieAt", "LoseConnection", "StallAt"]

POINTS = ("after_open", "after_run", "after_fence", "after_history", "before_commit", "after_commit")
EXIT_CODE = 77
LONGEST_STALL = 60.0


class Crashed(BaseException):
    """The process would have ended here; no ordinary except clause catches it."""


@frozen
class At:
    """Does something at a point, each time it is reached."""

    point: str
    act: Callable[[], object]

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.act()


@frozen
class CrashAt:
    """Raises :class:`Crashed` at a point."""

    point: str

    def __call__(self, point: str) -> None:
        if point == self.point:
            raise Crashed(point)


@frozen
class DieAt:
    """Ends the process at a point, at once, as ``kill -9`` does."""

    point: str

    def __call__(self, point: str) -> None:
        if point == self.point:
            os._exit(EXIT_CODE)


@frozen
class LoseConnection:
    """Raises :class:`OutcomeUnknown` at a point: before the commit it never arrives, after it the reply is lost."""

    point: str

    def __call__(self, point: str) -> None:
        if point == self.point:
            raise OutcomeUnknown


@define
class StallAt:
    """Stops at a point from when it is armed until told to go on."""

    point: str
    reached: Event = field(factory=Event)
    go_on: Event = field(factory=Event)

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.reached.set()
            self.go_on.wait(LONGEST_STALL)
