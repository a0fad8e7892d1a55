"""S11 and S12: due times and holds, the hints and reasons beside the state (floor: testing; PROTOCOL 8)."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tenantcollect.errors import ConfigurationError
from tenantcollect.keys import EVERYTHING, Key, Selection
from tenantcollect.schedule import Hold, Schedule
from tenantcollect.state import State
from tenantcollect.testing.harness import Harness
from tenantcollect.testing.steps import DAY, KEY, START, TTL, deferred, key, made, opened
from tenantcollect.testing.suite import Suite

__all__ = ["ScheduleTests"]

MINUTE = timedelta(minutes=1)


def due(state: State, at: datetime, selection: Selection = EVERYTHING, limit: int = 100) -> list[Key]:
    """The keys due at a time."""
    return [entry.key for entry in state.schedule.due(selection, now=at, limit=limit)]


def hold(script: str | None = None, reason: str = "paused_by_user", tenant_id: str = "acme") -> Hold:
    """A hold without an end."""
    return Hold(tenant_id=tenant_id, data_source="git", script=script, reason=reason, since=START, detail="why")


class ScheduleTests(Suite):
    """When to look at a key again, and the reasons not to run it."""

    @pytest.fixture
    def state(self, harness: Harness) -> State:
        """The state under test, with one key that is due from day 0 on."""
        harness.prepare([])
        return harness.backend.state

    def test_s11_not_due(self, harness: Harness, state: State) -> None:
        """A key is due from its time on, not before."""
        made(harness.backend)
        deferred(state, KEY, START)
        assert due(state, START - MINUTE) == []
        assert due(state, START) == [KEY]
        deferred(state, KEY, START + MINUTE)
        assert due(state, START) == []

    def test_s11_new_keys_are_due_when_said(self, harness: Harness, state: State) -> None:
        """A key is due when ``ensure`` says; ensuring it again does not move that."""
        made(harness.backend)
        deferred(state, KEY, START + DAY)
        made(harness.backend)
        assert due(state, START) == []
        assert state.schedule.entries([KEY])[KEY].next_due_at == START + DAY

    def test_s11_parked(self, harness: Harness, state: State) -> None:
        """A parked key is never due until something is configured, which wakes the waiting too."""
        keys = [KEY, key("beta"), key("gamma")]
        made(harness.backend, keys)
        deferred(state, keys[0], None)
        deferred(state, keys[1], START + DAY)
        deferred(state, keys[2], START + DAY, waiting=True)
        assert due(state, START + 1000 * DAY) == keys[1:]
        state.schedule.unpark(EVERYTHING, at=START)
        assert due(state, START) == [keys[0], keys[2]]

    def test_s11_unparking_one_tenant(self, harness: Harness, state: State) -> None:
        """What changed for one tenant is no reason to look at another's keys."""
        parked, waiting = [key("a"), key("b")], [key("a", script="branch"), key("b", script="branch")]
        made(harness.backend, [*parked, *waiting])
        for which in parked:
            deferred(state, which, None)
        for which in waiting:
            deferred(state, which, START + DAY, waiting=True)
        before = state.schedule.entries([parked[1], waiting[1]])
        state.schedule.unpark(Selection("a"), at=START)
        assert sorted(due(state, START)) == sorted([parked[0], waiting[0]])
        assert state.schedule.entries([parked[1], waiting[1]]) == before

    def test_s11_wake(self, harness: Harness, state: State) -> None:
        """Waking makes those due that wait for an upstream, and leaves the others at their time."""
        waits, backs_off, parked = KEY, key(script="branch"), key(script="tag")
        made(harness.backend, [waits, backs_off, parked])
        deferred(state, waits, START + DAY, waiting=True)
        deferred(state, backs_off, START + DAY)
        deferred(state, parked, None)
        state.schedule.wake([waits, backs_off, parked, key("unknown")], at=START)
        assert due(state, START) == [waits]
        state.schedule.wake([backs_off, parked], at=START, every=True)
        assert sorted(due(state, START)) == sorted([waits, backs_off, parked])

    def test_s11_waking_puts_nobody_off(self, harness: Harness, state: State) -> None:
        """A key that is due already stays due since then, whatever wakes it: it keeps its turn."""
        made(harness.backend)
        deferred(state, KEY, START, waiting=True)
        state.schedule.wake([KEY], at=START + DAY)
        state.schedule.unpark(EVERYTHING, at=START + DAY)
        assert due(state, START) == [KEY]

    def test_s11_an_order_counts_from_when_it_was_given(self, harness: Harness, state: State) -> None:
        """A pass that plans with an earlier time leaves what was ordered since to the next one."""
        made(harness.backend)
        state.schedule.trigger([KEY], at=START + DAY)
        assert due(state, START) == []
        assert due(state, START + DAY) == [KEY]

    def test_s11_deferring_ends_the_wait(self, harness: Harness, state: State) -> None:
        """A key that was looked at again, and waits no more, is not woken."""
        made(harness.backend)
        deferred(state, KEY, START + DAY, waiting=True)
        deferred(state, KEY, START + DAY)
        state.schedule.wake([KEY], at=START)
        assert due(state, START) == []

    def test_s11_triggered(self, harness: Harness, state: State) -> None:
        """A key that somebody ordered to run is due, and stays marked until it is deferred."""
        ordered, other = KEY, key("beta")
        made(harness.backend, [ordered, other])
        deferred(state, ordered, None)
        deferred(state, other, START + DAY)
        state.schedule.trigger([ordered, key("unknown")], at=START)
        assert due(state, START) == [ordered]
        marks = {which: entry.triggered for which, entry in state.schedule.entries([ordered, other]).items()}
        assert marks == {ordered: True, other: False}
        state.schedule.wake([ordered], at=START)
        assert state.schedule.due(EVERYTHING, now=START, limit=1)[0].triggered
        deferred(state, ordered, START)
        assert not state.schedule.entries([ordered])[ordered].triggered

    @pytest.mark.parametrize(
        "make_due",
        [
            lambda schedule: schedule.trigger([KEY], at=START),
            lambda schedule: schedule.wake([KEY], at=START),
            lambda schedule: schedule.wake([KEY], at=START, every=True),
            lambda schedule: schedule.unpark(EVERYTHING, at=START),
        ],
        ids=["trigger", "wake", "wake every", "unpark"],
    )
    def test_s11_deferring_is_compare_and_set(
        self, harness: Harness, state: State, make_due: Callable[[Schedule], object]
    ) -> None:
        """Who makes a key due is not overruled by a look that was taken before, even at the very same time."""
        made(harness.backend)
        deferred(state, KEY, START, waiting=True)
        seen = state.schedule.due(EVERYTHING, now=START, limit=1)[0]
        make_due(state.schedule)
        state.schedule.defer(seen, START + DAY)
        assert due(state, START) == [KEY]
        state.schedule.defer(state.schedule.due(EVERYTHING, now=START, limit=1)[0], START + DAY)
        assert due(state, START) == []

    def test_s11_deferring_by_a_former_holder(self, harness: Harness, state: State) -> None:
        """A holder whose key was opened by another one says nothing any more of when to look at it."""
        made(harness.backend)
        seen = state.schedule.entries([KEY])[KEY]
        former, holder = opened(harness.backend, owner="former"), opened(harness.backend, owner="next")
        state.schedule.defer(seen, START + DAY, fence=former.fence)
        assert state.schedule.entries([KEY])[KEY].next_due_at == seen.next_due_at
        state.schedule.defer(seen, START + DAY, fence=holder.fence)
        assert state.schedule.entries([KEY])[KEY].next_due_at == START + DAY

    def test_s11_tenants_in_turn(self, harness: Harness, state: State) -> None:
        """Each tenant's first key comes before any tenant's second, however long the flood waited."""
        flood = [key("flood", script=f"s{n}") for n in range(5)]
        small = [key("small", script=f"s{n}") for n in range(2)]
        made(harness.backend, [*flood, *small])
        for number, which in enumerate([*flood, *small]):
            deferred(state, which, START + number * MINUTE)
        assert due(state, START + DAY)[:4] == [flood[0], small[0], flood[1], small[1]]
        assert due(state, START + DAY, limit=3) == [flood[0], small[0], flood[1]]
        assert sorted(due(state, START + DAY)) == sorted([*flood, *small])

    def test_s11_busy_last(self, harness: Harness, state: State) -> None:
        """A key that somebody holds comes after every free one, and is marked."""
        keys = [key("a"), key("b")]
        made(harness.backend, keys)
        for number, which in enumerate(keys):
            deferred(state, which, START + number * MINUTE)
        harness.backend.locks.acquire(keys[:1], owner="worker-1", ttl=TTL)
        entries = state.schedule.due(EVERYTHING, now=START + DAY, limit=10)
        assert [(entry.key, entry.busy) for entry in entries] == [(keys[1], False), (keys[0], True)]
        assert state.schedule.entries(keys)[keys[0]].busy

    def test_s11_selection(self, harness: Harness, state: State) -> None:
        """Only keys that were selected are due."""
        keys = [key("a"), key("a", script="branch"), key("a", data_source="github"), key("b")]
        made(harness.backend, keys)
        assert due(state, state.now(), Selection("a", "git", "branch")) == [keys[1]]
        assert set(due(state, state.now(), Selection(data_sources="git"))) == {keys[0], keys[1], keys[3]}
        assert due(state, state.now(), Selection("nobody")) == []

    def test_s11_progress(self, harness: Harness, state: State) -> None:
        """A line of progress is kept until the key is deferred; one for an unknown key is no error."""
        made(harness.backend)
        state.schedule.report({KEY: "3 of 7", key("unknown"): "lost"})
        assert state.schedule.entries([KEY, key("unknown")]).keys() == {KEY}
        assert state.schedule.entries([KEY])[KEY].progress == "3 of 7"
        deferred(state, KEY, START)
        assert state.schedule.entries([KEY])[KEY].progress is None

    @pytest.mark.parametrize(
        "call",
        [
            lambda state, naive: state.schedule.due(EVERYTHING, now=naive, limit=1),
            lambda state, naive: deferred(state, KEY, naive),
            lambda state, naive: state.schedule.wake([KEY], at=naive),
            lambda state, naive: state.schedule.trigger([KEY], at=naive),
            lambda state, naive: state.schedule.unpark(EVERYTHING, at=naive),
        ],
        ids=["due", "defer", "wake", "trigger", "unpark"],
    )
    def test_s17_naive_due_times(
        self, harness: Harness, state: State, call: Callable[[State, datetime], object]
    ) -> None:
        """A due time without a time zone is refused."""
        made(harness.backend)
        with pytest.raises(ConfigurationError, match="time zone"):
            call(state, START.replace(tzinfo=None))

    def test_s12_paused(self, harness: Harness, state: State) -> None:
        """A hold is there, exactly as it was placed, for every process until it is lifted."""
        placed = [hold(), hold("commit", "backoff"), hold(tenant_id="beta")]
        assert all(state.holds.place(each) for each in placed)
        other = harness.beside().state.holds
        assert sorted(other.held(), key=repr) == sorted(placed, key=repr)
        assert sorted(other.held(["acme"]), key=repr) == sorted(placed[:2], key=repr)
        assert other.held(["acm_"]) == []
        assert other.held([]) == []

    def test_s12_placing_again_replaces(self, state: State) -> None:
        """A hold of the same scope and reason is placed once, with what was said last."""
        assert state.holds.place(hold())
        later = Hold(
            tenant_id="acme",
            data_source="git",
            reason="paused_by_user",
            since=START + DAY,
            until=START + 2 * DAY,
            detail="still",
            revision="7",
        )
        assert not state.holds.place(later)
        assert state.holds.held() == [later]

    def test_s12_lifting(self, state: State) -> None:
        """Lifting takes the holds of the named reasons and leaves the others."""
        for each in (hold(), hold("commit"), hold(reason="auth_failed"), hold(tenant_id="beta")):
            state.holds.place(each)
        lifted = state.holds.lift(Selection("acme"), ["paused_by_user", "quota"])
        assert sorted(lifted, key=repr) == sorted([hold(), hold("commit")], key=repr)
        assert state.holds.lift(Selection("acme"), ["paused_by_user"]) == []
        assert {(each.tenant_id, each.reason) for each in state.holds.held()} == {
            ("acme", "auth_failed"),
            ("beta", "paused_by_user"),
        }

    def test_s12_lifting_one_script(self, state: State) -> None:
        """With scripts selected the hold of the whole source stays."""
        for each in (hold(), hold("commit"), hold("branch")):
            state.holds.place(each)
        assert state.holds.lift(Selection(scripts="commit"), ["paused_by_user"]) == [hold("commit")]
        assert {each.script for each in state.holds.held()} == {None, "branch"}

    def test_s12_a_hold_does_not_touch_the_state(self, harness: Harness, state: State) -> None:
        """Holds decide nothing in the backend: what may run is decided above it."""
        made(harness.backend)
        state.holds.place(hold())
        assert due(state, state.now()) == [KEY]
        assert opened(harness.backend).fence == 1
