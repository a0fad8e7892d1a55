"""What may run now, and if not, why not: one function decides and explains (floor: engine; G4, G5, G7).

``decide`` looks at one key in the light of its tenant's :class:`Facts` and gives exactly one reason. A pass acts
on it, ``explain`` prints it, so what an operator reads is what the engine did.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from attrs import define, evolve, field

from tenantcollect.catalog import Source
from tenantcollect.collectors import Collector
from tenantcollect.decisions import NEEDS_ACTION, REPLAY, RESUME, Decision, with_root
from tenantcollect.graph import Graph
from tenantcollect.keys import Key
from tenantcollect.locks import Holder
from tenantcollect.planning import Plan, Terms, Upstream, plan, seen_by_dependents
from tenantcollect.policy import ELSEWHERE, LIFTED, POLL_HELD, Reason, elsewhere
from tenantcollect.schedule import Entry, Hold
from tenantcollect.state import KeyState
from tenantcollect.windows import NOTHING, Window

__all__ = [
    "Facts",
    "decide",
    "in_force",
    "is_stale",
    "knows",
    "lost_start",
    "next_look",
    "next_step",
    "over",
    "terms_of",
]

TOLD_AGAIN = (Reason.COLLECTOR_BROKEN, Reason.CONFIG_INVALID)
"""The stored reasons of a key that is tried again later, which explain it too; any other is a back-off."""
UNATTENDED_AFTER = timedelta(hours=1)
FAR_FUTURE = timedelta(days=1)
STALE_INTERVALS = 3
SHORTEST_POLL = timedelta(seconds=1)
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@define(kw_only=True)
class Facts:
    """All that is known of one tenant at ``now``, read together; decisions are kept while it lives.

    ``spoiled`` says of a data source what its tenant has chosen wrongly, where a host or a hand has stored it.
    """

    tenant_id: str
    now: datetime
    sources: Mapping[str, Source]
    spoiled: Mapping[str, str] = field(factory=dict)
    collectors: Mapping[str, Collector]
    broken: Mapping[str, str] = field(factory=dict)
    graph: Graph
    states: Mapping[Key, KeyState] = field(factory=dict)
    holds: Sequence[Hold] = ()
    holders: Mapping[Key, Holder] = field(factory=dict)
    entries: Mapping[Key, Entry] = field(factory=dict)
    decisions: dict[Key, Decision] = field(factory=dict)

    def key(self, collector: str) -> Key:
        """The key of one of this tenant's collectors."""
        data_source, _, script = collector.partition(".")
        return Key(self.tenant_id, data_source, script)

    def known(self) -> set[Key]:
        """Every key that is stored, or that a collector of this tenant's serves, whether or not it works."""
        return {*self.states, *map(self.key, self.collectors), *map(self.key, self.broken)}

    def upstreams(self, key: Key) -> list[Key]:
        """The keys this one directly depends on."""
        return [self.key(name) for name in self.graph.upstreams.get(key.collector, ())]


def terms_of(collector: Collector, source: Source | None) -> Terms:
    """A collector's options with the tenant's own choices laid over them."""
    options = collector.options
    chosen = source.interval if source and source.interval is not None else options.interval
    return Terms(
        duration=collector.duration,
        interval=chosen,
        settle=options.settle,
        snapshot=options.snapshot,
        newest_first=bool(source and source.order == "newest_first"),
    )


def decide(facts: Facts, key: Key) -> Decision:
    """Why ``key`` does or does not run at ``facts.now``; the same answer for the same facts, nothing raised."""
    path = {key: None}
    while key not in facts.decisions:
        # From the top downwards, without recursion: a chain may be longer than Python's stack.
        lowest = next(reversed(path))
        open_above = (up for up in facts.upstreams(lowest) if up not in facts.decisions and up not in path)
        if (above := next(open_above, None)) is not None:
            path[above] = None
        else:
            path.popitem()
            facts.decisions[lowest] = with_root(_decided(facts, lowest))
    return facts.decisions[key]


def _decided(facts: Facts, key: Key) -> Decision:
    return _unusable(facts, key) or _held(facts, key) or _running(facts, key) or _planned(facts, key)


