"""One run of a window under the harness: the points it has passed, and what it was told (floor: testing)."""

from collections.abc import Callable
from typing import Any

from attrs import define, field

from tenantcollect.collectors import Collector
from tenantcollect.errors import ConfigurationError, LeaseLost, WindowCancelled
from tenantcollect.keys import Key
from tenantcollect.testing.watching import Sent, WatchedContext
from tenantcollect.worker import Turn

__all__ = ["Running"]


@define(kw_only=True, eq=False)
class Running:
    """What a run is seen to do, and how it is reached from outside.

    ``points`` are those it has passed, ``said`` its words and ``kept`` what each checkpoint was to store, unmasked,
    ``sent`` the statements. ``mistake`` is one of the test's own, which no collector may swallow.
    """

    key: Key | None = None
    at: Callable[[str], object] | None = None
    points: list[str] = field(factory=list)
    said: list[str] = field(factory=list)
    kept: list[str] = field(factory=list)
    sent: Sent = field(factory=Sent)
    turn: Turn | None = None
    mistake: ConfigurationError | None = None
    _told: WindowCancelled | LeaseLost | None = None

    def reached(self, point: str) -> None:
        """Note that a point is reached, and do there what the test wants."""
        self.points.append(point)
        if self.at is not None:
            self.at(point)

    def began(self, turn: Turn) -> Turn:
        """The turn is made: what it was told while it was being opened, it is told now."""
        self.turn = turn
        if self._told is not None:
            turn.cancel(self._told)
        return turn

    def over(self) -> None:
        """The run has ended: nothing happens at its points any more, and its transaction is gone."""
        self.at = None
        if self.turn is not None and self.turn.transaction is not None:
            self.turn.transaction.abandon()

    def tell(self, why: WindowCancelled | LeaseLost) -> None:
        """Tell the window to end, as a pass that stops or a heartbeat does."""
        self._told = self._told or why
        if self.turn is not None:
            self.turn.cancel(self._told)

    def refuse(self, words: str) -> ConfigurationError:
        """A mistake of the test, to be raised here and at the end of the run."""
        self.mistake = ConfigurationError(words)
        return self.mistake

    def watching(self, collector: Collector) -> Callable[..., int | None]:
        """The collector's ``run``, seen from outside."""

        def run(*, db: Any, context: Any, **arguments: Any) -> int | None:
            if db is not None:
                self.sent.watch(db)
            self.reached("run")
            seen = WatchedContext(context, self.reached, self.said, self.kept)
            records = collector.run(db=db, context=seen, **arguments)
            self.reached("returned")
            return records

        return run
