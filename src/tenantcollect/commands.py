"""What a person orders: trigger, pause, resume, backfill, replay (floor: passes).

Pause, backfill and replay raise the fence of what they touch: a holder that is at work then cannot seal, so nobody
walks on with an old plan (PROTOCOL 2.11). Trigger and resume only make keys due.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial

from attrs import define, evolve

from tenantcollect.errors import ConfigurationError
from tenantcollect.events import Events, HoldLifted, HoldPlaced
from tenantcollect.keys import Key, Selection
from tenantcollect.policy import LIFTED, Reason
from tenantcollect.schedule import Hold
from tenantcollect.scheduling import Facts, in_force, knows, lost_start
from tenantcollect.state import Change, KeyState, Revision, State
from tenantcollect.survey import Survey, new_keys
from tenantcollect.windows import NOTHING, Window, WindowSet

__all__ = ["Commands"]


@define
class Commands:
    """Changes keys by hand; with ``dry_run`` each only says which keys it would touch."""

    survey: Survey
    state: State
    events: Events

    def pause(
        self, selection: Selection, now: datetime, *, until: datetime | None, detail: str, dry_run: bool
    ) -> list[Key]:
        """Hold the selection until ``until`` (None = until resumed), also what no pass has seen yet; open windows are
        dropped. Raises :class:`ConfigurationError` for a time that has passed: nothing would be held.
        """
        if until is not None and until <= now:
            problem = "must lie in the future"
            raise ConfigurationError(f"until {problem}", fields={"until": problem})
        detail, keys = _text(detail, "detail"), list[Key]()
        for facts in self._facts(selection, now):
            mine = sorted(filter(selection.matches, facts.known()))
            keys += mine
            for tenant_id, data_source, script in () if dry_run else sorted(_scopes(facts, selection, mine)):
                self._hold(
                    Hold(
                        tenant_id=tenant_id,
                        data_source=data_source,
                        script=script,
                        reason=Reason.PAUSED_BY_USER,
                        since=now,
                        until=until,
                        detail=detail,
                    )
                )
        if keys and not dry_run:
            self.state.revise(keys, _dropped)
        return keys

    def drop(self, selection: Selection) -> None:
        """End what is open of the selection."""
        self.state.revise([state.key for state in self.state.load(selection)], _dropped)

    def resume(self, selection: Selection, now: datetime, *, dry_run: bool) -> list[Key]:
        """Lift every hold of the selection and make it due; the keys that no other hold keeps back."""
        each = [(facts, key) for facts in self._facts(selection, now) for key in sorted(facts.known())]
        keys = [key for facts, key in each if selection.matches(key) and not _stays_held(facts, key, selection)]
        if not dry_run:
            strange = {hold.reason for facts, _ in each for hold in facts.holds if not knows(hold)}
            for hold in self.state.holds.lift(selection, LIFTED | strange):
                self.events.emit(HoldLifted.of(hold))
            self.state.schedule.wake(keys, at=now, every=True)
        return keys

    def admit(self, tenant_id: str, data_source: str, now: datetime) -> None:
        """Make the rows of a data source that was configured, and make those it has due."""
        for facts in self.survey.facts([tenant_id], now).values():
            self.state.ensure(new_keys(facts), due_at=now)
            mine = [key for key in facts.states if key.data_source == data_source]
            self.state.schedule.wake(mine, at=now, every=True)

    def trigger(self, selection: Selection, now: datetime, *, dry_run: bool) -> list[Key]:
        """Make the selection due now: neither the interval nor a back-off is waited for; holds stay."""
        keys = list(self._keys(selection, now))
        if not dry_run:
            self.state.schedule.trigger(keys, at=now)
        return keys

    def backfill(self, selection: Selection, now: datetime, *, since: datetime, dry_run: bool) -> list[Key]:
        """Begin the history of the selection, and of what it depends on, at ``since``; it never moves forward."""
        if since >= now:
            raise ConfigurationError("since must lie in the past")
        found = (facts.states.get(key) for facts, key in self._with(selection, now, upstreams=True))
        return self._revised(filter(None, found), partial(_backfilled, since), now, dry_run=dry_run)

    def replay(
        self, selection: Selection, now: datetime, *, window: Window | None, dependents: bool, dry_run: bool
    ) -> list[Key]:
        """Collect ``window`` again, by default for what depends on the selection too; None = everything, as if new:
        a cursor that says "already seen" goes too.
        """
        states, starts = list[KeyState](), dict[Key, datetime]()
        for facts, key in self._with(selection, now, dependents=dependents):
            if (state := facts.states.get(key)) is not None:
                states.append(state)
                if lost_start(state, now):
                    starts[key] = _as_new(facts, key)
        return self._revised(states, partial(_replayed, window, starts, now), now, dry_run=dry_run)

    def _revised(self, states: Iterable[KeyState], change: Change, now: datetime, *, dry_run: bool) -> list[Key]:
        """The keys that ``change`` changes, as each stands when it is locked; with ``dry_run`` as they were read."""
        if dry_run:
            return sorted(state.key for state in states if change(state) is not None)
        keys = self.state.revise([state.key for state in states], change)
        self.state.schedule.wake(keys, at=now, every=True)
        return sorted(keys)

    def _hold(self, hold: Hold) -> None:
        if self.state.holds.place(hold):
            self.events.emit(HoldPlaced.of(hold))

    def _keys(self, selection: Selection, now: datetime) -> Iterator[Key]:
        return (key for _, key in self._with(selection, now))

    def _with(
        self, selection: Selection, now: datetime, *, upstreams: bool = False, dependents: bool = False
    ) -> Iterator[tuple[Facts, Key]]:
        """The selected keys with all that stands above or below them, in the order of keys."""
        for facts in self._facts(selection, now):
            chosen = {key for key in facts.states if selection.matches(key)}
            for key in tuple(chosen):
                names = facts.graph.ancestors(key.collector) if upstreams else ()
                chosen |= {facts.key(name) for name in names}
                names = facts.graph.descendants(key.collector) if dependents else ()
                chosen |= {facts.key(name) for name in names}
            yield from ((facts, key) for key in sorted(chosen))

    def _facts(self, selection: Selection, now: datetime) -> Iterator[Facts]:
        for tenant_ids in self.survey.tenants(selection):
            yield from self.survey.facts(tenant_ids, now).values()


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        problem = f"must be text, not {type(value).__name__}"
        raise ConfigurationError(f"{what} {problem}", fields={what: problem})
    return value


def _scopes(facts: Facts, selection: Selection, keys: list[Key]) -> set[tuple[str, str, str | None]]:
    """One hold per data source, also one that no collector serves yet, or per key where scripts were named."""
    if selection.scripts is not None:
        return {(key.tenant_id, key.data_source, key.script) for key in keys}
    chosen = {name for name in facts.sources if selection.data_sources is None or name in selection.data_sources}
    return {(facts.tenant_id, name, None) for name in chosen | {key.data_source for key in keys}}


def _stays_held(facts: Facts, key: Key, selection: Selection) -> bool:
    """Whether a hold keeps ``key`` back that a resume of ``selection`` does not lift: that of its whole source."""
    source = facts.sources.get(key.data_source)
    revision = source.revision if source else ""
    whole = [hold for hold in facts.holds if selection.scripts is not None and hold.script is None]
    return any(hold.applies_to(key) and in_force(hold, facts.now, revision) for hold in whole)


def _dropped(_: KeyState) -> Revision:
    return Revision()


def _backfilled(since: datetime, state: KeyState) -> Revision | None:
    if since >= state.history_start:
        return None
    coverage = state.coverage or NOTHING
    return Revision(history_start=since, coverage=coverage, last_fetched_data_date=coverage.unbroken_end(since))


def _replayed(window: Window | None, starts: Mapping[Key, datetime], now: datetime, state: KeyState) -> Revision:
    """``starts`` has the beginnings of histories that were lost."""
    coverage = state.coverage or NOTHING
    begins = starts.get(state.key, state.history_start)
    dropped = window or Window(begins, max(coverage.end or now, now))
    left = coverage - WindowSet((dropped,)) if state.coverage is not None and window else NOTHING
    unfinished = state.resume.window if state.resume else None
    return Revision(
        history_start=begins,
        coverage=left,
        last_fetched_data_date=left.unbroken_end(begins),
        replayed=dropped,
        restart=unfinished is not None and unfinished.intersection(dropped) is not None,
        forget=window is None,
    )


def _as_new(facts: Facts, key: Key) -> datetime:
    """Where the history of ``key`` would begin if it were made now; just before now, if nobody knows."""
    sound = {other: state for other, state in facts.states.items() if not lost_start(state, facts.now)}
    starts = {new.key: new.history_start for new in new_keys(evolve(facts, states=sound, decisions={}))}
    return starts.get(key, facts.now - timedelta(days=1))
