"""A database on which windows of collectors are run one by one, and disturbed (floor: testing).

The walk, the transaction and the registry are the engine's own; what is left out is who decides which window runs:
planning, leases, retries, dependencies, and the host's wrappers.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from attrs import evolve, frozen
from sqlalchemy import URL, Table, make_url

from tenantcollect.backends.sql import SqlBackend
from tenantcollect.backends.sql.transaction import SqlTransaction
from tenantcollect.catalog import checked_env
from tenantcollect.collectors import Collector
from tenantcollect.errors import ConfigurationError, LeaseLost, PluginError, WindowCancelled
from tenantcollect.events import Event, WindowCommitted
from tenantcollect.keys import Key
from tenantcollect.locks import LONGEST_TTL, Lease
from tenantcollect.registry import Registry
from tenantcollect.schedule import Entry
from tenantcollect.state import KeyState, NewKey, Opening, Resume, Revision
from tenantcollect.testing.finding import only
from tenantcollect.testing.running import Running
from tenantcollect.testing.stored import Rows, Seed, Stored
from tenantcollect.testing.watching import Sent
from tenantcollect.windows import NOTHING, Window, WindowSet, utc
from tenantcollect.worker import Learn, Parts, Resolved, Turn
from tenantcollect.worker.context import checked_json
from tenantcollect.worker.walk import Walk

__all__ = ["Collected", "CollectorHarness"]

# Where Linux keeps files in memory. ``:memory:`` would not do: it has one connection, and context.read() is another.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - each harness has a folder of its own there
FENCED = ("after_fence", "after_history", "before_commit")
"""Where PostgreSQL holds the key's row locked for the window that commits."""


@frozen(kw_only=True)
class Collected:
    """What became of one window.

    ``rows`` are those of the collectors' own tables and of those that a seed gave as ``Table``, by table name and in
    the order of the primary key; times of columns with a time zone are aware UTC, on SQLite too. They can be the
    ``seed`` of the next call, but for tables that it must give as ``Table`` again. ``records`` is
    what ``run`` returned. ``error`` is what it raised; ``rows``, ``cursor`` and ``resume`` are then as before, but for
    what a checkpoint made durable.
    """

    records: int | None
    rows: Rows
    cursor: Any
    resume: Any
    warnings: tuple[str, ...]
    error: BaseException | None