def _unusable(facts: Facts, key: Key) -> Decision | None:
    """What is wrong before any state is looked at: configuration, installation, dependencies."""
    if key.data_source not in facts.sources:
        return Decision(key=key, reason=Reason.NOT_CONFIGURED, detail=f"{key.data_source} is not configured")
    if key.data_source in facts.spoiled:
        told = facts.spoiled[key.data_source]
        return Decision(key=key, reason=Reason.CONFIG_INVALID, detail=told, cure=ELSEWHERE)
    if key.collector in facts.broken:
        return Decision(key=key, reason=Reason.COLLECTOR_BROKEN, detail=facts.broken[key.collector])
    if key.collector not in facts.collectors:
        return Decision(key=key, reason=Reason.COLLECTOR_MISSING, detail=f"no package brings {key.collector}")
    if key.collector in facts.graph.problems:
        return Decision(key=key, reason=Reason.DEPENDENCY_ERROR, detail=facts.graph.problems[key.collector])
    return None


def _held(facts: Facts, key: Key) -> Decision | None:
    """The hold that speaks: one that needs somebody before one that ends, the oldest first."""
    revision = facts.sources[key.data_source].revision
    speaking = (hold for hold in facts.holds if hold.applies_to(key) and in_force(hold, facts.now, revision))
    if (hold := min(speaking, key=_rank, default=None)) is None:
        return None
    if not knows(hold):
        strange = f"a hold has the reason {ascii(hold.reason)[:80]}, which this version of tenantcollect does not know"
        return Decision(key=key, reason=Reason.CONFIG_INVALID, since=hold.since, detail=strange, cure=RESUME)
    told = Decision(key=key, reason=Reason(hold.reason), since=hold.since, until=hold.until, detail=hold.detail)
    return evolve(told, cure=elsewhere(told.reason, told.until))


def _rank(hold: Hold) -> tuple[bool, datetime]:
    return hold.until is not None, hold.since or BEFORE_ALL


def knows(hold: Hold) -> bool:
    """Whether the reason of a stored hold is one that a hold may have."""
    return hold.reason in LIFTED or hold.reason == Reason.ERASED


def in_force(hold: Hold, now: datetime, revision: str) -> bool:
    """Whether a stored hold still speaks: its time is not over, and the configuration is the one it is about."""
    return (hold.until is None or hold.until > now) and hold.revision in (None, revision)


def over(facts: Facts) -> list[Hold]:
    """The stored holds that speak no more: their time is over, or the configuration they are about has changed."""
    known = [(hold, facts.sources.get(hold.data_source)) for hold in facts.holds]
    return [hold for hold, source in known if source and not in_force(hold, facts.now, source.revision)]


def is_stale(now: datetime, fresh_until: datetime, interval: timedelta) -> bool:
    """Whether a key fell further behind than three of its intervals, and at least an hour."""
    return now - fresh_until > max(interval * STALE_INTERVALS, timedelta(hours=1))


def _running(facts: Facts, key: Key) -> Decision | None:
    holder = facts.holders.get(key)
    if holder is None:
        return None
    return Decision(
        key=key,
        reason=Reason.RUNNING,
        since=holder.acquired_at,
        until=holder.expires_at,
        detail=f"held by {holder.owner}",
        moving=True,
    )


def _planned(facts: Facts, key: Key) -> Decision:
    state = facts.states.get(key)
    if state is None:
        return Decision(key=key, reason=Reason.NOT_DUE, detail="its row is made by the next pass", moving=True)
    if key not in facts.entries:
        missing = "its row in the schedule is missing; the first pass of a process makes it anew"
        return Decision(key=key, reason=Reason.NOT_DUE, detail=missing, moving=True)
    if problem := _distrusted(facts, state):
        return Decision(key=key, reason=Reason.CONFIG_INVALID, detail=problem, cure=REPLAY)
    if state.retry_at and state.retry_at > facts.now and not _triggered(facts, key):
        return Decision(
            key=key,
            reason=next((reason for reason in TOLD_AGAIN if reason == state.reason), Reason.BACKOFF),
            since=state.completed_at,
            until=state.retry_at,
            detail=state.error or "the collector asked to be run later",
            cure=REPLAY if state.reason == Reason.CONFIG_INVALID else None,
        )
    return _from_plan(facts, key, state, _plan(facts, key, state))


def _plan(facts: Facts, key: Key, state: KeyState, *, at_most: int = 1) -> Plan:
    terms = terms_of(facts.collectors[key.collector], facts.sources.get(key.data_source))
    if _triggered(facts, key):
        terms = evolve(terms, interval=timedelta())
    return plan(
        history_start=state.history_start,
        coverage=state.coverage or NOTHING,
        terms=terms,
        now=facts.now,
        upstreams=tuple(upstream_of(facts, upstream) for upstream in facts.upstreams(key)),
        window_limit=state.window_limit,
        unfinished=state.resume.window if state.resume else None,
        at_most=at_most,
    )


