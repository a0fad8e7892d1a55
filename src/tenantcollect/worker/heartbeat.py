"""One thread that keeps all leases of this process alive (PROTOCOL 4)."""

import logging
import random
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self

from attrs import define, field

from tenantcollect.errors import LeaseLost, Overloaded, TenantcollectError
from tenantcollect.keys import Key
from tenantcollect.locks import Locks
from tenantcollect.schedule import Schedule
from tenantcollect.worker.turn import Turn

__all__ = ["Heartbeat"]

logger = logging.getLogger("tenantcollect.worker")


@define(eq=False)
class Heartbeat:
    """Renews every quarter of the TTL; a lease that is lost cancels its window.

    A beat that fails is no lost lease: nobody is told anything until the TTL has passed without one.
    """

    locks: Locks
    schedule: Schedule
    ttl: timedelta
    _turns: dict[Key, Turn] = field(factory=dict)
    _reported: dict[Key, str] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock)
    _stop: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=self.ttl.total_seconds())

    def watch(self, turn: Turn) -> None:
        """Keep the lease of ``turn`` alive until it is let go."""
        with self._lock:
            self._turns[turn.lease.key] = turn
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tenantcollect-heartbeat", daemon=True)
                self._thread.start()

    def let_go(self, key: Key) -> None:
        """Renew the lease of ``key`` no more."""
        with self._lock:
            self._turns.pop(key, None)
            self._reported.pop(key, None)

    def beat(self) -> None:
        """Renew all leases once, and report progress that changed."""
        with self._lock:
            turns = {key: turn for key, turn in self._turns.items() if not turn.overdue and not turn.ended}
        if not turns:
            return
        sent_at = time.monotonic()
        try:
            held = self.locks.renew([turn.lease for turn in turns.values()], ttl=self.ttl)
        except TenantcollectError as error:
            logger.warning("the leases could not be renewed: %s", error)
            # One writer at work keeps everybody from the leases, also those who would take them (PROTOCOL 2.10).
            for turn in () if isinstance(error, Overloaded) else turns.values():
                if turn.expired:
                    turn.cancel(LeaseLost("The lease could not be renewed in time; the window is given up."))
            return
        for key, turn in turns.items():
            if key in held:
                turn.beaten_at = sent_at
            else:
                turn.cancel(LeaseLost())
        self._report(turns)

    def _report(self, turns: Mapping[Key, Turn]) -> None:
        news = {k: t.progress for k, t in turns.items() if t.progress and t.progress != self._reported.get(k)}
        if news:
            try:
                self.schedule.report(news)
                self._reported.update(news)
            except TenantcollectError as error:
                logger.warning("progress could not be stored: %s", error)

    def _run(self) -> None:
        while not self._stop.wait(self.ttl.total_seconds() / 4 * random.uniform(0.9, 1.1)):  # noqa: S311 - spreads load
            try:
                self.beat()
            except Exception:
                logger.exception("the heartbeat failed; it goes on")