class CollectorHarness:
    """Runs windows of collectors, given as to ``connect(collectors=…)``, on one database with their tables.

    ``url`` is a fresh database; None = a SQLite of its own, in memory where the system can.
    """

    def __init__(
        self, collectors: Mapping[str, object] | Registry, *, history_start: datetime, url: str | URL | None = None
    ) -> None:
        self.registry = collectors if isinstance(collectors, Registry) else only(collectors)
        self.history_start = utc(history_start, "history_start")
        self.watched = Running()
        self._folder = None if url else tempfile.TemporaryDirectory(prefix="tenantcollect-", dir=_memory())
        found = _checked(url or f"sqlite:///{Path(self._folder.name, 'collect.db')}")  # type: ignore[union-attr]
        names = self.registry.data_sources()
        tables = [self.registry.source(name).tables for name in names if self.registry.sound(name)]
        self.tables = [metadata for metadata in tables if metadata is not None]
        self._one_writer = found.get_backend_name() == "sqlite"
        self._backend = SqlBackend(found, crash=self._reached)
        self._backend.schema.upgrade(self.tables)
        self._stored = Stored(found, self.tables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove the database, if it is the harness's own."""
        self._stored.close()
        self._backend.close()
        if self._folder is not None:
            self._folder.cleanup()

    def collector(self, script: str) -> Collector:
        """The collector ``data_source.script``. Raises :class:`PluginError` with the cure if its hooks cannot work."""
        return self.registry.collector(script)

    def run(
        self,
        script: str,
        window: Window,
        *,
        env: Mapping[str, str],
        tenant_id: str = "acme",
        cursor: Any = None,
        resume: Any = None,
        clock: Callable[[], datetime] | None = None,
        at: Callable[[str], object] | None = None,
    ) -> Collected:
        """Run one window, and say what became of it; ``cursor`` None = the one that is stored.

        ``at`` is told of each point that is reached (``COLLECTOR_POINTS``): ``CrashAt("before_commit")``, or
        ``At("read", harness.cancel)``. What it raises ends the window there. Raises :class:`ConfigurationError` for
        an env that the collector refuses, or a window that ends after ``clock()``.
        """
        collector = self.collector(script)
        now = _running_clock(clock, window)
        key = Key(tenant_id, *script.split("."))
        resolved = self._resolved(env, collector.data_source)
        known = self._known(key, window, now(), cursor, resume)
        self.watched = running = Running(key=key, at=at, sent=Sent(self._stored.tables.values()))
        error, told = None, list[Event]()
        try:
            turn = running.began(self._opened(collector, known, window, now()))
            Walk(self._parts(resolved, told.append, now), turn).go()
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001 - a simulated crash, or the SystemExit of a collector
            error = raised
        finally:
            running.over()
        if running.mistake is not None:
            raise running.mistake
        return self._collected(running, known, told, error)

    def cancel(self) -> None:
        """Tell the window that runs to end, as a pass that stops does; at any point."""
        self.watched.tell(WindowCancelled("The test cancelled this window."))

    def lose(self) -> bool:
        """Let the window that runs lose its lease, as if another holder had opened the key; at any point.

        It is told, as by its heartbeat, and ends at its next look or when ``run`` returns. True if the fence was
        raised too, so that it is lost in its commit at the latest. False where the database lets no other holder in:
        on SQLite from the first use of ``db``, on PostgreSQL from ``after_fence`` on, until the commit has ended.
        """
        self.watched.tell(LeaseLost())
        if self.writing and (self._one_writer or self.watched.points[-1] in FENCED):
            return False
        key = self.watched.key
        return key is not None and bool(self._backend.state.revise([key], lambda _: Revision()))

    def take_over(self, script: str, window: Window, *, env: Mapping[str, str], tenant_id: str = "acme") -> Collected:
        """Let another holder, who got the key meanwhile, collect a window while this one's still runs.

        Raises :class:`ConfigurationError`, also from the run of this window, while the transaction of its ``db`` is
        open: the other holder would wait for it, and it for the other. :meth:`lose` works there too.
        """
        ours = self.watched
        if self.writing:
            raise ours.refuse("The window has begun to write; let it be taken over at an earlier point, or lose().")
        try:
            return self.run(script, window, env=env, tenant_id=tenant_id)
        finally:
            self.watched = ours

    @property
    def writing(self) -> bool:
        """Whether the transaction of the window that runs is open: from the first use of ``db`` to its commit."""
        transaction = self.watched.turn.transaction if self.watched.turn else None
        return isinstance(transaction, SqlTransaction) and transaction.writing

    def rest(self, script: str, window: Window, tenant_id: str = "acme") -> list[Window]:
        """What of ``window`` is not sealed yet: what the next holder would run."""
        states = self._backend.state.load([Key(tenant_id, *script.split("."))])
        covered = next((state.coverage for state in states if state.coverage is not None), NOTHING)
        return list(WindowSet((window,)) - covered)

    @property
    def tables_by_name(self) -> Mapping[str, Table]:
        """The collectors' own tables."""
        return self._stored.tables

    def forget(self, script: str, tenant_id: str = "acme") -> None:
        """Make the key as new: no coverage, no cursor. The rows stay."""
        self._backend.state.revise(
            [Key(tenant_id, *script.split("."))], lambda _: Revision(coverage=NOTHING, forget=True)
        )

    def seed(self, seed: Seed) -> None:
        """Put rows into the tables, or let a function do it; they are committed."""
        self._stored.seed(seed)

    def rows(self) -> Rows:
        """The durable rows of the collectors' tables, by table name."""
        return self._stored.rows()

    def put_back(self, rows: Rows) -> None:
        """Make the collectors' tables hold ``rows`` and no others."""
        self._stored.put_back(rows)

    def erase(self, data_source: str, tenant_id: str) -> bool:
        """Call the data source's ``erase`` hook; False if it has none."""
        erase = self.registry.source(data_source).erase
        if erase is not None:
            with self._stored.session() as db:
                erase(db=db, tenant_id=tenant_id)
        return erase is not None

    def _reached(self, point: str) -> None:
        """A point of the backend; which run it belongs to is known only now."""
        self.watched.reached(point)

    def _resolved(self, env: Mapping[str, str], data_source: str) -> Resolved:
        values = {key: value for key, value in checked_env(env).items() if value is not None}
        return Resolved(env=values, config=self.registry.validate(data_source, values))

    def _parts(self, resolved: Resolved, emit: Callable[[Event], None], clock: Callable[[], datetime]) -> Parts:
        def resolve(_tenant_id: str, data_source: str, learn: Learn) -> Resolved:
            learn(resolved.env[key] for key in self.registry.secret_keys(data_source, resolved.env))
            return resolved

        return Parts(state=self._backend.state, locks=self._backend.locks, resolve=resolve, emit=emit, clock=clock)

    def _known(self, key: Key, window: Window, now: datetime, cursor: Any, resume: Any) -> KeyState:
        """The key as its window finds it; ``cursor`` and ``resume`` None = what is stored."""
        self._backend.state.ensure([NewKey(key=key, history_start=self.history_start)], due_at=now)
        [state] = self._backend.state.load([key])
        if cursor is not None:
            state = evolve(state, cursor=_json(cursor, "cursor"))
        if resume is not None:
            state = evolve(state, resume=Resume(window=window, value=_json(resume, "resume")))
        return state

    def _opened(self, collector: Collector, known: KeyState, window: Window, now: datetime) -> Turn:
        """A turn of one window, under a lease that nobody else asks for."""
        key, token = known.key, uuid4().hex
        opening = Opening(
            key=key,
            token=token,
            owner="test",
            window_seq=known.window_seq,
            window_id=uuid4().hex,
            window=window,
        )
        [claim] = self._backend.state.open([opening])
        return Turn(
            lease=Lease(key=key, token=token, owner="test"),
            claim=claim,
            seen=Entry(key=key, next_due_at=now),
            state=evolve(known, fence=claim.fence, window_seq=claim.window_seq),
            collector=evolve(collector, run=self.watched.watching(collector)),
            revision="",
            planned_at=now,
            ttl=LONGEST_TTL,
            dependents=(),
            descendants=(),
            next_step=lambda _: None,
            may_continue=lambda: False,
        )

    def _collected(
        self, running: Running, known: KeyState, told: list[Event], error: BaseException | None
    ) -> Collected:
        """What the run left behind; what the walk does not know of any more, the database does."""
        committed = [event for event in told if isinstance(event, WindowCommitted)]
        [stored] = self._backend.state.load([known.key])
        state = running.turn.state if running.turn else known
        state = state if state.window_seq == stored.window_seq else stored
        return Collected(
            records=committed[-1].records if committed else None,
            rows=self.rows(),
            cursor=state.cursor,
            resume=state.resume.value if state.resume else None,
            warnings=tuple(running.turn.warnings) if running.turn else (),
            error=error,
        )


def _memory() -> str | None:
    """Where a file costs no disk; None = the system's temporary directory."""
    return str(IN_MEMORY) if os.access(IN_MEMORY, os.W_OK) else None


def _checked(url: str | URL) -> URL:
    found = make_url(url)
    return found.set(drivername="postgresql+psycopg") if found.get_backend_name() == "postgresql" else found


def _running_clock(clock: Callable[[], datetime] | None, window: Window) -> Callable[[], datetime]:
    """``clock``, or one that stands at the end of the window, which must not be still to come."""
    if clock is None:
        return lambda: window.end
    if not callable(clock):
        raise TypeError(f"clock must be a function that returns the time, such as VirtualClock(), not {clock!r}")
    if window.end > utc(clock(), "clock()"):
        raise ConfigurationError(f"The window ends after clock(), {clock()}; nobody collects what is still to come.")
    return clock


def _json(value: Any, what: str) -> Any:
    """``value`` as JSON keeps it; raises :class:`ConfigurationError` if it cannot."""
    try:
        return checked_json(value, what)
    except PluginError as error:
        raise ConfigurationError(str(error)) from None
