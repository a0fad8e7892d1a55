"""The sweep: claim what is due, start its turns, end what is overdue.

sync ──> due ──> survey ──> decide ─┬─> claim ──> open ──> walk (executor) ──> outcome ──┐
            ▲                       └─> defer: not due, waiting, held, backing off        │
            └─────────────────────────────────────────────────────────────────────────────┘
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from attrs import Factory, define, evolve, field

from tenantcollect.decisions import Decision
from tenantcollect.errors import StorageError, WindowCancelled
from tenantcollect.events import HoldLifted
from tenantcollect.keys import Key, Selection
from tenantcollect.locks import Lease
from tenantcollect.passes.capacity import Capacity
from tenantcollect.passes.engine import Engine
from tenantcollect.passes.limits import Limits
from tenantcollect.passes.minder import Minder
from tenantcollect.passes.tally import Tally
from tenantcollect.policy import Reason
from tenantcollect.schedule import Entry
from tenantcollect.scheduling import Facts, decide, next_look, next_step, over
from tenantcollect.state import Claim, KeyState, Opening
from tenantcollect.survey import new_keys
from tenantcollect.telling import class_name, words
from tenantcollect.windows import Window
from tenantcollect.worker import Heartbeat, Outcome, Turn, patiently

__all__ = ["Pass"]

logger = logging.getLogger("tenantcollect.passes")

TURN_SECONDS = 10.0
"""How long a key may keep its slot, window after window, while others wait for one."""
HORIZON = 32
"""Among how many due keys those come first whose tenants had the fewest turns."""
MOST_PUT_OFF = 10_000
LANDING_SECONDS = 5.0
"""How long an interrupted pass waits for its windows to be gone."""


@define(kw_only=True, eq=False)
class Pass:
    """The state of one running pass. ``now`` is taken once; everything is planned with it."""

    engine: Engine
    selection: Selection
    now: datetime
    limits: Limits
    heartbeat: Heartbeat
    stop: threading.Event = field(factory=threading.Event)
    tally: Tally = field(factory=Tally)
    _capacity: Capacity = Factory(lambda this: Capacity(this.engine.settings.concurrency), takes_self=True)
    _flying: dict[Turn, Future[Any] | None] = field(factory=dict)
    """The turns that were claimed and have not ended; None = not started yet."""
    _settled: set[Key] = field(factory=set)
    _put_off: set[Entry] = field(factory=set)
    """Entries that were put off: one that is read again just so cannot be, and must not keep the pass for ever."""
    _limited: set[tuple[str, str]] = field(factory=set)
    _reach: int = 1
    """How many horizons of due keys are read at once, beside those that fly: more where they are of no use."""
    _crowded: bool = False
    _down: str | None = None
    _stopped_at: float | None = None
    _minder: Minder = Factory(
        lambda this: Minder(place=this.engine.place, flying=this._flying, may_wait=this._may_wait), takes_self=True
    )

    def sync(self) -> None:
        """Make the rows of keys that are new, and look again at all that was parked: of the selected tenants, whichever
        of their keys are selected (PROTOCOL P0).
        """
        tenants = self.selection.tenant_ids
        for tenant_ids in self.engine.survey.configured(tenants):
            known = self.engine.survey.facts(tenant_ids, self.now).values()
            if made := [new for facts in known for new in new_keys(facts)]:
                patiently(partial(self.engine.state.ensure, made, due_at=self.now))
            for facts in known:
                self._tell_blocked(facts)
        patiently(lambda: self.engine.state.schedule.unpark(Selection(tenants), at=self.now))

    def _tell_blocked(self, facts: Facts) -> None:
        """Count what cannot run until somebody acts, also where no look at it is due."""
        for key in facts.known():
            if self.selection.matches(key) and (decision := decide(facts, key)).blocks:
                self.tally.decided(decision)

    def runs_in(self, thread: threading.Thread) -> bool:
        """Whether ``thread`` walks one of its turns."""
        return any(turn.thread is thread for turn in tuple(self._flying))

    def sweep(self) -> str | None:
        """Run windows until nothing is runnable; what became of the database, if it went away."""
        try:
            while True:
                moved = self._may_start() and self._start()
                if self._flying:
                    self._await()
                elif not moved:
                    self._tell_rest()
                    return self._down
        finally:
            self._land()
            self._minder.end()

    def _tell_rest(self) -> None:
        """Where those keys stand that were not looked at again after their turn: a budget may have ended the pass."""
        rest = self.tally.undecided() if not self._down else []
        try:
            decided = self._decided(list(self.engine.state.schedule.entries(rest).values()))
            self._tell(decided)
            for _, decision in decided:
                self.tally.decided(decision)
        except StorageError as error:
            self._down = str(error)

    def _land(self) -> None:
        """An interrupted pass (Ctrl-C in a host's own program) leaves no window and no lease behind."""
        for turn in self._flying:
            turn.cancel(WindowCancelled("The pass was interrupted."))
        began = time.monotonic()
        while self._flying and time.monotonic() - began < LANDING_SECONDS:
            self._await()

    def _may_start(self) -> bool:
        return not (self.stop.is_set() or self._down or self.limits.spent or not self._capacity.free)

    def _start(self) -> bool:
        """Claim and start what is due, as far as there is room, and defer what cannot run; whether there was any."""
        try:
            return patiently(self._round)
        except StorageError as error:
            self._down = str(error)
            logger.error("the pass claims nothing more: %s", error)
            return False

    def _round(self) -> bool:
        decided = self._decided(self._due())
        self._tell(decided)
        moved = self._deferred(decided) + self._claim(self._chosen(decided))
        self._capacity.turn_page()
        return bool(moved)

    def _tell(self, decided: list[tuple[Facts, Decision]]) -> None:
        """End holds that speak no more, and tell of keys that have become stale, each once."""
        for facts in {id(facts): facts for facts, _ in decided}.values():
            for hold in over(facts):
                if self.engine.state.holds.end(hold):
                    self.engine.emit(HoldLifted.of(hold))
        for facts, decision in decided:
            if news := self.engine.freshness.news_of(facts, decision.key):
                self.engine.emit(news)

    def _due(self) -> list[Entry]:
        """The keys to decide about now, tenants in turn: a page of those that were read."""
        flying = {turn.lease.key for turn in self._flying}
        passed_over, page = self._settled | flying, self._capacity.page
        while True:
            limit = self._reach * max(HORIZON, page) + len(flying)
            due = self.engine.state.schedule.due(self.selection, now=self.now, limit=limit)
            free = [entry for entry in due if not entry.busy and entry.key not in passed_over]
            if len(free) >= page or len(due) < limit or due[-1].busy:
                break
            self._reach *= 2
        self.tally.busy |= {entry.key for entry in due if entry.busy} - flying
        return self._capacity.in_turn(free)[:page]

    def _chosen(self, decided: list[tuple[Facts, Decision]]) -> list[tuple[Facts, Decision]]:
        """Those that may run and for which there is room."""
        runnable = [(facts, decision) for facts, decision in decided if decision.runnable]
        chosen = [(facts, decision) for facts, decision in runnable if self._admitted(facts, decision.key)]
        self._crowded = len(chosen) < len(runnable)
        return chosen

    def _deferred(self, decided: list[tuple[Facts, Decision]]) -> int:
        """Put off, each with its reason, those that cannot run now; how many."""
        idle = [(f, d) for f, d in decided if not d.runnable and d.reason is not Reason.RUNNING]
        elsewhere = {d.key for _, d in decided if d.reason is Reason.RUNNING}
        self.tally.busy |= elsewhere
        self._settled |= elsewhere
        for facts, decision in idle:
            self._defer(facts, decision)
        self._look_again([f.entries[d.key] for f, d in idle if d.reason is Reason.WAITING_FOR_UPSTREAM])
        return len(idle)

    def _decided(self, due: list[Entry]) -> list[tuple[Facts, Decision]]:
        """A decision stands on the entry, read before all else: what comes after it is a reason to look again."""
        if not due:
            return []
        seen = {entry.key: entry for entry in due}
        facts = self.engine.survey.facts({key.tenant_id for key in seen}, self.now, seen)
        for each in facts.values():
            each.entries = {**each.entries, **seen}
        return [(facts[key.tenant_id], decide(facts[key.tenant_id], key)) for key in seen]

    def _admitted(self, facts: Facts, key: Key) -> bool:
        if (key.tenant_id, key.data_source) in self._limited:
            return False
        return self._capacity.admit(key, facts.collectors[key.collector].options.concurrency_per_tenant)

    def _defer(self, facts: Facts, decision: Decision) -> None:
        entry, at = facts.entries[decision.key], next_look(facts, decision)
        if entry in self._put_off:
            self._settled.add(entry.key)
        if len(self._put_off) >= MOST_PUT_OFF:
            self._put_off.clear()
        self._put_off.add(entry)
        waiting = decision.reason is Reason.WAITING_FOR_UPSTREAM or decision.needs_action
        self.engine.state.schedule.defer(entry, at, waiting=waiting)
        self.tally.decided(decision)

    def _look_again(self, waiting: list[Entry]) -> None:
        """An upstream may have moved between the look and the deferral; its hint was then lost (PROTOCOL P9)."""
        if moved := [d.key for _, d in self._decided(waiting) if d.reason is not Reason.WAITING_FOR_UPSTREAM]:
            self.engine.state.schedule.wake(moved, at=self.now)

    def _claim(self, chosen: list[tuple[Facts, Decision]]) -> int:
        """Lease and open the chosen keys, one statement each for all, and start their turns."""
        plans = {decision.key: (facts, decision) for facts, decision in chosen if self.limits.take()}
        self._capacity.leave(decision.key for _, decision in chosen if decision.key not in plans)
        if not plans:
            return 0
        leases, claims = dict[Key, Lease](), dict[Key, Claim]()
        try:
            engine = self.engine
            acquired = engine.locks.acquire(list(plans), owner=engine.owner, ttl=engine.settings.lease_ttl)
            leases = {lease.key: lease for lease in acquired}
            self.tally.busy |= set(plans) - set(leases)
            self._settled |= set(plans) - set(leases)
            openings = [self._opening(lease, *plans[lease.key]) for lease in acquired]
            claims = {claim.key: claim for claim in self.engine.state.open(openings)} if openings else {}
        finally:
            unopened = set(plans) - set(claims)
            self._capacity.leave(unopened)
            for _ in unopened:
                self.limits.give_back()
            if spare := [leases[key] for key in unopened if key in leases]:
                patiently(lambda: self.engine.locks.release(spare))
        turns = [self._turn(leases[key], claim, plans[key][0]) for key, claim in claims.items()]
        self._flying |= dict.fromkeys(turns)
        for turn in turns:
            if turn.ended:
                continue
            self.heartbeat.watch(turn)
            self._minder.begin()
            try:
                self._flying[turn] = self.engine.place.start(turn)
            except Exception as error:
                logger.exception("the executor starts no windows")
                self._down = f"The executor starts no windows ({class_name(error)}: {words(error)}); is it shut down?"
                turn.cancel(WindowCancelled(self._down))
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

    def _turn(self, lease: Lease, claim: Claim, facts: Facts) -> Turn:
        key, began = lease.key, time.monotonic()

        def may_go_on() -> bool:
            out_of_turn = self._crowded and time.monotonic() - began > TURN_SECONDS
            limited = (key.tenant_id, key.data_source) in self._limited
            return not (out_of_turn or limited or self.stop.is_set() or self._down or self.limits.late)

        return Turn(
            lease=lease,
            claim=claim,
            seen=facts.entries[key],
            state=evolve(facts.states[key], fence=claim.fence, window_seq=claim.window_seq),
            collector=facts.collectors[key.collector],
            revision=facts.sources[key.data_source].revision,
            planned_at=self.now,
            ttl=self.engine.settings.lease_ttl,
            dependents=[facts.key(name) for name in facts.graph.downstreams(key.collector)],
            descendants=[facts.key(name) for name in facts.graph.descendants(key.collector)],
            next_step=self._planner(facts, key),
            may_continue=lambda: may_go_on() and self.limits.take(),
            may_go_on=may_go_on,
            stopping=self.stop.is_set,
        )

    def _planner(self, facts: Facts, key: Key) -> Callable[[KeyState], Window | datetime | None]:
        """What follows after a seal; the upstreams' coverage is read again when what was known is used up."""
        known = [facts]

        def following(state: KeyState) -> Window | datetime | None:
            step = next_step(known[0], key, state)
            if not isinstance(step, Window) and facts.upstreams(key):
                known[0] = self.engine.survey.facts([key.tenant_id], self.now, [key])[key.tenant_id]
                step = next_step(known[0], key, state) if key.collector in known[0].collectors else None
            return step

        return following

    def _await(self) -> None:
        """Take in the turns that have ended; if there is none, wait a moment for one."""
        if not sum(self._taken_in(turn, future) for turn, future in list(self._flying.items())):
            pending = [future for future in self._flying.values() if future and not future.done()]
            if not wait(pending, timeout=0.25, return_when=FIRST_COMPLETED).done:
                time.sleep(0 if pending else 0.05)

    def _taken_in(self, turn: Turn, future: Future[Any] | None) -> bool:
        outcome = self._minder.given_up.pop(turn, None)
        if outcome is None and future is not None and future.done() and not turn.given_up:
            outcome = self.engine.place.ended(turn, future)
        if outcome is not None:
            del self._flying[turn]
            self._ended(turn, outcome)
        return outcome is not None

    def _may_wait(self) -> bool:
        """Whether windows may go on: a pass that is told to stop waits for them as long as its grace."""
        if not self.stop.is_set():
            return True
        self._stopped_at = self._stopped_at or time.monotonic()
        return time.monotonic() - self._stopped_at <= self.engine.settings.grace.total_seconds()

    def _ended(self, turn: Turn, outcome: Outcome) -> None:
        key = turn.lease.key
        self.heartbeat.let_go(key)
        if turn.granted:
            self.limits.give_back()
        self._capacity.leave([key])
        self.tally.ended(outcome)
        if outcome.reason is Reason.RATE_LIMITED:
            self._limited.add((key.tenant_id, key.data_source))
        if (outcome.reason and not outcome.again) or outcome.lost or outcome.down:
            self._settled.add(key)
        self._down = outcome.down or self._down
