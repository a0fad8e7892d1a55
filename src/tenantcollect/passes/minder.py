"""Ends what does not end by itself, beside the pass: a pass that waits for the database could not."""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from attrs import define, field

from tenantcollect.errors import WindowCancelled, WindowTimedOut
from tenantcollect.worker import Outcome, Place, Turn

__all__ = ["Minder"]

logger = logging.getLogger("tenantcollect.passes")

LOOK_EVERY_SECONDS = 0.25
PATIENCE_SECONDS = 1.0
"""How long a window that was told to end is given to do so before it is ended without its help."""


@define(kw_only=True, eq=False)
class Minder:
    """Watches the turns of one pass. ``may_wait`` False = the grace of a stopped pass is over."""

    place: Place
    flying: Mapping[Turn, Future[Any] | None]
    may_wait: Callable[[], bool]
    given_up: dict[Turn, Outcome] = field(factory=dict)
    """How those turns ended that did not end by themselves; the pass takes them from here."""
    _stop: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Watch from now on; an idle pass needs no thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tenantcollect-minder", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Watch no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY_SECONDS):
            turns = [turn for turn in tuple(self.flying) if turn not in self.given_up]
            for look in (self._tell, self._let_go, self._give_up):
                for turn in turns:
                    try:
                        look(turn)
                    except Exception:
                        logger.exception("[%s] the turn could not be minded", turn.lease.key)

    def _tell(self, turn: Turn) -> None:
        """Tell a window whose time is up to end."""
        if not self.may_wait():
            turn.cancel(WindowCancelled("The pass was told to stop."))
        elif self.place.overdue(turn, self.flying.get(turn)):
            turn.cancel(WindowTimedOut())

    def _hopeless(self, turn: Turn) -> bool:
        """Whether the window was told to end, and does not."""
        never_began = self.flying.get(turn) is None
        return turn.cancelled is not None and (never_began or turn.unheard_for() > PATIENCE_SECONDS)

    def _let_go(self, turn: Turn) -> None:
        """Take the transaction from a hopeless window before any is ended: where only one may write, the end of each
        would wait for the one that has its turn.
        """
        if turn.transaction is not None and self._hopeless(turn):
            turn.transaction.abandon()

    def _give_up(self, turn: Turn) -> None:
        """End the turn of a hopeless window."""
        if self._hopeless(turn):
            outcome = self.place.give_up(turn, self.flying.get(turn))
            if outcome is not None:
                self.given_up[turn] = outcome
