"""The orchestrator: what a host embeds and calls (floor: orchestrator). It wires; the rooms below do the work."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from tenantcollect.catalog import Catalog, Order, Rotation, Source, checked_settings
from tenantcollect.clock import DatabaseClock
from tenantcollect.commands import Commands
from tenantcollect.configuring import Configuring, ResolveEnv
from tenantcollect.diagnosis import Diagnosis, Doctor
from tenantcollect.errors import ConfigurationError
from tenantcollect.events import Event, Events
from tenantcollect.inspection import CHECK_TIMEOUT, Inspection, checked
from tenantcollect.keys import Key, Selection, checked_name, checked_tenant
from tenantcollect.locks import DEFAULT_TTL, Locks
from tenantcollect.passes import Engine, Limits, Passes
from tenantcollect.policy import FIRST_DELAY
from tenantcollect.registry import Registry
from tenantcollect.reports import (
    AttemptRow,
    CheckRow,
    CollectorRow,
    ExplainRow,
    FindingRow,
    PassReport,
    PlanRow,
    StatusRow,
)
from tenantcollect.schema import Schema
from tenantcollect.secrets import MASK, Secret
from tenantcollect.settings import Seconds, Settings, duration
from tenantcollect.state import State
from tenantcollect.survey import Survey
from tenantcollect.windows import Window, utc
from tenantcollect.worker import Errand, Parts, Report, Worker, place_of, run_errand

__all__ = ["Orchestrator"]

Names = str | Iterable[str] | None


class Orchestrator:
    """Collects the data sources of every tenant; safe to run in any number of processes at once (G3).

    Usually made by :func:`tenantcollect.connect`. ``clock`` moves planning and due times, leases always follow
    the lock backend's own. ``resolve_env(tenant_id, data_source, stored)`` runs where a window runs, and its
    result is never stored. It never configures logging, never touches signals, and closes only what it made
    (G10). Every method that takes ``tenant_id``, ``data_source`` and ``script`` takes one text, several, or None
    for all.
    """

    def __init__(
        self,
        *,
        state: State,
        locks: Locks,
        catalog: Catalog,
        collectors: Mapping[str, object] | None = None,
        extensions: Iterable[object] = (),
        clock: Callable[[], datetime] | None = None,
        resolve_env: ResolveEnv | None = None,
        executor: Executor | None = None,
        perform: Callable[[Errand], Report] | None = None,
        concurrency: int = 4,
        lease_ttl: Seconds = DEFAULT_TTL,
        retry_delay: Seconds = FIRST_DELAY,
        window_timeout: Seconds | None = None,
        grace: Seconds = timedelta(seconds=30),
        schema: Schema | None = None,
        diagnosis: Diagnosis | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        settings = Settings(
            concurrency=concurrency,
            lease_ttl=lease_ttl,
            retry_delay=retry_delay,
            window_timeout=window_timeout,
            grace=grace,
        )
        self.state, self.locks, self.catalog, self.schema = state, locks, catalog, schema
        self.registry = Registry(collectors, tuple(extensions))
        self._events = Events()
        self._clock, self._on_close = clock or DatabaseClock(state), on_close
        self._survey = Survey(catalog, self.registry, state, locks)
        self._configuring = Configuring(catalog, self.registry, resolve_env)
        self._inspection = Inspection(self._survey, state)
        rotations = partial(self._configuring.rotated, Selection(), dry_run=True)
        self._doctor = Doctor(self._survey, rotations, diagnosis)
        self._commands = Commands(self._survey, state, self._events)
        self._worker = Worker(
            Parts(
                state=state,
                locks=locks,
                resolve=self._configuring.resolved,
                emit=self._events.emit,
                clock=self.now,
                tables=self.registry.table_names,
                settings=settings,
            )
        )
        engine = Engine(
            state=state,
            locks=locks,
            survey=self._survey,
            place=place_of(self._worker, executor, perform),
            owner=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}",
            settings=settings,
            emit=self._events.emit,
        )
        self._passes = Passes(engine=engine, clock=self.now, version=self._survey.version)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop, wait for running passes to end, and let go of what this orchestrator made itself.

        A host's engine, executor and session are left alone. Nothing of ours runs afterwards, but a thread whose
        collector hangs: it is fenced off, and ends with the process.
        """
        try:
            self._passes.end()
        finally:
            if self._on_close is not None:
                self._on_close()

    def stop(self) -> None:
        """Claim nothing more; running passes end after their open windows, or after ``grace``. From any thread."""
        self._passes.stop()

    def now(self) -> datetime:
        """The time that planning uses (UTC): the injected clock's, else the database's."""
        return utc(self._clock(), "clock()")

    def subscribe(self, subscriber: Callable[[Event], object]) -> Callable[[], None]:
        """Call ``subscriber`` with every event (``tenantcollect.events``); returns the way to unsubscribe."""
        return self._events.subscribe(subscriber)

    def upgrade(self) -> None:
        """Bring our tables to the newest revision and create the collectors' own that are missing; alter none."""
        tables = self.registry.tables()
        if self.schema is not None:
            self.schema.upgrade(tables)

    def run(
        self,
        tenant_id: Names = None,
        data_source: Names = None,
        script: Names = None,
        *,
        max_windows: int | None = None,
        max_duration: Seconds | None = None,
    ) -> PassReport:
        """One pass: sweep over all that is due until nothing is runnable; ``max_duration`` in seconds.

        A collector's failure is in the report, not raised, and so is what stopped the pass early. Raises
        :class:`SchemaNotCurrent` and :class:`DatabaseUnavailable` when the pass could not begin.
        """
        return self._passes.run(Selection(tenant_id, data_source, script), Limits(max_windows, max_duration))

    def perform(self, errand: Errand) -> Report:
        """Run one window that another process has claimed: what a child of an ``executor`` calls."""
        return run_errand(errand, self._worker, self.registry.collector(errand.claim.key.collector))

    def status(
        self, tenant_id: Names = None, data_source: Names = None, script: Names = None, *, limit: int | None = None
    ) -> Iterator[StatusRow]:
        """Where each key stands, stalest first."""
        return self._inspection.status(Selection(tenant_id, data_source, script), self.now(), limit)

    def explain(
        self, tenant_id: Names = None, data_source: Names = None, script: Names = None, *, limit: int | None = None
    ) -> Iterator[ExplainRow]:
        """Why each key does or does not run, with the root cause and what to do (G7)."""
        return self._inspection.explain(Selection(tenant_id, data_source, script), self.now(), limit)

    def plan(
        self, tenant_id: Names = None, data_source: Names = None, script: Names = None, *, limit: int | None = None
    ) -> Iterator[PlanRow]:
        """What is still to be collected for each key, stalest first."""
        return self._inspection.plan(Selection(tenant_id, data_source, script), self.now(), limit)

    def history(
        self,
        tenant_id: Names = None,
        data_source: Names = None,
        script: Names = None,
        *,
        limit: int = 50,
        before: datetime | None = None,
    ) -> Iterator[AttemptRow]:
        """Every attempt, newest first (G8)."""
        return self._inspection.history(Selection(tenant_id, data_source, script), limit, before)

    def plugins(self) -> list[CollectorRow]:
        """Every collector that was found, with why those that failed to load did."""
        return self.registry.rows()

    def doctor(self) -> Iterator[FindingRow]:
        """Look at the database, its roles and policies, the clock and the plugins: what is wrong, and what to do."""
        return self._doctor.findings()

    def check(
        self, tenant_id: Names = None, data_source: Names = None, *, timeout: Seconds = CHECK_TIMEOUT
    ) -> Iterator[CheckRow]:
        """Validate the configuration of each selected data source and ask its ``check`` hook.

        One that does not answer within ``timeout`` seconds is reported so, and its thread is left behind.
        """
        seconds = duration(timeout, "timeout").total_seconds()
        chosen = Selection(None, data_source).data_sources
        return (
            checked(source, self.registry, self._configuring.resolved, seconds)
            for source in self.configured(tenant_id)
            if chosen is None or source.data_source in chosen
        )

    def pause(
        self,
        tenant_id: Names,
        data_source: Names = None,
        script: Names = None,
        *,
        until: datetime | None = None,
        detail: str = "",
        dry_run: bool = False,
    ) -> list[Key]:
        """Hold these keys until ``until`` (aware; None = until resumed), also before their first pass; returns them."""
        end = None if until is None else utc(until, "until")
        selection = Selection(tenant_id, data_source, script)
        return self._commands.pause(selection, self.now(), until=end, detail=detail, dry_run=dry_run)

    def resume(
        self, tenant_id: Names, data_source: Names = None, script: Names = None, *, dry_run: bool = False
    ) -> list[Key]:
        """Lift every hold of these keys, whatever its reason, and make them due; returns those that nothing holds.

        A hold of the whole data source stays where only scripts are named.
        """
        return self._commands.resume(Selection(tenant_id, data_source, script), self.now(), dry_run=dry_run)

    def trigger(
        self, tenant_id: Names, data_source: Names = None, script: Names = None, *, dry_run: bool = False
    ) -> list[Key]:
        """Make these keys due now, so that the next pass runs them, whatever their interval; returns them."""
        return self._commands.trigger(Selection(tenant_id, data_source, script), self.now(), dry_run=dry_run)

    def backfill(
        self,
        tenant_id: Names,
        data_source: Names = None,
        script: Names = None,
        *,
        since: datetime,
        dry_run: bool = False,
    ) -> list[Key]:
        """Begin the history of these keys, and of their upstreams, at ``since`` (aware); returns those moved."""
        selection = Selection(tenant_id, data_source, script)
        return self._commands.backfill(selection, self.now(), since=utc(since, "since"), dry_run=dry_run)

    def replay(
        self,
        tenant_id: Names,
        data_source: Names = None,
        script: Names = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        dependents: bool = True,
        dry_run: bool = False,
    ) -> list[Key]:
        """Collect ``[start, end)`` (aware; both None = everything) again, dependents too; returns the keys."""
        if (start is None) != (end is None):
            raise ConfigurationError("replay takes both start and end, or neither")
        window = Window(start, end) if start and end else None
        selection = Selection(tenant_id, data_source, script)
        return self._commands.replay(selection, self.now(), window=window, dependents=dependents, dry_run=dry_run)

    def configured(self, tenant_id: Names = None) -> Iterator[Source]:
        """The configured data sources."""
        return iter(self.catalog.sources(Selection(tenant_id).tenant_ids))

    def configure(
        self,
        tenant_id: str,
        data_source: str,
        env: Mapping[str, str | Secret | None],
        *,
        secrets: Iterable[str] = (),
        since: datetime | None = None,
        interval: timedelta | None = None,
        order: Order | None = None,
        connection: Any = None,
        dry_run: bool = False,
    ) -> None:
        """Merge ``env`` (None removes a key) into the tenant's data source, after validating the whole.

        Keys the collector does not declare are secret, and what is given as a ``Secret``. ``since`` (aware) is
        where the history of keys made from now on begins. ``connection`` joins the host's own transaction. Raises
        :class:`ConfigurationError`, whose ``fields`` name what is wrong, never a value, also for a secret where others
        are encrypted and there is no cipher; nothing is then stored.
        """
        settings = checked_settings(since, interval, order, self.now)
        self._configuring.write(
            tenant_id, data_source, env, secrets=secrets, settings=settings, connection=connection, dry_run=dry_run
        )
        if connection is None and not dry_run:
            self._commands.admit(checked_tenant(tenant_id), data_source, self.now())

    def configure_all(self, envs: Mapping[tuple[str, str], Mapping[str, str | Secret | None]]) -> None:
        """As :meth:`configure`, for the env of each (tenant_id, data_source), in one transaction: all, or none."""
        self._configuring.write_all(envs)
        for tenant_id, data_source in envs:
            self._commands.admit(checked_tenant(tenant_id), data_source, self.now())

    def config(self, tenant_id: str, data_source: str, *, unreadable: str = MASK) -> dict[str, str]:
        """The stored env, secret values as ``***``, and as ``unreadable`` those that cannot be decrypted."""
        return self._configuring.shown(tenant_id, data_source, unreadable)

    def rotate_keys(
        self, tenant_id: Names = None, data_source: Names = None, *, dry_run: bool = False
    ) -> list[Rotation]:
        """Encrypt every stored secret with the newest cipher key, also those stored before there was a cipher.

        Each data source in a transaction of its own, beside all else that runs; no revision changes, and what
        cannot be decrypted stays as it is. ``dry_run`` only says how they stand, also without a cipher. Raises
        :class:`ConfigurationError` when there is no cipher.
        """
        return list(self._configuring.rotated(Selection(tenant_id, data_source), dry_run=dry_run))

    def config_schema(self, data_source: str) -> dict[str, Any]:
        """The JSON Schema of the env of ``data_source``, for rendering a form."""
        return self.registry.config_schema(checked_name(data_source, "data_source"))

    def disconnect(self, tenant_id: str, data_source: str) -> None:
        """Forget the configuration, and drop a window that is open; the tenant's rows, state and history stay."""
        self._configuring.remove(tenant_id, data_source)
        self._commands.drop(Selection(tenant_id, data_source))
