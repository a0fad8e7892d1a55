"""E05, E20, E22, E23, E26–E28: holders, takeovers and commands (floor: testing; PROTOCOL 8)."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import combinations

import pytest
from attrs import define

from tenantcollect.errors import CoverageInvalid, LeaseLost, TenantcollectError
from tenantcollect.keys import EVERYTHING, Key
from tenantcollect.schedule import Hold
from tenantcollect.state import Claim, Opening, Resume, Revision, Status, WindowTransaction
from tenantcollect.testing.harness import Backend, Harness
from tenantcollect.testing.lying import LyingLocks
from tenantcollect.testing.steps import (
    DAY,
    KEY,
    START,
    TTL,
    always,
    attempts,
    collect,
    deferred,
    failure,
    key,
    made,
    opened,
    opening,
    read,
    seal_of,
    sealed,
    statuses,
    window,
)
from tenantcollect.testing.suite import Suite, needs
from tenantcollect.windows import NOTHING, WindowSet

__all__ = ["FencingTests"]

COMMANDS = {
    "pause": Revision(),
    "backfill": Revision(history_start=START - 30 * DAY),
    "replay": Revision(coverage=NOTHING, replayed=window(0)),
    "erase": Revision(coverage=NOTHING, forget=True),
}


@define
class Holder:
    """One of several that believe they hold a key; each of its steps may find that another one was there."""

    harness: Harness
    which: Key
    number: int | None
    asked: Opening | None = None
    claim: Claim | None = None
    transaction: WindowTransaction | None = None

    @property
    def backend(self) -> Backend:
        return self.harness.backend

    def plan(self) -> None:
        [lease] = LyingLocks().acquire([self.which], owner="liar", ttl=TTL)
        state = read(self.backend, self.which)
        self.asked = None if state.coverage else opening(state, token=lease.token)

    def open(self) -> None:
        if self.asked:
            self.claim = next(iter(self.backend.state.open([self.asked])), None)

    def write(self) -> None:
        if self.claim:
            self.transaction = self.backend.state.transaction(self.claim)
            if self.number is not None:
                self.harness.write(self.transaction, self.number)

    def seal(self) -> None:
        if self.claim and self.transaction:
            with suppress(LeaseLost):
                self.transaction.seal(seal_of(self.claim))
            self.transaction.abandon()

    def write_and_seal(self) -> None:
        self.write()
        self.seal()


def interleavings(one: list[Callable[[], None]], two: list[Callable[[], None]]) -> Iterator[tuple[int, ...]]:
    """Every order of the steps of two holders: the places that those of the first one take."""
    return combinations(range(len(one) + len(two)), len(one))


def run(places: tuple[int, ...], one: list[Callable[[], None]], two: list[Callable[[], None]]) -> None:
    """Run the steps of two holders in one such order."""
    first, second = iter(one), iter(two)
    for place in range(len(one) + len(two)):
        next(first if place in places else second)()


class FencingTests(Suite):
    """Of any number of holders only the newest one has an effect."""

    def test_e05_resolve_after_takeover(self, harness: Harness) -> None:
        """A window that was taken over did not happen, whatever its successor does."""
        made(harness.backend)
        old, new = opened(harness.backend), opened(harness.backend)
        assert not harness.backend.state.outcome(old)
        assert not harness.backend.state.outcome(new)
        assert sealed(harness.backend, new)
        assert not harness.backend.state.outcome(old)
        assert harness.backend.state.outcome(new)

    def test_e05_what_a_holder_that_is_gone_still_held(self, harness: Harness) -> None:
        """Whoever ends the turn of a dead process gets its claim as it was moved on by checkpoints and seals."""
        made(harness.backend)
        state = harness.backend.state
        first = opened(harness.backend)
        assert state.standing(first) == first
        kept = state.transaction(first).checkpoint(Resume(window=first.window, value=1))
        assert state.standing(first) == kept
        following = state.transaction(kept).seal(seal_of(kept, next_window=window(1)))
        assert state.standing(first) == following
        state.close(state.standing(first) or first)
        assert state.standing(first) is None

    def test_e05_nothing_stands_after_a_takeover(self, harness: Harness) -> None:
        """A key that somebody else has opened is nothing to end for the holder before."""
        made(harness.backend)
        old, new = opened(harness.backend), opened(harness.backend)
        assert harness.backend.state.standing(old) is None
        assert harness.backend.state.standing(new) == new

    @needs("sql", "concurrent_writers")
    def test_e05_resolve_while_the_old_one_still_writes(self, harness: Harness) -> None:
        """Rows of a window that was taken over while it wrote are gone, and its outcome says so."""
        made(harness.backend)
        old = harness.backend.state.transaction(opened(harness.backend))
        harness.write(old, 1)
        new = harness.backend.state.transaction(opened(harness.backend))
        assert not harness.backend.state.outcome(old.claim)
        harness.write(new, 2)
        new.seal(seal_of(new.claim))
        with pytest.raises(LeaseLost):
            old.seal(seal_of(old.claim))
        old.abandon()
        assert harness.rows() == [("acme", 2)]

    @needs("postgresql")
    def test_e20_zombie_with_a_unique_key(self, harness: Harness) -> None:
        """A stalled holder that wrote a unique key delays its successor by less than two TTLs."""
        ttl = timedelta(seconds=2)
        made(harness.backend)
        [lease] = harness.backend.locks.acquire([KEY], owner="zombie", ttl=ttl)
        zombie = harness.backend.state.transaction(opened(harness.backend, token=lease.token))
        harness.mark(zombie, "same")
        harness.expire([KEY])
        began = time.monotonic()
        other = harness.beside()
        [lease] = other.locks.acquire([KEY], owner="successor", ttl=ttl)
        claim = opened(other, token=lease.token, previous=lease.previous)
        successor = other.state.transaction(claim)
        harness.mark(successor, "same")
        successor.seal(seal_of(claim))
        assert time.monotonic() - began < 2 * ttl.total_seconds()
        with pytest.raises(TenantcollectError):
            zombie.seal(seal_of(zombie.claim))
        zombie.abandon()
        assert harness.rows() == [("acme", 0)]

    def test_e22_lying_lock_without_rows(self, harness: Harness) -> None:
        """Of two holders that a lying lock let in, in whatever order they act, exactly one seals."""
        for number in range(20):
            which = made(harness.backend, [key(f"tenant-{number}")])
            one, two = Holder(harness, which, None), Holder(harness, which, None)
            steps = [[each.plan, each.open, each.write_and_seal] for each in (one, two)]
            run(list(interleavings(*steps))[number], *steps)
            collect(harness, which=which)
            assert statuses(harness.backend, which).count(Status.COMPLETED) == 1

    @needs("sql")
    def test_e22_lying_lock_two_holders(self, harness: Harness) -> None:
        """Of two holders that write before their seal, in whatever order they act, one leaves its row."""
        for number in range(20):
            which = made(harness.backend, [key(f"tenant-{number}")])
            one, two = Holder(harness, which, 1), Holder(harness, which, 2)
            steps = [[each.plan, each.open, each.write_and_seal] for each in (one, two)]
            run(list(interleavings(*steps))[number], *steps)
            collect(harness, 3, which=which)
            assert len([row for row in harness.rows() if row[0] == which.tenant_id]) == 1
            assert statuses(harness.backend, which).count(Status.COMPLETED) == 1

    @needs("sql", "concurrent_writers")
    def test_e22_lying_lock_two_writers(self, harness: Harness) -> None:
        """The same with both transactions open at once."""
        for number in range(20):
            which = made(harness.backend, [key(f"tenant-{number}")])
            one, two = Holder(harness, which, 1), Holder(harness, which, 2)
            one.plan()
            two.plan()
            steps = [[each.open, each.write, each.seal] for each in (one, two)]
            run(list(interleavings(*steps))[number], *steps)
            collect(harness, 3, which=which)
            assert len([row for row in harness.rows() if row[0] == which.tenant_id]) == 1

    @needs("sql")
    def test_e23_state_from_an_older_backup(self, harness: Harness) -> None:
        """State older than the history is noticed at the seal; a replay then collects what is missing."""
        made(harness.backend)
        collect(harness, 1, day=0)
        backup = harness.state_backup()
        collect(harness, 2, day=1)
        harness.restore(backup)
        transaction = harness.backend.state.transaction(opened(harness.backend, day=1))
        harness.write(transaction, 3)
        with pytest.raises(CoverageInvalid):
            transaction.seal(seal_of(transaction.claim, window(0)))
        transaction.abandon()
        assert harness.rows() == [("acme", 1), ("acme", 2)]
        covered = WindowSet((window(0),))
        replay = Revision(coverage=covered, last_fetched_data_date=window(0).end, replayed=window(1))
        harness.backend.state.revise([KEY], always(replay))
        collect(harness, day=1)
        assert read(harness.backend).coverage == WindowSet((window(0, days=2),))

    @needs("postgresql")
    @pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
    def test_e26_a_wake_up_never_blocks_a_window(self, harness: Harness, isolation: str) -> None:
        """What changes leases and due times neither waits for an open window nor fails it."""
        backend = harness.beside(isolation=isolation)
        made(backend)
        leases = backend.locks.acquire([KEY], owner="worker-1", ttl=TTL)
        transaction = backend.state.transaction(opened(backend, token=leases[0].token))
        harness.write(transaction, 1)
        began = time.monotonic()
        other, schedule = harness.beside(), harness.backend.state.schedule
        deferred(harness.backend.state, KEY, START, waiting=True)
        schedule.wake([KEY], at=START + DAY)
        schedule.unpark(EVERYTHING, at=START)
        schedule.report({KEY: "half"})
        assert other.locks.renew(leases, ttl=TTL) == {KEY}
        assert time.monotonic() - began < 5
        transaction.seal(seal_of(transaction.claim))
        assert harness.rows() == [("acme", 1)]

    def test_e27_an_abandoned_window_is_in_the_history(self, harness: Harness) -> None:
        """A window whose holder vanished leaves one ABANDONED row, that says whose and which it was."""
        made(harness.backend)
        lost = opened(harness.backend, owner="lost")
        opened(harness.backend, owner="next")
        [row] = attempts(harness.backend)
        assert (row.status, row.window_id, row.worker) == (Status.ABANDONED, lost.window_id, "lost")
        assert (row.window, row.fence, row.window_seq) == (lost.window, lost.fence, lost.window_seq)
        assert (row.attempt, row.started_at) == (lost.attempt, lost.started_at)

    def test_e27_the_window_after_a_seal_too(self, harness: Harness) -> None:
        """The window that a seal opened is abandoned under its own id; what was closed leaves no such row."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        lost = transaction.seal(seal_of(transaction.claim, next_window=window(1)))
        transaction.abandon()
        assert lost is not None
        harness.backend.state.close(opened(harness.backend, day=1), failure())
        collect(harness, day=1)
        expected = [Status.COMPLETED, Status.ABANDONED, Status.FAILED, Status.COMPLETED]
        assert statuses(harness.backend) == expected
        assert [row.window_id for row in attempts(harness.backend)][2] == lost.window_id

    @pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
    def test_e28_commands_end_an_open_window(self, harness: Harness, command: Revision) -> None:
        """No holder walks on with the plan from before a command; what it did is in the history."""
        made(harness.backend)
        collect(harness, day=0)
        claim = opened(harness.backend, day=1)
        pause = Hold(tenant_id="acme", data_source="git", reason="paused_by_user", since=START)
        harness.backend.state.holds.place(pause)
        assert harness.backend.state.revise([KEY], always(command))
        assert not sealed(harness.backend, claim, window(0))
        for told in (None, failure()):
            with pytest.raises(LeaseLost):
                harness.backend.state.close(claim, told)
        assert not harness.backend.state.outcome(claim)
        assert statuses(harness.backend).count(Status.ABANDONED) == 1
        assert statuses(harness.backend).count(Status.REPLAYED) == bool(command.replayed)
        assert read(harness.backend).open_window is None

    @needs("sql", "concurrent_writers")
    @pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
    def test_e28_commands_end_a_window_that_writes(self, harness: Harness, command: Revision) -> None:
        """A command does not wait for a window that has written; nothing of it is kept."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        harness.write(transaction, 1)
        assert harness.backend.state.revise([KEY], always(command))
        with pytest.raises(LeaseLost):
            transaction.seal(seal_of(transaction.claim))
        transaction.abandon()
        assert harness.rows() == []
