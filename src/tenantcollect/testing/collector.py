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

from attrs import evolve, field, frozen
from sqlalchemy import URL, Table, make_url
from sqlalchemy.orm import Session

from tenantcollect.backends.sql import SqlBackend
from tenantcollect.catalog import checked_env
from tenantcollect.collectors import Collector
from tenantcollect.errors import ConfigurationError, WindowCancelled
from tenantcollect.events import Event, WindowCommitted
from tenantcollect.keys import Key
from tenantcollect.locks import LONGEST_TTL, Lease
from tenantcollect.registry import Registry
from tenantcollect.schedule import Entry
from tenantcollect.state import NewKey, Opening, Resume, Revision
from tenantcollect.testing.finding import only
from tenantcollect.testing.stored import Rows, Seed, Stored
from tenantcollect.testing.watching import Moments, WatchedContext
from tenantcollect.windows import NOTHING, Window, WindowSet, utc
from tenantcollect.worker import Learn, Parts, Resolved, Turn
from tenantcollect.worker.walk import Walk

__all__ = ["Collected", "CollectorHarness"]

# Where Linux keeps files in memory. ``:memory:`` would not do: it has one connection, and context.read() is another.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - each harness has a folder of its own there


@frozen(kw_only=True)
class Collected:
    """What became of one window.

    ``rows`` are those of the collectors' own tables, by table name and in the order of the primary key; times of
    columns with a time zone are aware UTC, on SQLite too. They can be the ``seed`` of the next call. ``records`` is
    what ``run`` returned. ``error`` is what it raised; ``rows``, ``cursor`` and ``resume`` are then as before, but for
    what a checkpoint made durable.
    """

    records: int | None
    rows: Rows
    cursor: Any
    resume: Any
    warnings: tuple[str, ...]
    error: BaseException | None


@frozen(kw_only=True)
class Watched:
    """What the last run was seen to do: the points it passed, wrong times it bound, and its words, unmasked."""

    points: list[str] = field(factory=list)
    said: list[str] = field(factory=list)
    moments: Moments = field(factory=Moments)


