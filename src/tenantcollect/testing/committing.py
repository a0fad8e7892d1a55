"""E01–E06, E09, E18, E19, E21: the one commit of a window (floor: testing; PROTOCOL 8)."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

import pytest

from tenantcollect.errors import DatabaseUnavailable, LeaseLost, OutcomeUnknown, StorageError, TransactionConflict
from tenantcollect.state import Status
from tenantcollect.testing.crashes import POINTS, CrashAt, Crashed, LoseConnection, StallAt
from tenantcollect.testing.harness import Backend, Harness
from tenantcollect.testing.steps import (
    KEY,
    TTL,
    attempts,
    collect,
    failure,
    key,
    made,
    opened,
    read,
    seal_of,
    sealed,
    statuses,
    window,
)
from tenantcollect.testing.suite import Suite, needs
from tenantcollect.windows import Window, WindowSet

__all__ = ["CommitTests"]

ONE, TWO, THREE = ("acme", 1), ("acme", 2), ("acme", 3)
LATER = 0.3
"""Seconds in which somebody who need not wait would be done."""


def at(point: str, act: Callable[[], object]) -> Callable[[str], object]:
    """Does something when a point is reached."""
    return lambda reached: act() if reached == point else None


def crash_while_collecting(harness: Harness, point: str, *numbers: int) -> None:
    """Collect day 0 with a backend that crashes at ``point``; what is left is what its holder left."""
    backend = harness.beside(crash=CrashAt(point))
    with pytest.raises(Crashed):
        _collect(harness, backend, numbers)


def _collect(harness: Harness, backend: Backend, numbers: tuple[int, ...]) -> None:
    transaction = backend.state.transaction(opened(backend))
    try:
        if numbers:
            harness.write(transaction, *numbers)
        transaction.seal(seal_of(transaction.claim))
    finally:
        transaction.abandon()


class CommitTests(Suite):
    """Rows, coverage, cursor and history become durable together, once, or not at all."""

    @needs("sql")
    @pytest.mark.parametrize("point", POINTS)
    def test_e01_crash(self, harness: Harness, point: str) -> None:
        """Wherever a window crashes, its rows are there exactly once after the next holder came."""
        made(harness.backend)
        crash_while_collecting(harness, point, 1, 2)
        committed = point == "after_commit"
        assert harness.rows() == ([ONE, TWO] if committed else [])
        assert bool(read(harness.backend).coverage) is committed
        collect(harness, 1, 2)
        assert harness.rows() == [ONE, TWO]
        assert statuses(harness.backend).count(Status.COMPLETED) == 1
        assert statuses(harness.backend).count(Status.ABANDONED) == (0 if committed else 1)

    @pytest.mark.parametrize("point", ["after_open", "before_commit", "after_commit"])
    def test_e01_crash_without_rows(self, harness: Harness, point: str) -> None:
        """Wherever a window without rows crashes, it is sealed once, and the attempt is in the history."""
        made(harness.backend)
        crash_while_collecting(harness, point)
        committed = point == "after_commit"
        assert bool(read(harness.backend).coverage) is committed
        collect(harness)
        expected = [Status.COMPLETED] if committed else [Status.ABANDONED, Status.COMPLETED]
        assert statuses(harness.backend) == expected

    def test_e02_reply_lost(self, harness: Harness) -> None:
        """A commit whose reply was lost is found to have happened, and cannot be made again."""
        made(harness.backend)
        backend = harness.beside(crash=LoseConnection("after_commit"))
        transaction = backend.state.transaction(opened(backend))
        with pytest.raises(OutcomeUnknown):
            transaction.seal(seal_of(transaction.claim))
        transaction.abandon()
        assert harness.backend.state.outcome(transaction.claim)
        assert not sealed(harness.backend, transaction.claim)
        assert statuses(harness.backend) == [Status.COMPLETED]

    @needs("sql")
    def test_e02_rows_of_a_lost_reply_are_not_written_again(self, harness: Harness) -> None:
        """Whoever repeats a window whose reply was lost adds no rows."""
        made(harness.backend)
        backend = harness.beside(crash=LoseConnection("after_commit"))
        claim = opened(backend)
        for attempt in (1, 2):
            transaction = backend.state.transaction(claim)
            harness.write(transaction, 1)
            with pytest.raises(OutcomeUnknown if attempt == 1 else LeaseLost):
                transaction.seal(seal_of(claim))
            transaction.abandon()
        assert harness.rows() == [ONE]

    @needs("postgresql")
    def test_e02_reply_cut_off(self, harness: Harness) -> None:
        """A COMMIT that is sent on a line that brings no answer happened, and only the database knows."""
        made(harness.backend)
        lines: list[socket.socket] = []
        backend = harness.beside(crash=at("before_commit", lambda: lines[0].shutdown(socket.SHUT_RD)))
        transaction = backend.state.transaction(opened(backend))
        harness.write(transaction, 1)
        with harness.line(transaction) as line:
            lines.append(line)
            with pytest.raises(OutcomeUnknown):
                transaction.seal(seal_of(transaction.claim))
        transaction.abandon()
        assert harness.backend.state.outcome(transaction.claim)
        assert harness.rows() == [ONE]

    @needs("postgresql")
    def test_e03_request_cut_off(self, harness: Harness) -> None:
        """A COMMIT that could not be sent did not happen; the window is collected again."""
        made(harness.backend)
        lines: list[socket.socket] = []
        backend = harness.beside(crash=at("before_commit", lambda: lines[0].shutdown(socket.SHUT_RDWR)))
        transaction = backend.state.transaction(opened(backend))
        harness.write(transaction, 1)
        with harness.line(transaction) as line:
            lines.append(line)
            with pytest.raises((OutcomeUnknown, DatabaseUnavailable)):
                transaction.seal(seal_of(transaction.claim))
        transaction.abandon()
        assert not harness.backend.state.outcome(transaction.claim)
        collect(harness, 1)
        assert harness.rows() == [ONE]

    def test_e03_commit_never_arrived(self, harness: Harness) -> None:
        """A commit that never arrived is found not to have happened; the window is collected again."""
        made(harness.backend)
        backend = harness.beside(crash=LoseConnection("before_commit"))
        transaction = backend.state.transaction(opened(backend))
        with pytest.raises(OutcomeUnknown):
            transaction.seal(seal_of(transaction.claim))
        transaction.abandon()
        assert not harness.backend.state.outcome(transaction.claim)
        collect(harness)
        assert read(harness.backend).coverage == WindowSet((window(0),))
        assert not harness.backend.state.outcome(transaction.claim)

    @needs("postgresql")
    @pytest.mark.parametrize("point", ["after_run", "after_history", "before_commit"])
    def test_e03_connection_cut_before_the_commit(self, harness: Harness, point: str) -> None:
        """A connection that is cut at any step up to the commit keeps nothing, and that is known."""
        made(harness.backend)
        cut: list[str] = []
        backend = harness.beside(crash=at(point, lambda: cut and harness.terminate(cut[0])))
        transaction = backend.state.transaction(opened(backend))
        harness.write(transaction, 1)
        cut.append(transaction.claim.token)
        with pytest.raises(StorageError):
            transaction.seal(seal_of(transaction.claim))
        transaction.abandon()
        assert not harness.backend.state.outcome(transaction.claim)
        collect(harness, 1)
        assert harness.rows() == [ONE]

    @needs("sql")
    def test_e04_late_commit_during_resolve(self, harness: Harness) -> None:
        """Asking for an outcome waits for the commit that is in flight, and then tells what became of it."""
        made(harness.backend)
        stall = StallAt("before_commit")
        backend = harness.beside(crash=stall)
        transaction = backend.state.transaction(opened(backend))
        harness.write(transaction, 1)
        with ThreadPoolExecutor(2) as pool:
            sealing = pool.submit(transaction.seal, seal_of(transaction.claim))
            assert stall.reached.wait(30)
            asking = pool.submit(harness.backend.state.outcome, transaction.claim)
            with suppress(TimeoutError):
                asking.result(LATER)
            answered_early = asking.done()
            stall.go_on.set()
            assert sealing.result(30) is None
            assert asking.result(30)
        assert not answered_early
        assert harness.rows() == [ONE]

    @needs("sql")
    def test_e06_commit_joins_the_window(self, harness: Harness) -> None:
        """``db.commit()`` makes nothing durable before the seal, and work goes on after it."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        for number in (1, 2):
            harness.write(transaction, number)
            transaction.session().commit()
            assert harness.rows() == []
        transaction.seal(seal_of(transaction.claim))
        assert harness.rows() == [ONE, TWO]

    @needs("sql")
    def test_e06_what_was_committed_goes_with_a_failed_window(self, harness: Harness) -> None:
        """A window that fails after ``db.commit()`` keeps nothing."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        harness.write(transaction, 1)
        transaction.session().commit()
        transaction.abandon()
        harness.backend.state.close(transaction.claim, failure())
        assert harness.rows() == []
        collect(harness, 1)
        assert harness.rows() == [ONE]

    @needs("sql")
    def test_e09_begin_nested_is_fine(self, harness: Harness) -> None:
        """A part of a window can be undone by a savepoint, also after an error of the database."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        db = transaction.session()
        harness.write(transaction, 1)
        with suppress(ZeroDivisionError), db.begin_nested():
            harness.write(transaction, 2)
            raise ZeroDivisionError
        harness.mark(transaction, "once")
        refused = None
        try:
            with db.begin_nested():
                harness.mark(transaction, "once")
        except Exception as error:  # noqa: BLE001 - whatever the driver says of a duplicate
            refused = error
        assert refused is not None
        with db.begin_nested():
            harness.write(transaction, 3)
        transaction.seal(seal_of(transaction.claim))
        assert harness.rows() == [("acme", 0), ONE, THREE]

    @needs("postgresql")
    def test_e18_serializable_with_heartbeats(self, harness: Harness) -> None:
        """Where sessions are SERIALIZABLE by default, heartbeats and other windows fail no window."""
        backend = harness.beside(isolation="serializable")
        made(backend, [KEY, key("beta")])
        leases = backend.locks.acquire([KEY, key("beta")], owner="worker-1", ttl=TTL)
        one, other = (backend.state.transaction(opened(backend, lease.key)) for lease in leases)
        for number, transaction in enumerate((one, other, one, other)):
            harness.write(transaction, number)
            assert len(backend.locks.renew(leases, ttl=TTL)) == 2
            backend.state.schedule.report({KEY: f"{number} of 4"})
        for transaction in (other, one):
            transaction.seal(seal_of(transaction.claim))
        assert harness.rows() == [("acme", 0), ("acme", 2), ("beta", 1), ("beta", 3)]

    @needs("postgresql")
    @pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
    def test_e19_stale_fence_in_an_old_snapshot(self, harness: Harness, isolation: str) -> None:
        """A window whose snapshot still shows its own fence cannot seal after a takeover."""
        backend = harness.beside(isolation=isolation)
        made(backend)
        stale = backend.state.transaction(opened(backend))
        harness.write(stale, 1)
        new = harness.backend.state.transaction(opened(harness.backend))
        with pytest.raises((LeaseLost, TransactionConflict)):
            stale.seal(seal_of(stale.claim))
        stale.abandon()
        harness.write(new, 2)
        new.seal(seal_of(new.claim))
        assert harness.rows() == [TWO]

    def test_e21_a_collector_that_writes_nothing(self, harness: Harness) -> None:
        """A window in which nothing was found is sealed like any other, and so is the one after it."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        transaction.seal(seal_of(transaction.claim, next_window=window(1), records=0))
        transaction.seal(seal_of(transaction.claim, window(0), records=0))
        assert read(harness.backend).coverage == WindowSet((window(0, days=2),))
        assert [row.records for row in attempts(harness.backend)] == [0, 0]

    @needs("sql")
    def test_e21_a_session_that_was_not_used(self, harness: Harness) -> None:
        """Taking ``db`` without using it changes nothing, and empty and full windows may take turns."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        covered: list[Window] = []
        for day in range(4):
            transaction.session()
            if day % 2:
                harness.write(transaction, day)
            following = window(day + 1) if day < 3 else None
            transaction.seal(seal_of(transaction.claim, *covered, next_window=following))
            covered.append(window(day))
        assert harness.rows() == [ONE, THREE]
        assert read(harness.backend).coverage == WindowSet((window(0, days=4),))

    def test_abandoning_is_always_allowed(self, harness: Harness) -> None:
        """A transaction can be abandoned before its first use, twice, after its seal, and from any thread."""
        made(harness.backend)
        transaction = harness.backend.state.transaction(opened(harness.backend))
        transaction.abandon()
        transaction.abandon()
        transaction = harness.backend.state.transaction(opened(harness.backend))
        transaction.seal(seal_of(transaction.claim))
        thread = Thread(target=transaction.abandon)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert read(harness.backend).coverage == WindowSet((window(0),))
