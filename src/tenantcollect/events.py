"""What happened, for metrics, alerts and progress bars (floor: contracts).

Each event is sent once per transition, after the fact it tells is durable, by the orchestrator that made it. What time
alone brings about, :class:`KeyStale`, every orchestrator tells that sees it. A subscriber that raises is logged and
hurts nobody else.
"""

import logging
import sys
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Self

from attrs import define, field, frozen

from tenantcollect.keys import Key
from tenantcollect.schedule import Hold
from tenantcollect.windows import Window

__all__ = [
    "Event",
    "Events",
    "HoldLifted",
    "HoldPlaced",
    "KeyStale",
    "PassFinished",
    "PassStarted",
    "WindowCommitted",
    "WindowFailed",
]

logger = logging.getLogger("tenantcollect.events")


@frozen(kw_only=True)
class PassStarted:
    """A pass began; ``at`` is the ``now`` it plans with (UTC)."""

    at: datetime


@frozen(kw_only=True)
class PassFinished:
    """A pass ended, with the number of windows that were sealed and that failed."""

    at: datetime
    completed: int
    failed: int


@frozen(kw_only=True)
class WindowCommitted:
    """A window was sealed: its rows, coverage, cursor and history are durable."""

    key: Key
    window: Window
    records: int | None
    attempt: int
    seconds: float


@frozen(kw_only=True)
class WindowFailed:
    """A window was attempted and not sealed; ``reason`` runnable = it is tried again at once. ``error`` is masked."""

    key: Key
    window: Window
    reason: str
    error: str
    attempt: int


@frozen(kw_only=True)
class HoldPlaced:
    """A reason not to run was placed: ``script`` None = the whole source, ``until`` None = until lifted."""

    tenant_id: str
    data_source: str
    script: str | None
    reason: str
    until: datetime | None
    detail: str

    @classmethod
    def of(cls, hold: Hold) -> Self:
        """The event of a new hold."""
        return cls(
            tenant_id=hold.tenant_id,
            data_source=hold.data_source,
            script=hold.script,
            reason=hold.reason,
            until=hold.until,
            detail=hold.detail,
        )


@frozen(kw_only=True)
class HoldLifted:
    """A reason not to run went away."""

    tenant_id: str
    data_source: str
    script: str | None
    reason: str

    @classmethod
    def of(cls, hold: Hold) -> Self:
        """The event of a hold that went away."""
        return cls(tenant_id=hold.tenant_id, data_source=hold.data_source, script=hold.script, reason=hold.reason)


@frozen(kw_only=True)
class KeyStale:
    """A key fell further behind than three of its intervals; each orchestrator that sees it tells it once."""

    key: Key
    fresh_until: datetime | None


Event = PassStarted | PassFinished | WindowCommitted | WindowFailed | HoldPlaced | HoldLifted | KeyStale


@define(eq=False)
class Events:
    """The subscribers of one orchestrator."""

    _subscribers: dict[object, Callable[[Event], object]] = field(factory=dict)
    _lock: Lock = field(factory=Lock)

    def subscribe(self, subscriber: Callable[[Event], object]) -> Callable[[], None]:
        """Call ``subscriber`` with every event from now on, in the event's thread; returns the way out."""
        ticket = object()
        with self._lock:
            self._subscribers[ticket] = subscriber
        return lambda: self._unsubscribe(ticket)

    def emit(self, event: Event) -> None:
        """Hand ``event`` to every subscriber; one that raises is logged."""
        with self._lock:
            subscribers = tuple(self._subscribers.values())
        handled = sys.exception()
        for subscriber in subscribers:
            try:
                subscriber(event)
            except Exception as error:
                # What was being handled meanwhile may be a collector's error, whose secrets nobody masked.
                _forget(handled, error)
                logger.exception("a subscriber failed on %s", type(event).__name__)

    def _unsubscribe(self, ticket: object) -> None:
        with self._lock:
            self._subscribers.pop(ticket, None)


def _forget(handled: BaseException | None, error: BaseException) -> None:
    """Take ``handled``, in whose context ``error`` was raised, out of all that led to it."""
    seen: set[int] = set()
    queue = [error]
    while queue:
        one = queue.pop()
        if id(one) not in seen:
            seen.add(id(one))
            one.__context__ = None if one.__context__ is handled else one.__context__
            members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            queue += [other for other in (one.__cause__, one.__context__, *members) if other is not None]
