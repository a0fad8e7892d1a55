"""One pass: a sweep over all that is due, until nothing is runnable (floor: passes; G4, G9).

    sync ──> due ──> survey ──> decide ─┬─> claim ──> open ──> walk (executor) ──> outcome ──┐
                ▲                       └─> defer: not due, waiting, held, backing off        │
                └─────────────────────────────────────────────────────────────────────────────┘
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from datetime import datetime, timedelta
from uuid import uuid4

from attrs import define, evolve, field

from tenantcollect.errors import DatabaseUnavailable, StorageError, WindowCancelled, WindowTimedOut
from tenantcollect.keys import Key, Selection
from tenantcollect.locks import Lease, Locks
from tenantcollect.policy import Reason
from tenantcollect.reports import KeyReport, PassReport, WindowCounts
from tenantcollect.scheduling import Capacity, Decision, Facts, decide, next_look, next_window, terms_of
from tenantcollect.state import Claim, KeyState, Opening, State
from tenantcollect.survey import Survey, new_keys
from tenantcollect.windows import Window
from tenantcollect.worker import Heartbeat, Outcome, Turn, Worker

__all__ = ["Engine", "Limits", "Pass"]

logger = logging.getLogger("tenantcollect.passes")

TURN_SECONDS = 10.0
PAGE = 64
MOST_KEYS_REPORTED = 1000
PATIENCE_SECONDS = 1.0
"""How long a window that was told to end is given to do so before its thread is left behind."""


@define(kw_only=True)
class Engine:
    """The parts a pass works with; the orchestrator wires them."""

    state: State
    locks: Locks
    survey: Survey
    worker: Worker
    executor: Executor
    owner: str
    lease_ttl: timedelta
    grace: timedelta
    concurrency: int


@define
class Limits:
    """How much a pass may do; windows are taken one by one, from any thread."""

    max_windows: int | None = None
    max_seconds: float | None = None
    _started: float = field(factory=time.monotonic)
    _taken: int = 0
    _lock: threading.Lock = field(factory=threading.Lock)

    def take(self) -> bool:
        """Take one window from the budget, if there is one left and time too."""
        with self._lock:
            if self.spent:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        """Return a window that was not run."""
        with self._lock:
            self._taken -= 1

    @property
    def spent(self) -> bool:
        """Whether no further window may be begun."""
        late = self.max_seconds is not None and time.monotonic() - self._started >= self.max_seconds
        return late or (self.max_windows is not None and self._taken >= self.max_windows)


@define(kw_only=True)
class Tally:
    """What the report will say; keeps at most 1000 keys, those in trouble rather than the others."""

    completed: int = 0
    failed: int = 0
    needs_action: bool = False
    waiting: set[Key] = field(factory=set)
    busy: set[Key] = field(factory=set)
    keys: dict[Key, KeyReport] = field(factory=dict)

    def decided(self, decision: Decision) -> None:
        """Note why a key did not run."""
        if decision.blocks:
            self.needs_action = True
        if decision.reason in (Reason.WAITING_FOR_UPSTREAM, Reason.RATE_LIMITED, Reason.BACKOFF):
            self.waiting.add(decision.key)
        row = self._row(decision.key)
        self._keep(
            decision.key,
            evolve(
                row,
                reason=decision.reason.value,
                detail=decision.detail or None,
                action=decision.action,
                root_cause=decision.root_cause,
            ),
        )

    def ended(self, outcome: Outcome) -> None:
        """Note how a turn ended."""
        self.completed += outcome.completed
        self.failed += outcome.failed
        self.needs_action |= outcome.failed
        self.waiting.discard(outcome.key)
        if outcome.reason and not outcome.failed and not outcome.again:
            self.waiting.add(outcome.key)
        row = self._row(outcome.key)
        self._keep(
            outcome.key,
            evolve(
                row,
                reason=(outcome.reason or Reason.UP_TO_DATE).value,
                completed=row.completed + outcome.completed,
                failed=row.failed + outcome.failed,
                error=outcome.error,
            ),
        )

    def _row(self, key: Key) -> KeyReport:
        known = self.keys.get(key)
        return known or KeyReport(
            tenant_id=key.tenant_id, data_source=key.data_source, script=key.script, reason=Reason.RUNNABLE.value
        )

    def _keep(self, key: Key, row: KeyReport) -> None:
        if key not in self.keys and len(self.keys) >= MOST_KEYS_REPORTED:
            quiet = next((k for k, r in self.keys.items() if not r.failed and not r.action), None)
            if quiet is None or not (row.failed or row.action):
                return
            del self.keys[quiet]
        self.keys[key] = row

    def report(self, started_at: datetime, completed_at: datetime, error: str | None) -> PassReport:
        """The frozen result."""
        rows = sorted(self.keys.items(), key=lambda item: (not item[1].failed, not item[1].action, item[0]))
        return PassReport(
            started_at=started_at,
            completed_at=completed_at,
            windows=WindowCounts(
                completed=self.completed,
                failed=self.failed,
                waiting=len(self.waiting),
                busy=len(self.busy),
            ),
            keys=tuple(row for _, row in rows),
            needs_action=self.needs_action,
            error=error,
        )


@define(kw_only=True)
class Pass:
    """The state of one running pass. ``now`` is taken once; everything is planned with it."""

    engine: Engine
    selection: Selection
    now: datetime
    limits: Limits
    stop: threading.Event
    heartbeat: Heartbeat
    tally: Tally = field(factory=Tally)
    _capacity: Capacity = field()
    _flying: dict["Future[Outcome]", Turn] = field(factory=dict)
    _settled: set[Key] = field(factory=set)
    _limited: set[tuple[str, str]] = field(factory=set)
    _crowded: bool = False
    _down: StorageError | None = None
    _stopped_at: float | None = None

    @_capacity.default
    def _slots(self) -> Capacity:
        return Capacity(self.engine.concurrency)

    def sync(self) -> None:
        """Make the rows of keys that are new, and look again at all that was parked (PROTOCOL P0)."""
        for tenant_ids in self.engine.survey.configured(self.selection.tenant_ids):
            for facts in self.engine.survey.facts(tenant_ids, self.now).values():
                self.engine.state.ensure(new_keys(facts), due_at=self.now)
                for key in map(facts.key, facts.broken):
                    if self.selection.matches(key):
                        self.tally.decided(decide(facts, key))
        self.engine.state.schedule.unpark(self.now)

    def sweep(self) -> StorageError | None:
        """Run windows until nothing is runnable; the error of a database that went away, if it did."""
        while True:
            started = self._start() if self._may_start() else 0
            if not self._flying and not started:
                return self._down
            if self._flying:
                self._await()

    def _may_start(self) -> bool:
        return not (self.stop.is_set() or self._down or self.limits.spent or not self._capacity.free)

    def _start(self) -> int:
        """Claim and start what is due, as far as there is room; how many keys were started."""
        try:
            return self._claim(self._candidates())
        except StorageError as error:
            self._down = error
            logger.error("the pass claims nothing more: %s", error)
            return 0

    def _candidates(self) -> list[tuple[Facts, Decision]]:
        """The keys to be started now, tenants in turn; what cannot run is deferred with its reason."""
        limit = PAGE + len(self._settled) + len(self._flying)
        due = self.engine.state.schedule.due(self.selection, now=self.now, limit=limit)
        self.tally.busy |= {entry.key for entry in due if entry.busy} - {t.lease.key for t in self._flying.values()}
        keys = [entry.key for entry in due if not entry.busy and entry.key not in self._settled]
        chosen, waiting = [], []
        self._crowded = False
        for facts, decision in self._decided(keys):
            if decision.runnable:
                if self._admitted(facts, decision.key):
                    chosen.append((facts, decision))
                else:
                    self._crowded = True
            elif decision.reason is Reason.RUNNING:
                self.tally.busy.add(decision.key)
            else:
                self._defer(facts, decision)
                waiting += [decision.key] if decision.reason is Reason.WAITING_FOR_UPSTREAM else []
        self._look_again(waiting)
        return chosen

    def _decided(self, keys: list[Key]) -> Iterable[tuple[Facts, Decision]]:
        if not keys:
            return []
        facts = self.engine.survey.facts({key.tenant_id for key in keys}, self.now, keys)
        return [(facts[key.tenant_id], decide(facts[key.tenant_id], key)) for key in keys]

    def _admitted(self, facts: Facts, key: Key) -> bool:
        if (key.tenant_id, key.data_source) in self._limited:
            return False
        return self._capacity.admit(key, facts.collectors[key.collector].options.concurrency_per_tenant)

    def _defer(self, facts: Facts, decision: Decision) -> None:
        key = decision.key
        collector = facts.collectors.get(key.collector)
        interval = terms_of(collector, facts.sources.get(key.data_source)).interval if collector else timedelta()
        at = next_look(decision, self.now, max(interval, timedelta(seconds=1)))
        waiting = decision.reason is Reason.WAITING_FOR_UPSTREAM
        self.engine.state.schedule.defer(key, at, waiting=waiting)
        self.tally.decided(decision)

    def _look_again(self, waiting: list[Key]) -> None:
        """An upstream may have moved between the look and the deferral; its hint was then lost (PROTOCOL P9)."""
        moved = [d.key for _, d in self._decided(waiting) if d.reason is not Reason.WAITING_FOR_UPSTREAM]
        if moved:
            self.engine.state.schedule.wake(moved, at=self.now)

    def _claim(self, chosen: list[tuple[Facts, Decision]]) -> int:
        """Lease and open the chosen keys, one statement each for all, and start their turns."""
        plans = {decision.key: (facts, decision) for facts, decision in chosen if self.limits.take()}
        self._capacity.leave(decision.key for _, decision in chosen if decision.key not in plans)
        if not plans:
            return 0
        leases: dict[Key, Lease] = {}
        claims: dict[Key, Claim] = {}
        try:
            acquired = self.engine.locks.acquire(list(plans), owner=self.engine.owner, ttl=self.engine.lease_ttl)
            leases = {lease.key: lease for lease in acquired}
            openings = [self._opening(lease, *plans[lease.key]) for lease in acquired]
            claims = {claim.key: claim for claim in self.engine.state.open(openings)} if openings else {}
        finally:
            unopened = set(plans) - set(claims)
            self._capacity.leave(unopened)
            for _ in unopened:
                self.limits.give_back()
            self.tally.busy |= set(plans) - set(leases)
            self._settled |= set(plans) - set(leases)
            self.engine.locks.release([leases[key] for key in unopened if key in leases])
        for key, claim in claims.items():
            self._fly(leases[key], claim, *plans[key])
        return len(plans)

    def _opening(self, lease: Lease, facts: Facts, decision: Decision) -> Opening:
        state = facts.states[lease.key]
        assert decision.plan is not None  # noqa: S101 - a runnable decision has one
        return Opening(
            key=lease.key,
            token=lease.token,
            owner=lease.owner,
            window_seq=state.window_seq,
            window_id=str(uuid4()),
            window=decision.plan.ready[0],
            attempt=state.failures + 1,
            previous=lease.previous,
        )

    def _fly(self, lease: Lease, claim: Claim, facts: Facts, decision: Decision) -> None:
        key = lease.key
        began = time.monotonic()

        def may_continue() -> bool:
            out_of_turn = self._crowded and time.monotonic() - began > TURN_SECONDS
            limited = (key.tenant_id, key.data_source) in self._limited
            return not (out_of_turn or limited or self.stop.is_set() or self._down) and self.limits.take()

        turn = Turn(
            lease=lease,
            claim=claim,
            state=evolve(facts.states[key], fence=claim.fence, window_seq=claim.window_seq),
            collector=facts.collectors[key.collector],
            revision=facts.sources[key.data_source].revision,
            planned_at=self.now,
            ttl=self.engine.lease_ttl,
            next_window=self._planner(facts, key),
            may_continue=may_continue,
        )
        self.heartbeat.watch(turn)
        self._flying[self.engine.executor.submit(self.engine.worker.walk, turn)] = turn

    def _planner(self, facts: Facts, key: Key) -> Callable[[KeyState], Window | None]:
        """What follows after a seal; the upstreams' coverage is read again when what was known is used up."""
        known = [facts]

        def following(state: KeyState) -> Window | None:
            for fresh in (False, True):
                if fresh:
                    if not facts.upstreams(key):
                        return None
                    known[0] = self.engine.survey.facts([key.tenant_id], self.now, [key])[key.tenant_id]
                window = next_window(known[0], key, state)
                if window is not None:
                    return window
            self.limits.give_back()
            return None

        return following

    def _await(self) -> None:
        """Wait for a turn to end, or for the moment to look again; end what is overdue."""
        done, _ = wait(self._flying, timeout=0.25, return_when=FIRST_COMPLETED)
        for future in done:
            self._ended(self._flying.pop(future), future.result())
        for future, turn in list(self._flying.items()):
            self._mind(future, turn)

    def _mind(self, future: "Future[Outcome]", turn: Turn) -> None:
        """Tell an overdue window to end, and when it does not, end its turn without it."""
        if self._stopping_for() > self.engine.grace.total_seconds():
            turn.cancel(WindowCancelled("The pass was told to stop."))
        if turn.overdue:
            turn.cancel(WindowTimedOut())
        if turn.cancelled and turn.unheard_for() > PATIENCE_SECONDS:
            outcome = self.engine.worker.give_up(turn)
            if outcome is not None:
                del self._flying[future]
                self._ended(turn, outcome)

    def _stopping_for(self) -> float:
        """For how many seconds the pass has been told to stop."""
        if not self.stop.is_set():
            return -1.0
        self._stopped_at = self._stopped_at or time.monotonic()
        return time.monotonic() - self._stopped_at

    def _ended(self, turn: Turn, outcome: Outcome) -> None:
        key = turn.lease.key
        self.heartbeat.let_go(key)
        self._capacity.leave([key])
        self.tally.ended(outcome)
        if outcome.reason is Reason.RATE_LIMITED:
            self._limited.add((key.tenant_id, key.data_source))
        if (outcome.reason and not outcome.again) or outcome.lost:
            self._settled.add(key)
        if isinstance(outcome.storage_error, DatabaseUnavailable):
            self._down = outcome.storage_error