def _distrusted(facts: Facts, state: KeyState) -> str | None:
    """Why the stored coverage cannot be planned with; a small step of the clock is no error (PROTOCOL 9)."""
    if state.problem or state.coverage is None:
        return state.problem
    if lost_start(state, facts.now):
        return f"The stored history begins in the future, at {state.history_start.isoformat()}."
    if state.coverage.end and state.coverage.end > facts.now + FAR_FUTURE:
        return f"The stored coverage reaches into the future, to {state.coverage.end.isoformat()}."
    return None


def lost_start(state: KeyState, now: datetime) -> bool:
    """Whether nobody can say any more where the history of a key begins."""
    return state.history_lost or state.history_start > now + FAR_FUTURE


def _triggered(facts: Facts, key: Key) -> bool:
    """Whether somebody ordered the key to run now: then neither interval nor back-off is waited for."""
    entry = facts.entries.get(key)
    return entry is not None and entry.triggered


def next_step(facts: Facts, key: Key, state: KeyState) -> Window | datetime | None:
    """The window that follows under the same claim, with ``state`` as it is after the seal (G5), or when the key is to
    be looked at again; None = at once, because it waits for an upstream.
    """
    found = _plan(facts, key, state)
    if found.ready:
        return found.ready[0]
    return None if found.blocked else next_look(facts, _from_plan(facts, key, state, found))


def upstream_of(facts: Facts, key: Key) -> Upstream:
    """``key`` as its dependents see it: its coverage, and whether it may still move."""
    state, collector = facts.states.get(key), facts.collectors.get(key.collector)
    if state is None or collector is None:
        return Upstream(coverage=NOTHING, moving=decide(facts, key).moving)
    terms = terms_of(collector, facts.sources.get(key.data_source))
    return Upstream(coverage=seen_by_dependents(state.coverage or NOTHING, terms), moving=decide(facts, key).moving)


def _from_plan(facts: Facts, key: Key, state: KeyState, found: Plan) -> Decision:
    if found.ready:
        due = facts.entries.get(key)
        late = due and due.next_due_at and facts.now - due.next_due_at > UNATTENDED_AFTER
        reason = Reason.UNATTENDED if late else Reason.RUNNABLE
        return Decision(key=key, reason=reason, since=due.next_due_at if due else None, plan=found, moving=True)
    if found.blocked:
        return _waiting(facts, key, found)
    if found.due_at:
        return Decision(key=key, reason=Reason.NOT_DUE, since=state.completed_at, until=found.due_at, plan=found)
    terms = terms_of(facts.collectors[key.collector], facts.sources.get(key.data_source))
    covered = (state.coverage.end if state.coverage else None) or facts.now
    return Decision(key=key, reason=Reason.UP_TO_DATE, until=terms.due_after(covered), plan=found)


def _waiting(facts: Facts, key: Key, found: Plan) -> Decision:
    """Waiting for upstreams: the root cause is that of the first one which does not cover what is asked for."""
    upstreams = [(up, decide(facts, up)) for up in facts.upstreams(key)]
    lagging = [(up, d) for up, d in upstreams if found.blocked - upstream_of(facts, up).coverage] or upstreams
    upstream, decision = min(lagging, key=lambda pair: pair[1].moving)
    return Decision(
        key=key,
        reason=Reason.WAITING_FOR_UPSTREAM,
        since=decision.since,
        until=decision.until,
        detail=f"waits until {upstream.collector} covers {found.blocked.pieces[0]}",
        root_cause=decision.root_cause or f"{upstream.collector}: {decision.reason.value}",
        root_reason=decision.root_reason or decision.reason,
        root_action=decision.action,
        plan=found,
        moving=any(d.moving for _, d in lagging),
    )


def next_look(facts: Facts, decision: Decision) -> datetime | None:
    """When a key that cannot run now is to be looked at again; None = parked until something changes."""
    now, collector = facts.now, facts.collectors.get(decision.key.collector)
    source = facts.sources.get(decision.key.data_source)
    interval = max(terms_of(collector, source).interval if collector else timedelta(), SHORTEST_POLL)
    if decision.reason is Reason.WAITING_FOR_UPSTREAM:
        held = decision.root_reason in NEEDS_ACTION
        return max(now + interval, decision.until or now) if not held else now + POLL_HELD
    if decision.until and decision.until > now:
        return decision.until
    if decision.reason is Reason.NOT_CONFIGURED:
        return None
    return now + (POLL_HELD if decision.needs_action else interval)