class CollectorHarness:
    """Runs windows of collectors, given as to ``connect(collectors=…)``, on one database with their tables.

    ``url`` is a fresh database; None = a SQLite of its own, in memory where the system can.
    """

    def __init__(
        self, collectors: Mapping[str, object] | Registry, *, history_start: datetime, url: str | URL | None = None
    ) -> None:
        self.registry = collectors if isinstance(collectors, Registry) else only(collectors)
        self.history_start = utc(history_start, "history_start")
        self.watched = Watched()
        self._at: Callable[[str], object] = _go_on
        self._turn: Turn | None = None
        self._db: Session | None = None
        self._folder = None if url else tempfile.TemporaryDirectory(prefix="tenantcollect-", dir=_memory())
        found = _checked(url or f"sqlite:///{Path(self._folder.name, 'collect.db')}")  # type: ignore[union-attr]
        names = self.registry.data_sources()
        tables = [self.registry.source(name).tables for name in names if self.registry.sound(name)]
        self.tables = [metadata for metadata in tables if metadata is not None]
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
        now = clock or (lambda: window.end)
        if window.end > utc(now(), "clock()"):
            raise ConfigurationError(f"The window ends after clock(), {now()}; nobody collects what is still to come.")
        collector = self.collector(script)
        resolved = self._resolved(env, collector.data_source)
        self.watched, self._at = Watched(), at or _go_on
        turn, error, told = None, None, list[Event]()
        try:
            turn = self._opened(collector, Key(tenant_id, *script.split(".")), window, now(), cursor, resume)
            Walk(self._parts(resolved, told.append, now), turn).go()
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001 - a simulated crash, or the SystemExit of a collector
            error = raised
        finally:
            self._at, self._turn, self._db = _go_on, None, None
            if turn is not None and turn.transaction is not None:
                turn.transaction.abandon()
        committed = [event for event in told if isinstance(event, WindowCommitted)]
        return Collected(
            records=committed[-1].records if committed else None,
            rows=self.rows(),
            cursor=turn.state.cursor if turn else cursor,
            resume=turn.state.resume.value if turn and turn.state.resume else None,
            warnings=tuple(turn.warnings) if turn else (),
            error=error,
        )

    def cancel(self) -> None:
        """Tell the window that runs to end, as a pass that stops does."""
        if self._turn is not None:
            self._turn.cancel(WindowCancelled("The test cancelled this window."))

    def take_over(self, script: str, window: Window, *, env: Mapping[str, str], tenant_id: str = "acme") -> Collected:
        """Let another holder, who got the key meanwhile, collect a window while this one's still runs.

        Raises :class:`ConfigurationError` once the window that runs has used its ``db``: the other holder would wait
        for its transaction, and it for the other.
        """
        if self.writing:
            raise ConfigurationError("The window has begun to write; let it be taken over at an earlier point.")
        ours = self.watched, self._at, self._turn, self._db
        try:
            return self.run(script, window, env=env, tenant_id=tenant_id)
        finally:
            self.watched, self._at, self._turn, self._db = ours

    @property
    def writing(self) -> bool:
        """Whether the window that runs has used its ``db``, whose transaction is open since."""
        return self._db is not None and self._db.in_transaction()

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
        self.watched.points.append(point)
        self._at(point)

    def _resolved(self, env: Mapping[str, str], data_source: str) -> Resolved:
        values = {key: value for key, value in checked_env(env).items() if value is not None}
        return Resolved(env=values, config=self.registry.validate(data_source, values))

    def _parts(self, resolved: Resolved, emit: Callable[[Event], None], clock: Callable[[], datetime]) -> Parts:
        def resolve(_tenant_id: str, data_source: str, learn: Learn) -> Resolved:
            learn(resolved.env[key] for key in self.registry.secret_keys(data_source, resolved.env))
            return resolved

        return Parts(state=self._backend.state, locks=self._backend.locks, resolve=resolve, emit=emit, clock=clock)

    def _opened(self, collector: Collector, key: Key, window: Window, now: datetime, cursor: Any, resume: Any) -> Turn:
        """A turn of one window, under a lease that nobody else asks for."""
        store, token = self._backend.state, uuid4().hex
        store.ensure([NewKey(key=key, history_start=self.history_start)], due_at=now)
        [state] = store.load([key])
        [claim] = store.open(
            [
                Opening(
                    key=key,
                    token=token,
                    owner="test",
                    window_seq=state.window_seq,
                    window_id=uuid4().hex,
                    window=window,
                )
            ]
        )
        known = evolve(state, fence=claim.fence, window_seq=claim.window_seq)
        known = known if cursor is None else evolve(known, cursor=cursor)
        known = known if resume is None else evolve(known, resume=Resume(window=window, value=resume))
        self._turn = Turn(
            lease=Lease(key=key, token=token, owner="test"),
            claim=claim,
            seen=Entry(key=key, next_due_at=now),
            state=known,
            collector=evolve(collector, run=self._watching(collector)),
            revision="",
            planned_at=now,
            ttl=LONGEST_TTL,
            dependents=(),
            descendants=(),
            next_step=lambda _: None,
            may_continue=lambda: False,
        )
        return self._turn

    def _watching(self, collector: Collector) -> Callable[..., int | None]:
        """The collector's ``run``, seen from outside."""
        watched = self.watched

        def run(*, db: Any, context: Any, **arguments: Any) -> int | None:
            self._db = db
            if db is not None:
                watched.moments.watch(db)
            self._reached("run")
            seen = WatchedContext(context, self._reached, watched.said)
            records = collector.run(db=db, context=seen, **arguments)
            self._reached("returned")
            return records

        return run


def _go_on(_: str) -> None:
    """Nothing happens here."""


def _memory() -> str | None:
    """Where a file costs no disk; None = the system's temporary directory."""
    return str(IN_MEMORY) if os.access(IN_MEMORY, os.W_OK) else None


def _checked(url: str | URL) -> URL:
    found = make_url(url)
    return found.set(drivername="postgresql+psycopg") if found.get_backend_name() == "postgresql" else found
