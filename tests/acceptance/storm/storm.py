"""One storm: workers over a database, every fault at once, then quiet, then the reckoning."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import sqlalchemy as sa
from attrs import define, evolve

from tenantcollect.catalog import Order
from tests.acceptance.storm.checker import OURS, Expected, Finding, findings
from tests.acceptance.storm.collectors import micros, row
from tests.acceptance.storm.crew import Crew
from tests.acceptance.storm.mutants import MUTANTS
from tests.acceptance.storm.plan import Figures, Plan
from tests.acceptance.storm.pooler import pooling
from tests.acceptance.storm.proxy import Cut, Proxy
from tests.acceptance.storm.quiet import quieten
from tests.acceptance.storm.server import Server
from tests.acceptance.storm.worker import Orders, orchestrator

__all__ = ["ride"]

BACKLOG = 1
"""How many windows each key has to catch up with, so that the storm does not begin in an idle hour."""
LOG = "workers.log"
COMMANDED = 0.6
"""For which part of a storm people give orders."""


@define(kw_only=True)
class _Storm:
    """The faults, each at random moments of its own."""

    plan: Plan
    crew: Crew
    figures: Figures
    server: Server | None
    proxy: Proxy | None
    rng: random.Random

    def blow(self) -> None:
        """All faults at once, for as long as planned; then none any more."""
        faults = list(self._faults())
        begun = time.monotonic()
        settled = begun + COMMANDED * self.plan.seconds
        due = [begun + every * self.rng.uniform(0.5, 1.0) for every, _ in faults]
        while time.monotonic() < begun + self.plan.seconds:
            for number, (every, strike) in enumerate(faults):
                if time.monotonic() >= due[number]:
                    strike()
                    due[number] = time.monotonic() + every * self.rng.uniform(0.4, 1.6)
            self._wake(time.monotonic())
            self.crew.fill()
            if time.monotonic() >= settled:
                self.crew.orders.settled.touch()
            time.sleep(0.02)
        self._wake(float("inf"))
        if self.proxy is not None:
            self.proxy.calm()
            self.figures.faults.update({str(how): times for how, times in self.proxy.done.items()})
        self.crew.fill()

    def _faults(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """How often each, in seconds, and what it does."""
        yield 1.2, self._kill
        yield 2.0, self._pause
        if self.server is not None:
            yield min(9.0, self.plan.seconds / 2), self._restart
            yield 0.8, self._terminate
        if self.proxy is not None:
            yield 0.4, self._cut

    def _kill(self) -> None:
        self.figures.faults["kills"] += 1
        self.crew.signal(self.rng.choice(self.crew.members), signal.SIGKILL)

    def _pause(self) -> None:
        """Longer than the lease: its keys are taken over while it sleeps, and then it goes on."""
        member = self.rng.choice(self.crew.members)
        if member.pid is not None and member.pid not in self.crew.paused:
            self.figures.faults["pauses"] += 1
            self.crew.signal(member, signal.SIGSTOP)
            self.crew.paused[member.pid] = time.monotonic() + self.plan.ttl * self.rng.uniform(1.2, 2.2)

    def _wake(self, now: float) -> None:
        for member in self.crew.members:
            if member.pid in self.crew.paused and self.crew.paused[member.pid] <= now:
                del self.crew.paused[member.pid]
                self.crew.signal(member, signal.SIGCONT)

    def _restart(self) -> None:
        assert self.server is not None
        self.figures.faults["restarts"] += 1
        self.server.stop()
        time.sleep(self.rng.uniform(0.0, 0.5))
        self.server.start()

    def _terminate(self) -> None:
        assert self.server is not None
        with self.server.connect() as watch:
            pids = [
                pid
                for (pid,) in watch.execute(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                    " ORDER BY (application_name LIKE 'tc:%') DESC, pid"
                )
            ]
            # Those with an open window come first, so they are hit more often than their share.
            for pid in self.rng.sample(pids[:12], min(2, len(pids[:12]))):
                watch.execute("SELECT pg_terminate_backend(%s)", (pid,))
                self.figures.faults["terminations"] += 1

    def _cut(self) -> None:
        assert self.proxy is not None
        self.proxy.cut(self.rng.choice(list(Cut)), late=self.rng.uniform(0.0, 1.5 * self.plan.ttl))


def ride(plan: Plan, folder: Path, server: Server | None = None) -> Figures:
    """Ride one storm in a fresh database; the figures say whether there was any harm."""
    figures = Figures(plan=plan)
    try:
        _ride(figures, folder, server)
    except (sa.exc.OperationalError, psycopg.OperationalError) as error:
        # Who looks on is refused where the workers leave no connection over.
        figures.findings.append(Finding("leftover", "connections", str(error).split("\n", 1)[0]))
    figures.said = _last_words(folder / LOG)
    return figures


def _ride(figures: Figures, folder: Path, server: Server | None) -> None:
    plan = figures.plan
    direct = server.url() if server is not None else sa.make_url(f"sqlite:///{folder / 'storm.db'}")
    orders = _prepare(_orders(plan, folder, direct), plan.tenants)
    with _watching(direct) as watch:
        if plan.mutant is not None:
            _run_sql(watch, MUTANTS[plan.mutant].sql)
        with ExitStack() as stack:
            proxy = stack.enter_context(_proxy(plan, folder, server)) if server is not None else None
            if server is not None and proxy is not None:
                through = server.url(proxy.port).update_query_dict({"prepare_threshold": "none"} if plan.pooler else {})
                orders = evolve(orders, url=through.render_as_string(hide_password=False))
            crew = Crew(orders=orders, size=plan.processes, findings=figures.findings)
            stack.callback(crew.kill)
            crew.fill()
            rng = random.Random(plan.seed)
            _Storm(plan=plan, crew=crew, figures=figures, server=server, proxy=proxy, rng=rng).blow()
            expected = quieten(watch, crew, figures, orders)
        _reckon(watch, figures, expected, server)


def _orders(plan: Plan, folder: Path, url: sa.URL) -> Orders:
    return Orders(
        url=url.render_as_string(hide_password=False),
        seed=str(plan.seed),
        log=folder / LOG,
        quiet=folder / "quiet",
        settled=folder / "settled",
        calls=folder / "calls",
        backfills=folder / "backfills",
        starts={},
        evict=plan.evict,
        mutant=plan.mutant,
        ttl=plan.ttl,
        window=plan.window,
        # SQLite has one writer: whoever dawdles in its transaction keeps everybody waiting.
        slowness=1.0 if plan.server else 0.05,
    )


@contextmanager
def _proxy(plan: Plan, folder: Path, server: Server) -> Iterator[Proxy]:
    """The way of the workers to the server: through the proxy, and through a pooler if there is to be one."""
    with ExitStack() as stack:
        port = stack.enter_context(pooling(server, folder)) if plan.pooler else server.port
        yield stack.enter_context(Proxy(port))


def _prepare(orders: Orders, tenants: int) -> Orders:
    """Make the tables and the tenants, each fifth with its newest data first; orders that know their beginnings.

    They begin one after the other, so that a window of some tenant becomes due all the time.
    """
    starts: dict[str, int] = {}
    with orchestrator(orders) as host:
        host.upgrade()
        now = host.now()
        for number in range(tenants):
            since = now - timedelta(seconds=orders.window) * (BACKLOG + number / tenants)
            order: Order = "oldest_first" if number % 5 else "newest_first"
            tenant = f"tenant{number:02}"
            host.configure(tenant, "storm", {"TENANT": tenant}, since=since, order=order)
            starts[tenant] = micros(since)
    return evolve(orders, starts=starts)


@contextmanager
def _watching(url: sa.URL) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    try:
        yield engine
    finally:
        engine.dispose()


def _run_sql(watch: sa.Engine, statements: tuple[str, ...]) -> None:
    with watch.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def _reckon(watch: sa.Engine, figures: Figures, expected: Expected, server: Server | None) -> None:
    figures.findings.extend(findings(watch, expected))
    if server is not None:
        figures.findings.extend(_backends(server))
    with watch.connect() as connection:
        history = OURS.history
        counted = connection.execute(sa.select(history.c.status, sa.func.count()).group_by(history.c.status))
        figures.attempts.update(dict(counted.all()))
        figures.rows = connection.scalar(sa.select(sa.func.count()).select_from(row)) or 0


def _backends(server: Server) -> Iterator[Finding]:
    """Who is still connected although all workers have ended (X13)."""
    asked = "SELECT pid, query FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 10
    with server.connect() as watch:
        while (left := watch.execute(asked).fetchall()) and time.monotonic() < deadline:
            time.sleep(0.1)
    for pid, query in left:
        yield Finding("leftover", f"backend {pid}", str(query))


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(line[:200] for line in lines[-10:])
