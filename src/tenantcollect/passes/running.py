"""The passes of one orchestrator: begun, told to stop, waited for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from attrs import define, field

from tenantcollect.errors import DatabaseUnavailable, SchemaNotCurrent, StorageError
from tenantcollect.events import PassFinished, PassStarted
from tenantcollect.keys import Selection
from tenantcollect.passes.engine import Engine
from tenantcollect.passes.limits import Limits
from tenantcollect.passes.sweep import Pass
from tenantcollect.reports import PassReport
from tenantcollect.worker import Heartbeat

__all__ = ["Passes"]

ENDING_SECONDS = 10.0
"""How long the end of a pass is awaited beyond the grace, for windows that are ended without their help."""
MOST_SYNCED = 1000
"""Of how many selections of tenants is remembered what they were synced with."""


@define(eq=False)
class _Running:
    """A pass that was asked for; ``sweep`` None = it has not begun yet."""

    stop: threading.Event = field(factory=threading.Event)
    thread: threading.Thread = field(factory=threading.current_thread)
    sweep: Pass | None = None

    def belongs_to(self, thread: threading.Thread) -> bool:
        """Whether ``thread`` is the pass's own, or walks one of its turns."""
        return thread is self.thread or (self.sweep is not None and self.sweep.runs_in(thread))


@define(kw_only=True)
class Passes:
    """Every pass that runs now. ``version`` is the catalog's; the installed collectors are those of the process."""

    engine: Engine
    clock: Callable[[], datetime]
    version: Callable[[], object]
    _running: "set[_Running]" = field(factory=set)
    _quiet: threading.Condition = field(factory=threading.Condition)
    _synced: dict[frozenset[str] | None, object] = field(factory=dict)
    """The version that each selection of tenants was last synced with."""

    def run(self, selection: Selection, limits: Limits) -> PassReport:
        """One pass, from its first claim to its report; no thread, child or lease of it is left (but a hung one)."""
        engine, settings = self.engine, self.engine.settings
        with self._counted() as running, Heartbeat(engine.locks, engine.state.schedule, settings.lease_ttl) as beats:
            now = completed_at = self.clock()
            this = running.sweep = Pass(
                engine=engine, selection=selection, now=now, limits=limits, heartbeat=beats, stop=running.stop
            )
            engine.emit(PassStarted(at=now))
            down = None
            try:
                down = self._sync(this) or this.sweep()
                completed_at = max(self.clock(), now)
            finally:
                report = this.tally.report(now, completed_at, down)
                windows = report.windows
                engine.emit(PassFinished(at=completed_at, completed=windows.completed, failed=windows.failed))
        return report

    def stop(self) -> None:
        """Claim nothing more; passes end after their open windows, or after the grace. From any thread."""
        for running in tuple(self._running):
            running.stop.set()

    def end(self) -> None:
        """Stop, and wait until no pass runs but one that this very thread belongs to (a subscriber may ask)."""
        self.stop()
        me = threading.current_thread()
        with self._quiet:
            self._quiet.wait_for(
                lambda: all(running.belongs_to(me) for running in self._running),
                timeout=self.engine.settings.grace.total_seconds() + ENDING_SECONDS,
            )

    @contextmanager
    def _counted(self) -> Iterator["_Running"]:
        """From before its beginning until after its end a pass can be stopped and waited for."""
        running = _Running()
        with self._quiet:
            self._running.add(running)
        try:
            yield running
        finally:
            with self._quiet:
                self._running.discard(running)
                self._quiet.notify_all()

    def _sync(self, this: Pass) -> str | None:
        """Rows are made by the first pass, and whenever the catalog changed: an idle pass asks for its version, and
        for what is due.

        What keeps the pass from beginning is told, but for a database that is not there or not ours, which is raised.
        """
        try:
            version, tenants = self.version(), this.selection.tenant_ids
            with self._quiet:
                known = [self._synced[chosen] for chosen in (None, tenants) if chosen in self._synced]
            if version not in known:
                this.sync()
                self._note_synced(tenants, version)
        except (SchemaNotCurrent, DatabaseUnavailable):
            raise
        except StorageError as error:
            return str(error)
        return None

    def _note_synced(self, tenants: frozenset[str] | None, version: object) -> None:
        """What is forgotten beyond the newest costs a sync, nothing else."""
        with self._quiet:
            self._synced.pop(tenants, None)
            self._synced[tenants] = version
            if len(self._synced) > MOST_SYNCED:
                del self._synced[next(iter(self._synced))]
