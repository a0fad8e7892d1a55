"""A key's turn: what one thread walks through, and what others may ask of it meanwhile."""

import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from attrs import define, field

from tenantcollect.collectors import Collector
from tenantcollect.errors import LeaseLost, WindowCancelled
from tenantcollect.keys import Key
from tenantcollect.locks import Lease
from tenantcollect.policy import Reason
from tenantcollect.schedule import Entry
from tenantcollect.state import Claim, Failure, KeyState, State, WindowTransaction
from tenantcollect.windows import Window

__all__ = ["Turn", "wake_dependents"]

MOST_TIMEOUTS = 10
"""How many times its timeout a window may take that goes on making rows, or parts of it, durable."""
NextStep = Callable[[KeyState], Window | datetime | None]


def _yes() -> bool:
    return True


@define(kw_only=True, eq=False)
class Turn:
    """A leased key, from its opening to its release; the walking thread, the heartbeat and the pass share it.

    ``seen`` is the schedule's row that it was claimed for. ``next_step`` plans what follows after a seal: a window, or
    when to look at the key again, None = at once. ``may_continue`` is asked before each further window, and
    ``may_go_on`` before what is left of a window whose part was sealed. ``stopping`` = the pass was told to stop.
    """

    lease: Lease
    claim: Claim
    seen: Entry
    state: KeyState
    collector: Collector
    revision: str
    planned_at: datetime
    ttl: timedelta
    dependents: Collection[Key]
    descendants: Collection[Key]
    next_step: NextStep
    may_continue: Callable[[], bool]
    may_go_on: Callable[[], bool] = _yes
    stopping: Callable[[], bool] = bool
    transaction: WindowTransaction | None = None
    thread: threading.Thread | None = None
    progress: str | None = None
    warnings: list[str] = field(factory=list)
    beaten_at: float = field(factory=time.monotonic)
    timeout: timedelta = timedelta()
    deadline: float | None = None
    woken_at: float = 0.0
    completed: int = 0
    due_at: datetime | None = None
    """When the key is due again, as far as the last seal has planned it."""
    given_up: bool = False
    _made_at: float = field(factory=time.monotonic)
    granted: bool = False
    """Whether ``may_continue`` was answered with yes, and the window it allowed has not begun."""
    _latest: float = 0.0
    _cancelled: WindowCancelled | LeaseLost | None = None
    _cancelled_at: float = 0.0
    _ended: bool = False
    _lock: threading.Lock = field(factory=threading.Lock)

    def failure(
        self, reason: Reason, error: str, *, retry_at: datetime | None = None, following: Claim | None = None
    ) -> Failure:
        """A stored attempt that says nothing new about the key's record; ``following`` begins at once."""
        return Failure(
            reason=reason,
            error=error,
            failed=False,
            failures=self.state.failures,
            first_failure_at=self.state.first_failure_at,
            retry_at=retry_at,
            window_limit=self.state.window_limit,
            warnings=tuple(self.warnings),
            next=following,
        )

    def begin_window(self, claim: Claim, timeout: timedelta) -> None:
        """Start the clock of a window: from now on it has ``timeout``."""
        self.claim = claim
        self.progress = None
        self.timeout = timeout
        self._latest = time.monotonic() + MOST_TIMEOUTS * timeout.total_seconds()
        self.extend()

    def extend(self) -> None:
        """Give the window its timeout once more, up to ten in all: rows of it, or a part, have just become durable,
        but no end of them is in sight.
        """
        self.deadline = min(time.monotonic() + self.timeout.total_seconds(), self._latest)

    @property
    def age(self) -> timedelta:
        """How long ago the turn was made."""
        return timedelta(seconds=time.monotonic() - self._made_at)

    @property
    def overdue(self) -> bool:
        """Whether the window that runs has used up its time."""
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def trusted(self) -> bool:
        """Whether a further window may be opened: a holder trusts its lease for 3/4 of the TTL (PROTOCOL 4)."""
        return time.monotonic() - self.beaten_at < 0.75 * self.ttl.total_seconds()

    @property
    def expired(self) -> bool:
        """Whether the lease was not renewed for a whole TTL."""
        return time.monotonic() - self.beaten_at > self.ttl.total_seconds()

    @property
    def cancelled(self) -> WindowCancelled | LeaseLost | None:
        """Why the window should end now, if it should."""
        return self._cancelled

    def cancel(self, why: WindowCancelled | LeaseLost) -> None:
        """Ask the window to end; the first reason stays."""
        with self._lock:
            if self._cancelled is None:
                self._cancelled, self._cancelled_at = why, time.monotonic()

    def unheard_for(self) -> float:
        """For how many seconds the window was told to end without doing so."""
        return time.monotonic() - self._cancelled_at if self._cancelled else 0.0

    def end(self, *, given_up: bool = False) -> bool:
        """True for the one caller who may end this turn: its own thread, or who gives it up from outside."""
        with self._lock:
            first, self._ended = not self._ended, True
            self.given_up = self.given_up or (first and given_up)
            return first

    @property
    def ended(self) -> bool:
        """Whether somebody has ended this turn."""
        return self._ended


def wake_dependents(state: State, turn: Turn, *, all_below: bool = False) -> None:
    """Let those that wait for this key look again; an autocommitted hint after the commit (PROTOCOL 2.6).

    ``all_below`` = their dependents too, for whom the root cause has changed.
    """
    keys = turn.descendants if all_below else turn.dependents
    if keys:
        state.schedule.wake(keys, at=turn.planned_at)
        turn.woken_at = time.monotonic()
